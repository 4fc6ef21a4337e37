//! Each answer against the log, in the window that real time leaves it.

use std::collections::BTreeMap;

use super::super::report::Findings;
use super::super::verdict::Verdict;
use super::log::{Entry, Fate, Log, shown, writes};
use super::loose::{Drifting, Loose};
use super::span::{Asker, Span, absences, common};
use super::sweep::{Mark, Sweep};
use crate::history::{Action, Answer, Condition, Level, Op, Outcome, Write};

/// What is promised by the system that is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Levels whose reads must be linearizable.
    pub linearizable: Vec<Level>,
    /// Whether `store` in an answer is a revision of the whole store at which the answer is
    /// exact (etcd), and not only the index of the key or prefix (Consul).
    pub store_is_global: bool,
    /// Whether reads at the other levels must at least never go back for one client.
    pub monotone: bool,
}

impl Default for Options {
    /// Default and strong reads are linearizable, stale ones free, `store` is not global.
    fn default() -> Self {
        Self {
            linearizable: vec![Level::Default, Level::Strong],
            store_is_global: false,
            monotone: false,
        }
    }
}

/// Judges writes, transactions, reads, scans and watches of keys. Other operations are passed
/// over. Linear in memory, `n log n` in time; no read or write at all gives
/// [`Verdict::Unknown`].
pub fn check(ops: &[Op], options: &Options) -> Verdict {
    let mut findings = Findings::new(ops);
    let mut log = Log::new(ops, &mut findings);
    let known: Vec<u64> = ops.iter().map(|op| known(op, options)).collect();
    let written: Vec<Mark> = log.entries.iter().filter_map(mark).collect();
    let sweep = Sweep::new(ops, &known, &written);
    arrange(&mut log, ops, &sweep);
    let mut judge = Judge { ops, options, log, sweep, findings, clients: BTreeMap::new() };
    judge.writes();
    let judged = judge.answers();
    judge.findings.verdict(judged)
}

/// The highest revision that an operation knew when it returned.
fn known(op: &Op, options: &Options) -> u64 {
    let mut highest = 0;
    shown(op, |seen| highest = seen.revision.max(highest));
    let Outcome::Done(answer) = &op.outcome else { return highest };
    match answer {
        Answer::Written { revision } if !writes(&op.action).is_empty() => {
            revision.unwrap_or(0).max(highest)
        }
        Answer::Refused { store } | Answer::Value { store, .. } | Answer::Values { store, .. }
            if options.store_is_global =>
        {
            store.unwrap_or(0).max(highest)
        }
        _ => highest,
    }
}

fn mark(entry: &Entry) -> Option<Mark> {
    let revision = entry.revision.filter(|_| entry.fate != Fate::Never)?;
    Some(Mark { revision, op: entry.op })
}

/// Gives each key what real time says of its writes without a revision.
fn arrange(log: &mut Log<'_>, ops: &[Op], sweep: &Sweep) {
    for key in 0..log.keys.len() {
        let drifting = |place: &usize| {
            let entry = &log.entries[*place];
            let op = &ops[entry.op];
            let done = entry.fate == Fate::Done;
            let returned = if done { op.returned } else { u64::MAX };
            let write = Drifting {
                above: sweep.floor(entry.op).revision,
                below: if done { sweep.ceiling(returned).revision } else { u64::MAX },
                called: op.called,
                returned,
            };
            (entry.value.is_none(), write)
        };
        let all: Vec<_> = log.keys[key].unsettled().iter().map(drifting).collect();
        if !all.is_empty() {
            log.keys[key].loose = Loose::new(all);
        }
    }
}

struct Judge<'a> {
    ops: &'a [Op],
    options: &'a Options,
    log: Log<'a>,
    sweep: Sweep,
    findings: Findings<'a>,
    /// What each client's reads saw last, where they may be stale but not go back.
    clients: BTreeMap<u32, Mark>,
}

