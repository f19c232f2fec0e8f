//! HLS as others serve it: a case's media packed by ffmpeg and put on a site, as a recording or as a broadcast that
//! grows while it is followed.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use crate::{
    clip::{text, times, tool},
    hls_pull::APART,
    house::House,
    site::{Ask, Reply, Site},
};

/// How it is packed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packing {
    pub(super) form: Form,
    pub(super) sound: Sound,
    /// AES-128, its key at an address with a secret.
    pub(super) encrypted: bool,
    /// It is broadcast: segments come one by one.
    pub(super) live: bool,
}

/// Where the sound is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sound {
    /// In the segments of the pictures.
    Within,
    /// In a playlist of its own.
    Apart,
    /// The same, its segments being ADTS and no container's (RFC 8216, 3.4).
    Packed,
}

/// What the segments are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    Ts,
    /// Fragmented MP4.
    Mp4,
    /// The same, all segments ranges of one file.
    Ranges,
}

impl Packing {
    pub(super) const TS: Self = Self { form: Form::Ts, sound: Sound::Within, encrypted: false, live: false };
}

/// Segments that a broadcast has at first: as much as is entered before the end of a live playlist.
const FIRST: usize = 3;

/// The smaller version in every multivariant playlist; nobody has to ask for it.
const SMALLER: &str = "nothing.m3u8";

/// Packs `files`, each a run of its own, and serves them. Returns the site and the address of the playlist.
#[track_caller]
pub(super) fn open(house: &House, packing: Packing, files: &[PathBuf]) -> (Site, String) {
    let folder = tempfile::tempdir_in(house.scratch()).expect("a folder can be made").keep();
    if packing.encrypted {
        fs::write(folder.join("secret.key"), b"sixteen letters.").expect("a file can be written");
        let info = format!("secret.key?token=sesame\n{}\n", text(&folder.join("secret.key")));
        fs::write(folder.join("key.info"), info).expect("a file can be written");
    }
    let lists: Vec<_> = files.iter().enumerate().map(|(at, file)| pack(&folder, packing, at, file)).collect();
    let runs: Vec<_> = lists.iter().map(|list| fs::read_to_string(folder.join(list)).expect("it is there")).collect();
    let joined = runs.join("\n").replace("#EXT-X-ENDLIST\n\n#EXTM3U", "#EXT-X-DISCONTINUITY");
    fs::write(folder.join(&lists[0]), joined).expect("a file can be written");
    if packing.sound == Sound::Packed {
        pack_sound(&folder);
    }
    if packing.sound == Sound::Within {
        let versions = format!(
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000\n{SMALLER}\n\
             #EXT-X-STREAM-INF:BANDWIDTH=900000,CODECS=\"avc1.64001f,mp4a.40.2\"\n{}\n",
            lists[0]
        );
        fs::write(folder.join("master.m3u8"), versions).expect("a file can be written");
    }
    let lives = Mutex::new(HashMap::new());
    let site = Site::open("127.0.0.1", move |ask| answer(&folder, ask, packing.live.then_some(&lives)));
    let url = site.url("master.m3u8?token=sesame");
    (site, url)
}

/// What must not have been asked for.
pub(super) fn check(site: &Site) -> Result<(), String> {
    let smaller = site.seen().iter().any(|ask| ask.file() == SMALLER);
    if smaller { Err("the smaller version was asked for".into()) } else { Ok(()) }
}

/// Packs one file into `folder`; returns the name of its playlist.
#[track_caller]
fn pack(folder: &Path, packing: Packing, at: usize, file: &Path) -> String {
    let mut args = vec!["-v", "error", "-nostdin", "-i", text(file), "-c", "copy", "-f", "hls"];
    args.extend(["-hls_playlist_type", "vod", "-hls_time", if packing.live { "1" } else { "2" }]);
    let apart = packing.sound != Sound::Within;
    let init = if apart { "init-%v.mp4".to_owned() } else { format!("init-{at}.mp4") };
    if packing.form != Form::Ts {
        args.extend(["-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", &init]);
    }
    if packing.form == Form::Ranges {
        args.extend(["-hls_flags", "single_file"]);
    }
    let info = folder.join("key.info");
    if packing.encrypted {
        args.extend(["-hls_key_info_file", text(&info)]);
    }
    let name = if apart { "%v.m3u8".to_owned() } else { format!("run{at}.m3u8") };
    let list = folder.join(&name);
    if apart {
        args.extend(APART);
    }
    args.push(text(&list));
    tool("ffmpeg", &args);
    if apart { "0.m3u8".into() } else { name }
}

/// Takes the sound's segments out of their transport streams. Each begins with its time in an ID3 tag.
#[track_caller]
fn pack_sound(folder: &Path) {
    let list = folder.join("1.m3u8");
    let told = fs::read_to_string(&list).expect("the sound has a playlist");
    for name in told.lines().filter(|line| !line.starts_with('#')) {
        let from = folder.join(name);
        let bare = from.with_extension("adts");
        tool("ffmpeg", &["-v", "error", "-nostdin", "-i", text(&from), "-c", "copy", "-f", "adts", text(&bare)]);
        let start = times(text(&from), "a:0").pts[0];
        let body = [&b"com.apple.streaming.transportStreamTimestamp\0"[..], &start.to_be_bytes()].concat();
        let frame = [&b"PRIV"[..], &(body.len() as u32).to_be_bytes(), &[0, 0], &body].concat();
        let tag = [&b"ID3"[..], &[4, 0, 0, 0, 0, 0, frame.len() as u8], &frame].concat();
        let sound = [tag, fs::read(&bare).expect("it was just made")].concat();
        fs::write(from.with_extension("aac"), sound).expect("a file can be written");
    }
    fs::write(&list, told.replace(".ts\n", ".aac\n")).expect("a file can be written");
}

/// What a list has grown to: how often it was asked for since the first segment was.
type Lives = Mutex<HashMap<String, usize>>;

fn answer(folder: &Path, ask: &Ask, lives: Option<&Lives>) -> Reply {
    let name = ask.file();
    let Ok(bytes) = fs::read(folder.join(name)) else { return Reply::status(404) };
    let list = Path::new(name).extension().is_some_and(|ending| ending == "m3u8");
    let Some(lives) = lives else { return Reply::file(ask, &bytes, "\"same\"") };
    let mut lives = lives.lock().expect("no panic while held");
    if !list {
        lives.entry("a segment".into()).or_insert(0);
        return Reply::file(ask, &bytes, "\"same\"");
    }
    if name == "master.m3u8" {
        return Reply::body(&bytes);
    }
    let begun = lives.contains_key("a segment");
    let steps = lives.entry(name.to_owned()).or_insert(0);
    *steps += usize::from(begun);
    Reply::body(grown(&String::from_utf8_lossy(&bytes), FIRST + *steps).as_bytes())
}

/// A recording's list as it was when it had `count` segments.
fn grown(list: &str, count: usize) -> String {
    let list = list.replace("#EXT-X-PLAYLIST-TYPE:VOD\n", "");
    let ends: Vec<_> = list.match_indices('\n').map(|(at, _)| at + 1).collect();
    let starts = [0].into_iter().chain(ends.iter().copied());
    let segment = |(start, end): &(usize, usize)| !list[*start..*end].starts_with('#');
    let last = starts.zip(ends.iter().copied()).filter(segment).nth(count - 1);
    match last {
        Some((_, end)) if list[end..].contains("#EXTINF") => list[..end].to_owned(),
        _ => list,
    }
}
