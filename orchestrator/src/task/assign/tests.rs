//! Checks of assignment: load, order, and who is trusted with what has failed.

use millrace_proto::{
    identity::Secret,
    offer::{Device, Encoder, Lack, Model, Offer, Part, Sandbox},
    outcome::FailureKind,
    profile::{H264Profile, Preset, Rate, VideoCodec},
    task::{Captions, Target, Transcode},
};

use super::*;
use crate::task::{Attempt, Fault, Link, State};

fn worker(byte: u8) -> Address {
    Secret::from_hex(&format!("{byte:064x}")).unwrap().address()
}

fn seat(by: u8, slots_free: u32, held: u32) -> Seat {
    let encoder = Encoder { codec: VideoCodec::H264, name: "libx264".into(), pixels_per_s: 1.0 };
    let offer = Offer {
        version: String::new(),
        slots: slots_free + held,
        cores: 1,
        encoders: vec![encoder],
        absent: vec![],
        sandbox: Sandbox::default(),
        models: vec![],
        cards: vec![],
    };
    Seat { worker: worker(by), slots_free, ahead_free: 0, held, held_windows: 0, offer }
}

fn task(seq: u64, live: bool, tries: &[(u8, Fault)]) -> Task {
    let target = Target {
        name: "720p".into(),
        width: 1_280,
        height: 720,
        codec: VideoCodec::H264,
        rate: Rate::Capped { crf: 23, bitrate_bps_max: 1 },
        preset: Preset::Veryfast,
        profile: H264Profile::High,
        fps_divisor: 1,
    };
    let attempt =
        |&(by, fault): &(u8, Fault)| Attempt { worker: worker(by), fault, message: String::new(), at_ms: 1_000 };
    Task {
        id: format!("s-{seq}-transcode").parse().unwrap(),
        stream: "s".parse().unwrap(),
        seq,
        live,
        duration_ms: 2_000,
        version: 0,
        work: Work::Transcode(Transcode { renditions: vec![target] }),
        link: None,
        sandboxed: false,
        created_ms: seq,
        state: State::Waiting { not_before_ms: 0 },
        attempts: tries.iter().map(attempt).collect(),
    }
}

const CRASHED: Fault = Fault::Reported(FailureKind::Crashed);

#[test]
fn viewers_go_first_and_load_is_spread() {
    let seats = [seat(1, 1, 1), seat(2, 2, 0)];
    let tasks = [task(0, false, &[]), task(2, true, &[]), task(1, true, &[])];
    // The idle worker first; then both are half busy, and the one that waits longer is taken.
    assert_eq!(pairs(&seats, &tasks, |_| Some(0), |_| None, 0), [(1, 2), (0, 1), (1, 0)]);
    assert_eq!(pairs(&[], &tasks, |_| None, |_| None, 0), []);
    let mut other = seat(3, 1, 0);
    other.offer.encoders.clear();
    assert_eq!(pairs(&[other], &tasks, |_| None, |_| None, 0), [], "it can't do them");
}

#[test]
fn a_task_goes_to_whoever_has_failed_on_it_least() {
    let seats = [seat(1, 4, 0), seat(2, 1, 3)];
    let to = |tries: &[(u8, Fault)]| pairs(&seats, &[task(0, true, tries)], |_| Some(0), |_| None, 99_000);
    assert_eq!(to(&[]), [(0, 0)]);
    assert_eq!(to(&[(1, CRASHED)]), [(1, 0)]);
    assert_eq!(to(&[(1, Fault::Expired)]), [(1, 0)], "a lost lease, too, is a reason to ask another");
    assert_eq!(to(&[(2, CRASHED), (1, CRASHED), (1, CRASHED)]), [(1, 0)]);
    assert_eq!(to(&[(2, CRASHED), (1, Fault::Expired), (1, Fault::Expired)]), [(0, 0)]);
    assert_eq!(to(&[(2, Fault::Refused), (1, Fault::Expired), (1, Fault::Expired), (1, Fault::Expired)]), [(1, 0)]);
}

#[test]
fn a_task_waits_for_a_better_worker_but_not_for_ever() {
    let struck = [task(0, true, &[(1, CRASHED)])];
    let given = |least, now_ms| pairs(&[seat(1, 1, 0)], &struck, |_| least, |_| None, now_ms).len();
    assert_eq!(given(Some(0), 2_000), 0);
    assert_eq!(given(Some(0), 11_000), 1, "it may never come");
    assert_eq!(given(Some(1), 2_000), 1, "none is better");
    let lost = [task(0, true, &[(1, Fault::Expired)])];
    assert_eq!(
        pairs(&[seat(1, 1, 0)], &lost, |_| Some(0), |_| None, 1_000).len(),
        1,
        "losing a lease once is nobody's fault"
    );
}

