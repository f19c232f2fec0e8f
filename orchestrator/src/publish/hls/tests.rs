//! Golden playlists: what players read, to the byte.

use millrace_proto::{Sha256, api::Source, profile::Choice, task::Blob};

use super::{iframes::IframeLines, *};
use crate::publish;

fn blob(name: &str, bytes: u64) -> Blob {
    Blob { sha256: Sha256::of(name.as_bytes()), bytes }
}

fn rendition(name: &str, bytes: u64, frames: u32) -> Media {
    Media {
        name: name.into(),
        init: blob(name, 700),
        segment: blob("segment", bytes),
        codec: if name == AUDIO { "mp4a.40.2" } else { "avc1.64001f" }.into(),
        frames,
        width: if name == AUDIO { 0 } else { 1_280 },
        height: if name == AUDIO { 0 } else { 720 },
        channels: if name == AUDIO { 2 } else { 0 },
        duration_ns: 2_000_000_000,
        preroll: 0,
        key_bytes: bytes / 10,
    }
}

pub(crate) fn segment(seq: u64, discontinuity: u32, state: SegmentState) -> Segment {
    let renditions = if state == SegmentState::Ready { vec![rendition("720p", 500_000, 50)] } else { vec![] };
    Segment {
        stream: "s".parse().unwrap(),
        seq,
        discontinuity,
        start_ns: seq * 2_000_000_000,
        duration_ns: 2_000_000_000,
        wall_ms: Some(1_700_000_000_000 + seq * 2_000),
        arrived_ms: 0,
        video: Some(rendition("source", 900_000, 50)),
        audio: Some(rendition(AUDIO, 32_000, 94)),
        state,
        renditions,
        hold: None,
    }
}

pub(crate) fn stream(state: StreamState) -> Stream {
    let profile = Choice::default().resolve().unwrap();
    Stream {
        state,
        rungs: vec![Choice::default().resolve().unwrap().ladder.remove(0)],
        target_duration_s: 2,
        ..Stream::new("s".parse().unwrap(), "n", Source::Live, profile, 0)
    }
}

pub(crate) fn bad() -> SegmentState {
    SegmentState::Failed { reason: "bad input".into() }
}

#[test]
fn a_live_window_with_a_gap_and_a_discontinuity() {
    let segments = [segment(7, 1, SegmentState::Ready), segment(8, 1, bad()), segment(9, 2, SegmentState::Ready)];
    let map = rendition("720p", 0, 0).init.sha256;
    let expected = format!(
        "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXT-X-MAP:URI=\"init-{map}.mp4\"\n\
         #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:34.000Z\n#EXTINF:2.000000,\n7.m4s\n\
         #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:36.000Z\n#EXT-X-GAP\n#EXTINF:2.000000,\n8.m4s\n\
         #EXT-X-DISCONTINUITY\n#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:38.000Z\n#EXTINF:2.000000,\n9.m4s\n"
    );
    assert_eq!(media(&stream(StreamState::Live), "720p", &segments, Span::Window, None), expected);
    let audio = media(&stream(StreamState::Live), AUDIO, &segments, Span::Window, None);
    assert!(!audio.contains("GAP"), "audio is there where video was given up");
    let ended = media(&stream(StreamState::Ended), "720p", &segments, Span::Window, None);
    assert!(ended.ends_with("#EXT-X-ENDLIST\n") && !ended.contains("PLAYLIST-TYPE"));
}

#[test]
fn recordings_grow_and_end() {
    let segments = [segment(0, 0, SegmentState::Ready)];
    let growing = media(&stream(StreamState::Live), "720p", &segments, Span::Event, None);
    assert!(growing.contains("#EXT-X-PLAYLIST-TYPE:EVENT\n") && !growing.contains("ENDLIST"));
    let ended = media(&stream(StreamState::Ended), "720p", &segments, Span::Event, None);
    assert!(ended.contains("#EXT-X-PLAYLIST-TYPE:VOD\n") && ended.ends_with("#EXT-X-ENDLIST\n"));
}

