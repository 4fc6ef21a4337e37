//! Locks: a session takes a lock, uses what it protects, gives it back. Some holders sleep longer
//! than their session lives, and use it all the same: that is what tokens are for.

use std::time::Duration;

use tokio::time::sleep;

use crate::history::{Action, Answer, Outcome};

use super::driver::Driver;

/// Locks of a run.
const LOCKS: u64 = 4;
/// A session's time to live, in milliseconds.
const TTL: u64 = 2_000;
/// How long a holder sleeps in which it surely loses its lock: Consul takes twice the TTL.
const ABSENCE: Duration = Duration::from_millis(TTL * 2 + 1_500);
/// In how many of a hundred cases one does.
const ABSENT_PERCENT: u32 = 4;
/// How often a holder uses what it holds.
const USES: u64 = 3;

/// Whether the resource is shown tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fence {
    Tokens,
    None,
}

/// One client's session, if it has one.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) fence: Fence,
    pub(super) session: Option<String>,
}

impl Holder {
    pub(super) fn new(fence: Fence) -> Self {
        Self { fence, session: None }
    }

    pub(super) async fn step(&mut self, driver: &mut Driver) {
        let Some(session) = self.living(driver).await else { return };
        let key = format!("lock/{}", driver.below(LOCKS));
        let acquire = Action::Acquire { key: key.clone(), session: session.clone() };
        let token = match driver.act(acquire).await {
            Outcome::Done(Answer::Held { token }) => token,
            Outcome::Done(_) => None,
            Outcome::NotDone { .. } | Outcome::Unknown { .. } => {
                // It may hold the lock without knowing: that ends with the session.
                self.session = None;
                None
            }
        };
        let Some(token) = token else {
            return sleep(Duration::from_millis(5 + driver.below(20))).await;
        };
        self.hold(&key, token, &session, driver).await;
        match driver.act(Action::Release { key, session }).await {
            Outcome::Done(Answer::Written { .. }) => {}
            Outcome::Done(_) | Outcome::NotDone { .. } | Outcome::Unknown { .. } => {
                self.session = None;
            }
        }
    }

    /// The session that is there, renewed now and then, or a new one.
    async fn living(&mut self, driver: &mut Driver) -> Option<String> {
        if let Some(session) = self.session.take() {
            if !driver.chance(20) {
                return self.session.insert(session).clone().into();
            }
            let renew = Action::Renew { session: session.clone() };
            if driver.answer(renew).await == Some(Answer::Alive { alive: true }) {
                self.session = Some(session);
            }
            return self.session.clone();
        }
        if let Some(Answer::Opened { session }) = driver.answer(Action::Open { ttl: TTL }).await {
            self.session = Some(session);
        }
        self.session.clone()
    }

    /// Uses what it believes to hold. With tokens each use is one moment, at which the resource
    /// looks at the token; without, the use lasts as long as the holder believes to hold the lock.
    async fn hold(&self, key: &str, token: u64, session: &str, driver: &mut Driver) {
        let began = driver.common.now();
        if driver.chance(ABSENT_PERCENT) {
            sleep(ABSENCE).await;
        }
        for _ in 0..=driver.below(USES) {
            if self.fence == Fence::Tokens {
                driver.use_once(Action::Use { key: key.to_owned(), token });
            }
            sleep(Duration::from_millis(driver.below(5))).await;
        }
        if self.fence == Fence::None {
            let (key, session) = (key.to_owned(), session.to_owned());
            driver.use_since(began, Action::UseUnfenced { key, session });
        }
    }
}
