//! Players that nobody here wrote, all of them at once: each plays a live stream, and a recording, to its end. What each
//! came to is printed as a table.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::{
    clip::live_source,
    house::House,
    in_page,
    live::{recording, until_playable},
    player,
    program::Program,
    push::push,
    stranger::Stranger,
    wait::s,
};

/// The stream's length.
const LENGTH_S: u32 = 24;
/// Frames per second.
const RATE: u64 = 24;
/// A live player starts three segments before the newest, and some time after the stream.
const LIVE_S_MIN: u32 = 12;

/// What a player came to: how many frames it showed, or decoded.
#[derive(Debug)]
struct Row {
    player: String,
    frames: u64,
}

/// All players, playing.
struct All {
    in_page: in_page::Players,
    ffmpeg: Program,
    ffplay: Program,
    gstreamer_hls: Program,
    gstreamer_dash: Option<Program>,
    vlc: Vlc,
}

/// VLC refuses to run as root.
struct Vlc {
    program: Program,
    user: Stranger,
}

impl Vlc {
    fn start(house: &House, url: &str) -> Self {
        let user = Stranger::new();
        let mut command = user.command("vlc");
        command.args(["-I", "dummy", "--no-audio", "--play-and-exit", "--no-video-title-show", "--vout", "vdummy"]);
        // One of as many frames as there are in a second is written down.
        command.args(["--video-filter", "scene", "--scene-format", "jpg", "--scene-prefix", "at", "--scene-ratio"]);
        command.arg(RATE.to_string()).arg("--scene-path").arg(user.dir()).args(["-v", url]);
        Self { program: Program::start("vlc", &mut command, house.log_path("vlc")), user }
    }

    #[track_caller]
    fn end(mut self, limit: Duration) -> Row {
        let status = self.program.wait(limit);
        let log = self.program.log();
        assert!(status.success(), "VLC came to {status}:\n{log}");
        let pictures = fs::read_dir(self.user.dir()).expect("its folder can be read").flatten();
        let count = pictures.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "jpg")).count();
        Row { player: "VLC, HLS".into(), frames: count as u64 * RATE }
    }
}

impl All {
    fn start(house: &House, hls: &str, dash: &str) -> Self {
        let wanted = [
            ("hls.js", "HLS", hls),
            ("dash.js", "DASH", dash),
            ("Shaka Player", "HLS", hls),
            ("Shaka Player", "DASH", dash),
        ];
        Self {
            in_page: in_page::start(house, &wanted),
            ffmpeg: player::ffmpeg(house, hls, LENGTH_S * 2),
            ffplay: player::ffplay(house, hls, LENGTH_S * 2),
            gstreamer_hls: player::gstreamer(house, "gstreamer-hls", hls),
            // Live, GStreamer 1.22 does not come to the end by DASH: its newer demuxer waits for a reading of the manifest
            // that is not due any more when it has become static, and its older one finds some manifests invalid.
            gstreamer_dash: dash.ends_with("vod.mpd").then(|| player::gstreamer(house, "gstreamer-dash", dash)),
            vlc: Vlc::start(house, hls),
        }
    }

    /// Waits until each has come to its end by itself.
    #[track_caller]
    fn end(self) -> Vec<Row> {
        let seen = self.in_page.end().into_iter();
        let mut rows: Vec<_> =
            seen.map(|one| Row { player: format!("{}, to {:.1} s", one.name, one.at_s), frames: one.frames }).collect();
        rows.push(Row { player: "ffmpeg, HLS".into(), frames: player::ffmpeg_end(self.ffmpeg) });
        let played_s = player::ffplay_end(self.ffplay);
        rows.push(Row { player: "ffplay, HLS".into(), frames: (played_s * RATE as f64).round() as u64 });
        rows.push(Row { player: "GStreamer, HLS".into(), frames: player::gstreamer_end(self.gstreamer_hls) });
        if let Some(gstreamer) = self.gstreamer_dash {
            rows.push(Row { player: "GStreamer, DASH".into(), frames: player::gstreamer_end(gstreamer) });
        }
        rows.push(self.vlc.end(s(60)));
        rows
    }
}

#[track_caller]
fn assert_whole(what: &str, rows: &[Row], least: u64) {
    for row in rows {
        println!("| {what} | {} | {} frames |", row.player, row.frames);
    }
    let short: Vec<_> = rows.iter().filter(|row| row.frames < least).collect();
    assert!(short.is_empty(), "{what}, fewer than {least} frames: {short:?}");
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
    assert_whole("live", &all.end(), u64::from(LIVE_S_MIN) * RATE);
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
    // A second of leave for those who drop frames where two cores play to ten players.
    assert_whole("recorded", &all.end(), u64::from(LENGTH_S - 1) * RATE);
}
