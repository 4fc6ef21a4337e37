//! Cluster time as the leader counts it: it goes on from the state's clock, by elapsed time alone.
//!
//! Only time in which sessions could be renewed counts. A leader whose process stood still, or
//! whose majority was away, was none meanwhile: hence it counts from beat to beat, and what lies
//! between two beats only up to a bound.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::model::ClusterTime;
use crate::time;

/// The most that counts between two beats: some of the leader's rounds.
const GAP_MAX: Duration = Duration::from_secs(2);

/// The leader's count. On a server that does not lead it stands still.
#[derive(Default)]
pub(super) struct Clock {
    leading: Mutex<Option<Leading>>,
}

#[derive(Clone, Copy)]
struct Leading {
    term: u64,
    /// Cluster time when the term began, what has counted up to the last beat, and when that was.
    from: ClusterTime,
    counted: Duration,
    since: Instant,
}

impl Leading {
    fn counted(&self) -> Duration {
        self.counted.saturating_add(self.since.elapsed().min(GAP_MAX))
    }
}

impl Clock {
    /// Begins to count in `term`, going on from `from`: the time that the state had when this
    /// server had applied all that was committed before it. A term begins only once.
    pub(super) fn lead(&self, term: u64, from: ClusterTime) {
        let mut leading = self.leading.lock();
        if leading.is_none_or(|leading| leading.term != term) {
            *leading = Some(Leading { term, from, counted: Duration::ZERO, since: time::now() });
        }
    }

    /// Says that this server leads with a majority behind it; without one, time does not go on.
    pub(super) fn beat(&self) {
        if let Some(leading) = self.leading.lock().as_mut() {
            *leading = Leading { counted: leading.counted(), since: time::now(), ..*leading };
        }
    }

    /// Stops counting.
    pub(super) fn follow(&self) {
        *self.leading.lock() = None;
    }

    /// Cluster time now, never before `state`, which is the clock of the applied state.
    pub(super) fn now(&self, state: ClusterTime) -> ClusterTime {
        let leading = *self.leading.lock();
        if planted!("planted_b14") && leading.is_some() {
            return ClusterTime(time::wall_millis()).max(state); // B14: this machine's clock
        }
        leading.map_or(state, |leading| leading.from.after(leading.counted()).max(state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_passes_only_while_leading() {
        let clock = Clock::default();
        let state = ClusterTime(1_000);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now(state), state, "a follower's clock stands still");
        clock.lead(3, state);
        tokio::time::advance(Duration::from_secs(2)).await;
        clock.lead(3, ClusterTime(0)); // the same term again changes nothing
        assert_eq!(clock.now(state), ClusterTime(3_000));
        clock.follow();
        assert_eq!(clock.now(state), state);
    }
    /// A paused process, or a majority that was away, must not end every session at its return.
    #[tokio::test(start_paused = true)]
    async fn a_pause_does_not_count_as_leading() {
        let clock = Clock::default();
        clock.lead(3, ClusterTime(1_000));
        for _ in 0..8 {
            tokio::time::advance(Duration::from_millis(250)).await;
            clock.beat();
        }
        assert_eq!(clock.now(ClusterTime(0)), ClusterTime(3_000), "beats lose nothing");
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(clock.now(ClusterTime(0)), ClusterTime(5_000));
        clock.beat();
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(clock.now(ClusterTime(0)), ClusterTime(5_250));
    }
}
