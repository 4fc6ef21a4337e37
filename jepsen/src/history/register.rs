//! A key-value history as operations on single registers: what Knossos and Wing-Gong-Lowe judge.
//! Revisions serve as names of values only: what a conditional write compares with is the value
//! that this revision was seen with.

use std::collections::BTreeMap;

use super::op::{Action, Answer, Condition, Op, Outcome, Write};

/// What an operation asked of one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It was read; what was seen (`None` in an unknown one).
    Read(Option<u64>),
    /// It was written; `None`: deleted.
    Write(Option<u64>),
    /// It was written if it had the first value.
    Cas(Option<u64>, Option<u64>),
}

/// How an operation on a register ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As asked.
    Done,
    /// The compared value was another.
    Refused,
    /// It was surely not done.
    NotDone,
    /// It may have been done.
    Unknown,
}

/// One operation on one register.
#[derive(Clone, Debug)]
pub struct Access<'a> {
    /// Its place in the history.
    pub op: usize,
    /// The register.
    pub key: &'a str,
    /// What was asked.
    pub step: Step,
    /// How it ended.
    pub end: End,
}

/// All operations on single keys, and each write of each transaction, in the order of the
/// history. A refused transaction of several writes says nothing of any one key and is left out;
/// so are scans. A conditional write whose revision nobody was shown counts as not conditional
/// if it was done, and is left out if it was refused.
pub fn accesses(ops: &[Op]) -> Vec<Access<'_>> {
    let names = names(ops);
    let mut all = Vec::new();
    for (op, what) in ops.iter().enumerate() {
        let end = match &what.outcome {
            Outcome::Done(Answer::Refused { .. }) => End::Refused,
            Outcome::Done(_) => End::Done,
            Outcome::NotDone { .. } => End::NotDone,
            Outcome::Unknown { .. } => End::Unknown,
        };
        match (&what.action, &what.outcome) {
            (Action::Read { key, .. }, Outcome::Done(Answer::Value { value, .. })) => {
                all.push(Access { op, key, step: Step::Read(*value), end });
            }
            (Action::Read { key, .. }, _) => {
                all.push(Access { op, key, step: Step::Read(None), end });
            }
            (Action::Write(write), _) => all.extend(access(op, write, end, &names)),
            (Action::Transaction { writes }, _) if writes.len() == 1 || end != End::Refused => {
                all.extend(writes.iter().filter_map(|write| access(op, write, end, &names)));
            }
            _ => {}
        }
    }
    all
}

type Names<'a> = BTreeMap<(&'a str, u64), u64>;

fn access<'a>(op: usize, write: &'a Write, end: End, names: &Names<'_>) -> Option<Access<'a>> {
    let step = match write.condition {
        Condition::Always => Step::Write(write.value),
        Condition::Absent | Condition::Unchanged(0) => Step::Cas(None, write.value),
        Condition::Unchanged(revision) => match names.get(&(write.key.as_str(), revision)) {
            Some(value) => Step::Cas(Some(*value), write.value),
            None if end == End::Refused => return None,
            None => Step::Write(write.value),
        },
    };
    Some(Access { op, key: &write.key, step, end })
}

/// By key and revision: the value that it names.
fn names(ops: &[Op]) -> Names<'_> {
    let mut names = Names::new();
    for op in ops {
        let Outcome::Done(answer) = &op.outcome else { continue };
        let mut name = |key, value: Option<u64>, revision| {
            if let Some(value) = value {
                names.insert((key, revision), value);
            }
        };
        match (&op.action, answer) {
            (
                Action::Read { key, .. } | Action::Watch { key, .. },
                Answer::Value { value, revision, .. },
            ) => {
                name(key.as_str(), *value, *revision);
            }
            (Action::Write(write), Answer::Written { revision: Some(revision) }) => {
                name(&write.key, write.value, *revision);
            }
            (Action::Transaction { writes }, Answer::Written { revision: Some(revision) }) => {
                for write in writes {
                    name(&write.key, write.value, *revision);
                }
            }
            (Action::Scan { .. }, Answer::Values { values, .. }) => {
                for (key, (value, revision)) in values {
                    name(key, Some(*value), *revision);
                }
            }
            _ => {}
        }
    }
    names
}
