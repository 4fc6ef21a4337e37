//! What the client room holds of this replica, and what this server knows of the cluster.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use raft::{NodeId, Raft};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

use super::age::Confirmed;
use super::agents::Bounds;
use super::autopilot::{self, Failed, Founding, Health, Leavers};
use super::clock::Clock;
use super::inbound::{self, Request, Response};
use super::machine::Replaced;
use super::renewals::Renewals;
use super::shared::SharedReads;
use super::start::Options;
use crate::limits;
use crate::model::{
    Command, Consistency, Index, Member, MemberList, Query, Read, ReadOptions, Server,
    ServerHealth, Session, SessionId, Unavailable, Written,
};
use crate::store::View;
use crate::watch::Hub;

/// Between two asks of a server that leaves.
const LEAVE_ROUND: Duration = Duration::from_millis(100);

/// This server's replica. Cheap to clone.
#[derive(Clone)]
pub struct Replica {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) raft: Raft,
    pub(super) view: View,
    pub(super) hub: Hub,
    pub(super) replaced: Replaced,
    pub(super) clock: Clock,
    pub(super) renewals: Renewals,
    pub(super) options: Options,
    pub(super) node: NodeId,
    pub(super) writes: Semaphore,
    pub(super) shared: SharedReads,
    pub(super) agents: Bounds,
    /// The pool, as gossip tells it.
    pub(super) members: watch::Receiver<MemberList>,
    pub(super) health: Mutex<Health>,
    pub(super) leavers: Leavers,
    pub(super) failed: Failed,
    pub(super) founding: Founding,
    pub(super) confirmed: Confirmed,
}

/// What this server knows of the cluster, without asking anyone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// This server's id.
    pub id: String,
    /// Whether it leads.
    pub is_leader: bool,
    /// The leader's `host:port` in the peer protocol.
    pub leader: Option<String>,
    /// All servers, by name.
    pub servers: Vec<Server>,
    /// Raft's term.
    pub term: u64,
    /// The last Raft index in the log.
    pub last_log: u64,
    /// The last committed Raft index that this server knows.
    pub committed: u64,
    /// The last applied Raft index.
    pub applied: u64,
    /// The Raft index of the last snapshot.
    pub snapshot: u64,
    /// How long ago this server heard of the leader; zero on the leader itself.
    pub last_contact: Duration,
    /// Blocking reads that wait here.
    pub waiters: usize,
}

/// A hash of this server's whole state at an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The store's index.
    pub index: Index,
    /// The hash: equal on every replica at the same index and Raft index.
    pub hash: u64,
    /// The Raft index up to which that very state has applied the log.
    pub applied: u64,
}

impl Replica {
    pub(super) fn new(
        raft: Raft,
        (view, hub, replaced): (View, Hub, Replaced),
        options: Options,
        members: watch::Receiver<MemberList>,
    ) -> Self {
        let node = options.number;
        let shared = SharedReads::new(hub.clone(), view.clone(), options.metrics.clone());
        let inner = Inner {
            raft,
            view,
            hub,
            replaced,
            clock: Clock::default(),
            renewals: Renewals::default(),
            options,
            node,
            writes: Semaphore::new(limits::WRITES_IN_FLIGHT_MAX),
            shared,
            agents: Bounds::default(),
            members,
            health: Mutex::default(),
            leavers: Leavers::default(),
            failed: Failed::default(),
            founding: Founding::default(),
            confirmed: Confirmed::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Writes; see the client room for what is promised.
    ///
    /// # Errors
    ///
    /// [`Unavailable`], which says whether it surely did not happen.
    pub async fn write(&self, command: &Command) -> Result<Written, Unavailable> {
        self.inner.write(command).await
    }

    /// Reads; see the client room for what is promised.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    pub async fn read(&self, query: Query, options: ReadOptions) -> Result<Read, Unavailable> {
        self.inner.read(query, options).await
    }

    /// When the answer of a query last changed; see the client room.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    pub async fn changed(
        &self,
        query: &Query,
        consistency: Consistency,
    ) -> Result<Index, Unavailable> {
        self.inner.changed(query, consistency).await
    }

