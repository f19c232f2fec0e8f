//! The guide for apps, docs/apps.md: what it shows in blocks marked `sh tested` is run, as it stands, one after the
//! other in one shell.

use std::{fmt::Write, fs, path::Path, process::Command};

use crate::{
    clip::{clip, text},
    house::House,
    program::Program,
    wait::s,
};

/// Blocks of `text` (Markdown) that are marked `sh tested`, each with the line that it starts at.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let (mut fenced, mut ours) = (false, false);
    for (at, line) in text.lines().enumerate() {
        if let Some(mark) = line.strip_prefix("```") {
            fenced = !fenced;
            ours = fenced && mark == "sh tested";
            if ours {
                found.push((at + 2, String::new()));
            }
        } else if ours && let Some((_, block)) = found.last_mut() {
            block.push_str(line);
            block.push('\n');
        }
    }
    found
}

#[test]
fn the_guide_for_apps_does_what_it_shows() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/apps.md");
    let blocks = blocks(&fs::read_to_string(&guide).expect("the guide is there"));
    assert!(blocks.len() > 8, "the guide shows {} things", blocks.len());
    // A command that fails ends it, in the middle of a pipe too, and says where it stands.
    let mut script = String::from("set -euo pipefail\ntrap 'echo \"docs/apps.md:$at: this block failed\"' ERR\n");
    for (at, block) in &blocks {
        let _ = writeln!(script, "at={at}; echo \"--- docs/apps.md:{at}\"\n{block}");
    }
    script.push_str("echo\necho 'all of it ran'\n");

    let house = House::configured(1, crate::srt::LISTENS);
    let (http, key) = (&house.http, house.api.bearer());
    let mut command = Command::new("bash");
    command.args(["-c", &script]).current_dir(house.scratch());
    command.env("SERVER", format!("http://{http}")).env("KEY", key.trim_start_matches("Bearer "));
    command.env("CLIP", text(&clip("bunny.mp4")));
    let mut shell = Program::start_group("guide", &mut command, house.log_path("guide"));
    let status = shell.wait(s(200));
    let log = shell.log();
    println!("{log}");
    assert!(status.success() && log.ends_with("all of it ran\n"), "the guide came to {status}:\n{log}");
}
