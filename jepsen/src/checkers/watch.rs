//! Blocking queries and watches: nobody sleeps through a change.
//!
//! Rule: a watch on a key that is open when a write at a revision above its `after` is
//! acknowledged, or is called later, returns within the bound. What it shows was written to that
//! key at that revision, and before it returned. It does not show `after` or less where a higher
//! revision of the key was acknowledged before the watch was called. The revision that one
//! client sees of one key never falls, but over a reset that was announced. And at the end, what
//! each watcher saw last equals the last read.
//!
//! Sources: the watch properties of etcd's robustness tests (ordered, reliable, resumable);
//! Consul's page on blocking queries.

use std::collections::{BTreeMap, HashMap};

use super::report::Findings;
use super::verdict::Verdict;
use crate::history::{Action, Answer, Level, Op, Outcome, Write};

/// What is promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long after the acknowledgement of a change a watch may sleep, in nanoseconds.
    pub bound: u64,
    /// From when to when (nanoseconds) the bound does not hold, because something is broken. A
    /// watch is judged when none of these touches the bound's stretch.
    pub faults: Vec<(u64, u64)>,
    /// When (nanoseconds) the store was restored from a snapshot, so that revisions may fall.
    pub resets: Vec<u64>,
}

impl Default for Options {
    /// One second, no faults, no resets.
    fn default() -> Self {
        Self { bound: 1_000_000_000, faults: Vec::new(), resets: Vec::new() }
    }
}

#[derive(Default)]
struct Key {
    /// Revision, place, whether it was acknowledged; by revision.
    writes: Vec<(u64, usize, bool)>,
    /// For each place in `writes`: when the first at or above it was acknowledged, and by whom.
    soonest: Vec<(u64, usize)>,
    watches: Vec<usize>,
    reads: Vec<usize>,
    /// When the last write could last happen; `u64::MAX`: one is unknown and may come yet.
    quiet: u64,
}

/// Judges [`Action::Watch`] against the writes and reads of its key. Without any answered watch
/// the verdict is [`Verdict::Unknown`].
pub fn check(ops: &[Op], options: &Options) -> Verdict {
    let mut findings = Findings::new(ops);
    let (mut keys, values) = gather(ops);
    let mut judged = 0;
    for (name, key) in &mut keys {
        key.arrange(ops);
        key.watches.sort_by_key(|&at| ops[at].called);
        judged += key.watches.len();
        for &at in &key.watches {
            let Some(view) = view(&ops[at]) else { continue };
            exists(ops, (name, at), view, &values, &mut findings);
            key.woken(ops, at, options, &mut findings);
            key.news(ops, at, view, &mut findings);
        }
        key.never_back(ops, options, &mut findings);
        key.converged(ops, options, &mut findings);
    }
    findings.verdict(judged)
}

type Values = HashMap<u64, (String, usize, Option<u64>)>;

fn gather(ops: &[Op]) -> (BTreeMap<&str, Key>, Values) {
    let mut keys: BTreeMap<&str, Key> = BTreeMap::new();
    let mut values = Values::new();
    for (at, op) in ops.iter().enumerate() {
        for write in writes(&op.action) {
            let (revision, done) = match &op.outcome {
                Outcome::Done(Answer::Written { revision }) => (*revision, true),
                Outcome::Unknown { .. } => (None, false),
                _ => continue,
            };
            let key = keys.entry(&write.key).or_default();
            key.quiet = key.quiet.max(if done { op.returned } else { u64::MAX });
            if let Some(revision) = revision {
                key.writes.push((revision, at, done));
            }
            if let Some(value) = write.value {
                values.insert(value, (write.key.clone(), at, revision));
            }
        }
        let answered = matches!(op.outcome, Outcome::Done(Answer::Value { .. }));
        match &op.action {
            Action::Watch { key, .. } if answered => {
                keys.entry(key).or_default().watches.push(at);
            }
            Action::Read { key, level } if answered && *level != Level::Stale => {
                keys.entry(key).or_default().reads.push(at);
            }
            _ => {}
        }
    }
    (keys, values)
}

fn writes(action: &Action) -> &[Write] {
    match action {
        Action::Write(write) => std::slice::from_ref(write),
        Action::Transaction { writes } => writes,
        _ => &[],
    }
}

/// What a watch or read showed: the value, its revision, and the index to go on from.
#[derive(Clone, Copy, PartialEq, Eq)]
struct View {
    value: Option<u64>,
    revision: u64,
    index: u64,
}

