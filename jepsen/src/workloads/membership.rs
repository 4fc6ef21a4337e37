//! Raft's membership, read at every level while servers come and go, beside a light load.

use crate::history::{Action, Condition, Level, Write};

use super::driver::Driver;

/// Keys of the load.
const KEYS: u64 = 20;

pub(super) async fn step(driver: &mut Driver) {
    let key = format!("m/{}", driver.below(KEYS));
    let action = match driver.below(100) {
        0..30 => Action::Members { level: Level::Default },
        30..50 => Action::Members { level: Level::Stale },
        50..75 => Action::Read { key, level: driver.level() },
        _ => {
            let value = Some(driver.common.value());
            Action::Write(Write { key, value, condition: Condition::Always })
        }
    };
    driver.answer(action).await;
}

/// Everything there is, to be read at the end.
pub(super) fn everything(level: Level) -> Vec<Action> {
    let keys = (0..KEYS).map(|number| Action::Read { key: format!("m/{number}"), level });
    let members = [Level::Default, Level::Stale].map(|level| Action::Members { level });
    keys.chain(members).collect()
}
