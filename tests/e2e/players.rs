//! Players that nobody here wrote, all of them at once: each plays a live stream, and a recording, to its end. What each
//! came to is told in docs/outputs.md.

use std::fs;

use millrace_proto::api::StreamState;
use serde_json::{Value, json};

use crate::{
    clip::{live_source, text, tool},
    house::House,
    in_page,
    live::{recording, until_playable},
    player,
    program::Program,
    push::push,
    table::outputs::{self, LIVE, RECORDED},
    wait::{s, until},
};

/// The stream's length.
const LENGTH_S: u32 = 24;
/// Frames per second.
const RATE: u64 = 24;
/// A live player starts three segments before the newest, and some time after the stream.
const LIVE_S_MIN: u32 = 12;

/// What a player came to: how many frames it showed, or decoded, and of how many it had to.
#[derive(Debug)]
struct Row {
    player: String,
    format: &'static str,
    frames: u64,
    least: u64,
}

/// All players, playing.
struct All {
    in_page: in_page::Players,
    ffmpeg: Program,
    /// Not of a live stream, whose end FFmpeg's demuxer does not see: `dash.rs` decodes a part of one.
    ffmpeg_dash: Option<Program>,
    ffplay: Program,
    gstreamer_hls: Program,
    gstreamer_dash: Option<Program>,
    vlc: player::Vlc,
    live: bool,
}

impl All {
    fn start(house: &House, hls: &str, dash: &str) -> Self {
        let wanted = [
            ("hls.js", "HLS", hls),
            ("dash.js", "DASH", dash),
            ("Shaka Player", "HLS", hls),
            ("Shaka Player", "DASH", dash),
        ];
        let live = !dash.ends_with("vod.mpd");
        Self {
            in_page: in_page::start(house, &wanted),
            ffmpeg: player::ffmpeg(house, hls, LENGTH_S * 2),
            ffmpeg_dash: (!live).then(|| player::ffmpeg_as(house, "ffmpeg-dash", dash, LENGTH_S * 2)),
            ffplay: player::ffplay(house, hls, LENGTH_S * 2),
            gstreamer_hls: player::gstreamer(house, "gstreamer-hls", hls),
            // Live, GStreamer 1.22 does not come to the end by DASH: its newer demuxer waits for a reading of the manifest
            // that is not due any more when it has become static, and its older one finds some manifests invalid.
            gstreamer_dash: (!live).then(|| player::gstreamer(house, "gstreamer-dash", dash)),
            vlc: player::Vlc::start(house, hls),
            live,
        }
    }

    /// Waits until each has come to its end by itself.
    #[track_caller]
    fn end(self) -> Vec<Row> {
        // A second of leave for those who drop frames where two cores play to ten players.
        let least = u64::from(if self.live { LIVE_S_MIN } else { LENGTH_S - 1 }) * RATE;
        let row = |player: &str, format, frames| Row { player: player.to_owned(), format, frames, least };
        let mut rows = Vec::new();
        for one in self.in_page.end() {
            println!("{} came to {:.1} s", one.name, one.at_s);
            let format = if one.name.ends_with("DASH") { "DASH" } else { "HLS" };
            rows.push(row(one.player(), format, one.frames));
        }
        rows.push(row("ffmpeg", "HLS", player::ffmpeg_end(self.ffmpeg)));
        if let Some(ffmpeg) = self.ffmpeg_dash {
            rows.push(row("ffmpeg", "DASH", player::ffmpeg_end(ffmpeg)));
        }
        let played_s = player::ffplay_end(self.ffplay);
        rows.push(row("ffplay", "HLS", (played_s * RATE as f64).round() as u64));
        rows.push(row("GStreamer", "HLS", player::gstreamer_end(self.gstreamer_hls)));
        if let Some(gstreamer) = self.gstreamer_dash {
            rows.push(row("GStreamer", "DASH", player::gstreamer_end(gstreamer)));
        }
        rows.push(row("VLC", "HLS", self.vlc.end()));
        rows
    }
}

/// Each has shown enough; tells in which players a stream plays.
#[track_caller]
fn assert_whole(of: &str, rows: &[Row]) {
    for row in rows {
        println!("| {of} | {} | {} | {} frames |", row.player, row.format, row.frames);
    }
    let short: Vec<_> = rows.iter().filter(|row| row.frames < row.least).collect();
    assert!(short.is_empty(), "{of}, too few frames: {short:?}");
    for format in ["HLS", "DASH"] {
        let played = rows.iter().filter(|row| row.format == format);
        let played = played.map(|row| (row.player.as_str(), outputs::PLAYED.to_owned()));
        outputs::tell_played(format, of, &played.collect::<Vec<_>>());
    }
}

fn ladder() -> Value {
    json!({"ladder": [{"name": "240p", "short_side_px": 240, "bitrate_bps_max": 400_000}]})
}

#[test]
fn each_player_plays_a_live_stream_to_its_end() {
    let house = House::with_workers(1);
    let stream = house.api.create("live", &ladder());
    let mut publisher = push(&house, &stream, &live_source(LENGTH_S));
    until_playable(&house, &stream, 2);
    let dash = stream.playback.dash.as_deref().expect("a live stream has a manifest");
    let all = All::start(&house, &stream.playback.hls, dash);
    let status = publisher.wait(s(60));
    assert!(status.success(), "ffmpeg was turned away: {}", publisher.log());
    assert_whole(LIVE, &all.end());
}

#[test]
fn players_in_a_browser_play_on_where_a_publisher_comes_back_without_sound() {
    let house = House::with_workers(1);
    let stream = house.api.create("live", &ladder());
    // Longer than it takes to begin playing, also where much else runs.
    let mut publisher = push(&house, &stream, &live_source(2 * LENGTH_S));
    until_playable(&house, &stream, 4);
    let (hls, dash) = (&stream.playback.hls, stream.playback.dash.as_deref().expect("a live stream has a manifest"));
    let wanted = [("hls.js", "HLS", &**hls), ("dash.js", "DASH", dash), ("Shaka Player", "DASH", dash)];
    let players = in_page::start(&house, &wanted);
    publisher.kill();
    house.api.until(&stream, StreamState::Interrupted, s(60));
    let mute = house.scratch().join("mute.mp4");
    tool("ffmpeg", &["-v", "error", "-i", text(&live_source(LENGTH_S)), "-an", "-c", "copy", text(&mute)]);
    let mut publisher = push(&house, &stream, &mute);
    until("a second period", s(40), || (house.api.get(dash).text().matches("<Period ").count() == 2).then_some(()));
    assert!(publisher.wait(s(60)).success(), "{}", publisher.log());
    for player in players.end() {
        // Far into the second push.
        assert!(player.frames > RATE * 16, "{player:?}");
    }
}

#[test]
fn each_player_plays_a_recording_to_its_end() {
    let house = House::with_workers(1);
    let stream = house.api.create("file", &ladder());
    house.api.upload_all(&stream, &fs::read(live_source(LENGTH_S)).expect("the clip can be read"));
    recording(&house, &stream);
    let playback = house.api.stream(&stream.id).playback;
    let (hls, dash) = (playback.vod.expect("a recording is told"), playback.dash.expect("its manifest is told"));
    let all = All::start(&house, &hls, &dash);
    assert_whole(RECORDED, &all.end());
}
