//! Proposals of many callers, coalesced: one message to openraft's core for all that wait.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardToLeader};
use openraft::{Instant as _, ServerState};
use tokio::sync::{mpsc, oneshot};

use crate::error::ProposeError;
use crate::limits::{LEADER_RETRY, PROPOSE_BATCH, PROPOSE_BATCHES};
use crate::options::NodeId;
use crate::types::{Core, Payload, Types};

/// A proposal and who waits for its reply.
pub(crate) struct Proposal {
    pub(crate) payload: Bytes,
    pub(crate) reply: oneshot::Sender<Result<Bytes, ProposeError>>,
}

/// Takes proposals out of the queue and hands them over in batches, until the queue closes.
///
/// `lease` is how long a leader takes proposals after a majority answered it last.
pub(crate) async fn run(core: Core, mut queue: mpsc::Receiver<Proposal>, lease: Duration) {
    let mut under_way = FuturesUnordered::new();
    let mut batch = Vec::new();
    loop {
        if !under_way.is_empty() {
            // Whoever is ready to propose gets into the same batch.
            tokio::task::yield_now().await;
        }
        // Without a majority what is under way may stay so; openraft refuses all that is new.
        let room = under_way.len() < PROPOSE_BATCHES || !has_majority(&core, lease);
        let busy = !under_way.is_empty();
        // Both branches may be dropped: neither takes anything before it is ready.
        tokio::select! {
            biased;
            Some(()) = under_way.next(), if busy => {}
            taken = queue.recv_many(&mut batch, PROPOSE_BATCH), if room => {
                if taken == 0 {
                    return;
                }
                // Futures are first polled in the order of pushing, so batches keep theirs.
                under_way.push(submit(core.clone(), std::mem::take(&mut batch)));
            }
            () = tokio::time::sleep(LEADER_RETRY), if !room => {}
        }
    }
}

/// Whether this node leads, and a majority answered it within `lease`.
fn has_majority(core: &Core, lease: Duration) -> bool {
    let metrics = core.metrics();
    let metrics = metrics.borrow_watched();
    let alone = metrics.membership_config.voter_ids().count() == 1;
    let acked = metrics.last_quorum_acked.as_ref().map(|acked| acked.elapsed());
    metrics.state == ServerState::Leader && (alone || acked.is_some_and(|age| age < lease))
}

async fn submit(core: Core, batch: Vec<Proposal>) {
    let mut payloads = Vec::with_capacity(batch.len());
    let mut replies = Vec::with_capacity(batch.len());
    for Proposal { payload, reply } in batch {
        if !reply.is_closed() {
            payloads.push(Payload(payload));
            replies.push(reply);
        }
    }
    failpoint!("propose.submit.before");
    let node = *core.node_id();
    let mut results = match core.client_write_many(payloads).await {
        // It ends early when the core does, and must not be asked again then.
        Ok(results) => results.fuse(),
        Err(fatal) => {
            tracing::debug!(%fatal, "proposals after the end");
            for reply in replies {
                answer(reply, Err(ProposeError::Stopped));
            }
            return;
        }
    };
    for reply in replies {
        let result = match results.next().await {
            Some(Ok(Ok(written))) => Ok(written.response),
            Some(Ok(Err(error))) => Err(refused(error, node)),
            Some(Err(_)) | None => Err(ProposeError::Stopped),
        };
        failpoint!("propose.answer.before");
        answer(reply, result);
    }
}

fn answer(
    reply: oneshot::Sender<Result<Bytes, ProposeError>>,
    result: Result<Bytes, ProposeError>,
) {
    if reply.send(result).is_err() {
        tracing::trace!("nobody waits for a reply any more");
    }
}

fn refused(error: ClientWriteError<Types>, node: NodeId) -> ProposeError {
    match error {
        ClientWriteError::ForwardToLeader(forward) => not_leader(&forward, node),
        ClientWriteError::LogEntryDiscarded(_) => {
            ProposeError::Unknown("leadership was lost after the entry was appended".to_owned())
        }
        error @ (ClientWriteError::ChangeMembershipError(_)
        | ClientWriteError::PreconditionFailed(_)) => ProposeError::NotApplied(error.to_string()),
    }
}

/// A node that is told to forward to itself leads but has no majority behind it yet.
fn not_leader(forward: &ForwardToLeader<Types>, node: NodeId) -> ProposeError {
    ProposeError::NotLeader { leader: forward.leader_id.filter(|leader| *leader != node) }
}
