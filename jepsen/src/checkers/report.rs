//! Collects what a checker finds, keeps the earliest, and makes a verdict of it.

use super::verdict::{Finding, Verdict};
use crate::history::Op;

/// Findings that a verdict shows.
const SHOWN_MAX: usize = 100;
/// Findings kept before the later ones are dropped: bounds the memory of a hopeless history.
const KEPT_MAX: usize = 2_000;

/// What was found so far.
pub(super) struct Findings<'a> {
    ops: &'a [Op],
    found: Vec<Raw>,
}

/// A finding whose operations are still places in the history.
struct Raw {
    at: u64,
    what: String,
    ops: Vec<usize>,
}

impl<'a> Findings<'a> {
    /// Nothing found yet in `ops`.
    pub(super) fn new(ops: &'a [Op]) -> Self {
        Self { ops, found: Vec::new() }
    }

    /// One more thing is wrong, shown by the operations at these places.
    pub(super) fn say(&mut self, what: String, places: &[usize]) {
        let mut ops = places.to_vec();
        ops.sort_unstable_by_key(|&at| (self.ops[at].called, at));
        ops.dedup();
        let at = ops.iter().map(|&at| self.ops[at].called).max().unwrap_or(0);
        self.found.push(Raw { at, what, ops });
        if self.found.len() > KEPT_MAX {
            self.found.sort_by_key(|raw| raw.at);
            self.found.truncate(SHOWN_MAX);
        }
    }

    /// The verdict, where `judged` answers were looked at: none is too few.
    pub(super) fn verdict(mut self, judged: usize) -> Verdict {
        if judged == 0 && self.found.is_empty() {
            return Verdict::Unknown { why: "there was nothing to judge".to_owned() };
        }
        if self.found.is_empty() {
            return Verdict::Valid;
        }
        self.found.sort_by_key(|raw| raw.at);
        self.found.truncate(SHOWN_MAX);
        let ops = self.ops;
        let whole = |raw: Raw| Finding {
            what: raw.what,
            ops: raw.ops.into_iter().map(|at| ops[at].clone()).collect(),
        };
        Verdict::Invalid { findings: self.found.into_iter().map(whole).collect() }
    }
}
