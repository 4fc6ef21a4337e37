//! Lists that only grow: each append reads a list, and writes it under the condition that nobody
//! did in between.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::history::{Action, ListStep};

use super::driver::Driver;

/// Lists that grow at the same time.
const LISTS: u64 = 12;
/// Operations on a list until another one begins: a long list makes each operation long.
const OPERATIONS_A_LIST: u64 = 200;
/// Most steps of one transaction.
const STEPS_MAX: u64 = 4;

/// How far all clients together got.
#[derive(Debug, Default)]
pub(super) struct Lists {
    operations: AtomicU64,
}

impl Lists {
    pub(super) async fn step(&self, driver: &mut Driver) {
        let nth = self.operations.fetch_add(1, Ordering::Relaxed);
        let generation = nth / (LISTS * OPERATIONS_A_LIST);
        let action = match driver.below(100) {
            0..30 => {
                Action::Append { key: key(generation, driver), element: driver.common.value() }
            }
            30..55 => Action::List { key: key(generation, driver), level: driver.level() },
            _ => Action::Lists { steps: transaction(generation, driver) },
        };
        driver.answer(action).await;
    }
}

/// Reads and appends on several lists at once.
fn transaction(generation: u64, driver: &mut Driver) -> Vec<ListStep> {
    let steps = 1 + driver.below(STEPS_MAX);
    let step = |_| {
        let key = key(generation, driver);
        if driver.chance(50) {
            ListStep::Read { key }
        } else {
            ListStep::Append { key, element: driver.common.value() }
        }
    };
    (0..steps).map(step).collect()
}

fn key(generation: u64, driver: &mut Driver) -> String {
    format!("a/{generation}-{}", driver.below(LISTS))
}
