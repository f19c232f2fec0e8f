//! Pages of docs/ that tests write: each section is what one test saw. `MILLRACE_BLESS=1` writes it anew; without, a
//! section that says something else than the test saw fails it. Called by the tests that have something to tell.

pub(crate) mod outputs;

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use millrace_proto::api::{Stream, StreamState};

use crate::{house::House, wait::s};
use outputs::{OUTPUTS, SHARED, Shared};

/// A page: what stands at its head, and the names of its sections in their order.
#[derive(Debug)]
pub(crate) struct Page {
    /// From the repository's root.
    path: &'static str,
    head: &'static str,
    sections: &'static [&'static str],
}

/// What comes out of what comes in.
pub(crate) const MATRIX: Page = Page {
    path: "docs/matrix.md",
    head: "# Streams as they come\n\nEach row is a real stream that the end-to-end tests sent in, and what a player \
           got out of it: every frame at its\ntime, sound and picture together, and all that is served right by the \
           rules of HLS. What comes live is looked at all\nthe time that it lives, and again as the recording that it \
           leaves. Its DASH manifest, where that has one period, has\nbrought the same frames and the same sound to a \
           player; where it has more, each stands where HLS has a discontinuity.\nThe tests write these tables.\n",
    sections: &["Ways in", "Pictures", "Frame rates", "Sound", "Clocks", "Contents", "Codecs", "Ladders", "Length"],
};

/// All pages.
const PAGES: &[Page] = &[MATRIX, REFUSALS, OUTPUTS];

/// What is refused, and how.
pub(crate) const REFUSALS: Page = Page {
    path: "docs/refusals.md",
    head: "# What is refused\n\nEvery error of the API is `{code, message, hint}` with a status. What is only seen to \
           be of no use when it is read, or\nfetched, makes its stream `failed` with a reason. The tests ask for all of \
           this and write these tables.\n",
    sections: &["Requests", "Events and pages", "Moderation", "Catalogues", "Files", "Files by URL", "HLS by URL"],
};

impl Page {
    fn file(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(self.path)
    }

    /// The page's sections as they stand, by name.
    fn read(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.file()).unwrap_or_default();
        let sections = text.split("\n## ").skip(1);
        sections
            .filter_map(|section| section.split_once("\n\n"))
            .map(|(name, rows)| (name.into(), rows.into()))
            .collect()
    }

    /// Compares the section `name` with what was seen, or writes it.
    #[track_caller]
    pub(crate) fn tell(&self, name: &str, columns: &[&str], rows: &[Vec<String>]) {
        assert!(self.sections.contains(&name), "{} has no section {name:?}", self.path);
        let table = table(columns, rows.iter().map(|row| line(row)));
        println!("{table}");
        if env::var_os("MILLRACE_BLESS").is_some() {
            self.write(name, |_| table.clone());
        }
        let told = self.section(name);
        assert_eq!(
            told.trim_end(),
            table.trim_end(),
            "{} does not say what came out: run with MILLRACE_BLESS=1, and read what changed",
            self.path
        );
    }

    /// Compares `rows`, some of a section that several tests tell, with what was seen, or writes them.
    #[track_caller]
    pub(crate) fn tell_rows(&self, section: &Shared, rows: &[Vec<String>]) {
        let lines: Vec<_> = rows.iter().map(|row| line(row)).collect();
        println!("{}", lines.concat());
        for (row, line) in rows.iter().zip(&lines) {
            let known = section.keys.iter().any(|key| line.starts_with(&start(key)));
            assert!(known && row.len() == section.columns.len(), "{} has no row {row:?}", self.path);
        }
        if env::var_os("MILLRACE_BLESS").is_some() {
            self.write(section.name, |before| {
                // This test's rows before those that others told.
                let all: Vec<_> = lines.iter().map(String::as_str).chain(before.split_inclusive('\n')).collect();
                let of = |key: &[&str; 2]| all.iter().find(|line| line.starts_with(&start(key))).copied();
                table(section.columns, section.keys.iter().filter_map(of))
            });
        }
        let told = self.section(section.name) + "\n";
        for line in lines {
            assert!(
                told.contains(&line),
                "{} does not say what came out: run with MILLRACE_BLESS=1, and read what changed; it came to\n{line}",
                self.path
            );
        }
    }

    /// Waits until each of `streams` has failed with a reason that says what it must, and tells the reasons.
    #[track_caller]
    pub(crate) fn tell_failures(&self, name: &str, house: &House, streams: &[(Stream, &str, &str)]) {
        let mut rows = Vec::new();
        for (stream, what, why) in streams {
            let reason = house.api.until(stream, StreamState::Failed, s(60)).reason.unwrap_or_default();
            assert!(!reason.is_empty() && reason.contains(why), "{what}: {reason:?} does not say {why:?}");
            rows.push(vec![(*what).to_owned(), reason]);
        }
        self.tell(name, &["what comes", "reason of the failed stream"], &rows);
    }

    /// The table of the section `name` as it stands.
    fn section(&self, name: &str) -> String {
        self.read().into_iter().find(|(known, _)| known == name).map(|(_, table)| table).unwrap_or_default()
    }

    /// Writes what `change` makes of the section `name`.
    fn write(&self, name: &str, change: impl FnOnce(&str) -> String) {
        // Other tests may write their sections just now. The lock goes with the file.
        let lock = Path::new(env!("CARGO_TARGET_TMPDIR")).join("table.lock");
        let lock = File::create(lock).expect("the lock can be made");
        lock.lock().expect("the lock can be had");
        let table = change(&self.section(name));
        let mut known = self.read();
        known.retain(|(other, _)| other != name && self.sections.contains(&other.as_str()));
        known.push((name.to_owned(), table));
        known.sort_by_key(|(name, _)| self.sections.iter().position(|section| section == name));
        let sections = known.iter().map(|(name, rows)| format!("\n## {name}\n\n{}\n", rows.trim_end()));
        let page = format!("{}{}", self.head, sections.collect::<String>());
        fs::write(self.file(), page).expect("the page can be written");
    }
}

/// A row as text.
fn line(row: &[String]) -> String {
    format!("| {} |\n", row.join(" | "))
}

/// How the row with this key starts.
fn start(key: &[&str; 2]) -> String {
    format!("| {} | {} |", key[0], key[1])
}

fn table<T: AsRef<str>>(columns: &[&str], lines: impl Iterator<Item = T>) -> String {
    let mut table = format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    lines.for_each(|line| table += line.as_ref());
    table
}

#[test]
fn pages_hold_what_the_tests_write_and_nothing_else() {
    for page in PAGES {
        let text = fs::read_to_string(page.file()).expect("the page is there");
        assert!(
            text.starts_with(page.head),
            "the head of {} is another: run its tests with MILLRACE_BLESS=1",
            page.path
        );
        let names: Vec<_> = page.read().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, page.sections, "sections of {}", page.path);
    }
    for section in SHARED {
        let text = OUTPUTS.section(section.name);
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(lines.len(), section.keys.len(), "rows of {}", section.name);
        for (line, key) in lines.iter().zip(section.keys) {
            assert!(line.starts_with(&start(key)), "{line:?} stands where {key:?} is told");
        }
    }
}
