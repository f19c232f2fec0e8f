//! From what single pictures show to what happens when: ranges of what not everyone is to see, and appearances of things.
//! Pure; a stream's sights go in by their time, in order.

pub mod appearances;
pub mod flags;
