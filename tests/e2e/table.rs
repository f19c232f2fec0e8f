//! Pages of docs/ that tests write: each section is what one test saw. `MILLRACE_BLESS=1` writes it anew; without, a
//! section that says something else than the test saw fails it. Called by the tests that have something to tell.

use std::{
    env,
    fmt::Write,
    fs::{self, File},
    path::{Path, PathBuf},
};

use millrace_proto::api::{Stream, StreamState};

use crate::{house::House, wait::s};

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
const PAGES: &[Page] = &[MATRIX, REFUSALS];

/// What is refused, and how.
pub(crate) const REFUSALS: Page = Page {
    path: "docs/refusals.md",
    head: "# What is refused\n\nEvery error of the API is `{code, message, hint}` with a status. What is only seen to \
           be of no use when it is read, or\nfetched, makes its stream `failed` with a reason. The tests ask for all of \
           this and write these tables.\n",
    sections: &["Requests", "Files", "Files by URL", "HLS by URL"],
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
        let mut table = format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
        for row in rows {
            writeln!(table, "| {} |", row.join(" | ")).expect("it is text");
        }
        println!("{table}");
        if env::var_os("MILLRACE_BLESS").is_some() {
            self.write(name, &table);
        }
        let told = self.read().into_iter().find(|(known, _)| known == name).map(|(_, rows)| rows);
        let told = told.unwrap_or_default();
        assert_eq!(
            told.trim_end(),
            table.trim_end(),
            "{} does not say what came out: run with MILLRACE_BLESS=1, and read what changed",
            self.path
        );
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

    fn write(&self, name: &str, table: &str) {
        // Other tests may write their sections just now. The lock goes with the file.
        let lock = Path::new(env!("CARGO_TARGET_TMPDIR")).join("table.lock");
        let lock = File::create(lock).expect("the lock can be made");
        lock.lock().expect("the lock can be had");
        let mut known = self.read();
        known.retain(|(other, _)| other != name && self.sections.contains(&other.as_str()));
        known.push((name.to_owned(), table.to_owned()));
        known.sort_by_key(|(name, _)| self.sections.iter().position(|section| section == name));
        let sections = known.iter().map(|(name, rows)| format!("\n## {name}\n\n{}\n", rows.trim_end()));
        let page = format!("{}{}", self.head, sections.collect::<String>());
        fs::write(self.file(), page).expect("the page can be written");
    }
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
}
