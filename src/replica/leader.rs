//! What runs only while this server leads: cluster time, expiry, and the members' place in Raft
//! and catalog.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::autopilot;
use super::handle::Inner;
use super::inbound::Response;
use crate::lifecycle::Shutdown;
use crate::model::{Command, MemberList};
use crate::{codec, limits, time};

/// Between two rounds of the leader's duties.
const ROUND: Duration = Duration::from_millis(250);
/// Expiries proposed in one round; the rest waits for the next.
const EXPIRIES_A_ROUND: usize = 1024;
/// At the latest after this long the members are compared with the catalog again.
const RECONCILE: Duration = Duration::from_secs(10);

/// The members of the pool, as gossip tells them.
pub(super) type Members = watch::Receiver<MemberList>;

/// Runs until `shutdown`: waits to lead, does the duties, stops doing them when another leads.
pub(super) async fn run(inner: Arc<Inner>, mut members: Members, mut shutdown: Shutdown) {
    let duties = async {
        let mut status = inner.raft.status();
        // An error means that Raft has stopped.
        while status.wait_for(|status| status.is_leader).await.is_ok() {
            lead(&inner, &mut members).await;
            inner.clock.follow();
            inner.renewals.clear();
        }
    };
    // Either may be dropped: each duty is one command, which is applied whole or not at all.
    tokio::select! {
        () = duties => {}
        () = shutdown.wait() => {}
    }
}

/// One term of leading.
async fn lead(inner: &Inner, members: &mut Members) {
    let term = inner.raft.now().term;
    let still = || {
        let status = inner.raft.now();
        status.is_leader && status.term == term
    };
    // Cluster time goes on from the last stamp, so all that was committed must be applied first.
    while inner.raft.read_barrier(inner.options.leader_hold).await.is_err() {
        if !still() {
            return;
        }
        tokio::time::sleep(inner.options.heartbeat).await;
    }
    inner.clock.lead(term, inner.view.clock());
    tracing::info!(term, "this server leads");
    members.mark_changed();
    let mut reconciled = time::now();
    while still() {
        if inner.raft.confirmed_leader() == Some(term) {
            inner.clock.beat();
        }
        expire(inner).await;
        tick(inner).await;
        let again = reconciled.elapsed() >= RECONCILE;
        if again || members.has_changed().unwrap_or(false) {
            let known = Arc::clone(&members.borrow_and_update());
            if autopilot::reconcile(inner, &known).await {
                reconciled = time::now();
            } else {
                members.mark_changed();
            }
        }
        tokio::time::sleep(ROUND).await;
    }
    tracing::info!(term, "this server leads no more");
}

/// Proposes what is due, but no session whose renewal is on its way.
async fn expire(inner: &Inner) {
    let now = inner.clock.now(inner.view.clock());
    for command in inner.view.due(now, EXPIRIES_A_ROUND) {
        let renewed = match &command {
            Command::SessionExpire { id, .. } => inner.renewals.is_pending(*id),
            _ => false,
        };
        if !renewed && !propose(inner, &command).await {
            return;
        }
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