#[test]
fn a_task_goes_to_who_encodes_all_of_it_and_what_is_lacking_is_said() {
    let with = |by, codecs: &[VideoCodec]| {
        let mut seat = seat(by, 1, 0);
        let encoder = |codec: &VideoCodec| Encoder { codec: *codec, name: String::new(), pixels_per_s: 1.0 };
        seat.offer.encoders = codecs.iter().map(encoder).collect();
        seat
    };
    let (h264, hevc, av1) = (VideoCodec::H264, VideoCodec::Hevc, VideoCodec::Av1);
    let mut task = task(0, true, &[]);
    let Work::Transcode(work) = &mut task.work else { panic!("it is a transcode") };
    work.renditions.push(Target { name: "av1".into(), codec: av1, ..work.renditions[0].clone() });
    let seats = [with(1, &[h264]), with(2, &[h264, hevc]), with(3, &[av1, hevc, h264])];
    assert_eq!(pairs(&seats, std::slice::from_ref(&task), |_| Some(0), |_| None, 0), [(2, 0)]);
    assert_eq!(pairs(&seats[..2], std::slice::from_ref(&task), |_| None, |_| None, 0), []);
    let needs = Needs::of(&task);
    let said = |seats: &[Seat]| lack(&seats.iter().map(|seat| &seat.offer).collect::<Vec<_>>(), &needs);
    assert_eq!(said(&seats), None);
    assert!(said(&seats[..2]).unwrap().contains("encodes av1:"));
    assert!(said(&[with(4, &[av1]), with(5, &[h264])]).unwrap().contains("all of h264, av1:"));
    assert!(said(&[]).unwrap().contains("no worker is online"));
}

#[test]
fn a_task_that_asks_for_a_sandbox_goes_to_none_without_a_whole_one() {
    let with = |by, holds: &[Part]| {
        let mut seat = seat(by, 1, 0);
        seat.offer.sandbox.holds = holds.to_vec();
        seat
    };
    let (whole, part) = (with(1, &Part::ALL), with(2, &Part::ALL[1..]));
    let mut says_both = with(3, &Part::ALL[1..]);
    says_both.offer.sandbox.absent.push(Lack { part: Part::Files, reason: "no Landlock".into() });
    let unsafe_ones = [part.clone(), says_both, with(4, &[])];
    let mut asks = task(0, true, &[]);
    asks.sandboxed = true;
    let given = |seats: &[Seat], task: &Task| pairs(seats, std::slice::from_ref(task), |_| Some(0), |_| None, 0);
    assert_eq!(given(&unsafe_ones, &asks), []);
    assert_eq!(given(&unsafe_ones, &task(0, true, &[])), [(0, 0)], "others go to whoever is there");
    assert_eq!(given(&[part.clone(), whole.clone()], &asks), [(1, 0)]);
    let said = |seats: &[&Seat], task: &Task| {
        lack(&seats.iter().map(|seat| &seat.offer).collect::<Vec<_>>(), &Needs::of(task))
    };
    assert_eq!(said(&[&part, &whole], &asks), None);
    assert!(said(&[&part], &asks).unwrap().contains("policy.sandboxed"));
    assert_eq!(said(&[&part], &task(0, true, &[])), None);
    let Work::Transcode(work) = &mut asks.work else { panic!("it is a transcode") };
    work.renditions[0].codec = VideoCodec::Av1;
    let mut av1 = part;
    av1.offer.encoders[0].codec = VideoCodec::Av1;
    let lacks = said(&[&av1, &whole], &asks).unwrap();
    assert!(lacks.contains("no sandboxed worker that is online encodes av1"), "{lacks}");
}

#[test]
fn a_stream_stays_with_one_kind_of_encoder_while_it_can() {
    let by = |by, slots, name: &str| {
        let mut seat = seat(by, slots, 0);
        seat.offer.encoders[0].name = name.into();
        seat
    };
    let seats = [by(1, 2, "libx264"), by(2, 4, "h264_nvenc"), by(3, 2, "libx264")];
    let tasks: Vec<_> = (0..5).map(|seq| task(seq, true, &[])).collect();
    let hands = |name: &str| Some(vec![name.to_owned()]);
    let to = |seats: &[Seat], before: Option<Hands>| -> Vec<usize> {
        pairs(seats, &tasks, |_| Some(0), |_| before.clone(), 0).into_iter().map(|(seat, _)| seat).collect()
    };
    assert_eq!(to(&seats, hands("libx264")), [0, 2, 0, 2, 1], "the same kind first, by load; then who is there");
    assert_eq!(to(&seats, hands("h264_nvenc"))[..4], [1, 1, 1, 1]);
    let kinds: BTreeSet<usize> = to(&seats[1..], None)[..2].iter().copied().collect();
    assert_eq!(kinds.len(), 1, "a new stream's tasks are not spread over two kinds at once");
    assert_eq!(to(&seats[..1], hands("h264_nvenc")).len(), 2, "nothing waits for the same kind");
}