impl Judge<'_> {
    /// Writes lie above what was known before their call, and their conditions held.
    fn writes(&mut self) {
        let mut taken: BTreeMap<(usize, u64), usize> = BTreeMap::new();
        for place in 0..self.log.entries.len() {
            let entry = &self.log.entries[place];
            let (op, fate) = (entry.op, entry.fate);
            if fate == Fate::Never || (fate == Fate::Unknown && entry.revision.is_none()) {
                continue;
            }
            if let Condition::Unchanged(revision) = entry.condition
                && revision > 0
                && let Some(other) = taken.insert((entry.key, revision), op)
            {
                let what = format!("two writes both found a key unchanged since {revision}");
                self.findings.say(what, &[other, op]);
            }
            let Some(revision) = entry.revision else { continue };
            let floor = self.sweep.floor(op);
            if revision <= floor.revision {
                let what = format!(
                    "a write has revision {revision}, but {} was known before it was called",
                    floor.revision
                );
                self.findings.say(what, &[floor.op, op]);
            }
            self.condition(place, revision);
        }
    }

    fn condition(&mut self, place: usize, revision: u64) {
        let entry = &self.log.entries[place];
        let key = &self.log.keys[entry.key];
        let before = revision.checked_sub(1).and_then(|below| key.at(below));
        let (last, is_value, by) = before.map_or((0, false, entry.op), |place| {
            let (at, by) = key.settled[place];
            let by = &self.log.entries[by];
            (at, by.value.is_some(), by.op)
        });
        let op = &self.ops[entry.op];
        let until = if entry.fate == Fate::Done { op.returned } else { u64::MAX };
        let wrong = match entry.condition {
            Condition::Always => None,
            Condition::Absent | Condition::Unchanged(0) => {
                let mut deletes = key.loose.deletes(until, last);
                let gone = deletes.any(|delete| delete.fits(last, revision));
                let set = key.loose.surely_set(op.called, last);
                ((is_value || set) && !gone).then(|| "the key was there".to_owned())
            }
            Condition::Unchanged(asked) => {
                // What was asked for may be a write that no other answer shows.
                let unseen = last < asked && key.loose.may_set(until, asked - 1, asked + 1);
                let changed = key.loose.surely_changed(op.called, asked);
                ((last != asked && !unseen) || changed).then(|| format!("it asked for {asked}"))
            }
        };
        if let Some(wrong) = wrong {
            let what = format!(
                "a write at {revision} was done though its condition did not hold: {wrong}, and \
                 revision {last} came before it"
            );
            let op = entry.op;
            self.findings.say(what, &[by, op]);
        }
    }

    /// All answers in the order of their calls; how many there were.
    fn answers(&mut self) -> usize {
        let mut judged = 0;
        let mut order: Vec<usize> = (0..self.ops.len()).collect();
        if self.options.monotone {
            order.sort_by_key(|&at| self.ops[at].called);
        }
        for at in order {
            let op = &self.ops[at];
            let Outcome::Done(answer) = &op.outcome else { continue };
            match (&op.action, answer) {
                (Action::Write(_) | Action::Transaction { .. }, Answer::Written { .. }) => {}
                (Action::Write(_) | Action::Transaction { .. }, Answer::Refused { store }) => {
                    self.refused(at, *store);
                }
                (Action::Read { key, level }, Answer::Value { store, .. }) => {
                    self.read(at, Some(*level), *store, One(key));
                }
                (Action::Watch { key, .. }, Answer::Value { store, .. }) => {
                    self.read(at, None, *store, One(key));
                }
                (Action::Scan { prefix, level }, Answer::Values { store, .. }) => {
                    self.read(at, Some(*level), *store, Below(prefix));
                }
                _ => continue,
            }
            judged += 1;
        }
        judged
    }

    /// The revisions at which an operation may have happened, and who sets the lower bound.
    fn window(&mut self, at: usize, current: bool, store: Option<u64>) -> Option<(Span, usize)> {
        let op = &self.ops[at];
        let mut floor = Mark { revision: 0, op: at };
        if current {
            floor = self.sweep.floor(at);
        } else if self.options.monotone {
            floor = self.clients.get(&op.client).copied().unwrap_or(floor);
        }
        let ceiling = self.sweep.ceiling(op.returned);
        if let Some(store) = store.filter(|_| self.options.store_is_global) {
            if store < floor.revision {
                let what = format!(
                    "an answer is of revision {store}, but {} was known before",
                    floor.revision
                );
                self.findings.say(what, &[floor.op, at]);
                return None;
            }
            if store >= ceiling.revision {
                let what = format!(
                    "an answer is of revision {store}, but {} was called only later",
                    ceiling.revision
                );
                self.findings.say(what, &[at, ceiling.op]);
                return None;
            }
            return Some(((store, store + 1), floor.op));
        }
        // Where a revision is on the wrong side of a call, that was said of the write already.
        Some(((floor.revision, ceiling.revision.max(floor.revision + 1)), floor.op))
    }

    fn read(&mut self, at: usize, level: Option<Level>, store: Option<u64>, of: Of<'_>) {
        let current = level.is_some_and(|level| self.options.linearizable.contains(&level));
        let Some((mut window, floor)) = self.window(at, current, store) else { return };
        let op = &self.ops[at];
        let asker = Asker { called: op.called, returned: op.returned, current };
        let mut there = Vec::new();
        let mut fits = true;
        shown(op, |seen| {
            if let Some(key) = self.log.key(seen.key) {
                there.push(key);
                fits &= self.narrow(at, key, seen.revision, (&mut window, floor, asker));
            }
        });
        if self.options.monotone && !current {
            self.remember(at, store);
        }
        if !fits {
            return;
        }
        if window.0 >= window.1 {
            let what = "the keys of a scan never had these values at once".to_owned();
            return self.findings.say(what, &[at]);
        }
        let absent: Vec<(&str, usize)> = match of {
            One(key) if there.is_empty() => {
                self.log.key(key).map(|id| (key, id)).into_iter().collect()
            }
            One(_) => Vec::new(),
            Below(prefix) => {
                there.sort_unstable();
                let all = self.log.below(prefix);
                all.filter(|(_, id)| there.binary_search(id).is_err()).collect()
            }
        };
        self.absent(at, &absent, (window, floor, asker));
    }

    /// A key shows what `revision` wrote: the window shrinks to where that was so.
    fn narrow(
        &mut self,
        at: usize,
        key: usize,
        revision: u64,
        (window, floor, asker): (&mut Span, usize, Asker),
    ) -> bool {
        let key = &self.log.keys[key];
        let next = key.next(revision);
        if revision >= window.1 || next <= window.0 {
            let (what, other) = if revision >= window.1 {
                (format!("a read shows revision {revision}, from after it"), at)
            } else {
                let place =
                    key.at(next).map_or(at, |place| self.log.entries[key.settled[place].1].op);
                (format!("a read shows revision {revision}, but {next} came before it"), place)
            };
            let floor = if floor == usize::MAX { at } else { floor };
            self.findings.say(what, &[floor, other, at]);
            return false;
        }
        if asker.current && key.loose.surely_changed(asker.called, revision) {
            let what = format!(
                "a read shows revision {revision}, but the key was written again before it"
            );
            self.findings.say(what, &[at]);
            return false;
        }
        *window = (window.0.max(revision), window.1.min(next));
        true
    }

    fn absent(&mut self, at: usize, keys: &[(&str, usize)], room: (Span, usize, Asker)) {
        let (window, floor, asker) = room;
        let floor = if floor == usize::MAX { at } else { floor };
        let most = if keys.len() == 1 { 1 } else { usize::MAX };
        let mut spans = vec![window];
        for (name, id) in keys {
            let key = &self.log.keys[*id];
            if key.settled.is_empty() && !asker.current {
                continue;
            }
            spans = common(&spans, &absences(&self.log, key, window, asker, most));
            if spans.is_empty() {
                let by = key
                    .at(window.1 - 1)
                    .map_or(at, |place| self.log.entries[key.settled[place].1].op);
                let what = format!("key {name} is not shown, but was there all the time");
                return self.findings.say(what, &[floor, by, at]);
            }
        }
    }

    /// A client saw this much at a level that may be stale.
    fn remember(&mut self, at: usize, store: Option<u64>) {
        let mut highest = 0;
        shown(&self.ops[at], |seen| highest = seen.revision.max(highest));
        if self.options.store_is_global {
            highest = store.unwrap_or(0).max(highest);
        }
        let mark = self.clients.entry(self.ops[at].client).or_insert(Mark { revision: 0, op: at });
        if highest > mark.revision {
            *mark = Mark { revision: highest, op: at };
        }
    }

    /// Some condition of a refused write did not hold at some point of its window.
    fn refused(&mut self, at: usize, store: Option<u64>) {
        let Some((window, floor)) = self.window(at, true, store) else { return };
        let op = &self.ops[at];
        if writes(&op.action).iter().any(|write| self.fails(op, write, window)) {
            return;
        }
        let what = "a write was refused, though its condition held all the time".to_owned();
        let floor = if floor == usize::MAX { at } else { floor };
        self.findings.say(what, &[floor, at]);
    }

    fn fails(&self, op: &Op, write: &Write, (from, to): Span) -> bool {
        let Some(key) = self.log.key(&write.key).map(|key| &self.log.keys[key]) else {
            return false;
        };
        match write.condition {
            Condition::Always => false,
            Condition::Absent | Condition::Unchanged(0) => {
                if key.loose.may_set(op.returned, 0, to) {
                    return true;
                }
                let first = key.at(from).unwrap_or(0);
                let inside = key.settled[first..].iter().take_while(|(at, _)| *at < to);
                let mut values = inside.filter(|(_, by)| self.log.entries[*by].value.is_some());
                values.any(|(at, _)| key.next(*at) > from)
            }
            Condition::Unchanged(asked) => {
                asked > from
                    || key.next(asked) < to
                    || key.at(asked).is_none_or(|place| key.settled[place].0 != asked)
                    || key.loose.may_change(op.returned, asked, to)
            }
        }
    }
}

/// Which keys a read asked for.
#[derive(Clone, Copy)]
enum Of<'a> {
    One(&'a str),
    Below(&'a str),
}

use Of::{Below, One};
