//! Golden manifests, and that periods stay where they are.

use millrace_proto::api::{HoldState, StreamState};

use super::*;
use crate::{
    publish::{
        self,
        hls::{
            subtitles::Track,
            tests::{bad, segment, stream},
        },
    },
    store::record::Hold,
};

fn live(segments: &[Segment]) -> Stream {
    let mut stream = stream(StreamState::Live);
    stream.created_ms = 1_700_000_000_000 - 5_000;
    stream.profile.window_s = 30;
    stream.variants = publish::list(&stream, segments).variants;
    stream
}

fn run(numbers: std::ops::Range<u64>) -> Vec<Segment> {
    numbers.map(|seq| segment(seq, 0, SegmentState::Ready)).collect()
}

fn periods(stream: &Stream, known: Option<Known>, segments: &[Segment]) -> Vec<Period> {
    let mut periods = Periods::new(stream, known);
    for segment in segments {
        periods.push(segment);
    }
    periods.finish()
}

fn seqs(periods: &[Period]) -> Vec<(u64, Vec<u64>)> {
    let seqs = |period: &Period| period.segments.iter().map(|segment| segment.seq).collect();
    periods.iter().map(|period| (period.first.seq, seqs(period))).collect()
}

#[test]
fn periods_stay_where_they_are_when_what_was_held_back_is_approved() {
    let held = |state| {
        let hold = Some(Hold { state, reason: "rude".into(), since_ms: 0 });
        let all = run(0..6).into_iter();
        let all = all.map(|one| if one.seq == 2 { Segment { hold: hold.clone(), ..one } } else { one });
        let shown: Vec<Segment> = all.map(Segment::shown).collect();
        seqs(&periods(&live(&shown), None, &shown))
    };
    assert_eq!(held(HoldState::Held), [(0, vec![0, 1]), (3, vec![3, 4, 5])]);
    assert_eq!(held(HoldState::Approved), [(0, vec![0, 1]), (2, vec![2]), (3, vec![3, 4, 5])]);
}

#[test]
fn a_live_manifest() {
    let segments = run(1..3);
    let stream = live(&segments);
    let hash = |name: &str| Sha256::of(name.as_bytes());
    let template = |name: &str| {
        format!(
            "        <SegmentTemplate timescale=\"1000000\" presentationTimeOffset=\"3000000\" startNumber=\"1\" \
             initialization=\"$RepresentationID$/init-{}.mp4\" media=\"$RepresentationID$/$Number$.m4s\">\n\
             \x20         <SegmentTimeline>\n\
             \x20           <S t=\"3000000\" d=\"2000000\" r=\"1\"/>\n\
             \x20         </SegmentTimeline>\n\
             \x20       </SegmentTemplate>\n\
             \x20     </Representation>\n    </AdaptationSet>\n",
            hash(name)
        )
    };
    let expected = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" \
         profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" minBufferTime=\"PT2S\" maxSegmentDuration=\"PT3S\" \
         type=\"dynamic\" availabilityStartTime=\"2023-11-14T22:13:10.000Z\" \
         publishTime=\"1970-01-01T00:00:00.000Z\" minimumUpdatePeriod=\"PT2S\" timeShiftBufferDepth=\"PT30S\" \
         suggestedPresentationDelay=\"PT6S\">\n\
         \x20 <BaseURL>../../hls/s/</BaseURL>\n\
         \x20 <Period id=\"1\" start=\"PT12.000S\">\n\
         \x20   <AdaptationSet contentType=\"video\" mimeType=\"video/mp4\" segmentAlignment=\"true\" \
         startWithSAP=\"1\">\n\
         \x20     <Representation id=\"720p\" codecs=\"avc1.64001f\" bandwidth=\"2000000\" width=\"1280\" \
         height=\"720\">\n{}\
         \x20   <AdaptationSet contentType=\"audio\" mimeType=\"audio/mp4\" segmentAlignment=\"true\" \
         startWithSAP=\"1\">\n\
         \x20     <Representation id=\"audio\" codecs=\"mp4a.40.2\" bandwidth=\"128000\">\n\
         \x20       <AudioChannelConfiguration \
         schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" value=\"2\"/>\n{}\
         \x20 </Period>\n\
         \x20 <UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-xsdate:2014\" value=\"../../dash/now\"/>\n</MPD>\n",
        template("720p"),
        template(AUDIO)
    );
    assert_eq!(
        manifest(&stream, &periods(&stream, None, &segments), Span::Window, Phase::Growing, None, &[]).unwrap(),
        expected
    );
    assert_eq!(manifest(&stream, &[], Span::Window, Phase::Growing, None, &[]), None);
}

