//! Sessions: opened, renewed, ended by their owner or left to expire, and looked at all the while.

use std::time::Duration;

use tokio::time::sleep;

use crate::history::{Action, Answer};

use super::driver::Driver;

/// A session's time to live, in milliseconds.
const TTL: u64 = 2_000;
/// How long one that is left alone is looked at: twice the TTL, an election and a margin.
const LOOKED_AT: Duration = Duration::from_secs(12);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(150);
/// How often a session is renewed before it ends.
const RENEWALS: u64 = 6;

/// One life of a session.
pub(super) async fn step(driver: &mut Driver) {
    let opened = driver.answer(Action::Open { ttl: TTL }).await;
    let Some(Answer::Opened { session }) = opened else { return };
    for _ in 0..driver.below(RENEWALS) {
        sleep(Duration::from_millis(TTL / 4 + driver.below(TTL / 2))).await;
        let look = Action::Look { session: session.clone() };
        driver.answer(look).await;
        let renew = Action::Renew { session: session.clone() };
        if driver.answer(renew).await == Some(Answer::Alive { alive: false }) {
            return;
        }
        if !driver.common.goes_on() {
            return;
        }
    }
    if driver.chance(40) {
        driver.answer(Action::End { session: session.clone() }).await;
        for action in
            [Action::Look { session: session.clone() }, Action::Renew { session: session.clone() }]
        {
            driver.answer(action).await;
        }
        return;
    }
    let until = tokio::time::Instant::now() + LOOKED_AT;
    while tokio::time::Instant::now() < until && driver.common.goes_on() {
        let look = Action::Look { session: session.clone() };
        if driver.answer(look).await == Some(Answer::Alive { alive: false }) {
            return;
        }
        sleep(LOOK_AGAIN).await;
    }
}
