//! What strangers can send, parser by parser: functions that take any bytes, for `tests/fuzz` and the replay of its corpus.
//!
//! Owns no parser. Each function calls the program's own code as the program does, and checks what must hold of its
//! answer; a panic is a fault, since the programs abort on one and a single peer would take all streams down. Not in the
//! program itself: built for tests and with the feature `fuzz` alone.

mod boxes;
mod events;
mod headers;
mod messages;

use crate::ingest::{pull, rtmp};

/// A parser by name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them; the names are those of the folders of the corpus.
pub const TARGETS: [Target; 10] = [
    ("rtmp", rtmp::fuzz::connection),
    ("media_messages", rtmp::fuzz::media_messages),
    ("amf", rtmp::fuzz::amf),
    ("playlist", pull::fuzz_playlist),
    ("headers", headers::headers),
    ("addresses", headers::addresses),
    ("fragments", boxes::fragments),
    ("codecs", boxes::codecs),
    ("worker_messages", messages::worker),
    ("child_frames", messages::child),
];

pub(crate) use events::Events;

/// Splits a length of two bytes and as many bytes off.
pub(crate) fn take_part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (part, rest) = rest.split_at(length);
    *bytes = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// What was once found, and what is known to reach far, stays harmless.
    #[test]
    fn the_corpus_harms_nothing() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus");
        for (name, target) in TARGETS {
            let folder = corpus.join(name);
            let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            let mut count = 0;
            for file in files {
                let path = file.expect("the folder can be read").path();
                // Told by the name of the last file printed, should it not come back.
                println!("{}", path.display());
                target(&fs::read(&path).expect("the file can be read"));
                count += 1;
            }
            assert!(count > 0, "{name} has no corpus");
        }
    }

    #[test]
    fn every_folder_of_the_corpus_has_a_target() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus");
        for folder in fs::read_dir(corpus).expect("the corpus is there") {
            let folder = folder.expect("the folder can be read").file_name();
            assert!(TARGETS.iter().any(|(name, _)| folder == *name), "{folder:?} belongs to no target");
        }
    }
}
