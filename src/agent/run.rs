//! The tasks of this room: the one that keeps the catalog true, and the one that takes out what
//! was unfit for too long.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::client::Client;
use crate::lifecycle::Shutdown;
use crate::time;

use super::bounds;
use super::claim::Claim;
use super::handle::Agent;
use super::sync;

/// Takes out services that were critical for too long, until everything stops.
pub(super) async fn reap(agent: Agent, mut shutdown: Shutdown) {
    let mut ticks = tokio::time::interval(bounds::REAP_INTERVAL);
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = ticks.tick() => agent.reap().await,
        }
    }
}

/// How many members the pool has.
pub(super) type Pool = Box<dyn Fn() -> usize + Send + std::marker::Sync>;

/// The task that keeps the catalog true.
pub(super) struct Sync {
    client: Client,
    claim: Arc<Claim>,
    pool: Pool,
    timetable: Timetable,
    /// The failure that was logged last; the same one again is not.
    said: Option<String>,
}

impl Sync {
    pub(super) fn new(client: Client, claim: Arc<Claim>, pool: Pool) -> Self {
        Self { client, claim, pool, timetable: Timetable::new(time::now()), said: None }
    }

    /// Keeps the catalog true until everything stops.
    pub(super) async fn keep_true(mut self, mut shutdown: Shutdown) {
        tokio::select! {
            () = shutdown.wait() => {}
            () = self.serve() => {}
        }
    }

    async fn serve(&mut self) {
        let client = self.client.clone();
        let mut leader = pin!(client.leader_changed());
        loop {
            let alarm = self.timetable.next(self.claim.registry().next_output_due());
            tokio::select! {
                () = leader.as_mut() => {
                    leader.set(client.leader_changed());
                    self.timetable.leader_changed((self.pool)(), time::now(), time::random());
                    continue;
                }
                () = self.claim.woken() => {}
                () = sleep_until(alarm) => {}
            }
            self.step().await;
        }
    }

    async fn step(&mut self) {
        let compared =
            if self.timetable.is_full_due(time::now()) { self.compare().await } else { Ok(()) };
        let pushed = sync::push(&self.client, &self.claim).await;
        self.timetable.pushed(pushed.is_ok(), time::now(), time::random());
        self.say(compared.and(pushed).err());
    }

    /// Reads what the catalog says and makes pending what differs.
    async fn compare(&mut self) -> Result<(), String> {
        let node = self.claim.registry().node.name.clone();
        let seen = sync::see(&self.client, &node).await;
        let members = (self.pool)();
        self.timetable.compared(seen.is_ok(), members, (time::now(), time::random()));
        let seen = seen.map_err(|unavailable| unavailable.to_string())?;
        let mut registry = self.claim.registry();
        let diff = sync::diff(&registry, &seen);
        registry.absorb(diff);
        Ok(())
    }

    fn say(&mut self, failure: Option<String>) {
        match (&failure, &self.said) {
            (Some(why), said) if said.as_ref() != Some(why) => {
                tracing::warn!(%why, "the catalog does not yet say what this host claims");
            }
            (None, Some(_)) => tracing::info!("the catalog says what this host claims again"),
            _ => {}
        }
        self.said = failure;
    }
}

/// When to compare, and when to try again.
#[derive(Debug)]
struct Timetable {
    full: Instant,
    retry: Option<Instant>,
    retry_wait: Duration,
}

impl Timetable {
    /// The first comparison is at once.
    fn new(now: Instant) -> Self {
        Self { full: now, retry: None, retry_wait: bounds::PUSH_RETRY_FIRST }
    }

    /// The next moment at which there is something to do.
    fn next(&self, output: Option<Instant>) -> Instant {
        let others = [self.retry, output];
        others.into_iter().flatten().fold(self.full, Instant::min)
    }

    fn is_full_due(&self, now: Instant) -> bool {
        self.full <= now
    }

    /// Compares soon, but not with everybody else in a pool of so many members.
    fn leader_changed(&mut self, members: usize, now: Instant, chance: u64) {
        let spread = bounds::LEADER_SPREAD * scale(members);
        self.full = self.full.min(now + time::jitter(spread, 1, chance));
    }

    /// After a comparison, in a pool of so many members.
    fn compared(&mut self, done: bool, members: usize, (now, chance): (Instant, u64)) {
        let wait = if done { interval(members) } else { bounds::FULL_SYNC_RETRY };
        self.full = now + wait + time::jitter(wait, bounds::FULL_SYNC_JITTER_PART, chance);
    }

    /// After a push.
    fn pushed(&mut self, done: bool, now: Instant, chance: u64) {
        if done {
            (self.retry, self.retry_wait) = (None, bounds::PUSH_RETRY_FIRST);
            return;
        }
        let wait = self.retry_wait;
        self.retry = Some(now + wait + time::jitter(wait, bounds::FULL_SYNC_JITTER_PART, chance));
        self.retry_wait = (wait * 2).min(bounds::FULL_SYNC_RETRY);
    }
}

/// Between two comparisons in a pool of so many members.
fn interval(members: usize) -> Duration {
    bounds::FULL_SYNC_INTERVAL * scale(members)
}

/// How many times longer everything may take in a pool of so many members. Source: Consul,
/// anti-entropy.
fn scale(members: usize) -> u32 {
    members.div_ceil(bounds::FULL_SYNC_NODES).max(1).next_power_of_two().ilog2() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_grows_with_the_pool() {
        for (nodes, times) in [(0, 1), (128, 1), (129, 2), (256, 2), (257, 3), (512, 3), (8192, 7)]
        {
            assert_eq!(interval(nodes), bounds::FULL_SYNC_INTERVAL * times, "{nodes} members");
        }
    }

    #[test]
    fn a_new_leader_brings_the_comparison_forward_only() {
        let now = time::now();
        let mut table = Timetable::new(now);
        assert!(table.is_full_due(now));
        table.compared(true, 3, (now, 0));
        assert_eq!(table.next(None), now + bounds::FULL_SYNC_INTERVAL);
        table.leader_changed(3, now, 1_000);
        assert!(table.next(None) <= now + bounds::LEADER_SPREAD);
        let first = table.next(None);
        table.leader_changed(3, now + bounds::FULL_SYNC_INTERVAL, 0);
        assert_eq!(table.next(None), first);
        table.compared(false, 3, (now, 0));
        assert_eq!(table.next(None), now + bounds::FULL_SYNC_RETRY);
    }

    #[test]
    fn the_more_there_are_the_wider_they_spread() {
        let now = time::now();
        let latest = |members: usize| {
            let next = |chance: u64| {
                let mut table = Timetable::new(now);
                table.compared(true, members, (now, 0));
                table.leader_changed(members, now, chance.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                table.next(None) - now
            };
            (0..200).map(next).max().unwrap_or_default()
        };
        let (few, many) = (latest(3), latest(8192));
        assert!(few <= bounds::LEADER_SPREAD, "{few:?}");
        assert!(many > bounds::LEADER_SPREAD * 5 && many <= bounds::LEADER_SPREAD * 7, "{many:?}");
    }

    #[test]
    fn a_failed_push_is_tried_ever_less_often() {
        let now = time::now();
        let mut table = Timetable::new(now);
        table.compared(true, 3, (now, 0));
        let mut waits = Vec::new();
        for _ in 0..6 {
            table.pushed(false, now, 0);
            waits.push((table.next(None) - now).as_secs());
        }
        assert_eq!(waits, [1, 2, 4, 8, 15, 15]);
        table.pushed(true, now, 0);
        assert_eq!(table.next(None), now + bounds::FULL_SYNC_INTERVAL);
    }
}