fn window(seq: u64, live: bool, language: Option<&str>, model: Option<&str>) -> Task {
    let (language, model) = (language.map(str::to_owned), model.map(str::to_owned));
    let work = Captions { language, model, end_ms: 4_000, ..Captions::default() };
    let link = Link { kind: Capability::Captions, track: "captions".into(), number: seq };
    Task { work: Work::Captions(work), link: Some(link), ..task(seq, live, &[]) }
}

fn hearing(mut seat: Seat, id: &str, language: &str, warm: bool) -> Seat {
    seat.offer.models = vec![Model {
        id: id.into(),
        version: "1".into(),
        capability: Capability::Captions,
        device: Device::Cpu,
        languages: vec![language.into()],
        audio_s_per_s: 1.0,
        pictures_per_s: 0.0,
        memory_bytes: 1,
        load_ms: 1,
        warm,
    }];
    seat
}

#[test]
fn windows_go_to_those_with_a_model_for_them() {
    let deaf = seat(1, 2, 0);
    let given = |seats: &[Seat], task: Task| pairs(seats, &[task], |_| Some(0), |_| None, 0);
    assert!(given(std::slice::from_ref(&deaf), window(0, true, Some("en"), None)).is_empty());
    let seats = [deaf.clone(), hearing(seat(2, 2, 0), "tiny.en", "en", false)];
    assert_eq!(given(&seats, window(0, true, Some("en"), None)), [(1, 0)]);
    assert!(given(&seats, window(0, true, Some("de"), None)).is_empty());
    assert!(given(&seats, window(0, true, None, None)).is_empty(), "it can't find out what is spoken");
    assert!(given(&seats, window(0, true, Some("en"), Some("base"))).is_empty());
    let seats = [hearing(seat(1, 2, 0), "base", "any", false), hearing(seat(2, 2, 0), "base", "any", true)];
    assert_eq!(given(&seats, window(0, true, None, Some("base"))), [(1, 0)], "it is loaded there");
    let offers = [&deaf.offer];
    let told = lack(&offers, &Needs::of(&window(0, true, Some("de"), None))).unwrap();
    assert!(told.contains("a model for captions in German"), "{told}");
    assert_eq!(given(&[deaf], task(0, true, &[])), [(0, 0)], "and still transcodes");
}

#[test]
fn windows_leave_room_for_pictures() {
    let one = |slots, held_windows| {
        let mut seat = hearing(seat(1, slots, 0), "base", "any", true);
        (seat.held_windows, seat.offer.slots) = (held_windows, 2);
        seat
    };
    let tasks = [window(0, true, None, None), window(1, true, None, None), task(2, true, &[])];
    // The segment is the youngest, and goes first; of two slots one is for windows.
    assert_eq!(pairs(&[one(2, 0)], &tasks, |_| Some(0), |_| None, 0), [(0, 2), (0, 0)]);
    assert_eq!(pairs(&[one(1, 1)], &tasks, |_| Some(0), |_| None, 0), [(0, 2)]);
    assert!(pairs(&[one(1, 1)], &tasks[..2], |_| Some(0), |_| None, 0).is_empty());
}

#[test]
fn what_no_slot_is_free_for_goes_ahead_to_whoever_works_already() {
    let ahead = |by, slots_free, held| Seat { ahead_free: 1, ..seat(by, slots_free, held) };
    let to = |seats: &[Seat], tasks: &[Task]| pairs(seats, tasks, |_| Some(0), |_| None, 99_000);
    let recorded: Vec<Task> = (0..4).map(|seq| task(seq, false, &[])).collect();
    // One works, the other is idle: it has a slot for the only task.
    let seats = [ahead(1, 0, 1), ahead(2, 1, 0)];
    assert_eq!(to(&seats, &recorded[..1]), [(1, 0)]);
    assert_eq!(to(&seats, &recorded), [(1, 0), (0, 1), (1, 2)], "no more than was asked for");
    assert_eq!(to(&seats[..1], &[task(0, true, &[])]), [], "viewers wait for it: the first free slot has it");
    assert_eq!(to(&seats[..1], &[task(0, false, &[(2, CRASHED)])]), [], "it has failed");
    // A slot that the task's needs left empty is no reason to take ahead.
    let mut unable = ahead(3, 1, 0);
    unable.offer.encoders.clear();
    assert_eq!(to(&[unable], &recorded), []);
}
