//! A set that only grows: every element is a key of its own, added once and never changed.

use crate::history::{Action, Condition, Level, Write};

use super::driver::Driver;

/// Elements of one folder, which is scanned as a whole.
const FOLDER_ELEMENTS: u64 = 200;
/// In how many of a hundred cases a folder is scanned.
const SCAN_PERCENT: u32 = 5;

pub(super) async fn step(driver: &mut Driver) {
    let action = if driver.chance(SCAN_PERCENT) {
        let newest = driver.common.values_so_far() / FOLDER_ELEMENTS;
        let number = driver.below(newest + 1);
        Action::Scan { prefix: folder(number), level: driver.level() }
    } else {
        let element = driver.common.value();
        let key = format!("{}{element}", folder(element / FOLDER_ELEMENTS));
        Action::Write(Write { key, value: Some(element), condition: Condition::Absent })
    };
    driver.answer(action).await;
}

/// Everything there is, to be read at the end.
pub(super) fn everything(elements: u64, level: Level) -> Vec<Action> {
    let folders = 0..=elements / FOLDER_ELEMENTS;
    folders.map(|number| Action::Scan { prefix: folder(number), level }).collect()
}

fn folder(number: u64) -> String {
    format!("set/{number}/")
}
