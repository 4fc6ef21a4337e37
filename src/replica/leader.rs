//! What runs only while this server leads: cluster time, expiry, and the members' place in Raft
//! and catalog.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::autopilot;
use super::handle::Inner;
use super::inbound::Response;
use crate::lifecycle::Shutdown;
use crate::model::Command;
use crate::{codec, limits};

/// Between two rounds of each of the leader's duties.
pub(super) const ROUND: Duration = Duration::from_millis(250);
/// Expiries proposed in one round; the rest waits for the next.
const EXPIRIES_A_ROUND: usize = 1024;

/// Runs until `shutdown`: waits to lead, does the duties, stops doing them when another leads.
pub(super) async fn run(inner: Arc<Inner>, mut shutdown: Shutdown) {
    let duties = async {
        let mut status = inner.raft.status();
        // An error means that Raft has stopped.
        while status.wait_for(|status| status.is_leader).await.is_ok() {
            lead(&inner).await;
            inner.clock.follow();
            inner.renewals.clear();
            inner.health.lock().clear();
        }
    };
    // Either may be dropped: each duty is one command, which is applied whole or not at all, or a
    // change of the membership, which the next leader ends.
    tokio::select! {
        () = duties => {}
        () = shutdown.wait() => {}
    }
}

/// One term of leading.
async fn lead(inner: &Inner) {
    let term = inner.raft.now().term;
    // Cluster time goes on from the last stamp, so all that was committed must be applied first.
    while inner.raft.read_barrier(inner.options.leader_hold).await.is_err() {
        let status = inner.raft.now();
        if !status.is_leader || status.term != term {
            return;
        }
        tokio::time::sleep(inner.options.heartbeat).await;
    }
    failpoint!("lead.clock.before");
    inner.clock.lead(term, inner.view.clock());
    tracing::info!(term, "this server leads");
    let mut status = inner.raft.status();
    let lost = status.wait_for(|status| !status.is_leader || status.term != term);
    // Side by side: a change of the membership that waits for its majority holds up no expiry.
    tokio::select! {
        () = keep_time(inner, term) => {}
        () = autopilot::watch_servers(inner) => {}
        () = autopilot::keep_servers(inner) => {}
        () = autopilot::keep_nodes(inner) => {}
        // An error means that Raft has stopped.
        _ = lost => {}
    }
    tracing::info!(term, "this server leads no more");
}

/// Lets cluster time go on and ends what has run out; dropped when this server leads no more.
async fn keep_time(inner: &Inner, term: u64) {
    loop {
        if inner.raft.confirmed_leader() == Some(term) {
            inner.clock.beat();
        }
        expire(inner).await;
        tick(inner).await;
        tokio::time::sleep(ROUND).await;
    }
}

/// Proposes what is due, but no session whose renewal is on its way.
async fn expire(inner: &Inner) {
    let now = inner.clock.now(inner.view.clock());
    for command in inner.view.due(now, EXPIRIES_A_ROUND) {
        let renewed = match &command {
            Command::SessionExpire { id, .. } => inner.renewals.is_pending(*id),
            _ => false,
        };
        if renewed {
            continue;
        }
        failpoint!("expiry.propose.before");
        if !propose(inner, &command).await {
            return;
        }
        failpoint!("expiry.propose.after");
    }
}

/// Moves cluster time on where nothing else did, as long as there is a deadline to reach.
async fn tick(inner: &Inner) {
    let state = inner.view.clock();
    let now = inner.clock.now(state);
    let behind = Duration::from_millis(now.0.saturating_sub(state.0));
    let waiting = inner.view.has_deadlines() && behind >= limits::TICK_INTERVAL;
    if waiting || inner.renewals.due(now) {
        propose(inner, &Command::Tick).await;
    }
}

/// Proposes a duty here; says whether it was applied. What was not is due again next round.
pub(super) async fn propose(inner: &Inner, command: &Command) -> bool {
    match inner.propose(Bytes::from(codec::encode(command))).await {
        Response::Written(_) => true,
        other => {
            tracing::debug!(?other, "a duty of the leader was not done");
            false
        }
    }
}
