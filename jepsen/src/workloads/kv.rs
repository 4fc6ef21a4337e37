//! Many keys at once: writes, deletions, transactions over several keys, scans.

use std::collections::BTreeMap;

use crate::history::{Action, Answer, Condition, Level, Write};

use super::driver::Driver;

/// Folders of keys; a scan reads one of them.
const FOLDERS: u64 = 10;
/// Keys in each.
const KEYS: u64 = 20;
/// Most writes of one transaction.
const WRITES_MAX: u64 = 4;

/// The newest revision that one client saw of each key.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<String, u64>);

impl Memory {
    pub(super) async fn step(&mut self, driver: &mut Driver) {
        let action = self.next(driver);
        let Some(answer) = driver.answer(action.clone()).await else { return };
        match (action, answer) {
            (Action::Read { key, .. }, Answer::Value { revision, .. }) => {
                self.0.insert(key, revision);
            }
            (Action::Write(write), Answer::Written { revision: Some(revision) }) => {
                let there = write.value.is_some();
                self.0.insert(write.key, if there { revision } else { 0 });
            }
            (Action::Scan { .. }, Answer::Values { values, .. }) => {
                self.0.extend(values.into_iter().map(|(key, (_, revision))| (key, revision)));
            }
            _ => {}
        }
    }

    fn next(&self, driver: &mut Driver) -> Action {
        let (dice, key) = (driver.below(100), any_key(driver));
        match dice {
            0..42 => Action::Read { key, level: any_level(driver) },
            42..67 => Action::Write(write(driver, key, Condition::Always)),
            67..77 => {
                let condition = self.condition(&key);
                Action::Write(write(driver, key, condition))
            }
            // A deletion alone tells no revision; those in transactions do.
            77..79 => Action::Write(Write { key, value: None, condition: Condition::Always }),
            79..95 => self.transaction(driver),
            _ => Action::Scan { prefix: folder(driver.below(FOLDERS)), level: any_level(driver) },
        }
    }

    /// Writes to several keys, of which some go, and some have a condition.
    fn transaction(&self, driver: &mut Driver) -> Action {
        let mut writes: BTreeMap<String, Write> = BTreeMap::new();
        for _ in 0..=driver.below(WRITES_MAX - 1) + 1 {
            let key = any_key(driver);
            let condition =
                if driver.chance(15) { self.condition(&key) } else { Condition::Always };
            let goes = condition == Condition::Always && driver.chance(30);
            let mut write = write(driver, key.clone(), condition);
            write.value = write.value.filter(|_| !goes);
            writes.insert(key, write);
        }
        Action::Transaction { writes: writes.into_values().collect() }
    }

    fn condition(&self, key: &str) -> Condition {
        match self.0.get(key) {
            None | Some(0) => Condition::Absent,
            Some(revision) => Condition::Unchanged(*revision),
        }
    }
}

/// Everything there is, to be read at the end.
pub(super) fn everything(level: Level) -> Vec<Action> {
    (0..FOLDERS).map(|number| Action::Scan { prefix: folder(number), level }).collect()
}

fn write(driver: &Driver, key: String, condition: Condition) -> Write {
    Write { key, value: Some(driver.common.value()), condition }
}

fn folder(number: u64) -> String {
    format!("kv/{number}/")
}

fn any_key(driver: &mut Driver) -> String {
    let folder = folder(driver.below(FOLDERS));
    format!("{folder}{}", driver.below(KEYS))
}

/// What the run asks for; one read in ten may be old.
fn any_level(driver: &mut Driver) -> Level {
    if driver.chance(10) { Level::Stale } else { driver.level() }
}
