//! What taking RTMP in costs: the same pushes to the orchestrator (profile `passthrough`, so nothing is transcoded) and
//! to nginx-rtmp, which writes HLS of them. CPU seconds and memory, in turns.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use serde_json::json;

use crate::{
    clips::published,
    house::{House, Plan},
    kit::Kit,
    measure::{median, usage},
    nginx::Nginx,
    pusher::Clip,
    report::Table,
};

/// What one server took for one run.
#[derive(Debug, Clone, Copy)]
struct Took {
    cpu_s: f64,
    /// At the end of the pushes.
    memory_mib: f64,
}

pub(crate) fn run(kit: &Kit) -> Result<Table> {
    let (counts, length_s, rounds): (&[usize], u64, usize) =
        if kit.quick { (&[1, 50], 10, 1) } else { (&[1, 50, 200], 16, 3) };
    let clip = Arc::new(Clip::read(kit, &published(kit, "trailer")?)?);
    let mut table = Table::new(&["streams", "millrace CPU s", "nginx CPU s", "ratio", "millrace MiB", "nginx MiB"]);
    let mut ratios = Vec::new();
    for &count in counts {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let length = Duration::from_secs(length_s);
            ours.push(millrace(kit, &clip, count, length)?);
            theirs.push(nginx(kit, &clip, count, length)?);
        }
        let each: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours.cpu_s / theirs.cpu_s).collect();
        let of = |took: &[Took], what: fn(&Took) -> f64| median(&took.iter().map(what).collect::<Vec<_>>());
        table.row([
            count.to_string(),
            format!("{:.2}", of(&ours, |took| took.cpu_s)),
            format!("{:.2}", of(&theirs, |took| took.cpu_s)),
            format!("{:.2}", median(&each)),
            format!("{:.0}", of(&ours, |took| took.memory_mib)),
            format!("{:.0}", of(&theirs, |took| took.memory_mib)),
        ]);
        ratios.push((count, each));
    }
    for (count, each) in &ratios {
        // One stream takes less than the kernel's clock can tell.
        if *count > 1 {
            table.at_most(&format!("CPU of nginx-rtmp, {count} streams"), 1.0, each);
        }
    }
    table.remark(format!(
        "The trailer of Big Buck Bunny at about 2 Mbit/s with AAC, {length_s} s to each connection, which begin within \
         4 s; medians of {rounds} rounds in turns. CPU is user and system time of all of a server's processes from \
         before the first connection to after the last. Millrace makes each segment durable (fsync) before it goes on; \
         nginx-rtmp does not. The kernel counts CPU in hundredths of a second, so one stream's ratio says little."
    ));
    Ok(table)
}

fn millrace(kit: &Kit, clip: &Arc<Clip>, count: usize, length: Duration) -> Result<Took> {
    let plan = Plan { log: "info,sqlx=warn,tower_http=warn", ..Plan::default() };
    let mut house = House::start(kit, "ingest-house", &plan)?;
    let mut addresses = Vec::new();
    for _ in 0..count {
        let stream = house.create("live", &json!("passthrough"))?;
        let key = stream.ingest.and_then(|ingest| ingest.stream_key).unwrap_or_default();
        addresses.push(format!("rtmp://{}/live/{key}", house.rtmp));
    }
    let before = usage(house.orchestrator.pid())?;
    kit.runtime.block_on(clip.clone().publish(addresses, length))?;
    let after = usage(house.orchestrator.pid())?;
    house.orchestrator.stop()?;
    Ok(Took { cpu_s: after.cpu_s - before.cpu_s, memory_mib: after.memory_mib })
}

const NGINX: &str = "rtmp { server { listen LISTEN; chunk_size 4096; access_log off;
  application live { live on; hls on; hls_path FOLDER/hls; hls_fragment 2s; hls_playlist_length 30s; } } }
";

fn nginx(kit: &Kit, clip: &Arc<Clip>, count: usize, length: Duration) -> Result<Took> {
    let nginx = Nginx::start(kit, "ingest-nginx", NGINX)?;
    let addresses = (0..count).map(|at| format!("rtmp://{}/live/stream{at}", nginx.address)).collect();
    let before = nginx.usage()?;
    kit.runtime.block_on(clip.clone().publish(addresses, length))?;
    let after = nginx.usage()?;
    // Who wrote nothing would be cheap.
    let written = std::fs::read_dir(nginx.folder.join("hls"))?.count();
    anyhow::ensure!(written >= count, "nginx wrote {written} files for {count} streams");
    nginx.stop()?;
    Ok(Took { cpu_s: after.cpu_s - before.cpu_s, memory_mib: after.memory_mib })
}
