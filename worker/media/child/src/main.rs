//! The media child.

fn main() {}
