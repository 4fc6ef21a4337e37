//! Lists that only grow: each append reads a list, and writes it under the condition that nobody
//! did in between.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::history::Action;

use super::driver::Driver;

/// Lists that grow at the same time.
const LISTS: u64 = 12;
/// Operations on a list until another one begins: a long list makes each operation long.
const OPERATIONS_A_LIST: u64 = 200;

/// How far all clients together got.
#[derive(Debug, Default)]
pub(super) struct Lists {
    operations: AtomicU64,
}

impl Lists {
    pub(super) async fn step(&self, driver: &mut Driver) {
        let nth = self.operations.fetch_add(1, Ordering::Relaxed);
        let key = format!("a/{}-{}", nth / (LISTS * OPERATIONS_A_LIST), driver.below(LISTS));
        let action = if driver.chance(60) {
            Action::Append { key, element: driver.common.value() }
        } else {
            Action::List { key, level: driver.level() }
        };
        driver.answer(action).await;
    }
}