#[test]
fn a_recording_starts_at_zero_and_has_no_clock() {
    let mut segments = run(4..6);
    segments.push(segment(6, 1, SegmentState::Ready));
    segments[2].wall_ms = segments[2].wall_ms.map(|wall_ms| wall_ms + 60_000);
    let mut stream = live(&segments);
    let starts = |text: &str| -> Vec<String> {
        let periods = text.split("<Period ").skip(1);
        periods.map(|period| period.split('>').next().unwrap().to_owned()).collect()
    };
    let text = manifest(&stream, &periods(&stream, None, &segments), Span::Window, Phase::Growing, None, &[]).unwrap();
    assert_eq!(starts(&text), ["id=\"4\" start=\"PT18.000S\"", "id=\"6\" start=\"PT82.000S\""], "the wall clock");
    stream.state = StreamState::Ended;
    let text = manifest(&stream, &periods(&stream, None, &segments), Span::Vod, Phase::Closed, None, &[]).unwrap();
    assert_eq!(
        starts(&text),
        ["id=\"4\" start=\"PT0.000S\"", "id=\"6\" start=\"PT4.000S\" duration=\"PT2.000S\""],
        "the timeline"
    );
    assert!(text.contains("mediaPresentationDuration=\"PT6.000S\" type=\"static\""), "{text}");
    assert!(!text.contains("UTCTiming") && !text.contains("availabilityStartTime"), "{text}");
}

#[test]
fn a_live_manifest_tells_its_end_before_it_is_static() {
    let segments = run(1..3);
    let mut stream = live(&segments);
    let phase = |stream: &Stream, now_ms| Phase::of(stream, Span::Window, now_ms);
    stream.state_since_ms = 50_000;
    assert_eq!(phase(&stream, 1_000_000), Phase::Growing);
    stream.state = StreamState::Ended;
    assert_eq!([phase(&stream, 50_000), phase(&stream, 53_999)], [Phase::Closing; 2], "twice two seconds");
    assert_eq!(phase(&stream, 54_000), Phase::Closed);
    assert_eq!(Phase::of(&stream, Span::Vod, 50_000), Phase::Closed, "nobody watched a recording before");
    let periods = periods(&stream, None, &segments);
    let text = |phase| manifest(&stream, &periods, Span::Window, phase, None, &[]).unwrap();
    let (closing, closed) = (text(Phase::Closing), text(Phase::Closed));
    assert!(closing.contains("mediaPresentationDuration=\"PT15.999S\" type=\"dynamic\""), "{closing}");
    assert!(closing.contains("minimumUpdatePeriod=\"PT2S\"") && closing.contains("UTCTiming"), "{closing}");
    assert!(closed.contains("mediaPresentationDuration=\"PT15.999S\" type=\"static\""), "{closed}");
    assert!(closing.contains("duration=\"PT3.999S\""), "a time in the last segment: {closing}");
    let periods = |text: &str| text[text.find("<Period ").unwrap()..text.rfind("</Period>").unwrap()].to_owned();
    assert_eq!(periods(&closing), periods(&closed), "what is there stays where it is");
}

#[test]
fn each_codec_has_a_set_of_its_own() {
    let mut segments = run(1..2);
    let of =
        |name: &str, codec: &str| Media { name: name.into(), codec: codec.into(), ..segments[0].renditions[0].clone() };
    let more = [of("av1", "av01.0.05M.08"), of("480p", "avc1.64001e"), of("hevc", "hvc1.1.6.L93.90")];
    segments[0].renditions.extend(more);
    let stream = live(&segments);
    let text = manifest(&stream, &periods(&stream, None, &segments), Span::Window, Phase::Growing, None, &[]).unwrap();
    let sets: Vec<Vec<&str>> = text
        .split("<AdaptationSet ")
        .skip(1)
        .map(|set| set.split("<Representation id=\"").skip(1).map(|one| one.split('"').next().unwrap()).collect())
        .collect();
    assert_eq!(sets, [vec!["720p", "480p"], vec!["hevc"], vec!["av1"], vec![AUDIO]]);
}