#[test]
fn the_multivariant_playlist_says_what_was_measured() {
    let mut stream = stream(StreamState::Live);
    assert_eq!(multivariant(&stream, "index.m3u8", Span::Window, &[]), None);
    let listing = publish::list(&stream, &[segment(0, 0, SegmentState::Ready), segment(1, 0, bad())]);
    assert_eq!((listing.failed, listing.target_duration_s), (1, 2));
    stream.variants = listing.variants;
    assert_eq!(
        multivariant(&stream, "index.m3u8", Span::Window, &[]).unwrap(),
        "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"Audio\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",\
         URI=\"audio/index.m3u8\"\n\
         #EXT-X-STREAM-INF:BANDWIDTH=2128000,AVERAGE-BANDWIDTH=2128000,CODECS=\"avc1.64001f,mp4a.40.2\",\
         RESOLUTION=1280x720,FRAME-RATE=25.000,AUDIO=\"audio\"\n720p/index.m3u8\n"
    );
}

#[test]
fn variants_go_by_codec_and_then_by_size() {
    let mut stream = stream(StreamState::Live);
    let variant = |name: &str, codec: &str, height: u32| Variant {
        name: name.into(),
        codec: codec.into(),
        width: height * 2,
        height,
        duration_ns: 1,
        ..Variant::default()
    };
    stream.variants = vec![
        variant("av1", "av01.0.04M.08", 180),
        variant("large", "avc1.64001f", 720),
        variant("hevc", "hvc1.1.6.L93.90", 180),
        variant("source", "vp09.00.41.08", 100),
        variant("small", "avc1.64001f", 360),
    ];
    let text = multivariant(&stream, "p", Span::Window, &[]).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_suffix("/p")).collect();
    assert_eq!(names, ["small", "large", "hevc", "av1", "source"], "what every player knows is first");
}

#[test]
fn recordings_have_i_frame_playlists_of_what_was_measured() {
    let mut stream = stream(StreamState::Ended);
    let segments = [segment(0, 0, SegmentState::Ready), segment(1, 0, bad()), segment(2, 1, SegmentState::Ready)];
    stream.target_duration_s = 2;
    stream.variants = publish::list(&stream, &segments).variants;
    let told = "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=200000,AVERAGE-BANDWIDTH=200000,CODECS=\"avc1.64001f\",\
                RESOLUTION=1280x720,URI=\"720p/iframes.m3u8\"\n";
    let recording = multivariant(&stream, "vod.m3u8", Span::Vod, &[]).unwrap();
    assert!(recording.ends_with(told) && recording.matches("I-FRAME").count() == 1, "{recording}");
    assert!(!multivariant(&stream, "index.m3u8", Span::Window, &[]).unwrap().contains("I-FRAME"));
    let map = rendition("720p", 0, 0).init.sha256;
    assert_eq!(
        whole(IframeLines::new(stream.clone(), "720p"), &segments),
        format!(
            "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n\
             #EXT-X-I-FRAMES-ONLY\n#EXT-X-MAP:URI=\"init-{map}.mp4\"\n#EXTINF:2.000000,\n\
             #EXT-X-BYTERANGE:50000@0\n0.m4s\n#EXT-X-GAP\n#EXTINF:2.000000,\n1.m4s\n#EXT-X-DISCONTINUITY\n\
             #EXTINF:2.000000,\n#EXT-X-BYTERANGE:50000@0\n2.m4s\n#EXT-X-ENDLIST\n"
        )
    );
    assert!(iframes::has(&stream, "720p") && !iframes::has(&stream, AUDIO), "sound has no pictures");
}

#[test]
fn a_segment_longer_than_the_target_raises_it() {
    let mut long = segment(0, 0, SegmentState::Ready);
    long.duration_ns = 4_400_000_000;
    assert_eq!(publish::list(&stream(StreamState::Live), &[long]).target_duration_s, 4);
}

