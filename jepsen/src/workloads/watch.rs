//! Watches: some clients write, the others wait for what changes.

use crate::history::{Action, Answer, Condition, Level, Write};

use super::driver::Driver;

/// Keys that are watched.
pub(super) const KEYS: u64 = 8;
/// One in so many clients writes.
const WRITERS: usize = 3;

/// One client: which key it watches, if it does, and the revision that it saw last.
#[derive(Debug)]
pub(super) enum Watcher {
    Writer,
    Watcher { key: String, after: u64 },
}

impl Watcher {
    /// The `place`-th client.
    pub(super) fn new(place: usize) -> Self {
        if place.is_multiple_of(WRITERS) {
            return Self::Writer;
        }
        let number = u64::try_from(place).unwrap_or_default() % KEYS;
        Self::Watcher { key: key(number), after: 0 }
    }

    pub(super) async fn step(&mut self, driver: &mut Driver) {
        match self {
            Self::Writer => {
                let key = key(driver.below(KEYS));
                let value = Some(driver.common.value()).filter(|_| !driver.chance(10));
                let write = Write { key, value, condition: Condition::Always };
                driver.answer(Action::Write(write)).await;
            }
            Self::Watcher { key, after } => {
                let watch = Action::Watch { key: key.clone(), after: *after };
                if let Some(Answer::Value { store, revision, .. }) = driver.answer(watch).await {
                    *after = store.unwrap_or(revision);
                }
            }
        }
    }
}

/// Everything there is, to be read at the end.
pub(super) fn everything(level: Level) -> Vec<Action> {
    (0..KEYS).map(|number| Action::Read { key: key(number), level }).collect()
}

fn key(number: u64) -> String {
    format!("w/{number}")
}