#[test]
fn holes_breaks_and_new_headers_start_periods() {
    let mut segments = run(0..7);
    segments[2].state = bad();
    segments[4].renditions[0].init.sha256 = Sha256::of(b"another");
    segments[5].renditions[0].init.sha256 = Sha256::of(b"another");
    segments[6].discontinuity = 1;
    segments[6].renditions[0].init.sha256 = Sha256::of(b"another");
    let stream = live(&segments);
    let found = periods(&stream, None, &segments);
    assert_eq!(seqs(&found), [(0, vec![0, 1]), (3, vec![3]), (4, vec![4, 5]), (6, vec![6])]);
}

#[test]
fn a_period_stays_where_it_was_when_its_start_has_slid_away() {
    let segments = run(0..9);
    let stream = live(&segments);
    let whole = periods(&stream, None, &segments);
    let known = Known { first: whole[0].first.clone(), seq: 5 };
    let slid = periods(&stream, Some(known.clone()), &segments[5..]);
    assert_eq!(seqs(&slid), [(0, vec![5, 6, 7, 8])]);
    // What is known of another place says nothing.
    assert_eq!(seqs(&periods(&stream, Some(known), &segments[6..])), [(6, vec![6, 7, 8])]);
    let text = manifest(&stream, &slid, Span::Window, Phase::Growing, None, &[]).unwrap();
    assert!(text.contains("id=\"0\" start=\"PT10.000S\""), "{text}");
    assert!(text.contains("presentationTimeOffset=\"1000000\" startNumber=\"5\""), "{text}");
    assert!(text.contains("<S t=\"11000000\" d=\"2000000\" r=\"3\"/>"), "{text}");
}

#[test]
fn rounded_times_do_not_add_up() {
    // A third of a second: entries differ by a tick, and none is off its place.
    let mut segments = run(0..4);
    for (at, segment) in segments.iter_mut().enumerate() {
        segment.start_ns = at as u64 * 1_001_000_333;
        segment.duration_ns = 1_001_000_333;
    }
    let stream = live(&segments);
    let text = manifest(&stream, &periods(&stream, None, &segments), Span::Window, Phase::Growing, None, &[]).unwrap();
    assert!(text.contains("<S t=\"1000000\" d=\"1001000\" r=\"2\"/>\n            <S d=\"1001001\"/>"), "{text}");
}

#[test]
fn names_are_escaped() {
    assert_eq!(escaped("a\"<&>"), "a&quot;&lt;&amp;>");
}

#[test]
fn who_plays_what_is_encrypted_is_told_the_key_and_where_to_ask() {
    let segments = run(0..2);
    let stream = live(&segments);
    let key = Key { id: std::array::from_fn(|at| at as u8), license: "https://a.example/l?token=1&x".into() };
    let periods = periods(&stream, None, &segments);
    let text = manifest(&stream, &periods, Span::Window, Phase::Growing, Some(&key), &[]).unwrap();
    for (wanted, count) in [
        ("xmlns:cenc=\"urn:mpeg:cenc:2013\"", 1),
        ("value=\"cbcs\" cenc:default_KID=\"00010203-0405-0607-0809-0a0b0c0d0e0f\"/>", 2),
        ("<dashif:Laurl>https://a.example/l?token=1&amp;x</dashif:Laurl>", 2),
    ] {
        assert_eq!(text.matches(wanted).count(), count, "{text}");
    }
}

fn english(settled_to: u64) -> Text {
    let track = Track { name: "captions".into(), title: "English".into(), language: Some("en".into()) };
    Text { track, settled_to, query: String::new() }
}

