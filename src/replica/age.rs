//! How old what this server has may be.
//!
//! That a leader was heard of says little: its words may have lain on the wire, and what it wrote
//! meanwhile may be on its way still. A server that was cut off for seconds hears of the leader
//! long before it has caught up. So the age counts from the last barrier that passed: what was
//! acknowledged before that was asked for is here.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::handle::Inner;
use crate::lifecycle::Shutdown;
use crate::{limits, time};

/// When the newest barrier that passed was asked for.
#[derive(Default)]
pub(super) struct Confirmed(Mutex<Option<Instant>>);

impl Confirmed {
    /// A barrier passed that was asked for at `asked`.
    pub(super) fn note(&self, asked: Instant) {
        let mut newest = self.0.lock();
        *newest = (*newest).max(Some(asked));
    }

    /// How old the state may be; [`Duration::MAX`] where nobody knows.
    pub(super) fn age(&self) -> Duration {
        self.0.lock().map_or(Duration::MAX, |asked| time::now().duration_since(asked))
    }
}

/// Has a barrier pass every so often, until the shutdown: reads that may be somewhat old then find
/// the age known, and wait for nothing.
pub(super) async fn confirm(inner: Arc<Inner>, mut shutdown: Shutdown) {
    let confirming = async {
        loop {
            let asked = time::now();
            match inner.raft.read_barrier(limits::CONFIRM_PERIOD).await {
                Ok(()) => inner.confirmed.note(asked),
                Err(error) => tracing::trace!(%error, "how old the state is, is not known"),
            }
            tokio::time::sleep_until(asked + limits::CONFIRM_PERIOD).await;
        }
    };
    // Dropping a barrier midway is safe: it is a question.
    tokio::select! {
        () = confirming => {}
        () = shutdown.wait() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_age_is_of_the_newest_that_was_asked_for() {
        let confirmed = Confirmed::default();
        assert_eq!(confirmed.age(), Duration::MAX);
        let first = time::now();
        tokio::time::advance(Duration::from_secs(3)).await;
        confirmed.note(time::now());
        confirmed.note(first);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(confirmed.age(), Duration::from_secs(2));
    }
}
