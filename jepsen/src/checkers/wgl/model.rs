//! Histories as calls on registers, and the verdict of the search.

use std::collections::{BTreeMap, BTreeSet};

use super::super::report::Findings;
use super::super::verdict::Verdict;
use super::search::{Call, Deed, Said, search};
use crate::history::{Access, Action, End, Level, Op, Step, accesses};

/// Operations that a finding shows beside the one that could not be placed.
const NEIGHBOURS_MAX: usize = 12;

/// What is promised, and how long the search may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Levels whose reads must be linearizable; the others are passed over.
    pub linearizable: Vec<Level>,
    /// Steps of the search for each key; more than that is [`Verdict::Unknown`].
    pub budget: u64,
}

impl Default for Options {
    /// Default and strong reads; five million steps, a few seconds, a key.
    fn default() -> Self {
        Self { linearizable: vec![Level::Default, Level::Strong], budget: 5_000_000 }
    }
}

/// Judges reads and writes of single keys, without their revisions. A violation on any key
/// outweighs an exceeded budget on another; no read or write at all is [`Verdict::Unknown`].
pub fn check(ops: &[Op], options: &Options) -> Verdict {
    let all = accesses(ops);
    let mut keys: BTreeMap<&str, Vec<&Access<'_>>> = BTreeMap::new();
    for access in &all {
        if judged(&ops[access.op], access, options) {
            keys.entry(access.key).or_default().push(access);
        }
    }
    let mut findings = Findings::new(ops);
    let mut too_long = None;
    let mut count = 0;
    for (key, accesses) in keys {
        let accesses = needed(accesses);
        let calls: Vec<Call> = accesses.iter().map(|access| call(ops, access)).collect();
        count += calls.iter().filter(|call| call.returned.is_some()).count();
        match search(&calls, options.budget) {
            Said::Order => {}
            Said::None(stuck) => {
                let places = neighbours(ops, &accesses, stuck);
                findings.say(format!("no order explains what key {key} showed"), &places);
            }
            Said::TooLong => too_long = Some(key),
        }
    }
    match (findings.verdict(count), too_long) {
        (Verdict::Valid, Some(key)) => {
            let why = format!("no order was found for key {key} within {} steps", options.budget);
            Verdict::Unknown { why }
        }
        (verdict, _) => verdict,
    }
}

fn judged(op: &Op, access: &Access<'_>, options: &Options) -> bool {
    match (&op.action, access.end) {
        (_, End::NotDone) => false,
        // Nothing was compared, so it says nothing but that the write did not happen.
        _ if matches!((access.step, access.end), (Step::Write(_), End::Refused)) => false,
        (Action::Read { level, .. }, end) => {
            end == End::Done && options.linearizable.contains(level)
        }
        _ => true,
    }
}

/// Leaves out unknown writes of values that nobody saw or compared with: they can only matter
/// where a refusal must be explained.
fn needed<'a>(mut accesses: Vec<&'a Access<'a>>) -> Vec<&'a Access<'a>> {
    if accesses.iter().any(|access| access.end == End::Refused) {
        return accesses;
    }
    let used: BTreeSet<u64> = accesses.iter().filter_map(|access| used(access.step)).collect();
    accesses.retain(|access| match (access.end, access.step) {
        (End::Unknown, Step::Write(Some(value)) | Step::Cas(_, Some(value))) => {
            used.contains(&value)
        }
        _ => true,
    });
    accesses
}

fn used(step: Step) -> Option<u64> {
    match step {
        Step::Read(value) | Step::Cas(value, _) => value,
        Step::Write(_) => None,
    }
}

fn call(ops: &[Op], access: &Access<'_>) -> Call {
    let op = &ops[access.op];
    let deed = match (access.step, access.end) {
        (Step::Read(value), _) => Deed::Read(value),
        (Step::Write(value), _) => Deed::Write(value),
        (Step::Cas(from, _), End::Refused) => Deed::Differs(from),
        (Step::Cas(from, to), End::Unknown) => Deed::MaySwap(from, to),
        (Step::Cas(from, to), _) => Deed::Swap(from, to),
    };
    let returned = (access.end != End::Unknown).then_some(op.returned);
    Call { called: op.called, returned, deed }
}

/// The operation that could not be placed, and those that were under way with it.
fn neighbours(ops: &[Op], accesses: &[&Access<'_>], stuck: usize) -> Vec<usize> {
    let centre = &ops[accesses[stuck].op];
    let mut places = vec![accesses[stuck].op];
    let near = accesses.iter().filter(|access| {
        let op = &ops[access.op];
        op.called <= centre.returned && op.returned >= centre.called
    });
    places.extend(near.take(NEIGHBOURS_MAX).map(|access| access.op));
    places
}
