//! The probe: what this machine and its cards can do, and what of the media child's sandbox holds on it, found out by
//! doing it once. Makes the offer.

use std::fmt::Write;

use millrace_media::{
    Failure, FailureKind, Launcher, Limits,
    card::{Card, Tried, TryCard, Use},
    job::{Probe, Probed},
};
use millrace_proto::{
    offer::{self, Absent, Capability, Encoder, Lack, Model, Offer, Part, Sandbox},
    profile::VideoCodec,
};

use crate::{
    agent::Seats,
    cards::{self, Wanted},
    device::Deal,
    listen, look,
    models::Shelf,
    senses::Sense,
};

/// Every encoder that a task may ask for: what it makes, and FFmpeg's name of it.
const ENCODERS: [(VideoCodec, &str); 3] =
    [(VideoCodec::H264, "libx264"), (VideoCodec::Hevc, "libx265"), (VideoCodec::Av1, "libsvtav1")];

/// One encoder takes a few seconds; the first start may have to read it from a slow disk.
const WALL_MS_MAX: u64 = 60_000;

/// What this machine can do.
#[derive(Debug)]
pub struct Proven {
    /// What is offered; its slots are those that the machine does best with.
    pub offer: Offer,
    /// The cards that are used, each with its places.
    pub cards: Vec<(Use, Seats)>,
    /// What is listened and looked with.
    pub senses: Vec<Sense>,
}

/// Runs every encoder once, on all `cores`, and every model on `threads` of them, and tries the cards that are wanted.
pub async fn run(launcher: &Launcher, shelf: &Shelf, (cores, threads): (u32, u32), wanted: &Wanted) -> Proven {
    let limits = Limits { wall_ms_max: WALL_MS_MAX, ..Limits::default() };
    let (mut encoders, mut absent) = (Vec::new(), Vec::new());
    for (codec, name) in ENCODERS {
        match encode(launcher, &Probe { codec, threads: cores }, &limits).await {
            Ok(probed) if probed.pixels_per_s.is_finite() && probed.pixels_per_s > 0.0 => {
                encoders.push(Encoder { codec, name: probed.encoder, pixels_per_s: probed.pixels_per_s });
            }
            Ok(probed) => {
                let reason = format!("it measured {} pixels per second", probed.pixels_per_s);
                absent.push(Absent { name: probed.encoder, reason });
            }
            Err(failure) => absent.push(Absent { name: name.into(), reason: failure.message }),
        }
    }
    encoders.sort_by(|a, b| b.pixels_per_s.total_cmp(&a.pixels_per_s));
    let (opened, tried) = try_cards(launcher, wanted, &mut absent).await;
    let mut cards = Deal::new(&opened);
    let threads = threads.clamp(1, cores.max(1));
    let mut proven = listen::probe(launcher, shelf, threads, &mut cards, &mut absent).await;
    proven.extend(look::probe(launcher, shelf, threads, &mut cards, &mut absent).await);
    let (models, senses) = proven.into_iter().unzip();
    // What a card encodes is encoded there.
    encoders.splice(0..0, card_encoders(&tried));
    let told: Vec<Tried> = tried.iter().map(|(_, tried)| tried.clone()).collect();
    let offer = Offer {
        version: env!("CARGO_PKG_VERSION").into(),
        slots: cards::slots_in_all(&told, cores),
        cores,
        encoders,
        absent,
        sandbox: sandbox(launcher, &limits).await,
        models,
        cards: told.iter().map(offered).collect(),
    };
    let place = |(card, tried): (Card, Tried)| {
        let seats = Seats { slots: cards::slots(&tried), sessions: tried.sessions };
        (Use { card, able: tried.able }, seats)
    };
    Proven { offer, cards: tried.into_iter().map(place).collect(), senses }
}

