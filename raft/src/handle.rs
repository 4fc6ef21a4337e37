//! The handle to a running node: its verbs, and the order in which it is stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, InitializeError, RaftError};
use openraft::{ChangeMembers, Instant as _, ServerState};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::barrier::Waiter;
use crate::error::{BarrierError, CallError, Fault, MembershipError, ProposeError};
use crate::limits;
use crate::machine::{Machine, StateMachine};
use crate::options::{NodeId, Options, Peer};
use crate::peer::{Listener, Peers};
use crate::propose::Proposal;
use crate::snapshot::SnapshotStore;
use crate::start::start;
use crate::status::Status;
use crate::tasks::Tasks;
use crate::types::{Core, Types};
use crate::wal::Wal;

/// Answers the requests that other nodes send with [`Raft::call`].
pub trait Inbound: Send + Sync + 'static {
    /// Answers one request of node `from`. Many run at once; one may be dropped when its
    /// connection ends. At most 4,096 for each connection.
    fn call(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Bytes>;

    /// Answers one request of a process that is no node, sent with [`crate::Caller::call`]. It is
    /// dropped when the caller leaves or its connection ends. At most 8,192 for each connection;
    /// the answer may have 256 MiB.
    ///
    /// It is polled where this node's own work is done, so whatever takes long belongs elsewhere.
    fn agent(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Bytes>;
}

/// A running node. Cheap to clone; ends with [`Raft::stop`].
#[derive(Clone)]
pub struct Raft {
    inner: Arc<Inner>,
}

/// What a running node holds.
pub(crate) struct Inner {
    pub(crate) options: Options,
    pub(crate) core: Core,
    pub(crate) wal: Wal,
    pub(crate) machine: Machine,
    pub(crate) snapshots: Arc<SnapshotStore>,
    pub(crate) peers: Peers,
    pub(crate) tasks: Tasks,
    pub(crate) proposals: mpsc::Sender<Proposal>,
    /// Room for bytes of proposals, in KiB.
    pub(crate) room: Semaphore,
    pub(crate) barriers: mpsc::Sender<Waiter>,
    pub(crate) applied: watch::Receiver<Option<u64>>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) fault: watch::Sender<Option<String>>,
    pub(crate) contact: Arc<Mutex<Option<Instant>>>,
}

impl Raft {
    /// Starts a node: recovers its log, brings the machine up to what is known as committed,
    /// and only then takes connections from `listener`. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// The folder is in use, the log or a snapshot is damaged (file and offset), the machine
    /// fails, or the options contradict each other.
    pub async fn start(
        options: Options,
        listener: Listener,
        machine: impl StateMachine,
        inbound: Arc<dyn Inbound>,
    ) -> Result<Raft, Fault> {
        if options.node == 0 {
            return Err(Fault("the number of a node is never 0".to_owned()));
        }
        let tasks = Tasks::new();
        let started = start(options, listener, machine, inbound, &tasks).await;
        match started {
            Ok(inner) => Ok(Raft { inner: Arc::new(inner) }),
            Err(fault) => {
                tasks.stop_tasks().await;
                Err(fault)
            }
        }
    }

