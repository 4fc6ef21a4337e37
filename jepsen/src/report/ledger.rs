//! The ledger of many runs: a line of JSON each, which any later run continues.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::run::Settings;

use super::date;
use super::summary::{Summary, Word};

/// One run of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its seed; the next run has the next one.
    pub seed: u64,
    /// Which system.
    pub target: String,
    /// How many nodes.
    pub nodes: u8,
    /// What the clients did.
    pub workload: String,
    /// What was broken.
    pub nemesis: String,
    /// How long things were broken, in seconds.
    pub seconds: u64,
    /// Operations, all of them judged.
    pub operations: u64,
    /// How many of them were acknowledged.
    pub acknowledged: u64,
    /// Faults that took effect.
    pub faults: u64,
    /// The verdict.
    pub verdict: Word,
    /// When it ended, in universal time.
    pub date: String,
}

/// A file of entries.
#[derive(Debug)]
pub struct Ledger {
    file: PathBuf,
    entries: Vec<Entry>,
}

/// The sums of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// By workload: runs, operations, faults, and runs that were not valid.
    pub workloads: BTreeMap<String, Row>,
    /// The seeds that were not valid, with their workloads.
    pub failures: Vec<(u64, String, Word)>,
}

/// A row of the sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Runs.
    pub runs: u64,
    /// Operations, all of them judged.
    pub operations: u64,
    /// Faults that took effect.
    pub faults: u64,
    /// Runs that were not valid.
    pub failed: u64,
}

impl Entry {
    /// The line of a run that has just ended.
    pub fn new(settings: &Settings, summary: &Summary) -> Self {
        Self {
            seed: settings.seed,
            target: settings.target.name().to_owned(),
            nodes: settings.nodes,
            workload: settings.workload.name().to_owned(),
            nemesis: settings.nemesis_text(),
            seconds: settings.time.as_secs(),
            operations: summary.figures.operations,
            acknowledged: summary.figures.acknowledged,
            faults: summary.faults_happened(),
            verdict: summary.verdict,
            date: date::now(),
        }
    }
}

impl Ledger {
    /// Opens a ledger, or begins one.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or a line of it is none: a torn last line is named as any other.
    pub fn open(file: &Path) -> anyhow::Result<Self> {
        let mut entries = Vec::new();
        if file.exists() {
            let input = File::open(file).with_context(|| file.display().to_string())?;
            for (at, line) in BufReader::new(input).lines().enumerate() {
                let entry = serde_json::from_str(&line?);
                entries.push(entry.with_context(|| format!("{}:{}", file.display(), at + 1))?);
            }
        }
        Ok(Self { file: file.to_owned(), entries })
    }

    /// The seed after the highest one there is; 1 in an empty ledger.
    pub fn next_seed(&self) -> u64 {
        self.entries.iter().map(|entry| entry.seed).max().unwrap_or_default() + 1
    }

    /// Adds a line, on the disk as well.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn add(&mut self, entry: Entry) -> anyhow::Result<()> {
        let mut out = OpenOptions::new().create(true).append(true).open(&self.file)?;
        out.write_all((serde_json::to_string(&entry)? + "\n").as_bytes())?;
        out.sync_data()?;
        self.entries.push(entry);
        Ok(())
    }

    /// Its sums.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for entry in &self.entries {
            let row = sums.workloads.entry(entry.workload.clone()).or_default();
            row.runs += 1;
            row.operations += entry.operations;
            row.faults += entry.faults;
            if entry.verdict != Word::Valid {
                row.failed += 1;
                sums.failures.push((entry.seed, entry.workload.clone(), entry.verdict));
            }
        }
        sums
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "| workload | runs | operations judged | faults | not valid |")?;
        writeln!(out, "|---|---|---|---|---|")?;
        let mut all = Row::default();
        for (name, row) in &self.workloads {
            writeln!(out, "{}", line(name, row))?;
            all.runs += row.runs;
            all.operations += row.operations;
            all.faults += row.faults;
            all.failed += row.failed;
        }
        writeln!(out, "{}", line("all", &all))?;
        for (seed, workload, verdict) in &self.failures {
            writeln!(out, "seed {seed}, {workload}: {verdict}")?;
        }
        Ok(())
    }
}

fn line(name: &str, row: &Row) -> String {
    let Row { runs, operations, faults, failed } = row;
    format!("| {name} | {runs} | {operations} | {faults} | {failed} |")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seed: u64, verdict: Word) -> Entry {
        Entry {
            seed,
            target: "ours".into(),
            nodes: 3,
            workload: "kv".into(),
            nemesis: "kill".into(),
            seconds: 10,
            operations: 100,
            acknowledged: 90,
            faults: 2,
            verdict,
            date: "2026-11-29T07:00:00Z".into(),
        }
    }

    #[test]
    fn a_ledger_goes_on_where_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger.jsonl");
        let mut ledger = Ledger::open(&file).unwrap();
        assert_eq!(ledger.next_seed(), 1);
        ledger.add(entry(1, Word::Valid)).unwrap();
        ledger.add(entry(2, Word::Unknown)).unwrap();
        let again = Ledger::open(&file).unwrap();
        assert_eq!(again.next_seed(), 3);
        let sums = again.sums();
        assert_eq!(sums.workloads["kv"], Row { runs: 2, operations: 200, faults: 4, failed: 1 });
        assert_eq!(sums.failures, [(2, "kv".to_owned(), Word::Unknown)]);
        std::fs::write(&file, "{").unwrap();
        assert!(Ledger::open(&file).unwrap_err().to_string().ends_with("ledger.jsonl:1"));
    }
}
