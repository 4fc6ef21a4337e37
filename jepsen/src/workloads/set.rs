//! Sets that only grow, and of which only the content counts: mostly additions, by many at once.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::history::{Action, Level};

use super::driver::Driver;

/// Sets that grow at the same time.
const SETS: u64 = 32;
/// Operations on a set until another one begins.
const OPERATIONS_A_SET: u64 = 150;
/// In how many of a hundred cases an element is added.
const ADD_PERCENT: u32 = 75;
/// In how many of a hundred reads an old answer is welcome.
const STALE_PERCENT: u32 = 15;

/// How far all clients together got.
#[derive(Debug, Default)]
pub(super) struct Sets {
    operations: AtomicU64,
}

impl Sets {
    pub(super) async fn step(&self, driver: &mut Driver) {
        let nth = self.operations.fetch_add(1, Ordering::Relaxed);
        let key = format!("s/{}-{}", nth / (SETS * OPERATIONS_A_SET), driver.below(SETS));
        let action = if driver.chance(ADD_PERCENT) {
            Action::Append { key, element: driver.common.value() }
        } else {
            let stale = driver.chance(STALE_PERCENT);
            Action::List { key, level: if stale { Level::Stale } else { driver.level() } }
        };
        driver.answer(action).await;
    }
}
