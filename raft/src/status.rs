//! How this node and its cluster stand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::{LogIdOptionExt, ServerState};

use crate::options::{NodeId, Peer};
use crate::types::Types;

/// How this node and its cluster stand. Indexes are 0 where there is nothing yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
    /// Whether this node believes that it leads; see `Raft::confirmed_leader`.
    pub is_leader: bool,
    /// The current term.
    pub term: u64,
    /// Index of the last entry in the log.
    pub last_log: u64,
    /// Index of the last entry that is known here to be committed.
    pub committed: u64,
    /// Index of the last entry that was applied here.
    pub applied: u64,
    /// Index of the last entry in the newest snapshot.
    pub snapshot: u64,
    /// Index of the last entry that was purged from the log.
    pub purged: u64,
    /// Every member, learners too.
    pub peers: Arc<BTreeMap<NodeId, Peer>>,
    /// Members with a vote.
    pub voters: Arc<BTreeSet<NodeId>>,
    /// Members whose vote counts whatever becomes of a change that is under way: voters of every
    /// set, in the newest configuration and in the last one that is committed.
    pub settled_voters: Arc<BTreeSet<NodeId>>,
    /// Members without a vote.
    pub learners: Arc<BTreeSet<NodeId>>,
    /// Whether a change of voters has begun and not ended: see `Raft::settle`.
    pub joint: bool,
    /// On the leader: for each member, the index up to which its log is known to be the same.
    pub matched: BTreeMap<NodeId, u64>,
}

type Metrics = openraft::RaftMetrics<Types>;

impl Status {
    /// The status after `metrics`; what did not change is shared with `self`.
    pub(crate) fn after(&self, metrics: &Metrics) -> Status {
        let mut status = Status {
            node: metrics.id,
            leader: metrics.current_leader,
            is_leader: metrics.state == ServerState::Leader,
            term: metrics.current_term,
            last_log: metrics.last_log_index.unwrap_or(0),
            committed: metrics.local_committed.index().unwrap_or(0),
            applied: metrics.last_applied.index().unwrap_or(0),
            snapshot: metrics.snapshot.index().unwrap_or(0),
            purged: metrics.purged.index().unwrap_or(0),
            peers: Arc::clone(&self.peers),
            voters: Arc::clone(&self.voters),
            settled_voters: Arc::clone(&self.settled_voters),
            learners: Arc::clone(&self.learners),
            joint: false,
            matched: BTreeMap::new(),
        };
        if let Some(replication) = &metrics.replication {
            let matched = |(id, log): (&NodeId, &Option<_>)| (*id, log.index().unwrap_or(0));
            status.matched = replication.iter().map(matched).collect();
        }
        let membership = metrics.membership_config.membership();
        status.joint = membership.get_joint_config().len() > 1;
        if !membership.nodes().eq(self.peers.iter()) {
            let peers = membership.nodes().map(|(id, peer)| (*id, peer.clone()));
            status.peers = Arc::new(peers.collect());
        }
        if !membership.voter_ids().eq(self.voters.iter().copied()) {
            status.voters = Arc::new(membership.voter_ids().collect());
        }
        let committed = metrics.committed_membership_config.membership().get_joint_config();
        let mut sets = membership.get_joint_config().iter().chain(committed);
        let first = sets.next().cloned().unwrap_or_default();
        let settled = sets.fold(first, |all, set| &all & set);
        if settled != *self.settled_voters {
            status.settled_voters = Arc::new(settled);
        }
        if !membership.learner_ids().eq(self.learners.iter().copied()) {
            status.learners = Arc::new(membership.learner_ids().collect());
        }
        status
    }
}
