//! A real segment: made by ffmpeg, demuxed by the media child, written by the CMAF writer.

use std::process::Command;

use millrace_media::{
    Launcher, Limits,
    job::{Demux, Demuxed},
};

use crate::worker::media;

#[derive(Debug, Clone)]
pub(crate) struct Clip {
    pub(crate) init: Vec<u8>,
    pub(crate) segment: Vec<u8>,
    /// Presentation times of all frames, ascending.
    pub(crate) pts: Vec<i64>,
}

impl Clip {
    /// Two seconds of a moving picture, 320x180, 25 frames per second, with B-frames.
    pub(crate) fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("clip.mp4");
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=2"])
            .args(["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "50", "-pix_fmt", "yuv420p"])
            .arg(&file)
            .status()
            .expect("ffmpeg is there");
        assert!(made.success());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (track, samples) = runtime.block_on(async {
            let job = Demux { input: file };
            let mut demuxing = Launcher::new(media()).demux(&job, &Limits::default()).await.unwrap();
            let (mut track, mut samples) = (None, Vec::new());
            while let Some(next) = demuxing.next().await.unwrap() {
                match next {
                    Demuxed::Tracks { video, .. } => track = video,
                    Demuxed::Video(sample) => samples.push(sample),
                    Demuxed::Audio(_) | Demuxed::Ignored(_) | Demuxed::End => {}
                }
            }
            (track.expect("a video track"), samples)
        });
        let mut pts: Vec<i64> = samples.iter().map(|sample| sample.pts).collect();
        pts.sort_unstable();
        let end = pts[pts.len() - 1] + (pts[1] - pts[0]);
        let init = millrace_cmaf::init(&track).unwrap().to_vec();
        let segment = millrace_cmaf::segment(&track, 1, &samples, end).unwrap().to_vec();
        Self { init, segment, pts }
    }
}