/// Tries the cards one after the other; what they lack is added to `absent`. Those that could be opened, on which models may
/// run, and those of them that do some of a transcode.
async fn try_cards(launcher: &Launcher, wanted: &Wanted, absent: &mut Vec<Absent>) -> (Vec<Card>, Vec<(Card, Tried)>) {
    let cards = cards::find(wanted);
    if cards.is_empty() && *wanted == Wanted::Auto {
        let reason = "no device file of an NVIDIA card is here: all is done in software".into();
        absent.push(Absent { name: "card".into(), reason });
    }
    let limits = Limits { wall_ms_max: WALL_MS_MAX, ..Limits::default().with_card() };
    let (mut opened, mut tried) = (Vec::new(), Vec::new());
    for card in cards {
        let name = format!("card {}", card.minor);
        match launcher.try_card(&TryCard { card: card.clone() }, &limits).await {
            Ok(mut told) => {
                opened.push(card.clone());
                let lacks = std::mem::take(&mut told.absent);
                let lacks = lacks.into_iter().map(|(what, reason)| Absent { name: format!("{name}: {what}"), reason });
                absent.extend(lacks);
                if cards::slots(&told) == 0 {
                    let reason = "it has too little memory or too few sessions for one ladder".into();
                    absent.push(Absent { name, reason });
                } else {
                    tried.push((card, told));
                }
            }
            Err(failure) => absent.push(Absent { name, reason: failure.message }),
        }
    }
    (opened, tried)
}

fn offered(tried: &Tried) -> offer::Card {
    offer::Card {
        name: tried.name.clone(),
        memory_bytes: tried.memory_bytes,
        slots: cards::slots(tried),
        decodes: tried.able.decodes.clone(),
        encodes: tried.able.encodes.iter().map(|(codec, _)| *codec).collect(),
        sessions: tried.sessions,
    }
}

/// What cards encode, several together where several do.
fn card_encoders(tried: &[(Card, Tried)]) -> Vec<Encoder> {
    let mut encoders: Vec<Encoder> = Vec::new();
    for (_, tried) in tried {
        for ((codec, _), &pixels_per_s) in tried.able.encodes.iter().zip(&tried.pixels_per_s) {
            match encoders.iter_mut().find(|encoder| encoder.codec == *codec) {
                Some(encoder) => encoder.pixels_per_s += pixels_per_s,
                None => encoders.push(Encoder { codec: *codec, name: nvenc_name(*codec).into(), pixels_per_s }),
            }
        }
    }
    encoders
}

/// FFmpeg's name of a card's encoder.
fn nvenc_name(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::H264 => "h264_nvenc",
        VideoCodec::Hevc => "hevc_nvenc",
        VideoCodec::Av1 => "av1_nvenc",
    }
}

/// What holds of the sandbox; nothing of it where the child can't even say.
async fn sandbox(launcher: &Launcher, limits: &Limits) -> Sandbox {
    match launcher.sandbox(limits).await {
        Ok(sandbox) => sandbox,
        Err(failure) => {
            let lack = |part| Lack { part, reason: failure.message.clone() };
            Sandbox { holds: Vec::new(), absent: Part::ALL.map(lack).into() }
        }
    }
}

/// Runs one encoder; once more if time ran out, since a machine that starts many things at once may be too busy
/// for a while.
async fn encode(launcher: &Launcher, job: &Probe, limits: &Limits) -> Result<Probed, Failure> {
    match launcher.probe(job, limits).await {
        Err(failure) if failure.kind == FailureKind::TimedOut => launcher.probe(job, limits).await,
        done => done,
    }
}

