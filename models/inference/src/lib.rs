//! Runs models: sound in, words out. Linked by the media child alone.
//!
//! Owns what is asked of whisper.cpp and ONNX Runtime, and what is made of their answers. Never decodes media, never
//! looks for a model: it is told where they lie. `speech`, `pieces` and `words` are pure.

mod error;
mod listener;
mod pieces;
mod speech;
mod voice;
mod whisper;
mod words;

pub use error::{Error, ErrorKind};
pub use listener::{Heard, Listener, Models, Window};
pub use speech::Span;
pub use words::Word;

/// Samples a second, of all sound here.
pub const RATE: usize = 16_000;
