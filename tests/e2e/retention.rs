//! Streams that are kept for a minute only, beside tests that take that long anyway: then all of a recording is gone but
//! its clips, and of a live stream what its playlists no longer name.

use std::fs;

use millrace_proto::api::{Clip, ClipState, Stream, StreamState};
use serde_json::json;

use crate::{
    clip::live_source,
    house::House,
    http_push::{pieces, put, put_all},
    live::{small_ladder, until_playable},
    playlist::{Master, Media},
    table::outputs::{self, LIVE, RECORDED},
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

/// A live stream whose first segments are on their way to expire.
#[derive(Debug)]
pub(crate) struct ExpiringLive {
    stream: Stream,
    /// To be pushed when they have.
    later: Vec<Vec<u8>>,
    /// What the playlist named first.
    first: String,
    /// Media stored before any of it was freed.
    files: usize,
}

/// The shortest that a profile may list, in seconds.
const WINDOW_S: u32 = 6;
/// Segments of two seconds that are pushed at once; six are listed.
const AT_ONCE: usize = 10;

impl ExpiringLive {
    /// Pushes more than is listed at once. `house` lets a stream live on without pushes.
    #[track_caller]
    pub(crate) fn start(house: &House) -> Self {
        let profile = json!({"passthrough": true, "retention_s": KEPT_S, "window_s": WINDOW_S});
        let stream = house.api.create("live", &profile);
        let mut pieces = pieces(house, &live_source(24), "mpegts", "ts", "");
        let later = pieces.split_off(AT_ONCE);
        put_all(house, &stream, &pieces[..1], &[0]);
        let first = until_playable(house, &stream, 1).all().next().and_then(|list| Media::fetch(&house.api, list));
        let first = first.expect("it is playable").segments[0].url.clone();
        put_all(house, &stream, &pieces, &(1..AT_ONCE).collect::<Vec<_>>());
        until("the first segment to be no longer listed", s(30), || {
            let master = Master::fetch(&house.api, &stream.playback.hls)?;
            let mut lists = master.all().filter_map(|list| Media::fetch(&house.api, list));
            lists.all(|list| list.segments.iter().all(|segment| segment.url != first)).then_some(())
        });
        let files = stored(house, &stream);
        Self { stream, later, first, files }
    }

    /// Waits until its first segments have expired, and looks whether all that is listed is there.
    #[track_caller]
    pub(crate) fn finish(self, house: &House) {
        let gone = until("the first segment to expire", s(u64::from(KEPT_S) + SWEEP_S), || {
            let answer = house.api.send("GET", &self.first, &[], None).unwrap();
            (answer.status != 200).then(|| answer.error(404).code)
        });
        until("its media to be freed", s(SWEEP_S), || (stored(house, &self.stream) < self.files).then_some(()));
        let master = until_playable(house, &self.stream, 6);
        for list in master.all() {
            let list = Media::fetch(&house.api, list).expect("the playlist is there");
            for segment in &list.segments {
                house.api.get(&segment.url);
            }
        }
        // It lives on.
        for (piece, number) in self.later.iter().zip(AT_ONCE..) {
            assert_eq!(put(house, &self.stream, number, piece).status, 200);
        }
        assert_eq!(house.api.stream(&self.stream.id).state, StreamState::Live);
        let found = format!(
            "after {KEPT_S} s what is no longer listed is 404 `{gone}` and its media freed; all that is listed is there"
        );
        outputs::tell(&[("retention", LIVE, found)]);
    }
}

/// Files of a stream's media.
fn stored(house: &House, stream: &Stream) -> usize {
    fs::read_dir(house.data().join("media").join(stream.id.as_str())).into_iter().flatten().count()
}
