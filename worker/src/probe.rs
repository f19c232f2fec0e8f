//! The probe: what this machine can do, and what of the media child's sandbox holds on it, found out by doing it once.
//! Makes the offer.

use std::fmt::Write;

use millrace_media::{
    Failure, FailureKind, Launcher, Limits,
    job::{Probe, Probed},
};
use millrace_proto::{
    offer::{Absent, Encoder, Lack, Model, Offer, Part, Sandbox},
    profile::VideoCodec,
};

use crate::{listen, models::Shelf};

/// Every encoder that a task may ask for: what it makes, and FFmpeg's name of it.
const ENCODERS: [(VideoCodec, &str); 3] =
    [(VideoCodec::H264, "libx264"), (VideoCodec::Hevc, "libx265"), (VideoCodec::Av1, "libsvtav1")];

/// One encoder takes a few seconds; the first start may have to read it from a slow disk.
const WALL_MS_MAX: u64 = 60_000;

/// Runs every encoder once, on all `cores`.
pub async fn offer(launcher: &Launcher, shelf: &Shelf, slots: u32, cores: u32) -> Offer {
    let limits = Limits { wall_ms_max: WALL_MS_MAX, ..Limits::default() };
    let (mut encoders, mut absent) = (Vec::new(), Vec::new());
    for (codec, name) in ENCODERS {
        match run(launcher, &Probe { codec, threads: cores }, &limits).await {
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
    let sandbox = sandbox(launcher, &limits).await;
    let models = listen::probe(launcher, shelf, cores, &mut absent).await;
    Offer { version: env!("CARGO_PKG_VERSION").into(), slots, cores, encoders, absent, sandbox, models }
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
async fn run(launcher: &Launcher, job: &Probe, limits: &Limits) -> Result<Probed, Failure> {
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
    for Model { id, capability, audio_s_per_s, memory_bytes, load_ms, .. } in &offer.models {
        let (capability, memory_mib) = (capability.as_str(), memory_bytes >> 20);
        let _ = writeln!(
            text,
            "{id:<15} {capability}: {audio_s_per_s:.1} s of sound a second, {memory_mib} MiB, loaded in {load_ms} ms"
        );
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
    use super::*;

    #[tokio::test]
    async fn what_can_not_run_is_absent_with_its_reason() {
        let shelf = Shelf::empty("/nowhere/models".into());
        let offer = offer(&Launcher::new("/nowhere/millrace-media"), &shelf, 1, 2).await;
        assert_eq!(offer.encoders, []);
        assert_eq!(offer.absent.len(), ENCODERS.len() + 1);
        let table = table(&offer);
        assert!(table.contains("libx264") && table.contains("/nowhere/millrace-media"), "{table}");
        assert!(!offer.sandbox.is_whole() && offer.sandbox.absent.len() == Part::ALL.len());
        assert!(table.contains("sandbox      absent: files, network, processes, calls, limits: "), "{table}");
    }
}
