//! Netflix's VMAF of a rendition beside its source, as one number: the mean over all frames of model v0.6.1.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::kit::{Kit, run};

/// Compares frame by frame, by number: containers place the same frame at other times. A smaller picture is scaled up
/// to the source's size, as a player would.
pub(crate) fn vmaf(kit: &Kit, made: &Path, source: &Path, size: (u32, u32)) -> Result<f64> {
    let log = kit.folder("vmaf")?.join("vmaf.json");
    let graph = format!(
        "[0:v]settb=AVTB,setpts=N*40000,scale={}:{}:flags=bicubic,format=yuv420p[made];\
         [1:v]settb=AVTB,setpts=N*40000,format=yuv420p[source];\
         [made][source]libvmaf=n_threads={}:log_fmt=json:log_path={}",
        size.0,
        size.1,
        kit.cores,
        log.display()
    );
    let mut command = Command::new(kit.ffmpeg_vmaf()?);
    command.args(["-v", "error", "-nostdin", "-i"]).arg(made).arg("-i").arg(source);
    run(command.args(["-lavfi", &graph, "-f", "null", "-"]))?;
    let log: serde_json::Value = serde_json::from_slice(&fs::read(log)?)?;
    log["pooled_metrics"]["vmaf"]["mean"].as_f64().context("libvmaf writes the mean")
}