/// Which segments each period names of its captions: the first, and how many.
fn named(text: &str) -> Vec<(u64, u64)> {
    let number = |rest: Option<&str>| rest.and_then(|rest| rest.split('"').next()?.parse::<u64>().ok());
    let repeats = |entry: &str| number(entry.split("/>").next().and_then(|entry| entry.split(" r=\"").nth(1)));
    let count = |set: &str| set.split("<S ").skip(1).map(|entry| 1 + repeats(entry).unwrap_or(0)).sum();
    let sets = text.split("<AdaptationSet ").filter(|set| set.contains("codecs=\"wvtt\""));
    sets.map(|set| (number(set.split("startNumber=\"").nth(1)).unwrap(), count(set))).collect()
}

#[test]
fn captions_are_a_set_of_each_period() {
    let segments: Vec<_> = (0..4).map(|seq| segment(seq, u32::from(seq > 1), SegmentState::Ready)).collect();
    let stream = stream(StreamState::Ended);
    let periods = periods(&stream, None, &segments);
    let tracks = [Text { query: "?token=1&x".into(), ..english(4) }];
    let text = manifest(&stream, &periods, Span::Vod, Phase::Closed, None, &tracks).unwrap();
    let init = crate::publish::webvtt::fragments::init().1;
    for (number, offset) in [(0, 1_000_000), (2, 5_000_000)] {
        let set = format!(
            "    <AdaptationSet contentType=\"text\" mimeType=\"application/mp4\" lang=\"en\" segmentAlignment=\"true\" \
             startWithSAP=\"1\">\n      <Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"caption\"/>\n      \
             <Label>English</Label>\n      <Representation id=\"captions\" codecs=\"wvtt\" bandwidth=\"4000\">\n        \
             <SegmentTemplate timescale=\"1000000\" presentationTimeOffset=\"{offset}\" startNumber=\"{number}\" \
             initialization=\"$RepresentationID$/init-{init}.mp4?token=1&amp;x\" \
             media=\"$RepresentationID$/$Number$.m4s?token=1&amp;x\">\n          <SegmentTimeline>\n            \
             <S t=\"{offset}\" d=\"2000000\" r=\"1\"/>\n          </SegmentTimeline>\n        </SegmentTemplate>\n      \
             </Representation>\n    </AdaptationSet>\n"
        );
        assert!(text.contains(&set), "{text}");
    }
}

#[test]
fn live_captions_are_named_as_far_as_they_are_settled_and_never_hold_up_pictures() {
    let mut segments = run(0..12);
    segments.extend((12..15).map(|seq| segment(seq, 1, SegmentState::Ready)));
    let stream = live(&segments);
    let of = |settled_to: u64, phase| {
        let periods = periods(&stream, None, &segments);
        named(&manifest(&stream, &periods, Span::Window, phase, None, &[english(settled_to)]).unwrap())
    };
    // A period names one at least, and what is older than two thirds of the window's thirty seconds.
    assert_eq!(of(0, Phase::Growing), [(0, 5), (12, 1)], "nobody hears");
    assert_eq!(of(9, Phase::Growing), [(0, 9), (12, 1)]);
    assert_eq!(of(14, Phase::Growing), [(0, 12), (12, 2)]);
    assert_eq!(of(14, Phase::Closing), [(0, 12), (12, 2)]);
    assert_eq!(of(14, Phase::Closed), [(0, 12), (12, 3)], "what has ended is named to its end");
    // What is there already is not late.
    let begun = &segments[..3];
    let text = |settled_to| {
        let periods = periods(&stream, None, begun);
        named(&manifest(&stream, &periods, Span::Window, Phase::Growing, None, &[english(settled_to)]).unwrap())
    };
    assert_eq!([text(0), text(2)], [[(0, 1)], [(0, 2)]]);
    let delay = |texts: &[Text]| {
        let periods = periods(&stream, None, &segments);
        let text = manifest(&stream, &periods, Span::Window, Phase::Growing, None, texts).unwrap();
        text.split("suggestedPresentationDelay=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    };
    assert_eq!([delay(&[]), delay(&[english(0)])], ["PT6S", "PT10S"], "words come later than pictures");
}
