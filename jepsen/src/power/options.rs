//! What is asked of a run of power cuts, and what it says.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::lab::disk::Loss;
use crate::random::Random;

/// Whose servers lose their power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum System {
    /// Portolan.
    Ours,
    /// etcd.
    Etcd,
}

/// What a cut leaves of what was not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nothing.
    Drop,
    /// Some sectors of each write.
    Torn,
    /// Some writes, each as a whole.
    Subset,
    /// One of the three, another one each time.
    Mixed,
}

impl Mode {
    /// The mode of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "drop" => Some(Self::Drop),
            "torn" => Some(Self::Torn),
            "subset" => Some(Self::Subset),
            "mixed" => Some(Self::Mixed),
            _ => None,
        }
    }

    pub(super) fn loss(self, random: &mut Random) -> Loss {
        match self {
            Self::Drop => Loss::Drop,
            Self::Torn => Loss::Torn,
            Self::Subset => Loss::Subset,
            Self::Mixed => [Loss::Drop, Loss::Torn, Loss::Subset][random.place(3)],
        }
    }
}

/// What is made wrong on purpose: with any of these a run must find something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Nothing is.
    Honest,
    /// The disks answer flushes and do not flush.
    DiskLies,
    /// The servers do not ask for flushes (etcd's `--unsafe-no-fsync`).
    NoSync,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Whose servers.
    pub system: System,
    /// The program that they run.
    pub program: PathBuf,
    /// How many servers: 1 to 7.
    pub nodes: u8,
    /// How many times the power is cut.
    pub cuts: u32,
    /// What a cut leaves.
    pub mode: Mode,
    /// What the moments, victims and losses follow from.
    pub seed: u64,
    /// What is wrong on purpose.
    pub control: Control,
    /// Where logs and points of mounting go; made if it is not there.
    pub folder: PathBuf,
}

/// What a run of power cuts found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Cuts that were done and looked at.
    pub cuts: u32,
    /// Those of them that took the power of all servers at once.
    pub cuts_of_all: u32,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes of unknown outcome, and how many of them were there.
    pub unknown: u64,
    /// See above.
    pub unknown_there: u64,
    /// Writes that had reached a disk's cache and were not flushed when its power went.
    pub unflushed: u64,
    /// Sectors of those, and how many the cuts left on the disk.
    pub sectors: u64,
    /// See above.
    pub sectors_kept: u64,
    /// What was wrong, at most a hundred things. Empty: the promise was kept.
    pub findings: Vec<String>,
    /// Longest time from the start of the servers until one of them took a write, in milliseconds.
    pub longest_recovery_ms: u64,
    /// How long the whole run took, in milliseconds.
    pub took_ms: u64,
}

impl Report {
    /// Whether all that was promised was kept, and there was something to keep.
    pub fn is_valid(&self) -> bool {
        self.findings.is_empty() && self.cuts > 0 && self.acknowledged > 0
    }
}
