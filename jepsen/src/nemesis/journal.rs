//! What a nemesis did: a line for each fault, and the sum of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Effect, Fault, Kind, NotDone};
use crate::lab::LabError;

/// One fault, as it happened. Times are nanoseconds since the run began, by the history's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The class that it is of.
    pub kind: Kind,
    /// What was broken.
    pub fault: Fault,
    /// Who led before.
    pub leader: Option<usize>,
    /// The nodes that were meant.
    pub nodes: Vec<usize>,
    /// When the breaking began.
    pub began: u64,
    /// When it was done.
    pub broken: u64,
    /// What became of it: `done`, or why it did not take effect.
    pub effect: String,
    /// When the mending began.
    pub mending: u64,
    /// When it was done.
    pub mended: u64,
    /// What became of the mending.
    pub mending_effect: String,
}

/// What an effect is called in the journal.
pub(super) const DONE: &str = "done";

/// What became of the faults of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many were to happen.
    pub planned: usize,
    /// How many did.
    pub happened: usize,
    /// How many the system refused, or did not show.
    pub refused: usize,
    /// How many this cluster cannot have.
    pub impossible: usize,
}

/// What became of all faults of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// By kind, every one that was wanted.
    pub tallies: BTreeMap<Kind, Tally>,
    /// Where the lab itself failed, or a mending did.
    pub failures: Vec<String>,
    /// The nodes that were down when all was mended, though no fault explained it.
    pub down: Vec<usize>,
}

impl Report {
    /// The kinds that were wanted and never happened.
    pub fn missing(&self) -> Vec<Kind> {
        let never = self.tallies.iter().filter(|(_, tally)| tally.happened == 0);
        never.map(|(kind, _)| *kind).collect()
    }

    /// Why the run has failed whatever its history says: wanted faults that never happened, or a
    /// lab that broke. None if it has not.
    pub fn failure(&self) -> Option<String> {
        let missing: Vec<&str> = self.missing().into_iter().map(Kind::name).collect();
        let mut why = self.failures.clone();
        if !missing.is_empty() {
            why.push(format!("never happened: {}", missing.join(", ")));
        }
        (!why.is_empty()).then(|| why.join("; "))
    }

    pub(super) fn count(&mut self, kind: Kind, effect: &Effect) {
        let tally = self.tallies.entry(kind).or_default();
        match effect {
            Ok(()) => tally.happened += 1,
            Err(NotDone::Refused(_)) => tally.refused += 1,
            Err(NotDone::Impossible) => tally.impossible += 1,
            Err(NotDone::Lab(error)) => self.failures.push(format!("{}: {error}", kind.name())),
        }
    }
}

/// The file that entries go to, a line each.
pub(super) struct Journal(File);

impl Journal {
    pub(super) fn create(file: &Path) -> Result<Self, LabError> {
        File::create(file).map(Self).map_err(|error| LabError::new(file.display(), error))
    }

    /// Writes an entry at once: what a run that is killed did must be there.
    pub(super) fn write(&mut self, entry: &Entry) -> Result<(), LabError> {
        let failed = |error: &dyn std::error::Error| LabError::new("the journal", error);
        let line = serde_json::to_string(entry).map_err(|error| failed(&error))?;
        self.0.write_all((line + "\n").as_bytes()).map_err(|error| failed(&error))
    }
}
