//! What the child says: frames on its standard output. A parent that no longer listens ends the program.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    process,
};

use millrace_cmaf::Sample;
use millrace_media::wire::{Frame, Message};

/// Standard output, unbuffered: each frame is written whole.
pub(crate) struct Answers(File);

impl Answers {
    pub(crate) fn open() -> io::Result<Self> {
        io::stdout().as_fd().try_clone_to_owned().map(|fd| Self(fd.into()))
    }

    pub(crate) fn say(&mut self, message: Message) {
        self.write(&Frame::Message(message));
    }

    pub(crate) fn video(&mut self, sample: Sample) {
        self.write(&Frame::Video(sample));
    }

    pub(crate) fn audio(&mut self, sample: Sample) {
        self.write(&Frame::Audio(sample));
    }

    fn write(&mut self, frame: &Frame) {
        if self.0.write_all(&frame.encode()).is_err() {
            process::exit(1);
        }
    }
}
