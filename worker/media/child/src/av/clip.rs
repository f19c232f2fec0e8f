//! A segment's files as they are handed over: header, what has to be decoded first, and the segment itself.
//! Read by the jobs that decode segments; knows nothing of what for.

use std::{fs, path::Path};

use ffmpeg_next::Packet;
use millrace_cmaf::read::{self, Fragment, Header};
use millrace_media::{Failure, job::Pair};

use crate::trouble;

/// A segment's bytes, one after the other, and what its boxes say.
pub(crate) struct Clip {
    pub(crate) bytes: Vec<u8>,
    pub(crate) header: Header,
    /// Of the segment itself.
    pub(crate) fragment: Fragment,
    /// Samples that stand before the segment's own.
    preroll: usize,
}

impl Clip {
    /// Reads the files and their boxes.
    pub(crate) fn read(pair: &Pair) -> Result<Self, Failure> {
        let mut bytes = read_file(&pair.init)?;
        let header = read::header(&bytes).map_err(|error| trouble::cmaf(&error))?;
        let mut preroll = 0;
        for path in &pair.preroll {
            let before = read_file(path)?;
            preroll += read::fragment(&before).map_err(|error| trouble::cmaf(&error))?.samples;
            bytes.extend(before);
        }
        let segment = read_file(&pair.segment)?;
        let fragment = read::fragment(&segment).map_err(|error| trouble::cmaf(&error))?;
        bytes.extend(segment);
        Ok(Self { bytes, header, fragment, preroll })
    }

    /// Drops from all packets of the clip those that decoding does not need. Returns how many are left that stand
    /// before the segment's own.
    pub(crate) fn trim(&self, packets: &mut Vec<Packet>) -> Result<usize, Failure> {
        let (own, all) = (self.fragment.samples, self.fragment.samples + self.preroll);
        if packets.len() != all {
            let readable = (packets.len() + own).saturating_sub(all);
            return Err(trouble::bad_input(format!("{readable} of the {own} frames of the segment can be read")));
        }
        let key = packets[..self.preroll].iter().rposition(Packet::is_key).unwrap_or(0);
        packets.drain(..key);
        Ok(self.preroll - key)
    }
}

pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| trouble::file("read", path, &error))
}