    /// Renews a session through the leader.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    pub async fn renew(&self, id: SessionId) -> Result<Option<Arc<Session>>, Unavailable> {
        match self.inner.ask_leader(&Request::Renew(id)).await? {
            Response::Renewed(session) => Ok(session),
            other => Err(inbound::unexpected(&other)),
        }
    }

    /// What this server knows of the cluster.
    pub fn status(&self) -> ClusterStatus {
        let status = self.inner.raft.now();
        let mut servers: Vec<Server> = status
            .peers
            .iter()
            .map(|(node, peer)| Server {
                id: peer.id.clone(),
                name: peer.name.clone(),
                address: peer.address.clone(),
                leader: status.leader == Some(*node),
                voter: status.settled_voters.contains(node),
            })
            .collect();
        servers.sort_by(|one, two| one.name.cmp(&two.name));
        let leader = status.leader.and_then(|leader| status.peers.get(&leader));
        ClusterStatus {
            id: self.inner.options.id.clone(),
            is_leader: status.is_leader,
            leader: leader.map(|peer| peer.address.clone()),
            servers,
            term: status.term,
            last_log: status.last_log,
            committed: status.committed,
            applied: status.applied,
            snapshot: status.snapshot,
            last_contact: self.inner.last_contact(),
            waiters: self.inner.hub.waiting(),
        }
    }

    /// Hashes the whole state, off the runtime's threads.
    ///
    /// # Panics
    ///
    /// If the hashing itself panicked.
    pub async fn digest(&self) -> Digest {
        let view = self.inner.view.clone();
        let hashing = tokio::task::spawn_blocking(move || view.digest_with_position());
        let ((index, hash), position) = hashing.await.expect("hashing ends");
        let applied = position.map_or(0, |position| {
            raft::position_index(&position).expect("the log reads what it wrote")
        });
        Digest { index, hash, applied }
    }

    /// Removes a server from the membership; false when it is no member.
    ///
    /// # Errors
    ///
    /// [`Unavailable`]; also where that would take the majority away.
    pub async fn remove_server(&self, id: &str) -> Result<bool, Unavailable> {
        match self.inner.ask_leader(&Request::RemoveServer(id.to_owned())).await? {
            Response::Flag(removed) => Ok(removed),
            other => Err(inbound::unexpected(&other)),
        }
    }

    /// Hands leadership over.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    pub async fn transfer_leader(&self, to: Option<&str>) -> Result<(), Unavailable> {
        match self.inner.ask_leader(&Request::Transfer(to.map(ToOwned::to_owned))).await? {
            Response::Flag(_) => Ok(()),
            other => Err(inbound::unexpected(&other)),
        }
    }

    /// How the servers are, as the leader sees them.
    ///
    /// # Errors
    ///
    /// [`Unavailable`].
    pub async fn health(&self) -> Result<Vec<ServerHealth>, Unavailable> {
        match self.inner.ask_leader(&Request::Health).await? {
            Response::Health(servers) => Ok(servers),
            other => Err(inbound::unexpected(&other)),
        }
    }

    /// Returns when the known leader is another one than at the call.
    pub async fn leader_changed(&self) {
        let mut status = self.inner.raft.status();
        let before = status.borrow_and_update().leader;
        // An error means that Raft has stopped: there will be no other leader to tell of.
        if status.wait_for(|status| status.leader != before).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether this server has a log: it is part of a cluster, or was.
    pub fn is_bootstrapped(&self) -> bool {
        self.inner.raft.is_bootstrapped()
    }

    /// What is wrong with this machine's disk or bytes, once something is. The node must stop.
    pub fn fault(&self) -> watch::Receiver<Option<String>> {
        self.inner.raft.fault()
    }

    /// Stops taking part, handing leadership over first. Everything applied is on disk after it.
    pub async fn stop(&self) {
        self.step_down().await;
        self.inner.raft.stop().await;
    }

    /// Stops at once, as a process that was killed: its disks and its network have ended already.
    #[cfg(feature = "sim")]
    pub async fn halt(&self) {
        self.inner.raft.stop().await;
    }

    /// Has this server taken out of Raft's membership, and returns once it is; at once where there
    /// is no other voter. The pool should say by then that it left. May be dropped at any time.
    pub async fn leave(&self) {
        let number = self.inner.node;
        loop {
            let status = self.inner.raft.now();
            if status.voters.iter().all(|voter| *voter == number) {
                return;
            }
            if status.is_leader {
                self.step_down().await; // nobody takes itself out
            } else if let Ok(Response::Flag(false)) =
                self.inner.ask_leader(&Request::Leave(number)).await
            {
                return;
            }
            tokio::time::sleep(LEAVE_ROUND).await;
        }
    }

    /// Hands leadership over, if this server leads and another one can.
    pub async fn step_down(&self) {
        let status = self.inner.raft.now();
        if status.is_leader && status.voters.len() > 1 {
            let heir = autopilot::heir(&self.inner);
            if let Err(error) = self.inner.raft.transfer_leadership(heir).await {
                tracing::warn!(%error, "leadership was not handed over");
            }
        }
    }
}

impl Inner {
    /// How long ago this server heard of the leader; zero while it leads with a majority.
    pub(super) fn last_contact(&self) -> Duration {
        self.raft.leader_contact().unwrap_or(Duration::MAX)
    }

    /// The server with this UUID. Where a wiped disk has two, the one that the pool knows no more.
    pub(super) fn server(&self, id: &str) -> Option<NodeId> {
        let (status, members) = (self.raft.now(), self.members());
        let of_id = status.peers.iter().filter(|(_, peer)| peer.id == id).map(|(node, _)| *node);
        of_id.min_by_key(|node| members.iter().any(|member| member.raft == *node))
    }

    /// The members of the pool that are of this data center.
    pub(super) fn members(&self) -> Vec<Arc<Member>> {
        let all = Arc::clone(&self.members.borrow());
        let own = all.iter().filter(|member| member.datacenter == self.options.datacenter);
        own.cloned().collect()
    }

    /// Has the pool declare a failed member gone. One that finds no room is told again: it is
    /// still failed when the leader looks next.
    pub(super) fn dismiss(&self, name: String) {
        if let Err(error) = self.options.dismiss.try_send(name) {
            tracing::warn!(%error, "a failed member is not declared gone yet");
        }
    }
}
