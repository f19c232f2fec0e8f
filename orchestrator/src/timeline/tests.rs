//! What reports become on the timeline.

use millrace_proto::{captions::Word, identity::Secret, task::Blob};

use super::*;
use crate::store::reports::Found;

fn word(text: &str, start_ms: i64, confidence: f32) -> Word {
    Word { text: text.into(), joined: false, start_ms, end_ms: start_ms + 300, confidence }
}

fn report() -> Report {
    let worker = Secret::from_hex(&"1".repeat(64)).unwrap().address();
    Report {
        stream: "k3f9".parse().unwrap(),
        kind: Capability::Captions,
        track: "captions".into(),
        number: 3,
        start_ms: 4_000,
        end_ms: 12_000,
        created_ms: 1,
        found: Some(Found {
            blob: Blob::of(b"{}"),
            model: "whisper-base".into(),
            version: "1".into(),
            worker,
            words: None,
        }),
        reason: None,
    }
}

fn heard() -> Heard {
    let words = vec![word("Good", 4_200, 0.5), word("morning.", 4_600, 1.0), word("Rain", 9_000, 0.25)];
    Heard {
        language: Some("en".into()),
        words,
        start_ms: 4_000,
        settled_ms: 12_000,
        end_ms: 12_000,
        ..Heard::default()
    }
}

#[test]
fn each_cue_is_an_entry_that_says_who_made_it_and_how_sure_it_is() {
    let entries = entries(&report(), Some(&heard()));
    let told: Vec<_> = entries.iter().map(|entry| (entry.text.as_deref(), entry.start_ms, entry.score)).collect();
    assert_eq!(told, [(Some("Good morning."), 4_200, Some(0.75)), (Some("Rain"), 9_000, Some(0.25))]);
    for entry in &entries {
        let by = entry.by.as_ref().unwrap();
        assert_eq!((by.model.as_str(), by.version.as_str(), entry.label.as_deref()), ("whisper-base", "1", Some("en")));
        assert!(entry.end_ms <= 12_000 && entry.reason.is_none());
    }
}

#[test]
fn where_nothing_could_be_found_the_reason_stands_and_silence_is_no_entry() {
    assert_eq!(entries(&report(), Some(&Heard::default())), []);
    let none = Report { found: None, reason: Some("there is no sound".into()), ..report() };
    let entries = entries(&none, None);
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (entries[0].start_ms, entries[0].end_ms, entries[0].reason.as_deref()),
        (4_000, 12_000, none.reason.as_deref())
    );
    assert!(entries[0].by.is_none() && entries[0].text.is_none());
}

#[test]
fn filters_take_what_begins_in_their_time_and_has_their_label() {
    let all = Filter { kind: None, track: None, label: None, from_ms: 0, to_ms: i64::MAX };
    let taken = |filter: &Filter| entries(&report(), Some(&heard())).iter().filter(|entry| filter.takes(entry)).count();
    assert_eq!(taken(&all), 2);
    assert_eq!(taken(&Filter { from_ms: 4_201, ..all.clone() }), 1);
    assert_eq!(taken(&Filter { from_ms: 4_200, to_ms: 9_000, ..all.clone() }), 1);
    assert_eq!(taken(&Filter { label: Some("de".into()), ..all.clone() }), 0);
    assert_eq!(taken(&Filter { track: Some("english".into()), ..all.clone() }), 0);
    assert_eq!(taken(&Filter { kind: Some(Capability::Captions), label: Some("en".into()), ..all }), 2);
}

#[test]
fn who_comes_back_goes_on_where_it_was() {
    let mut sent = Sent::default();
    assert_eq!(Sent::parse(&sent.text()), Some(sent.clone()));
    let time = |track| Place::Time(Capability::Captions, track);
    sent.set(time("captions"), 12_000);
    sent.set(time("english"), -5);
    sent.set(time("captions"), 13_000);
    sent.set(Place::Window(Capability::Captions, "captions"), 4);
    let back = Sent::parse(&sent.text()).unwrap();
    assert_eq!((back.of(time("captions")), back.of(time("english"))), (Some(13_000), Some(-5)));
    assert_eq!(back.of(Place::Window(Capability::Captions, "captions")), Some(4));
    assert_eq!(back.of(time("other")), None);
    for text in ["captions", "captions=x", "a=1,", "=,="] {
        assert_eq!(Sent::parse(text), None, "{text}");
    }
}
