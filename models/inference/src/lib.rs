//! Runs models: sound in, words out; pictures in, scores, boxes and embeddings out. Linked by the media child alone.
//!
//! Owns what is asked of whisper.cpp and ONNX Runtime, and what is made of their answers. Never decodes media, never
//! looks for a model: it is told where they lie. `speech`, `pieces`, `words`, `picture`, `resize`
//! and `jpeg` are pure.

mod detect;
mod embed;
mod error;
mod jpeg;
mod listener;
mod looker;
mod picture;
mod pieces;
mod resize;
mod score;
mod session;
mod speech;
mod voice;
mod whisper;
mod words;

pub use detect::{Boxes, Detection, Found};
pub use embed::{Embedding, Look};
pub use error::{Error, ErrorKind};
pub use listener::{Heard, Listener, Models, Window};
pub use looker::{Eyes, Looker, Sight};
pub use picture::{Input, Picture, Place};
pub use session::Device;
pub use speech::Span;
pub use voice::Sound;
pub use words::Word;

/// Samples a second, of all sound here.
pub const RATE: usize = 16_000;