    /// Makes a new cluster out of fresh nodes: `voters` holds all of them, with this one.
    ///
    /// # Errors
    ///
    /// [`MembershipError::Refused`] if this node belongs to a cluster already.
    pub async fn bootstrap(&self, voters: BTreeMap<NodeId, Peer>) -> Result<(), MembershipError> {
        match self.inner.core.initialize(voters).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {
                Err(MembershipError::Refused("this node belongs to a cluster already".to_owned()))
            }
            Err(RaftError::APIError(InitializeError::NotInMembers(_))) => {
                let what = format!("node {} is not among the voters", self.inner.options.node);
                Err(MembershipError::Refused(what))
            }
            Err(RaftError::Fatal(_)) => Err(MembershipError::Stopped),
        }
    }

    /// Whether this node has any log, vote or membership, so that it must not be bootstrapped.
    pub fn is_bootstrapped(&self) -> bool {
        let (_, last) = self.inner.wal.ends();
        last.is_some() || self.inner.wal.vote().is_some_and(|vote| vote.term > 0)
    }

    /// Proposes an entry on this node, together with whatever else is being proposed; returns
    /// the machine's reply once the entry is committed and applied here. At most 8 MiB.
    ///
    /// A node that leads but is not confirmed yet, or knows of no leader, is given up to a
    /// second. Dropping the future leaves open whether the entry is applied.
    ///
    /// # Errors
    ///
    /// [`ProposeError`] says whether the entry may have been applied.
    pub async fn propose(&self, payload: Bytes) -> Result<Bytes, ProposeError> {
        let size = payload.len();
        if size > limits::ENTRY_BYTES_MAX {
            let what = format!("{size} bytes, more than {}", limits::ENTRY_BYTES_MAX);
            return Err(ProposeError::NotApplied(what));
        }
        let kib = u32::try_from(size / 1024 + 1).unwrap_or(u32::MAX);
        let _room =
            self.inner.room.acquire_many(kib).await.map_err(|_closed| ProposeError::Stopped)?;
        let grace = Instant::now() + limits::LEADER_GRACE;
        loop {
            let (reply, answer) = oneshot::channel();
            let proposal = Proposal { payload: payload.clone(), reply };
            let sent = self.inner.proposals.send(proposal).await;
            sent.map_err(|_closed| ProposeError::Stopped)?;
            match timeout(limits::PROPOSE_WAIT, answer).await {
                Ok(Ok(Err(ProposeError::NotLeader { leader: None }))) if Instant::now() < grace => {
                    tokio::time::sleep(limits::LEADER_RETRY).await;
                }
                Ok(Ok(result)) => return result,
                Ok(Err(_closed)) => return Err(ProposeError::Stopped),
                Err(_elapsed) => {
                    let what = format!("not applied within {:?}", limits::PROPOSE_WAIT);
                    return Err(ProposeError::Unknown(what));
                }
            }
        }
    }

    /// Returns once this node has applied everything that was committed anywhere before the
    /// call began: what is read here afterwards is linearizable. Works on any node.
    ///
    /// # Errors
    ///
    /// [`BarrierError`]; nothing was changed, so it may be tried again anywhere.
    pub async fn read_barrier(&self, limit: Duration) -> Result<(), BarrierError> {
        let until = Instant::now() + limit;
        let index = loop {
            let (waiter, index) = oneshot::channel();
            let sent = self.inner.barriers.send(waiter).await;
            sent.map_err(|_closed| BarrierError::Stopped)?;
            match timeout_at(until, index).await {
                Ok(Ok(Some(index))) => break index,
                Ok(Ok(None)) if Instant::now() + limits::LEADER_RETRY < until => {
                    tokio::time::sleep(limits::LEADER_RETRY).await;
                }
                Ok(Ok(None)) | Err(_) => return Err(BarrierError::NoLeader),
                Ok(Err(_closed)) => return Err(BarrierError::Stopped),
            }
        };
        failpoint!("barrier.index.before_wait");
        if planted!("planted_b06") {
            return Ok(()); // B06: the index is known, and need not be applied here
        }
        let mut applied = self.inner.applied.clone();
        let reached = applied.wait_for(|applied| *applied >= Some(index));
        match timeout_at(until, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_closed)) => Err(BarrierError::Stopped),
            Err(_elapsed) => Err(BarrierError::Timeout),
        }
    }

    /// Sends a request to another node's [`Inbound`] and waits for the answer. At most 8 MiB
    /// both ways.
    ///
    /// # Errors
    ///
    /// [`CallError::NotSent`] if it was surely not received, else [`CallError::Unknown`].
    pub async fn call(
        &self,
        to: NodeId,
        request: Bytes,
        limit: Duration,
    ) -> Result<Bytes, CallError> {
        self.inner.peers.call(to, request, limit).await
    }

    /// Overrules the address that the membership has for `node`, or with `None` stops doing
    /// so: for a cluster that came back with new addresses and cannot yet agree on them.
    pub fn redirect(&self, node: NodeId, address: Option<String>) {
        self.inner.peers.redirect(node, address);
    }

    /// The status, and every change of it.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.inner.status.clone()
    }

    /// Who leads, as far as this node knows, and whether that is this node. Cheaper than
    /// [`Raft::now`]: nothing is copied.
    pub fn leader(&self) -> (Option<NodeId>, bool) {
        let status = self.inner.status.borrow();
        (status.leader, status.is_leader)
    }

    /// The status now.
    pub fn now(&self) -> Status {
        self.inner.status.borrow().clone()
    }

    /// The term in which this node leads with a majority that answered within the shortest
    /// election timeout; `None` if it does not. For tasks that only the leader runs; what they
    /// write is checked again when it is applied.
    pub fn confirmed_leader(&self) -> Option<u64> {
        let metrics = self.inner.core.metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state != ServerState::Leader {
            return None;
        }
        let alone = metrics.membership_config.voter_ids().count() == 1;
        let acked = metrics.last_quorum_acked.as_ref().map(|acked| acked.elapsed());
        let fresh = acked.is_some_and(|age| age < self.inner.options.election.0);
        (alone || fresh).then_some(metrics.current_term)
    }

    /// On the leader: how long ago each other member answered it last, as far as it knows.
    pub fn contacts(&self) -> BTreeMap<NodeId, Duration> {
        let metrics = self.inner.core.metrics();
        let metrics = metrics.borrow_watched();
        let heard = metrics.heartbeat.iter().flatten();
        heard.filter_map(|(node, at)| Some((*node, at.as_ref()?.elapsed()))).collect()
    }

    /// How long ago this node heard from a leader, or as a leader from a majority; zero while
    /// it leads with one, `None` if it never did either.
    pub fn leader_contact(&self) -> Option<Duration> {
        if self.confirmed_leader().is_some() {
            return Some(Duration::ZERO);
        }
        self.inner.contact.lock().map(|contact| contact.elapsed())
    }

    /// Adds a member without a vote. Returns when that is committed; the new member may still
    /// lag, and should not get a vote before [`Status::matched`] says otherwise.
    ///
    /// # Errors
    ///
    /// [`MembershipError`]; refused if it is a member already with another address or name.
    pub async fn add_learner(&self, id: NodeId, peer: Peer) -> Result<(), MembershipError> {
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(id, peer)])), true).await
    }

    /// Replaces name and address of a member. Returns when that is committed.
    ///
    /// # Errors
    ///
    /// [`MembershipError`].
    pub async fn update_peer(&self, id: NodeId, peer: Peer) -> Result<(), MembershipError> {
        self.change(ChangeMembers::SetNodes(BTreeMap::from([(id, peer)])), true).await
    }

    /// Makes exactly these members the voters, through a joint configuration. Those that lose
    /// their vote stay as learners; new voters must be learners already. Returns when the final
    /// configuration is committed.
    ///
    /// # Errors
    ///
    /// [`MembershipError::Unknown`] may leave the joint configuration in place, and so does a
    /// call that is dropped: the same call on the leader ends it, or [`Raft::settle`].
    pub async fn change_voters(&self, voters: BTreeSet<NodeId>) -> Result<(), MembershipError> {
        self.change(ChangeMembers::ReplaceAllVoters(voters), true).await
    }

    /// Ends a change of voters that began and did not end, as when its leader died in between
    /// ([`Status::joint`]): what it was to become is what holds. Voters that it took their vote
    /// from stay as learners. Changes nothing where there is no such change.
    ///
    /// # Errors
    ///
    /// [`MembershipError`].
    pub async fn settle(&self) -> Result<(), MembershipError> {
        if !self.now().joint {
            return Ok(());
        }
        self.change(ChangeMembers::AddVoterIds(BTreeSet::new()), true).await
    }

    /// Removes a member, voter or learner. Returns when that is committed.
    ///
    /// # Errors
    ///
    /// [`MembershipError::Refused`] for the last voter.
    pub async fn remove(&self, id: NodeId) -> Result<(), MembershipError> {
        let only = BTreeSet::from([id]);
        let status = self.now();
        if *status.voters == only {
            return Err(MembershipError::Refused(format!("node {id} is the last voter")));
        }
        let change = if status.voters.contains(&id) {
            ChangeMembers::RemoveVoters(only)
        } else {
            ChangeMembers::RemoveNodes(only)
        };
        self.change(change, false).await
    }

    /// Hands leadership to `to`, or to the voter whose log is furthest. Returns when another
    /// node is known to lead.
    ///
    /// # Errors
    ///
    /// [`MembershipError::Unknown`] if that takes longer than two elections.
    pub async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<(), MembershipError> {
        let status = self.now();
        if !status.is_leader {
            return Err(MembershipError::NotLeader { leader: status.leader });
        }
        let others = status.voters.iter().filter(|id| **id != status.node);
        let furthest = others.max_by_key(|id| status.matched.get(id).copied());
        let to = to.or(furthest.copied());
        let to = to.filter(|to| *to != status.node && status.voters.contains(to));
        let nobody = || MembershipError::Refused("there is no such other voter".to_owned());
        let to = to.ok_or_else(nobody)?;
        failpoint!("leader.transfer.before");
        let asked = self.inner.core.trigger().transfer_leader(to).await;
        asked.map_err(|_fatal| MembershipError::Stopped)?;
        let mut changes = self.status();
        let led = |status: &Status| status.leader.is_some_and(|leader| leader != status.node);
        match timeout(self.inner.options.election.1 * 2, changes.wait_for(led)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_closed)) => Err(MembershipError::Stopped),
            Err(_elapsed) => {
                Err(MembershipError::Unknown(format!("node {to} did not take over in time")))
            }
        }
    }

    /// Takes a snapshot of at least what is applied now; returns the index in it. With nothing
    /// new to take, the newest one's index.
    ///
    /// # Errors
    ///
    /// The node stopped, or its fault.
    pub async fn snapshot(&self) -> Result<u64, Fault> {
        let wanted = self.now().applied;
        if wanted == 0 || self.now().snapshot >= wanted {
            return Ok(self.now().snapshot);
        }
        let stopped = |what: String| Fault(format!("no snapshot: {what}"));
        self.inner.core.trigger().snapshot().await.map_err(|e| stopped(e.to_string()))?;
        let mut status = self.status();
        let taken = status.wait_for(|status| status.snapshot >= wanted).await;
        taken.map(|status| status.snapshot).map_err(|_closed| stopped("node stopped".to_owned()))
    }

    /// A fault (disk, bytes) is fatal: it is set once, and the node answers nothing more. The
    /// owner should stop the process.
    pub fn fault(&self) -> watch::Receiver<Option<String>> {
        self.inner.fault.subscribe()
    }

    /// Stops the node: no more requests, everything queued for the log is written, tasks and
    /// threads have ended when it returns. May be called again.
    pub async fn stop(&self) {
        let Inner { core, wal, machine, snapshots, tasks, options, .. } = &*self.inner;
        tracing::info!(node = options.node, "raft stops");
        if let Err(error) = core.shutdown().await {
            tracing::warn!(%error, "openraft's core did not end well");
        }
        tasks.stop_tasks().await;
        snapshots.close().await;
        wal.stop().await;
        machine.stop().await;
        tasks.join_threads().await;
        tracing::info!(node = options.node, "raft has stopped");
    }

    async fn change(
        &self,
        members: ChangeMembers<NodeId, Peer>,
        retain: bool,
    ) -> Result<(), MembershipError> {
        failpoint!("membership.change.before");
        let changed = self.inner.core.change_membership(members, retain).await;
        failpoint!("membership.change.after");
        match changed {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(error)) => Err(membership_error(error)),
            Err(RaftError::Fatal(_)) => Err(MembershipError::Stopped),
        }
    }
}

fn membership_error(error: ClientWriteError<Types>) -> MembershipError {
    match error {
        ClientWriteError::ForwardToLeader(forward) => {
            MembershipError::NotLeader { leader: forward.leader_id }
        }
        ClientWriteError::LogEntryDiscarded(_) => {
            MembershipError::Unknown("leadership was lost meanwhile".to_owned())
        }
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)) => {
            MembershipError::InProgress
        }
        error @ (ClientWriteError::ChangeMembershipError(_)
        | ClientWriteError::PreconditionFailed(_)) => MembershipError::Refused(error.to_string()),
    }
}
