//! What a case is: what comes, by which way, and what of it must come out.

use serde_json::{Value, json};

use super::{hls::Packing, media::Media};
use crate::rtmp::Tag;

/// One case.
pub(super) struct Case {
    /// As the table says it; no two are the same.
    pub(super) name: &'static str,
    pub(super) way: Way,
    pub(super) media: Media,
    pub(super) want: Want,
    /// The stream's profile.
    pub(super) profile: fn() -> Value,
}

/// How it comes in.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// Uploaded.
    File,
    /// Fetched.
    Url,
    /// Fetched as an HLS playlist, with all that it names.
    Hls(Packing),
    /// Pushed by ffmpeg, as fast as it goes.
    Rtmp,
    /// The same, within TLS.
    Rtmps,
    /// Pushed message by message, changed on the way.
    Tags(fn(Vec<Tag>) -> Vec<Tag>),
    /// Pushed as Enhanced RTMP.
    Enhanced,
    /// Pushed by ffmpeg, in real time.
    Srt,
    /// Cut every two seconds and pushed over HTTP.
    Segments,
}

impl Way {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Url => "URL",
            Self::Hls(packing) if packing.live => "HLS pull, live",
            Self::Hls(_) => "HLS pull",
            Self::Rtmp | Self::Tags(_) => "RTMP",
            Self::Rtmps => "RTMPS",
            Self::Enhanced => "Enhanced RTMP",
            Self::Srt => "SRT",
            Self::Segments => "HTTP push",
        }
    }

    /// What comes this way lives: it can be watched while it comes.
    pub(super) fn is_live(self) -> bool {
        match self {
            Self::File | Self::Url => false,
            Self::Hls(packing) => packing.live,
            Self::Rtmp | Self::Rtmps | Self::Tags(_) | Self::Enhanced | Self::Srt | Self::Segments => true,
        }
    }

    /// Its times are whole milliseconds.
    pub(super) fn rounds(self) -> bool {
        matches!(self, Self::Rtmp | Self::Rtmps | Self::Tags(_) | Self::Enhanced)
    }
}

/// What must come out. Every frame, at its time, in all cases.
#[derive(Debug, Clone)]
pub(super) struct Want {
    /// Best first, as players list them; none: sound alone.
    pub(super) rungs: Vec<Rung>,
    /// Samples per second and channels; none: no audio rendition.
    pub(super) sound: Option<(u32, u16)>,
    /// Discontinuities.
    pub(super) breaks: usize,
    /// Pictures are compared with the source's one by one.
    pub(super) alike: bool,
    /// What comes is damaged: so many frames at least come out, the source's own being no measure.
    pub(super) frames_min: Option<usize>,
}

/// A rung as it must come out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rung {
    pub(super) size: (u64, u64),
    /// What its codec string begins with.
    pub(super) codec: &'static str,
    /// Every n-th of the source's frames.
    pub(super) divisor: usize,
}

impl Rung {
    pub(super) const fn new(width: u64, height: u64) -> Self {
        Self { size: (width, height), codec: "avc1", divisor: 1 }
    }
}

/// One small rung.
fn one_rung() -> Value {
    json!({"ladder": [{"name": "120p", "short_side_px": 120, "bitrate_bps_max": 600_000, "preset": "ultrafast",
        "crf": 18}]})
}

impl Case {
    pub(super) fn new(name: &'static str, way: Way, ending: &'static str, args: &'static str) -> Self {
        let media = Media { ending, args, ..Media::default() };
        let want =
            Want { rungs: vec![Rung::new(214, 120)], sound: media.sound, breaks: 0, alike: true, frames_min: None };
        Self { name, way, media, want, profile: one_rung }
    }

    pub(super) fn media(mut self, change: impl FnOnce(&mut Media)) -> Self {
        change(&mut self.media);
        self.want.sound = self.media.sound;
        if !self.media.pictures {
            self.want.rungs.clear();
        }
        self
    }

    pub(super) fn want(mut self, change: impl FnOnce(&mut Want)) -> Self {
        change(&mut self.want);
        self
    }

    /// The one rung has another size.
    pub(super) fn sized(mut self, width: u64, height: u64) -> Self {
        self.want.rungs = vec![Rung::new(width, height)];
        self
    }

    pub(super) fn profile(mut self, profile: fn() -> Value, rungs: &[Rung]) -> Self {
        (self.profile, self.want.rungs) = (profile, rungs.into());
        self
    }
}
