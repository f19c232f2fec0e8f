//! Keeps the house clean: what STYLE asks of every file and can be checked by looking at it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Lines of a source file, its tests module not counted.
const LINES_MAX: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository is there")
}

/// All files that git knows or would take, by path from the root.
fn files() -> Vec<String> {
    let out = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is there");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let list = String::from_utf8(out.stdout).expect("paths are UTF-8");
    // A file that was removed and not committed yet is listed all the same.
    let files: Vec<_> = list.lines().filter(|path| root().join(path).is_file()).map(str::to_owned).collect();
    assert!(files.len() > 20, "only {files:?}");
    files
}

fn with_ending(ending: &str) -> Vec<(String, String)> {
    let files: Vec<_> = files().into_iter().filter(|path| path.ends_with(ending)).collect();
    files.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Fails with every fault at once, so that a person sees all of them.
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn sources_say_what_they_are_and_stay_short() {
    let mut faults = Vec::new();
    for (path, text) in with_ending(".rs") {
        if !text.starts_with("//! ") {
            faults.push(format!("{path}: open it with //! and what it owns, what it never does, who calls it"));
        }
        if path.ends_with("/mod.rs") {
            faults.push(format!("{path}: name it after its folder, beside it"));
        }
        let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().count();
        if lines > LINES_MAX {
            faults.push(format!("{path}: {lines} lines; split it before {LINES_MAX}"));
        }
    }
    assert_none(&faults);
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not hold them.
    let banned = [["to", "do!("], ["unimple", "mented!("], ["db", "g!("], ["FIX", "ME"], ["XX", "X"], ["TO", "DO"]];
    let mut faults = Vec::new();
    // The fuzzing corpus is what a machine made.
    for path in files().into_iter().filter(|path| !path.starts_with("tests/fuzz/corpus/")) {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for word in banned.map(|parts| parts.concat()) {
            for (at, line) in text.lines().enumerate().filter(|(_, line)| line.contains(&word)) {
                // mktemp's pattern is no note to ourselves.
                if !line.contains("mktemp") && !path.ends_with("-lock.json") && path != "Cargo.lock" {
                    faults.push(format!("{path}:{}: {word}: finish it, or file an issue", at + 1));
                }
            }
        }
        for (at, line) in text.lines().enumerate().filter(|(_, line)| line.ends_with([' ', '\t'])) {
            faults.push(format!("{path}:{}: space at the end of {line:?}", at + 1));
        }
    }
    assert_none(&faults);
}

#[test]
fn unsafe_code_lives_in_the_media_child_alone() {
    let mut faults = Vec::new();
    for path in files().into_iter().filter(|path| path.ends_with("Cargo.toml") && path.contains('/')) {
        let inherits = read(&path).contains("[lints]\nworkspace = true");
        // The entry for libFuzzer is no member of the workspace, and never part of a program.
        if !inherits && !path.starts_with("worker/media/child/") && !path.starts_with("tests/fuzz/") {
            faults.push(format!("{path}: take the workspace's lints"));
        }
    }
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
    assert_none(&faults);
}

/// What `text` (Markdown) puts between `open` and `close`, outside of code blocks.
fn marked<'a>(text: &'a str, open: &str, close: char) -> Vec<&'a str> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            let mut rest = line;
            while let Some((_, after)) = rest.split_once(open)
                && let Some((inside, beyond)) = after.split_once(close)
            {
                found.push(inside);
                rest = beyond;
            }
        }
    }
    found
}

#[test]
fn documents_name_paths_that_exist() {
    let tops: Vec<_> = files().iter().filter_map(|path| path.split_once('/')).map(|(top, _)| top.to_owned()).collect();
    let mut faults = Vec::new();
    for (page, text) in with_ending(".md") {
        for name in marked(&text, "`", '`') {
            let path = name.split([' ', ':', '#']).next().unwrap_or_default().trim_end_matches('/');
            let top = path.split('/').next().unwrap_or_default();
            // Paths of this repository, not of URLs or of a data folder; built things are made later.
            let ours = tops.iter().any(|other| other == top) && path.contains('/') && !path.contains(['{', '*', '<']);
            if ours && !path.contains("/dist") && !root().join(path).exists() {
                faults.push(format!("{page}: {path} is not there"));
            }
        }
        for link in marked(&text, "](", ')') {
            let target = link.split('#').next().unwrap_or_default();
            let beside = root().join(&page).with_file_name(target);
            if !link.contains("://") && !link.starts_with('#') && !beside.exists() {
                faults.push(format!("{page}: the link to {link} leads nowhere"));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn lock_files_name_no_address() {
    let mut faults = Vec::new();
    for (path, text) in with_ending("package-lock.json") {
        if text.contains("\"resolved\"") {
            faults.push(format!("{path}: npm install it with omit-lockfile-registry-resolved=true (.npmrc)"));
        }
    }
    assert_none(&faults);
}

/// Names of all packages that `package` is built with, `cargo tree`'s way.
fn built_with(package: &str) -> Vec<String> {
    let out = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--edges", "normal,build", "--prefix", "none", "--format", "{p}", "-p", package])
        .current_dir(root())
        .output()
        .expect("cargo is there");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let list = String::from_utf8(out.stdout).expect("package names are UTF-8");
    list.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn only_the_media_child_links_a_codec() {
    let codec = |name: &String| ["ffmpeg", "whisper", "ort-sys", "x264"].iter().any(|part| name.contains(part));
    let parents = ["orchestrator", "worker", "media", "models", "cmaf", "proto"].map(|name| format!("millrace-{name}"));
    for parent in parents {
        let packages = built_with(&parent);
        assert!(packages.contains(&parent), "{packages:?}");
        let found: Vec<_> = packages.iter().filter(|name| codec(name)).collect();
        assert!(found.is_empty(), "{parent} links {found:?}: codecs run in the media child alone");
    }
    // The check sees a codec where there is one.
    let child = built_with("millrace-media-child");
    for linked in ["ffmpeg-next", "whisper-rs", "ort-sys"] {
        assert!(child.iter().filter(|name| codec(name)).any(|name| name == linked), "{linked}: {child:?}");
    }
}
