//! Raft's configurations as the servers tell them.
//!
//! Rule: one index is one configuration. A current read never shows an older one than a read
//! that returned before. Only those become voters, or cease to be, of whom an operator asked it,
//! and between two adjacent indexes at most one comes and one goes. There is always a voter. Who was removed
//! is not shown as a voter again, unless he was added again.
//!
//! Sources: Ongaro's thesis, chapter 4 (2014), and the bug in single-server changes (2015).

use std::collections::{BTreeMap, BTreeSet};

use super::report::Findings;
use super::verdict::Verdict;
use crate::history::{Action, Answer, Level, Op, Outcome};

/// One change that an operator asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Name of the server.
    pub name: String,
    /// Whether it was added as a voter, else removed.
    pub added: bool,
    /// When it was asked for, in nanoseconds.
    pub called: u64,
    /// When it was acknowledged; `None`: nobody knows whether it happened.
    pub returned: Option<u64>,
}

/// What is promised, and what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Levels whose reads must be current.
    pub linearizable: Vec<Level>,
    /// The first voters.
    pub initial: Vec<String>,
    /// What the operator asked for; empty: nobody may change anything.
    pub changes: Vec<Change>,
}

impl Default for Options {
    /// Strong reads are current; no servers and no changes.
    fn default() -> Self {
        Self { linearizable: vec![Level::Strong], initial: Vec::new(), changes: Vec::new() }
    }
}

struct Seen<'a> {
    at: usize,
    index: Option<u64>,
    voters: BTreeSet<&'a str>,
    current: bool,
}

/// Judges [`Action::Members`]. Without any answer the verdict is [`Verdict::Unknown`].
pub fn check(ops: &[Op], options: &Options) -> Verdict {
    let mut findings = Findings::new(ops);
    let all = gather(ops, options);
    for seen in &all {
        if seen.voters.is_empty() {
            findings.say("a configuration has no voter".to_owned(), &[seen.at]);
        }
        for name in &seen.voters {
            if let Some(wrong) = foreign(&ops[seen.at], name, seen.current, options) {
                findings.say(format!("{name} is shown as a voter: {wrong}"), &[seen.at]);
            }
        }
    }
    one_for_each_index(&all, &mut findings);
    never_back(ops, &all, &mut findings);
    steps(ops, &all, options, &mut findings);
    findings.verdict(all.len())
}

fn gather<'a>(ops: &'a [Op], options: &Options) -> Vec<Seen<'a>> {
    let mut all = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        let Action::Members { level } = &op.action else { continue };
        let Outcome::Done(Answer::Membership { index, voters, .. }) = &op.outcome else { continue };
        all.push(Seen {
            at,
            index: *index,
            voters: voters.iter().map(String::as_str).collect(),
            current: options.linearizable.contains(level),
        });
    }
    all
}

/// Why a server cannot be a voter then.
fn foreign(op: &Op, name: &str, current: bool, options: &Options) -> Option<&'static str> {
    let own = || options.changes.iter().filter(|change| change.name == name);
    let initial = options.initial.iter().any(|other| other == name);
    let added = own().any(|change| change.added && change.called < op.returned);
    if !initial && !added {
        return Some("nobody added it");
    }
    let removals = own().filter(|change| !change.added);
    let mut removed = removals.filter_map(|change| change.returned.filter(|at| *at < op.called));
    let again = |removed: u64| {
        own().any(|change| {
            let late = change.returned.is_none_or(|returned| returned > removed);
            change.added && change.called < op.returned && late
        })
    };
    (current && removed.any(|removed| !again(removed))).then_some("it was removed before")
}

fn one_for_each_index(all: &[Seen<'_>], findings: &mut Findings<'_>) {
    let mut first: BTreeMap<u64, &Seen<'_>> = BTreeMap::new();
    for seen in all {
        let Some(index) = seen.index else { continue };
        let other = first.entry(index).or_insert(seen);
        if other.voters != seen.voters {
            let what = format!("two configurations have the index {index}");
            findings.say(what, &[other.at, seen.at]);
        }
    }
}

fn never_back(ops: &[Op], all: &[Seen<'_>], findings: &mut Findings<'_>) {
    let indexed = || all.iter().filter_map(|seen| seen.index.map(|index| (seen, index)));
    let mut known: Vec<(u64, u64, usize)> =
        indexed().map(|(seen, index)| (ops[seen.at].returned, index, seen.at)).collect();
    known.sort_unstable();
    let mut highest = (0, 0);
    for (_, index, at) in &mut known {
        highest = highest.max((*index, *at));
        (*index, *at) = highest;
    }
    for (seen, index) in indexed().filter(|(seen, _)| seen.current) {
        let before = known.partition_point(|(time, ..)| *time < ops[seen.at].called);
        if before > 0 && known[before - 1].1 > index {
            let (_, high, by) = known[before - 1];
            let what = format!("a configuration of index {index} is shown after {high}");
            findings.say(what, &[by, seen.at]);
        }
    }
}

/// Each configuration differs from the one before by what was asked for, and by no more.
fn steps(ops: &[Op], all: &[Seen<'_>], options: &Options, findings: &mut Findings<'_>) {
    let mut chain: BTreeMap<u64, &Seen<'_>> = BTreeMap::new();
    for seen in all {
        let Some(index) = seen.index else { continue };
        let first = chain.entry(index).or_insert(seen);
        if ops[seen.at].returned < ops[first.at].returned {
            *first = seen;
        }
    }
    let mut before: Option<&Seen<'_>> = None;
    for seen in chain.into_values() {
        let Some(last) = before.replace(seen) else { continue };
        for (added, from, to) in [(false, last, seen), (true, seen, last)] {
            let asked = |name: &&&str| {
                options.changes.iter().any(|change| {
                    change.name == **name
                        && change.added == added
                        && change.called < ops[seen.at].returned
                })
            };
            for name in from.voters.difference(&to.voters).filter(|name| !asked(name)) {
                let what = format!("voter {name} changed, and nobody asked for that");
                findings.say(what, &[last.at, seen.at]);
            }
        }
        let came = seen.voters.difference(&last.voters).count();
        let went = last.voters.difference(&seen.voters).count();
        let adjacent = seen.index.is_some_and(|index| last.index == Some(index - 1));
        if adjacent && came.max(went) > 1 {
            let what = format!("{came} voters came and {went} went in one step");
            findings.say(what, &[last.at, seen.at]);
        }
    }
}
