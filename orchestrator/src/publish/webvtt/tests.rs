//! Tests of captions as text.

use super::*;

/// Words of a text, one after the other, each so long.
fn heard(text: &str, start_ms: i64, each_ms: i64) -> Heard {
    let word = |(at, text): (usize, &str)| Word {
        text: text.into(),
        joined: false,
        start_ms: start_ms + at as i64 * each_ms,
        end_ms: start_ms + (at as i64 + 1) * each_ms,
        confidence: 0.9,
    };
    let words: Vec<Word> = text.split_whitespace().enumerate().map(word).collect();
    let end_ms = words.last().map_or(start_ms, |word| word.end_ms);
    Heard { words, start_ms, end_ms, settled_ms: end_ms, ..Heard::default() }
}

fn shown(cues: &[Cue]) -> Vec<(i64, i64, String)> {
    cues.iter().map(|cue| (cue.start_ms, cue.end_ms, cue.lines.join("|"))).collect()
}

#[test]
fn sentences_and_pauses_part_cues() {
    let mut speech = heard("Well, that was short. And this goes on", 1_000, 300);
    speech.words[6].start_ms += 900;
    speech.words[6].end_ms += 900;
    speech.words[7].start_ms += 900;
    speech.words[7].end_ms += 900;
    let cues = cues(&speech, 9_000);
    assert_eq!(
        shown(&cues),
        [
            (1_000, 2_200, "Well, that was short.".into()),
            (2_200, 3_200, "And this".into()),
            (3_700, 4_700, "goes on".into())
        ],
    );
}

#[test]
fn lines_are_short_and_even_and_no_word_is_lost() {
    let text = "it was the best of times it was the worst of times it was the age of wisdom it was the age of \
                foolishness it was the epoch of belief it was the epoch of incredulity";
    let speech = heard(text, 0, 200);
    let all = cues(&speech, 60_000);
    for cue in &all {
        assert!((1..=2).contains(&cue.lines.len()), "{cue:?}");
        assert!(cue.lines.iter().all(|line| line.chars().count() <= LINE_LETTERS_MAX), "{cue:?}");
        assert!(cue.end_ms - cue.start_ms <= CUE_MS_MAX + CUE_MS_MIN && cue.start_ms < cue.end_ms, "{cue:?}");
    }
    let told: Vec<String> = all.iter().flat_map(|cue| cue.lines.clone()).collect();
    assert_eq!(told.join(" ").split_whitespace().collect::<Vec<_>>(), text.split_whitespace().collect::<Vec<_>>());
    assert!(all.windows(2).all(|pair| pair[0].end_ms <= pair[1].start_ms), "{all:?}");
    let longest = "a".repeat(100);
    let parts: Vec<String> = cues(&heard(&longest, 0, 500), 9_000).into_iter().flat_map(|cue| cue.lines).collect();
    assert_eq!(parts.concat(), longest);
    assert!(parts.iter().all(|line| line.len() <= LINE_LETTERS_MAX));
}

#[test]
fn what_has_no_spaces_is_parted_anywhere() {
    let mut speech = heard(&"日 ".repeat(60), 0, 50);
    speech.words.iter_mut().skip(1).for_each(|word| word.joined = true);
    let cues = cues(&speech, 60_000);
    assert_eq!(cues.len(), 1);
    assert_eq!(cues[0].lines.iter().map(|line| line.chars().count()).collect::<Vec<_>>(), [30, 30]);
}

#[test]
fn a_cue_stays_to_be_read_but_never_behind_its_window() {
    let cue = |end_ms| cues(&heard("extraordinarily unintelligible", 0, 100), end_ms)[0].end_ms;
    assert_eq!(cue(9_000), 30 * 1_000 / LETTERS_PER_S);
    assert_eq!(cue(1_200), 1_200);
    assert!(cues(&heard("late", 5_000, 100), 5_000).is_empty());
}

#[test]
fn segments_repeat_what_goes_on_and_keep_the_streams_times() {
    let cues = cues(&heard("<b> & so on it goes", 3_500, 200), 6_000);
    let (first, second) = (segment(&cues, 2_000, 4_000), segment(&cues, 4_000, 6_000));
    let body = "\n00:00:03.500 --> 00:00:04.700\n&lt;b&gt; &amp; so on it goes\n";
    let head = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:90000,LOCAL:00:00:00.000\n";
    assert_eq!((first.as_str(), second.as_str()), (&*format!("{head}{body}"), &*format!("{head}{body}")));
    assert_eq!(segment(&cues, 6_000, 8_000), head, "nothing is said there");
    assert_eq!(file(&cues), format!("WEBVTT\n{body}"));
    assert_eq!(srt(&cues), "1\r\n00:00:03,500 --> 00:00:04,700\r\n<b> & so on it goes\r\n\r\n");
    assert_eq!(stamp(3_600_000 * 26 + 61_001, '.'), "26:01:01.001");
}

#[test]
fn fragments_say_what_segments_of_text_say_at_the_times_of_the_files() {
    let cues = cues(&heard("<b> & so on it goes", 3_500, 200), 6_000);
    let of = |seq: u64, from_ns, to_ns| {
        let bytes = fragments::segment(&cues, seq, from_ns..to_ns).unwrap();
        let head = millrace_cmaf::read::head(&bytes).unwrap().expect("it is whole");
        let lengths: Vec<u32> = head.samples.iter().map(|sample| sample.duration).collect();
        let says = bytes.windows(8).any(|eight| eight == b"&lt;b&gt") && bytes.windows(4).any(|four| four == b"payl");
        (head.sequence, head.decode_start, lengths, says)
    };
    // Borders are those of the pictures, to the tick.
    assert_eq!(of(1, 2_000_000_333, 4_000_000_999), (1, 3_000_000, vec![1_500_000, 500_000], true));
    assert_eq!(of(2, 4_000_000_999, 6_000_000_000), (2, 5_000_000, vec![700_000, 1_300_000], true));
    assert_eq!(of(3, 6_000_000_000, 8_000_000_000), (3, 7_000_000, vec![2_000_000], false));
    assert_eq!(fragments::segment(&cues, 4, 5..5), None);
    let (header, name) = fragments::init();
    assert_eq!(*name, millrace_proto::Sha256::of(header));
}
