//! Cluster time as the leader counts it: it goes on from the state's clock, by elapsed time alone.

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::model::ClusterTime;
use crate::time;

/// The leader's count. On a server that does not lead it stands still.
#[derive(Default)]
pub(super) struct Clock {
    leading: Mutex<Option<Leading>>,
}

#[derive(Clone, Copy)]
struct Leading {
    term: u64,
    from: ClusterTime,
    since: Instant,
}

impl Clock {
    /// Begins to count in `term`, going on from `from`: the time that the state had when this
    /// server had applied all that was committed before it. A term begins only once.
    pub(super) fn lead(&self, term: u64, from: ClusterTime) {
        let mut leading = self.leading.lock();
        if leading.is_none_or(|leading| leading.term != term) {
            *leading = Some(Leading { term, from, since: time::now() });
        }
    }

    /// Stops counting.
    pub(super) fn follow(&self) {
        *self.leading.lock() = None;
    }

    /// Cluster time now, never before `state`, which is the clock of the applied state.
    pub(super) fn now(&self, state: ClusterTime) -> ClusterTime {
        let leading = *self.leading.lock();
        let counted = leading.map(|leading| leading.from.after(leading.since.elapsed()));
        counted.map_or(state, |counted| counted.max(state))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
}
