//! What was measured, as Markdown, as JSON, and in benches/README.md between the marks that stand there for it.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

/// What one measurement found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    aims: Vec<Aim>,
    /// How it was measured, in sentences.
    remarks: Vec<String>,
}

/// What was wanted, and what was found.
#[derive(Debug, Serialize)]
struct Aim {
    what: String,
    limit: f64,
    at_least: bool,
    measured: f64,
    /// The lowest and the highest of the rounds.
    spread: (f64, f64),
}

impl Aim {
    fn is_met(&self) -> bool {
        if self.at_least { self.measured >= self.limit } else { self.measured <= self.limit }
    }
}

impl Table {
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(ToString::to_string).collect(), ..Self::default() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let row: Vec<String> = cells.into_iter().map(Into::into).collect();
        assert_eq!(row.len(), self.columns.len(), "{row:?}");
        self.rows.push(row);
    }

    pub(crate) fn remark(&mut self, text: impl Into<String>) {
        self.remarks.push(text.into());
    }

    /// `values` are those of each round.
    pub(crate) fn at_least(&mut self, what: &str, limit: f64, values: &[f64]) {
        self.aim(what, limit, true, values);
    }

    /// As [`Table::at_least`].
    pub(crate) fn at_most(&mut self, what: &str, limit: f64, values: &[f64]) {
        self.aim(what, limit, false, values);
    }

    fn aim(&mut self, what: &str, limit: f64, at_least: bool, values: &[f64]) {
        let spread = crate::measure::spread(values);
        let measured = crate::measure::median(values);
        self.aims.push(Aim { what: what.into(), limit, at_least, measured, spread });
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        text += &line(&self.columns);
        text += &line(&vec!["---".to_owned(); self.columns.len()]);
        for row in &self.rows {
            text += &line(row);
        }
        if !self.aims.is_empty() {
            text += "\n| aim | limit | measured (lowest to highest round) | |\n| --- | --- | --- | --- |\n";
        }
        for aim in &self.aims {
            let word = if aim.at_least { "at least" } else { "at most" };
            let met = if aim.is_met() { "met" } else { "**missed**" };
            let (Aim { what, limit, measured, .. }, (low, high)) = (aim, aim.spread);
            writeln!(text, "| {what} | {word} {limit} | {measured:.2} ({low:.2} to {high:.2}) | {met} |")
                .expect("writing to memory works");
        }
        if !self.remarks.is_empty() {
            writeln!(text, "\n{}", self.remarks.join(" ")).expect("writing to memory works");
        }
        text
    }

    pub(crate) fn json(&self, name: &str) -> String {
        serde_json::json!({"name": name, "result": self}).to_string()
    }
}

/// Replaces what stands between the marks of `name` in benches/README.md.
pub(crate) fn write(name: &str, table: &Table, machine: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(&path).context("reading benches/README.md")?;
    let (open, close) = (format!("<!-- measured: {name} -->\n"), "<!-- end -->");
    let (before, rest) = text.split_once(&open).with_context(|| format!("benches/README.md has no {open:?}"))?;
    let (_, after) = rest.split_once(close).with_context(|| format!("no {close:?} follows {open:?}"))?;
    let text = format!("{before}{open}{machine}\n\n{}{close}{after}", table.markdown());
    fs::write(&path, text).context("writing benches/README.md")
}
