//! What the origin serves: segments and playlists a second under `wrk`, beside nginx serving the same bytes as files.

use std::{fs, process::Command};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{
    clips::published,
    house::{House, Plan},
    kit::{Kit, run as run_program},
    measure::median,
    nginx::Nginx,
    report::Table,
};

/// Connections of the load generator, which has one thread.
const CONNECTIONS: u32 = 32;

/// What `wrk` saw.
#[derive(Debug, Clone, Copy)]
struct Served {
    per_s: f64,
    p99_ms: f64,
}

pub(crate) fn run(kit: &Kit) -> Result<Table> {
    let (length_s, rounds) = if kit.quick { (2, 1) } else { (4, 5) };
    let house = House::start(kit, "origin-house", &Plan { log: "warn", ..Plan::default() })?;
    let id = recording(kit, &house)?;
    let nginx = Nginx::start(kit, "origin-nginx", NGINX)?;
    let names = mirror(&house, &nginx, &id)?;
    let mut table = Table::new(&["what", "millrace a second", "p99 ms", "nginx a second", "p99 ms", "ratio"]);
    let mut aims = Vec::new();
    for (what, name) in [("segments", &names.segment), ("playlists", &names.playlist)] {
        let path = format!("/hls/{id}/{name}");
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(load(&format!("http://{}{path}", house.http), length_s)?);
            theirs.push(load(&format!("http://{}{path}", nginx.address), length_s)?);
        }
        let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours.per_s / theirs.per_s).collect();
        let of = |served: &[Served], what: fn(&Served) -> f64| median(&served.iter().map(what).collect::<Vec<_>>());
        let bytes = fs::metadata(nginx.folder.join("hls").join(&id).join(name))?.len();
        table.row([
            format!("{what} of {bytes} bytes"),
            format!("{:.0}", of(&ours, |served| served.per_s)),
            format!("{:.1}", of(&ours, |served| served.p99_ms)),
            format!("{:.0}", of(&theirs, |served| served.per_s)),
            format!("{:.1}", of(&theirs, |served| served.p99_ms)),
            format!("{:.2}", median(&ratios)),
        ]);
        aims.push((what, ratios));
    }
    for (what, ratios) in &aims {
        table.at_least(&format!("{what} a second beside nginx"), 0.7, ratios);
    }
    table.remark(format!(
        "wrk with one thread and {CONNECTIONS} connections kept alive, {length_s} s each, on the same cores as the server; \
         medians of {rounds} rounds in turns. nginx has `sendfile`, `open_file_cache` and no access log; neither \
         compresses, since wrk does not ask for it. The playlist is of a recording that has ended."
    ));
    Ok(table)
}

const NGINX: &str = "http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  open_file_cache max=1000 inactive=60s; types { application/vnd.apple.mpegurl m3u8; video/mp4 m4s mp4; }
  client_body_temp_path FOLDER/t1; proxy_temp_path FOLDER/t2; fastcgi_temp_path FOLDER/t3; uwsgi_temp_path FOLDER/t4;
  scgi_temp_path FOLDER/t5;
  server { listen LISTEN; root FOLDER; } }
";

/// The trailer as a recording that needs no transcoding; its id.
fn recording(kit: &Kit, house: &House) -> Result<String> {
    let stream = house.create("file", &json!("passthrough"))?;
    let id = stream.id.to_string();
    house.upload(&id, &published(kit, "trailer")?)?;
    for _ in 0..600 {
        if house.stream(&id)?.state == millrace_proto::api::StreamState::Ended {
            return Ok(id);
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    anyhow::bail!("the recording is not ready after a minute")
}

/// Paths below the stream's folder.
struct Names {
    playlist: String,
    segment: String,
}

/// Writes what the origin serves where nginx serves it from.
fn mirror(house: &House, nginx: &Nginx, id: &str) -> Result<Names> {
    let line = |text: &str, ending: &str| {
        let found = text.lines().find(|line| !line.starts_with('#') && line.ends_with(ending));
        found.map(str::to_owned).with_context(|| format!("a line that ends with {ending} in {text}"))
    };
    let index = house.text(&format!("/hls/{id}/index.m3u8"))?;
    let playlist = line(&index, ".m3u8")?;
    let folder = playlist.rsplit_once('/').map_or("", |(folder, _)| folder);
    let text = house.text(&format!("/hls/{id}/{playlist}"))?;
    let segment = format!("{folder}/{}", line(&text, "")?);
    for name in [&playlist, &segment] {
        let file = nginx.folder.join("hls").join(id).join(name);
        fs::create_dir_all(file.parent().context("a folder")?)?;
        fs::write(file, house.bytes(&format!("/hls/{id}/{name}"))?)?;
    }
    Ok(Names { playlist, segment })
}

fn load(url: &str, length_s: u64) -> Result<Served> {
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{length_s}s"), "--latency", url]);
    let text = String::from_utf8(run_program(&mut command)?)?;
    anyhow::ensure!(!text.contains("Non-2xx"), "{url} was refused: {text}");
    let after = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map(|rest| rest.trim().to_owned()).with_context(|| format!("wrk says {name}: {text}"))
    };
    Ok(Served { per_s: after("Requests/sec:")?.parse()?, p99_ms: milliseconds(&after("99%")?)? })
}

/// Of wrk's `850.00us`, `1.25ms`, `2.00s`.
fn milliseconds(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 1e-3), ("ms", 1.0), ("s", 1e3)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    anyhow::bail!("{text} is no time")
}
