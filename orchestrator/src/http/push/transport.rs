//! A pushed segment's renditions as MPEG transport streams: the media child writes them, at the segment's own times.
//!
//! Called by `push/parts.rs`. What is written lives as long as [`Muxed`].

use std::path::{Path, PathBuf};

use millrace_media::{
    FailureKind, Limits,
    job::{Mux, Pair},
};
use tempfile::TempDir;

use super::{Error, parts::Rendition};
use crate::{
    house::House,
    publish::hls::AUDIO,
    store::record::{Media, Pushed},
};

/// Codecs that transport streams have, by the beginnings of their RFC 6381 names: AV1 and VP9 are not among them.
const CODECS: [&str; 6] = ["avc1.", "avc3.", "hvc1.", "hev1.", "m2v1", "mp4a."];

/// Copying takes a fraction of this, whatever the segment.
const CPU_S_MAX: u64 = 60;

/// Tries after the child died.
const CRASHES_MAX: u32 = 2;

/// Transport streams that were written.
#[derive(Debug)]
pub(super) struct Muxed {
    folder: TempDir,
    files: Vec<(String, u64)>,
    /// Every rendition is here, so that nobody needs the sound by itself.
    pub(super) sound_is_in_all: bool,
}

impl Muxed {
    /// A rendition's length in bytes, and its file.
    pub(super) fn find(&self, name: &str) -> Option<(u64, PathBuf)> {
        let at = self.files.iter().position(|(known, _)| known == name)?;
        Some((self.files[at].1, self.folder.path().join(Mux::file(at))))
    }
}

/// Writes what can be a transport stream as one: each rendition with the sound, or the sound if it is all there is.
pub(super) async fn mux(house: &House, push: &Pushed, renditions: &[Rendition<'_>]) -> Result<Muxed, Error> {
    let folder = tempfile::tempdir_in(house.scratch()).map_err(|error| failed(&error))?;
    let (sound, videos): (Vec<_>, Vec<_>) = renditions.iter().partition(|rendition| rendition.name == AUDIO);
    let fits = |rendition: &&Rendition<'_>| {
        rendition.media.iter().all(|media| CODECS.iter().any(|codec| media.codec.starts_with(codec)))
    };
    let made: Vec<&Rendition<'_>> = videos.iter().copied().filter(fits).collect();
    let sound_is_in_all = !videos.is_empty() && made.len() == videos.len();
    let alone = sound.iter().copied().filter(|_| videos.is_empty());
    let names: Vec<String> = made.iter().copied().chain(alone).map(|rendition| rendition.name.clone()).collect();
    let mut job = Mux {
        videos: Vec::new(),
        audio: Vec::new(),
        video_start: push.starts.video,
        audio_start: push.starts.audio,
        out: folder.path().to_owned(),
    };
    for rendition in &made {
        job.videos.push(copy_out(house, push, rendition, folder.path()).await?);
    }
    for rendition in &sound {
        job.audio = copy_out(house, push, rendition, folder.path()).await?;
    }
    if !names.is_empty() {
        run(house, push, &job).await?;
    }
    let mut files = Vec::new();
    for (at, name) in names.into_iter().enumerate() {
        let file = tokio::fs::metadata(folder.path().join(Mux::file(at))).await.map_err(|error| failed(&error))?;
        files.push((name, file.len()));
    }
    Ok(Muxed { folder, files, sound_is_in_all })
}

async fn copy_out(house: &House, push: &Pushed, rendition: &Rendition<'_>, folder: &Path) -> Result<Vec<Pair>, Error> {
    let mut pairs = Vec::new();
    for (at, Media { init, segment, .. }) in rendition.media.iter().enumerate() {
        let file = |part: &str| folder.join(format!("{}-{at}.{part}", rendition.name));
        let pair = Pair { init: file("init"), preroll: Vec::new(), segment: file("segment") };
        house.media.copy_out(&push.stream, init.sha256, &pair.init).await?;
        house.media.copy_out(&push.stream, segment.sha256, &pair.segment).await?;
        pairs.push(pair);
    }
    Ok(pairs)
}

async fn run(house: &House, push: &Pushed, job: &Mux) -> Result<(), Error> {
    let _place = house.mux_places.acquire().await;
    let wall_ms_max = house.config.ingest.push_answer_ms_max;
    let limits = Limits { cpu_s_max: CPU_S_MAX, wall_ms_max, ..Limits::default() };
    let mut crashes = 0;
    loop {
        let Err(failure) = house.launcher.mux(job, &limits).await else { return Ok(()) };
        tracing::warn!(stream = %push.stream, number = push.number, %failure, "renditions can't be transport streams");
        match failure.kind {
            FailureKind::Crashed if crashes < CRASHES_MAX => crashes += 1,
            FailureKind::BadInput | FailureKind::Unsupported => {
                let message = format!("its renditions can't be transport streams: {failure}");
                return Err(Error::conflict("no_transport_stream", message, "push it as NUMBER.mp4, or play the HLS"));
            }
            _ => return Err(failed(&failure)),
        }
    }
}

fn failed(error: &dyn std::error::Error) -> Error {
    tracing::warn!(%error, "transport streams can't be written");
    Error::Unavailable("the renditions can't be put into transport streams now".into())
}