fn view(op: &Op) -> Option<View> {
    let Outcome::Done(Answer::Value { value, revision, store }) = &op.outcome else { return None };
    let index = store.unwrap_or(*revision).max(*revision);
    Some(View { value: *value, revision: *revision, index })
}

fn after(op: &Op) -> u64 {
    match &op.action {
        Action::Watch { after, .. } => *after,
        _ => 0,
    }
}

/// What is shown was written there, at that revision, and not in the future.
fn exists(
    ops: &[Op],
    (name, at): (&str, usize),
    view: View,
    values: &Values,
    findings: &mut Findings<'_>,
) {
    let Some(value) = view.value else { return };
    let Some((key, by, revision)) = values.get(&value) else {
        return findings.say(format!("a watch shows {value}, which was not written"), &[at]);
    };
    if key != name || revision.is_some_and(|revision| revision != view.revision) {
        let what = format!("a watch shows {value} at revision {}, where it is not", view.revision);
        findings.say(what, &[*by, at]);
    } else if ops[*by].called > ops[at].returned {
        findings.say(format!("a watch shows {value} before it was written"), &[*by, at]);
    }
}

impl Key {
    fn arrange(&mut self, ops: &[Op]) {
        self.writes.sort_unstable();
        let mut soonest = (u64::MAX, usize::MAX);
        self.soonest = vec![soonest; self.writes.len()];
        for (place, (_, at, done)) in self.writes.iter().enumerate().rev() {
            if *done && ops[*at].returned < soonest.0 {
                soonest = (ops[*at].returned, *at);
            }
            self.soonest[place] = soonest;
        }
    }

    /// When something above a revision was first acknowledged.
    fn change_above(&self, revision: u64) -> Option<(u64, usize)> {
        let place = self.writes.partition_point(|(at, ..)| *at <= revision);
        self.soonest.get(place).copied().filter(|(time, _)| *time != u64::MAX)
    }

    fn woken(&self, ops: &[Op], at: usize, options: &Options, findings: &mut Findings<'_>) {
        let op = &ops[at];
        let Some((time, by)) = self.change_above(after(op)) else { return };
        let due = time.max(op.called);
        let until = due.saturating_add(options.bound);
        let broken = options.faults.iter().any(|(from, to)| *from <= until && *to >= due);
        if op.returned > until && !broken {
            let what = format!("a watch slept {} ns through a change", op.returned - due);
            findings.say(what, &[by, at]);
        }
    }

    fn news(&self, ops: &[Op], at: usize, view: View, findings: &mut Findings<'_>) {
        let op = &ops[at];
        let Some((time, by)) = self.change_above(after(op)) else { return };
        if time < op.called && view.index <= after(op) {
            let what = format!("a watch shows {}, and asked for what is after", view.index);
            findings.say(what, &[by, at]);
        }
    }

    fn never_back(&self, ops: &[Op], options: &Options, findings: &mut Findings<'_>) {
        let mut last: BTreeMap<u32, (u64, usize)> = BTreeMap::new();
        for &at in &self.watches {
            let op = &ops[at];
            let Some(view) = view(op) else { continue };
            let reset =
                |from: u64| options.resets.iter().any(|time| *time >= from && *time <= op.returned);
            if let Some((index, before)) = last.insert(op.client, (view.index, at))
                && view.index < index
                && !reset(ops[before].called)
            {
                let what = format!("a watcher saw {} after it had seen {index}", view.index);
                findings.say(what, &[before, at]);
            }
        }
    }

    /// Watchers who were still there when all was quiet saw what the last read saw.
    fn converged(&self, ops: &[Op], options: &Options, findings: &mut Findings<'_>) {
        let settled = self.quiet.saturating_add(options.bound);
        let Some(&read) = self.reads.iter().max_by_key(|&&at| ops[at].called) else { return };
        let Some(last) = view(&ops[read]).filter(|_| ops[read].called > self.quiet) else { return };
        let mut saw: BTreeMap<u32, usize> = BTreeMap::new();
        for &at in &self.watches {
            saw.insert(ops[at].client, at);
        }
        for at in saw.into_values() {
            let Some(view) = view(&ops[at]) else { continue };
            let there = ops[at].returned > settled || view.index > last.index;
            if there && (view.value, view.revision) != (last.value, last.revision) {
                let what = "what a watcher saw last is not what the last read saw".to_owned();
                findings.say(what, &[at, read]);
            }
        }
    }
}
