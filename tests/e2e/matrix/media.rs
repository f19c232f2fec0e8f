//! The media of the matrix, made by ffmpeg: a moving picture that flashes and a tone over a hum that sounds at the
//! same time, from half of each second on for a tenth of it. What a case is about is said by its arguments.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
};

use crate::clip::{made, text};

/// How to make a file.
#[derive(Debug, Clone, Hash)]
pub(super) struct Media {
    pub(super) ending: &'static str,
    /// Without, there is sound alone.
    pub(super) pictures: bool,
    pub(super) size: (u32, u32),
    /// Frames per second.
    pub(super) rate: &'static str,
    pub(super) seconds: u32,
    /// Samples per second and channels; none: no sound.
    pub(super) sound: Option<(u32, u16)>,
    /// The sound starts so many seconds after the picture.
    pub(super) sound_late_s: u32,
    /// The picture starts so many seconds after the sound.
    pub(super) picture_late_s: u32,
    /// More of ffmpeg's arguments. What is not said here is H.264 with a key frame each second, and AAC.
    pub(super) args: &'static str,
    /// Arguments of a second pass, for what ffmpeg does not do in the first.
    pub(super) copied: &'static str,
    /// A second input of that pass: a name, and what is in it.
    pub(super) beside: Option<(&'static str, &'static str)>,
    /// What is done to the bytes in the end.
    pub(super) damage: Option<Damage>,
    /// A second file that this one goes on with.
    pub(super) then: Option<Box<Media>>,
    /// Whose times begin anew.
    pub(super) anew: bool,
}

/// What happened to a file on its way.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) enum Damage {
    /// 5,000 bytes in its middle are others.
    Overwritten,
    /// Its second half is gone.
    Halved,
}

impl Damage {
    fn apply(self, bytes: &mut Vec<u8>) {
        let middle = bytes.len() / 2;
        match self {
            Self::Overwritten => bytes[middle..middle + 5_000].fill(0x5a),
            Self::Halved => bytes.truncate(middle),
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            ending: "mp4",
            pictures: true,
            size: (320, 180),
            rate: "25",
            seconds: 5,
            sound: Some((48_000, 1)),
            sound_late_s: 0,
            picture_late_s: 0,
            args: "",
            copied: "",
            beside: None,
            damage: None,
            then: None,
            anew: false,
        }
    }
}

impl Media {
    /// The file, and the one that it goes on with.
    #[track_caller]
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.file(0)];
        if let Some(then) = &self.then {
            files.push(then.file(if self.anew { 0 } else { self.seconds }));
        }
        files
    }

    /// The file, its times `at_s` later.
    #[track_caller]
    fn file(&self, at_s: u32) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        (self, at_s).hash(&mut hasher);
        let Self { size: (width, height), rate, seconds, .. } = self;
        let flash = r"between(mod(t\,1)\,0.5\,0.599)";
        // Half as bright as it comes, so that a flash is what is bright.
        let picture = format!(
            "testsrc2=s={width}x{height}:r={rate}:d={seconds},lutyuv=y=val/2,\
             drawbox=enable='{flash}':color=white:t=fill"
        );
        let late = |by_s: u32| ["-itsoffset".to_owned(), by_s.to_string()];
        let made_by = |graph: String| ["-f".to_owned(), "lavfi".to_owned(), "-i".to_owned(), graph];
        let mut input = Vec::new();
        if self.pictures {
            input.extend(late(self.picture_late_s));
            input.extend(made_by(picture));
        }
        if let Some((sample_rate, channels)) = self.sound {
            let length_s = seconds + self.picture_late_s - self.sound_late_s;
            // Together with the flash also where one of both comes late: by whole seconds.
            let tone = format!("0.5*sin(2*PI*880*t)*{flash}+0.02*sin(2*PI*300*t)");
            let tones = vec![tone; channels.into()].join("|");
            let layout = if channels == 6 { "5.1" } else { ["mono", "stereo"][usize::from(channels) - 1] };
            input.extend(late(self.sound_late_s));
            input.extend(made_by(format!("aevalsrc={tones}:c={layout}:s={sample_rate}:d={length_s}")));
        }
        let input: Vec<&str> = input.iter().map(String::as_str).collect();
        let plain = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -sc_threshold 0 -g 25 -c:a aac -b:a 96k";
        let offset = if at_s > 0 { format!("-output_ts_offset {at_s}") } else { String::new() };
        let name = format!("matrix-{:016x}.{}", hasher.finish(), self.ending);
        let mut file = made(&name, &input, &format!("{plain} {} {offset}", self.args));
        if !self.copied.is_empty() {
            let mut input = vec!["-i", text(&file)];
            let beside = self.beside.map(|(name, content)| {
                let path = file.with_extension(name);
                fs::write(&path, content).expect("a file can be written");
                path
            });
            input.extend(beside.iter().flat_map(|path| ["-i", text(path)]));
            file = made(&format!("copied-{name}"), &input, self.copied);
        }
        if let Some(damage) = self.damage {
            let mut bytes = fs::read(&file).expect("the file can be read");
            damage.apply(&mut bytes);
            file = file.with_file_name(format!("damaged-{name}"));
            fs::write(&file, bytes).expect("a file can be written");
        }
        file
    }
}

/// The bytes of all files, one behind the other.
pub(super) fn joined(files: &[PathBuf]) -> Vec<u8> {
    files.iter().flat_map(|file| fs::read(file).expect("the file can be read")).collect()
}
