//! The catalogue of models: what there is, where it comes from, and whether what is kept of it is whole.
//!
//! Owns `catalog.toml`, the cache's layout, fetching, converting and checking. Runs no model and links no runtime; that
//! is `millrace-inference`, in the media child. Called by the worker.

mod cache;
mod catalog;
mod convert;
mod error;
mod fetch;

pub use cache::{Cache, default_root};
pub use catalog::{Beside, Catalog, Channels, Layout, Model, Order, Picture, Task};
pub use error::{Error, ErrorKind};
pub use fetch::{Step, fetch};
