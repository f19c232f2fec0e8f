//! Why something could not be written or read.

/// Why something could not be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A segment without samples.
    #[error("a segment needs at least one sample")]
    Empty,
    /// A sample's time is negative; whoever cuts segments shifts the timeline first.
    #[error("sample {sample} is shown at {pts}: shift the timeline so that it starts at 0 or later")]
    NegativeTime {
        /// Its place in decode order, from 0.
        sample: usize,
        /// Its presentation time.
        pts: i64,
    },
    /// Two samples are shown at one time; whoever cuts segments makes times strictly increasing first.
    #[error("two samples are shown at {pts}: make presentation times differ")]
    RepeatedTime {
        /// Their presentation time.
        pts: i64,
    },
    /// A duration or composition offset beyond 32 bits.
    #[error("a duration or composition offset of {ticks} ticks does not fit 32 bits: cut shorter segments")]
    TooLong {
        /// The duration or offset.
        ticks: i64,
    },
    /// Samples of 2 GiB or more in all; `trun` addresses them with 31 bits.
    #[error("a segment of {bytes} bytes is too large: cut shorter segments")]
    TooLarge {
        /// Bytes of all samples.
        bytes: u64,
    },
    /// A picture size or audio format that MP4 has no field for.
    #[error("a track of {0} can't be written as MP4")]
    Format(String),
    /// A codec configuration that breaks its own syntax.
    #[error("the {record} is not valid: {message}")]
    Config {
        /// Which record, e.g. `avcC`.
        record: &'static str,
        /// What is wrong with it.
        message: String,
    },
}

impl Error {
    pub(crate) fn config(record: &'static str, message: impl std::fmt::Display) -> Self {
        Self::Config { record, message: message.to_string() }
    }
}
