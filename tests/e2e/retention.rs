//! A recording that is kept for a minute only, beside tests that take that long anyway: then all of it is gone but its
//! clips.

use std::fs;

use millrace_proto::api::{Clip, ClipState, Stream, StreamState};
use serde_json::json;

use crate::{
    clip::live_source,
    house::House,
    live::small_ladder,
    table::outputs::{self, RECORDED},
    wait::{s, until},
};

/// The shortest that a profile may want.
const KEPT_S: u32 = 60;
/// Between two looks at what has expired, and some leave.
const SWEEP_S: u64 = 40;

/// A recording on its way to expire.
#[derive(Debug)]
pub(crate) struct Expiring {
    stream: Stream,
    clip: Clip,
}

impl Expiring {
    /// Makes the recording and a clip of it.
    #[track_caller]
    pub(crate) fn start(house: &House) -> Self {
        let mut profile = small_ladder();
        (profile["retention_s"], profile["window_s"]) = (json!(KEPT_S), json!(KEPT_S));
        let stream = house.api.create("file", &profile);
        house.api.upload_all(&stream, &fs::read(live_source(10)).expect("the clip can be read"));
        let stream = house.api.until(&stream, StreamState::Ended, s(30));
        let clips = format!("/v1/streams/{}/clips", stream.id);
        let asked: Clip = house.api.call("POST", &clips, Some(&json!({"start": 1, "end": 3}))).json();
        let clip = until("the clip to be ready", s(30), || {
            let now: Clip = house.api.call("GET", &format!("{clips}/{}", asked.id), None).json();
            (now.state == ClipState::Ready).then_some(now)
        });
        Self { stream, clip }
    }

    /// Waits until it has expired, and tells what is left.
    #[track_caller]
    pub(crate) fn finish(self, house: &House) {
        let Self { stream, clip } = self;
        until("the recording to expire", s(u64::from(KEPT_S) + SWEEP_S), || {
            (house.api.stream(&stream.id).state == StreamState::Expired).then_some(())
        });
        let vod = stream.playback.vod.as_deref().expect("a recording is told");
        let mut codes: Vec<_> =
            [vod, &stream.playback.mp4["360p"], stream.playback.poster.as_deref().expect("a poster")]
                .iter()
                .map(|url| house.api.get(url).error(410).code)
                .collect();
        codes.dedup();
        assert_eq!(codes, ["stream_expired"]);
        let url = clip.url.expect("a clip that is ready has an address");
        // Its media goes after the word is out.
        let media = house.data().join("media").join(stream.id.as_str());
        until("the media to be freed", s(SWEEP_S), || {
            let files = fs::read_dir(&media).into_iter().flatten().flatten();
            let mut left = files.filter(|file| !file.file_name().to_string_lossy().starts_with("asset-clip-"));
            left.next().is_none().then_some(())
        });
        assert_eq!(Some(house.api.get(&url).body.len() as u64), clip.bytes);
        let found = format!("after {KEPT_S} s playlists, MP4s and pictures are 410 `{}`, clips stay", codes[0]);
        outputs::tell(&[("retention", RECORDED, found)]);
    }
}