#[test]
fn dates_are_rfc_3339() {
    assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
    assert_eq!(rfc3339(1_798_761_599_999), "2026-12-31T23:59:59.999Z");
}

#[test]
fn segments_are_encrypted_and_headers_are_not() {
    let mut segments = [segment(4, 0, SegmentState::Ready), segment(5, 0, SegmentState::Ready)].to_vec();
    segments.push(segment(6, 1, SegmentState::Ready));
    segments[2].renditions[0].init.sha256 = millrace_proto::Sha256::of(b"another");
    let stream = stream(StreamState::Live);
    let padded = Key { how: Encryption::Aes128, query: "?token=1.ff".into(), iv: [0x0a; 16] };
    let text = media(&stream, "720p", &segments, Span::Window, Some(padded.clone()));
    let told: Vec<&str> = text
        .lines()
        .filter(|line| ["#EXT-X-KEY", "#EXT-X-MAP"].iter().any(|tag| line.starts_with(tag)) || !line.starts_with('#'))
        .map(|line| line.split("-MAP").next().unwrap())
        .collect();
    let key = "#EXT-X-KEY:METHOD=AES-128,URI=\"../key?token=1.ff\"";
    let wanted = ["#EXT-X", key, "4.m4s", "5.m4s", "#EXT-X-KEY:METHOD=NONE", "#EXT-X", key, "6.m4s"];
    assert_eq!(told, wanted, "{text}");
    let samples = Key { how: Encryption::Cbcs, ..padded };
    let text = media(&stream, "720p", &segments, Span::Window, Some(samples));
    let sample = "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"../key?token=1.ff\",IV=0x0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a,\
                  KEYFORMAT=\"identity\",KEYFORMATVERSIONS=\"1\"\n";
    assert_eq!((text.matches(sample).count(), text.matches("METHOD=NONE").count()), (2, 1), "{text}");
}

#[test]
fn captions_are_a_group_and_end_where_they_are_settled() {
    let segments: Vec<_> = (0..4).map(|seq| segment(seq, u32::from(seq > 1), SegmentState::Ready)).collect();
    let live = stream(StreamState::Live);
    let live = Stream { variants: publish::list(&live, &segments).variants, listed_seq: 4, next_seq: 4, ..live };
    let track = |name: &str, title: &str, language: Option<&str>| Track {
        name: name.into(),
        title: title.into(),
        language: language.map(str::to_owned),
    };
    let tracks = [track("captions", "Captions", None), track("english", "English (translated)", Some("en"))];
    let text = multivariant(&live, "index.m3u8", Span::Window, &tracks).unwrap();
    let group = "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"captions\",";
    assert!(text.contains(&format!("{group}NAME=\"Captions\",DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,")), "{text}");
    assert!(text.contains(&format!("{group}NAME=\"English (translated)\",LANGUAGE=\"en\",DEFAULT=NO")), "{text}");
    assert!(text.contains("URI=\"english/index.m3u8\"") && text.contains(",SUBTITLES=\"captions\"\n"), "{text}");

    let ended = Stream { state: StreamState::Ended, ..live };
    let list = |to: u64, is_whole| {
        let shown = subtitles::settled(&ended, to, is_whole);
        let listed = &segments[..shown.listed_seq as usize];
        whole(subtitles::SubtitleLines::new(shown, Span::Window, "?token=t"), listed)
    };
    assert_eq!(
        list(3, false),
        "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.000Z\n#EXTINF:2.000000,\n0.vtt?token=t\n\
         #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:22.000Z\n#EXTINF:2.000000,\n1.vtt?token=t\n\
         #EXT-X-DISCONTINUITY\n\
         #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:24.000Z\n#EXTINF:2.000000,\n2.vtt?token=t\n"
    );
    assert!(list(4, true).ends_with("3.vtt?token=t\n#EXT-X-ENDLIST\n"), "{}", list(4, true));
}
