//! All writes of a history, settled to their revisions as far as anything shows these.

use std::collections::HashMap;

use super::super::report::Findings;
use super::loose::Loose;
use crate::history::{Action, Answer, Condition, Op, Outcome, Write};

/// What became of a write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was acknowledged.
    Done,
    /// It may have happened.
    Unknown,
    /// It was refused, or surely not done.
    Never,
}

/// One write to one key.
pub(super) struct Entry {
    pub(super) op: usize,
    pub(super) key: usize,
    pub(super) value: Option<u64>,
    pub(super) condition: Condition,
    pub(super) fate: Fate,
    /// Told by its acknowledgement, or by a read that shows its value.
    pub(super) revision: Option<u64>,
}

/// The writes of one key.
#[derive(Default)]
pub(super) struct KeyLog {
    /// Revision and entry, by revision.
    pub(super) settled: Vec<(u64, usize)>,
    /// Those that nothing gives a revision.
    pub(super) loose: Loose,
    unsettled: Vec<usize>,
}

impl KeyLog {
    /// The place in `settled` of the last write at or below a revision.
    pub(super) fn at(&self, revision: u64) -> Option<usize> {
        self.settled.partition_point(|&(at, _)| at <= revision).checked_sub(1)
    }

    /// The revision of the first write above a revision; `u64::MAX`: there is none.
    pub(super) fn next(&self, revision: u64) -> u64 {
        let place = self.settled.partition_point(|&(at, _)| at <= revision);
        self.settled.get(place).map_or(u64::MAX, |&(at, _)| at)
    }

    /// Entries without a revision.
    pub(super) fn unsettled(&self) -> &[usize] {
        &self.unsettled
    }
}

/// All writes of a history.
pub(super) struct Log<'a> {
    ids: HashMap<&'a str, usize>,
    /// Names in their order, with their numbers.
    names: Vec<(&'a str, usize)>,
    pub(super) entries: Vec<Entry>,
    by_value: HashMap<u64, usize>,
    pub(super) keys: Vec<KeyLog>,
}

impl<'a> Log<'a> {
    /// Reads all writes, settles them by what the reads show, and says what contradicts itself.
    pub(super) fn new(ops: &'a [Op], findings: &mut Findings<'_>) -> Self {
        let mut log = Self {
            ids: HashMap::new(),
            names: Vec::new(),
            entries: Vec::new(),
            by_value: HashMap::with_capacity(ops.len() / 2),
            keys: Vec::new(),
        };
        for (at, op) in ops.iter().enumerate() {
            log.enter(at, op, findings);
        }
        for (at, op) in ops.iter().enumerate() {
            shown(op, |seen| log.settle(at, seen, findings));
        }
        log.order(findings);
        log.names = log.ids.iter().map(|(name, id)| (*name, *id)).collect();
        log.names.sort_unstable();
        log
    }

    /// The number of a key that any write names.
    pub(super) fn key(&self, name: &str) -> Option<usize> {
        self.ids.get(name).copied()
    }

    /// All written keys below a prefix.
    pub(super) fn below<'s>(
        &'s self,
        prefix: &'s str,
    ) -> impl Iterator<Item = (&'a str, usize)> + 's {
        let from = self.names.partition_point(|(name, _)| *name < prefix);
        self.names[from..].iter().copied().take_while(move |(name, _)| name.starts_with(prefix))
    }

    fn enter(&mut self, at: usize, op: &'a Op, findings: &mut Findings<'_>) {
        let (fate, revision) = match &op.outcome {
            Outcome::Done(Answer::Written { revision }) => (Fate::Done, *revision),
            Outcome::Unknown { .. } => (Fate::Unknown, None),
            Outcome::Done(_) | Outcome::NotDone { .. } => (Fate::Never, None),
        };
        for write in writes(&op.action) {
            let fresh = self.keys.len();
            let key = *self.ids.entry(&write.key).or_insert(fresh);
            if key == fresh {
                self.keys.push(KeyLog::default());
            }
            let place = self.entries.len();
            if let Some(value) = write.value
                && let Some(other) = self.by_value.insert(value, place)
            {
                let what = format!("the history is not usable: value {value} is written twice");
                findings.say(what, &[self.entries[other].op, at]);
            }
            let Write { value, condition, .. } = *write;
            self.entries.push(Entry { op: at, key, value, condition, fate, revision });
        }
    }

    fn settle(&mut self, at: usize, seen: Seen<'_>, found: &mut Findings<'_>) {
        let Seen { key, value, revision } = seen;
        let Some(&place) = self.by_value.get(&value) else {
            return found.say(format!("key {key} shows {value}, which nobody wrote"), &[at]);
        };
        let entry = &self.entries[place];
        let (op, fate, known) = (entry.op, entry.fate, entry.revision);
        if self.ids.get(key) != Some(&entry.key) {
            let what = format!("key {key} shows {value}, which was written to another key");
            return found.say(what, &[op, at]);
        }
        if fate == Fate::Never {
            let what = format!("key {key} shows {value}, whose write surely did not happen");
            return found.say(what, &[op, at]);
        }
        match known {
            None => self.settle_all_of(place, revision),
            Some(known) if known != revision => {
                let what = format!("value {value} of {key} has revisions {known} and {revision}");
                found.say(what, &[op, at]);
            }
            Some(_) => {}
        }
    }

    /// The writes of one operation share its revision.
    fn settle_all_of(&mut self, place: usize, revision: u64) {
        let op = self.entries[place].op;
        let from = self.entries.partition_point(|entry| entry.op < op);
        for entry in self.entries[from..].iter_mut().take_while(|entry| entry.op == op) {
            entry.revision = Some(revision);
        }
    }

    fn order(&mut self, findings: &mut Findings<'_>) {
        let mut all: Vec<(u64, usize)> = Vec::with_capacity(self.entries.len());
        for (place, entry) in self.entries.iter().enumerate() {
            match (entry.fate, entry.revision) {
                (Fate::Never, _) => {}
                (_, Some(revision)) => {
                    all.push((revision, place));
                    self.keys[entry.key].settled.push((revision, place));
                }
                (_, None) => self.keys[entry.key].unsettled.push(place),
            }
        }
        for key in &mut self.keys {
            key.settled.sort_unstable();
        }
        all.sort_unstable();
        for pair in all.windows(2) {
            let (one, other) = (&self.entries[pair[0].1], &self.entries[pair[1].1]);
            if pair[0].0 == pair[1].0 && one.op != other.op {
                let what = format!("two writes have the revision {}", pair[0].0);
                findings.say(what, &[one.op, other.op]);
            }
        }
    }
}

/// The writes that an action asks for.
pub(super) fn writes(action: &Action) -> &[Write] {
    match action {
        Action::Write(write) => std::slice::from_ref(write),
        Action::Transaction { writes } => writes,
        _ => &[],
    }
}

/// What an answer shows of one key.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) key: &'a str,
    pub(super) value: u64,
    pub(super) revision: u64,
}

/// Calls `see` with each key, value and revision that an answer shows.
pub(super) fn shown<'a>(op: &'a Op, mut see: impl FnMut(Seen<'a>)) {
    let Outcome::Done(answer) = &op.outcome else { return };
    match (&op.action, answer) {
        (
            Action::Read { key, .. } | Action::Watch { key, .. },
            Answer::Value { value: Some(value), revision, .. },
        ) => see(Seen { key, value: *value, revision: *revision }),
        (Action::Scan { .. }, Answer::Values { values, .. }) => {
            for (key, (value, revision)) in values {
                see(Seen { key, value: *value, revision: *revision });
            }
        }
        _ => {}
    }
}
