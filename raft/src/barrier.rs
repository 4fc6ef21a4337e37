//! Read barriers: one read-index round serves all callers that were waiting when it began.

use std::time::Duration;

use openraft::ReadPolicy;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::limits::BARRIER_QUEUE;
use crate::peer::Peers;
use crate::status::Status;
use crate::types::Core;

/// Who waits for a read index; `None` says that nobody leads.
pub(crate) type Waiter = oneshot::Sender<Option<u64>>;

/// By a majority that answers after it was asked, never by a lease.
pub(crate) fn policy() -> ReadPolicy {
    // B07: by the lease, which a follower that restarted knows nothing of.
    if planted!("planted_b07") { ReadPolicy::LeaseRead } else { ReadPolicy::ReadIndex }
}

/// What a round needs.
pub(crate) struct Barrier {
    pub(crate) core: Core,
    pub(crate) peers: Peers,
    pub(crate) status: watch::Receiver<Status>,
    /// The longest that one round may take.
    pub(crate) round: Duration,
}

impl Barrier {
    /// Runs one round after another, until the queue closes.
    pub(crate) async fn run(self, mut queue: mpsc::Receiver<Waiter>) {
        let mut waiters = Vec::new();
        while queue.recv_many(&mut waiters, BARRIER_QUEUE).await > 0 {
            waiters.retain(|waiter: &Waiter| !waiter.is_closed());
            if waiters.is_empty() {
                continue;
            }
            failpoint!("barrier.round.before");
            let index = timeout(self.round, self.index()).await.unwrap_or(None);
            for waiter in waiters.drain(..) {
                if waiter.send(index).is_err() {
                    tracing::trace!("a reader has gone");
                }
            }
        }
    }

    /// The leader's commit index, confirmed by a majority after this call began. Never by a
    /// lease: a follower that restarts fast forgets that it granted one.
    async fn index(&self) -> Option<u64> {
        let Status { leader, node, committed, .. } = *self.status.borrow();
        let leader = leader?;
        if planted!("planted_b05") {
            // B05: what this node knows to be committed is taken for all that is.
            return Some(committed);
        }
        if leader != node {
            let answer = self.peers.read_index(leader, self.round).await;
            return answer.inspect_err(|error| tracing::debug!(%error, "no read index")).ok()?;
        }
        match self.core.get_read_linearizer(policy()).await {
            Ok(linearizer) => Some(linearizer.read_log_id().index()),
            Err(error) => {
                tracing::debug!(%error, "no read index");
                None
            }
        }
    }
}