/// The offer as a table for people.
pub fn table(offer: &Offer) -> String {
    // Luma pixels of one second of 1080p at 30 frames per second.
    const FULL_HD_30: f64 = 1_920.0 * 1_080.0 * 30.0;
    let mut text = format!("{:<12} {:<6} {:>14} {:>10}\n", "encoder", "codec", "pixels/s", "1080p30");
    for Encoder { codec, name, pixels_per_s } in &offer.encoders {
        let codec = codec.as_str();
        let times = pixels_per_s / FULL_HD_30;
        let _ = writeln!(text, "{name:<12} {codec:<6} {pixels_per_s:>14.0} {times:>9.2}x");
    }
    for Model { id, capability, device, audio_s_per_s, pictures_per_s, memory_bytes, load_ms, .. } in &offer.models {
        let speed = match capability {
            Capability::Captions => format!("{audio_s_per_s:.1} s of sound"),
            Capability::Moderation | Capability::Products => format!("{pictures_per_s:.1} pictures"),
        };
        let (capability, device, mib) = (capability.as_str(), device.as_str(), memory_bytes >> 20);
        let _ =
            writeln!(text, "{id:<15} {capability}: {speed} a second on {device}, {mib} MiB, loaded in {load_ms} ms");
    }
    for offer::Card { name, memory_bytes, slots, sessions, .. } in &offer.cards {
        let mib = memory_bytes >> 20;
        let _ = writeln!(text, "{:<12} {name}: {mib} MiB, {sessions} encoding sessions, {slots} slots", "card");
    }
    for Absent { name, reason } in &offer.absent {
        let _ = writeln!(text, "{name:<12} absent: {reason}");
    }
    let names = |parts: &mut dyn Iterator<Item = Part>| parts.map(Part::as_str).collect::<Vec<_>>().join(", ");
    let Sandbox { holds, absent } = &offer.sandbox;
    if !holds.is_empty() {
        let whole = if offer.sandbox.is_whole() { "whole: " } else { "" };
        let _ = writeln!(text, "{:<12} {whole}{}", "sandbox", names(&mut holds.iter().copied()));
    }
    // Often one thing lacks several parts.
    for lacks in absent.chunk_by(|a, b| a.reason == b.reason) {
        let parts = names(&mut lacks.iter().map(|lack| lack.part));
        let _ = writeln!(text, "{:<12} absent: {parts}: {}", "sandbox", lacks[0].reason);
    }
    text
}

#[cfg(test)]
mod tests {
    use millrace_media::card::{Able, Tools};

    use super::*;

    #[test]
    fn cards_of_one_kind_are_one_encoder() {
        let tried = |pixels_per_s| Tried {
            name: "a card".into(),
            memory_bytes: 8 << 30,
            memory_free_bytes: 7 << 30,
            able: Able { decodes: vec![VideoCodec::H264], encodes: vec![(VideoCodec::H264, Tools::Full)] },
            pixels_per_s: vec![pixels_per_s],
            sessions: 8,
            session_bytes: 200 << 20,
            absent: Vec::new(),
        };
        let card = |minor| Card { index: minor, minor, uuid: None };
        let encoders = card_encoders(&[(card(0), tried(1e9)), (card(1), tried(2e9))]);
        assert_eq!(encoders, [Encoder { codec: VideoCodec::H264, name: "h264_nvenc".into(), pixels_per_s: 3e9 }]);
    }

    #[tokio::test]
    async fn what_can_not_run_is_absent_with_its_reason() {
        let shelf = Shelf::empty("/nowhere/models".into());
        let Proven { offer, cards, .. } =
            run(&Launcher::new("/nowhere/millrace-media"), &shelf, (2, 2), &Wanted::Only(vec![9])).await;
        assert_eq!((&offer.encoders[..], &offer.cards[..], offer.slots), (&[][..], &[][..], 2));
        assert!(cards.is_empty());
        let names: Vec<_> = offer.absent.iter().map(|absent| absent.name.as_str()).collect();
        assert_eq!(names[..4], ["libx264", "libx265", "libsvtav1", "card 9"]);
        assert_eq!(names[4..], ["captions", "moderation", "products"]);
        let table = table(&offer);
        assert!(table.contains("libx264") && table.contains("/nowhere/millrace-media"), "{table}");
        assert!(!offer.sandbox.is_whole() && offer.sandbox.absent.len() == Part::ALL.len());
        assert!(table.contains("sandbox      absent: files, network, processes, calls, limits: "), "{table}");
    }
}
