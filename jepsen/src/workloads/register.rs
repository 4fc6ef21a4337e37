//! Registers: reads, writes and compare-and-set on few keys at a time, for a judge that trusts no
//! revision. A key is given up after some two hundred operations, because that judge searches.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::history::{Action, Answer, Condition, Write};

use super::driver::Driver;

/// Clients that share a key.
pub(super) const CLIENTS_A_KEY: usize = 5;
/// Operations on one key, before the last reads.
const OPERATIONS_A_KEY: u64 = 170;

/// The clients that share a key, and how far they got.
#[derive(Debug, Default)]
pub(super) struct Group {
    number: usize,
    operations: AtomicU64,
}

impl Group {
    pub(super) fn new(number: usize) -> Self {
        Self { number, operations: AtomicU64::new(0) }
    }

    /// The key of the next operation.
    fn key(&self) -> String {
        let nth = self.operations.fetch_add(1, Ordering::Relaxed) / OPERATIONS_A_KEY;
        format!("r/{}-{nth}", self.number)
    }
}

/// What one client remembers: the newest revision that it saw of its key.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<String, u64>);

impl Memory {
    /// Half reads, and otherwise as many plain writes as conditional ones.
    pub(super) async fn step(&mut self, group: &Group, driver: &mut Driver) {
        let key = group.key();
        let seen = self.0.get(&key).copied();
        let action = if driver.chance(50) {
            Action::Read { key: key.clone(), level: driver.level() }
        } else {
            let condition = match (driver.chance(50), seen) {
                (false, _) => Condition::Always,
                (true, None | Some(0)) => Condition::Absent,
                (true, Some(revision)) => Condition::Unchanged(revision),
            };
            let value = Some(driver.common.value());
            Action::Write(Write { key: key.clone(), value, condition })
        };
        let Some(Answer::Written { revision: Some(revision) } | Answer::Value { revision, .. }) =
            driver.answer(action).await
        else {
            return;
        };
        // Keys that were given up are of no more use.
        self.0.clear();
        self.0.insert(key, revision);
    }
}
