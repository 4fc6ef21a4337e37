//! A key-value store that keeps its promises, and histories of it.

use std::collections::BTreeMap;

use portolan_jepsen::history::{Action, Answer, Condition, Level, Op, Outcome, Write};

use crate::dice::Dice;
use crate::plan::{Fate, Slot, plan};

/// What kind of history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) ops: usize,
    pub(crate) clients: u32,
    pub(crate) keys: u64,
    /// Of a hundred operations.
    pub(crate) unknown: u64,
    pub(crate) failed: u64,
    /// As etcd: each answer tells the revision of the store, and deletes have one.
    pub(crate) global: bool,
    /// Writes that tell no revision, of a hundred; deletes tell none then.
    pub(crate) silent: u64,
    /// Reads at a stale level, of a hundred.
    pub(crate) stale: u64,
    /// Transactions and scans, of a hundred.
    pub(crate) wide: u64,
}

/// A store, with all that ever was.
pub(crate) struct Store {
    revision: u64,
    log: BTreeMap<String, Vec<(u64, Option<u64>)>>,
}

impl Store {
    fn at(&self, key: &str, revision: u64) -> (u64, Option<u64>) {
        let Some(log) = self.log.get(key) else { return (0, None) };
        let past = log.partition_point(|(at, _)| *at <= revision);
        if past == 0 { (0, None) } else { log[past - 1] }
    }

    fn holds(&self, write: &Write) -> bool {
        let (last, value) = self.at(&write.key, self.revision);
        match write.condition {
            Condition::Always => true,
            Condition::Absent => value.is_none(),
            Condition::Unchanged(asked) => value.is_some() && last == asked,
        }
    }

    fn apply(&mut self, writes: &[Write], gap: u64) -> Option<u64> {
        if !writes.iter().all(|write| self.holds(write)) {
            return None;
        }
        self.revision += 1 + gap;
        for write in writes {
            self.log.entry(write.key.clone()).or_default().push((self.revision, write.value));
        }
        Some(self.revision)
    }
}

/// A history that keeps all promises, in the order in which the operations returned.
pub(crate) fn history(seed: u64, shape: Shape) -> Vec<Op> {
    let mut dice = Dice::new(seed);
    let slots = plan(&mut dice, shape.ops, shape.clients, (shape.unknown, shape.failed));
    let mut store = Store { revision: 10, log: BTreeMap::new() };
    let mut maker = Maker { dice, shape, value: 0 };
    let mut ops: Vec<Op> = slots.iter().map(|slot| maker.op(&mut store, slot)).collect();
    ops.sort_by_key(|op| op.returned);
    ops
}

struct Maker {
    dice: Dice,
    shape: Shape,
    value: u64,
}

impl Maker {
    fn op(&mut self, store: &mut Store, slot: &Slot) -> Op {
        let action = self.action(store);
        let outcome = match slot.fate {
            Fate::NotDone => Outcome::NotDone { why: "no leader".to_owned() },
            Fate::Never => Outcome::Unknown { why: "timeout".to_owned() },
            Fate::Late => {
                self.answer(store, &action);
                Outcome::Unknown { why: "timeout".to_owned() }
            }
            Fate::Done => Outcome::Done(self.answer(store, &action)),
        };
        let Slot { called, returned, client, .. } = *slot;
        let node = u32::try_from(self.dice.below(3)).expect("it is small");
        Op { client, node, called, returned, action, outcome }
    }

    fn key(&mut self) -> String {
        format!("k/{}", self.dice.below(self.shape.keys))
    }

    fn write(&mut self, store: &Store, key: String) -> Write {
        self.value += 1;
        let condition = match self.dice.below(10) {
            0..=5 => Condition::Always,
            6 => Condition::Absent,
            _ => {
                let now = store.at(&key, store.revision);
                let log = store.log.get(&key).cloned().unwrap_or_default();
                let old = self.dice.pick(&log).copied().unwrap_or(now);
                let (revision, value) = if self.dice.percent(70) { now } else { old };
                if value.is_some() { Condition::Unchanged(revision) } else { Condition::Absent }
            }
        };
        let value = if self.dice.percent(12) { None } else { Some(self.value) };
        Write { key, value, condition }
    }

    fn action(&mut self, store: &Store) -> Action {
        let stale = self.dice.percent(self.shape.stale);
        let fresh = if self.dice.percent(50) { Level::Default } else { Level::Strong };
        let level = if stale { Level::Stale } else { fresh };
        let wide = self.dice.percent(self.shape.wide);
        let read = self.dice.percent(50);
        let key = self.key();
        match (wide, read) {
            (true, true) => Action::Scan { prefix: "k/".to_owned(), level },
            (true, false) => {
                let other = self.key();
                let mut writes = vec![self.write(store, key.clone())];
                if other != key {
                    writes.push(self.write(store, other));
                }
                Action::Transaction { writes }
            }
            (false, true) => Action::Read { key, level },
            (false, false) => Action::Write(self.write(store, key)),
        }
    }

    fn answer(&mut self, store: &mut Store, action: &Action) -> Answer {
        let global = self.shape.global;
        let tell = |revision| global.then_some(revision);
        match action {
            Action::Write(write) => self.written(store, std::slice::from_ref(write)),
            Action::Transaction { writes } => self.written(store, writes),
            Action::Read { key, level } => {
                let at = self.seen(store, *level);
                let (revision, value) = store.at(key, at);
                let revision = if value.is_some() { revision } else { 0 };
                Answer::Value { value, revision, store: tell(at) }
            }
            Action::Scan { prefix, level } => {
                let at = self.seen(store, *level);
                let keys = store.log.keys().filter(|key| key.starts_with(prefix));
                let shown = keys.filter_map(|key| {
                    let (revision, value) = store.at(key, at);
                    value.map(|value| (key.clone(), (value, revision)))
                });
                Answer::Values { values: shown.collect(), store: tell(at) }
            }
            other => unreachable!("not of this store: {other:?}"),
        }
    }

    fn seen(&mut self, store: &Store, level: Level) -> u64 {
        match level {
            Level::Stale => store.revision - self.dice.below(store.revision.min(40)),
            Level::Default | Level::Strong => store.revision,
        }
    }

    fn written(&mut self, store: &mut Store, writes: &[Write]) -> Answer {
        let gap = self.dice.below(3);
        let global = self.shape.global;
        match store.apply(writes, gap) {
            None => Answer::Refused { store: global.then_some(store.revision) },
            Some(revision) => {
                let deletes = writes.iter().all(|write| write.value.is_none());
                let silent = !global && self.shape.silent > 0;
                let hidden = silent && (deletes || self.dice.percent(self.shape.silent));
                Answer::Written { revision: (!hidden).then_some(revision) }
            }
        }
    }
}
