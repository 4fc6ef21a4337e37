//! openraft's types as this crate uses them, and our own records beside them. Nothing long-lived
//! is encoded from openraft's structs: they change between alphas.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::type_config::alias::{DefaultEntryOf, LogIdOf, StoredMembershipOf};
use openraft::{EntryPayload, Membership, RaftTypeConfig};
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::options::{NodeId, Peer};
use crate::wal::{Kind, LogPosition, Record, VoteRecord};

/// The type configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

/// One leader for each term, so that an entry is known by term and index.
pub(crate) type LeaderId = openraft::impls::leader_id_std::LeaderId<u64, NodeId>;

impl RaftTypeConfig for Types {
    type D = Payload;
    type R = Bytes;
    type NodeId = NodeId;
    type Node = Peer;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = openraft::Vote<LeaderId>;
    type Payload = EntryPayload<Payload, NodeId, Peer>;
    type Entry = DefaultEntryOf<Types>;
    type AsyncRuntime = openraft::TokioRuntime;
    type Responder<T>
        = openraft::impls::OneshotResponder<Types, T>
    where
        T: Send + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = openraft::AnyError;
}

pub(crate) type LogId = LogIdOf<Types>;
pub(crate) type Vote = openraft::Vote<LeaderId>;
pub(crate) type RaftLogEntry = DefaultEntryOf<Types>;
pub(crate) type StoredMembership = StoredMembershipOf<Types>;
pub(crate) type Core = openraft::Raft<Types, crate::machine::Adapter>;

/// Bytes of the application, opaque here.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Payload(pub(crate) Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// A membership as it is kept and sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembershipRecord {
    /// One set of voters, or two while a change is under way.
    pub(crate) configs: Vec<BTreeSet<NodeId>>,
    /// Every member, learners too.
    pub(crate) nodes: BTreeMap<NodeId, Peer>,
}

impl MembershipRecord {
    pub(crate) fn of(membership: &Membership<NodeId, Peer>) -> MembershipRecord {
        let nodes = membership.nodes().map(|(id, peer)| (*id, peer.clone())).collect();
        let mut configs = membership.get_joint_config().clone();
        if planted!("planted_b03") {
            // B03: of a joint configuration the others learn only what it is to become, so that
            // they count one majority where two are needed.
            configs = configs.pop().into_iter().collect();
        }
        MembershipRecord { configs, nodes }
    }

    pub(crate) fn into_membership(self) -> Result<Membership<NodeId, Peer>, String> {
        if self.configs.is_empty() && self.nodes.is_empty() {
            return Ok(Membership::default());
        }
        Membership::new(self.configs, self.nodes).map_err(|e| e.to_string())
    }
}

/// How far a state machine is: what it must keep together with its state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) applied: Option<LogPosition>,
    pub(crate) membership_at: Option<LogPosition>,
    pub(crate) membership: MembershipRecord,
}

impl Position {
    pub(crate) fn new(applied: Option<LogId>, membership: &StoredMembership) -> Position {
        Position {
            applied: applied.map(position),
            membership_at: membership.log_id().map(position),
            membership: MembershipRecord::of(membership.membership()),
        }
    }

    pub(crate) fn into_parts(self) -> Result<(Option<LogId>, StoredMembership), String> {
        let membership = self.membership.into_membership()?;
        let stored = StoredMembership::new(self.membership_at.map(log_id), membership);
        Ok((self.applied.map(log_id), stored))
    }
}

pub(crate) fn log_id(position: LogPosition) -> LogId {
    LogId::new_term_index(position.term, position.index)
}

pub(crate) fn position(log_id: LogId) -> LogPosition {
    LogPosition { term: log_id.leader_id.term, index: log_id.index }
}

pub(crate) fn vote_record(vote: &Vote) -> VoteRecord {
    let LeaderId { term, voted_for } = vote.leader_id;
    VoteRecord { term, node: voted_for, committed: vote.committed }
}

pub(crate) fn vote(record: VoteRecord) -> Vote {
    if record.committed {
        Vote::new_committed(record.term, record.node)
    } else {
        Vote::new(record.term, record.node)
    }
}

/// The record of an entry; the payload is shared, not copied.
pub(crate) fn record(entry: RaftLogEntry) -> Record {
    let LogPosition { term, index } = position(entry.log_id);
    let (kind, payload) = match entry.payload {
        EntryPayload::Blank => (Kind::Blank, Bytes::new()),
        EntryPayload::Normal(Payload(bytes)) => (Kind::Normal, bytes),
        EntryPayload::Membership(membership) => {
            let bytes = codec::encode(&MembershipRecord::of(&membership));
            (Kind::Membership, Bytes::from(bytes))
        }
    };
    Record { kind, term, index, payload }
}

/// The entry of a record.
///
/// # Errors
///
/// A membership that cannot be decoded, or a record that is no entry.
pub(crate) fn entry(record: Record) -> Result<RaftLogEntry, String> {
    let id = LogId::new_term_index(record.term, record.index);
    match record.kind {
        Kind::Blank => Ok(RaftLogEntry::new_blank(id)),
        Kind::Normal => Ok(RaftLogEntry::new_normal(id, Payload(record.payload))),
        Kind::Membership => {
            let membership: MembershipRecord =
                codec::decode(&record.payload).map_err(|e| format!("membership {id}: {e}"))?;
            Ok(RaftLogEntry::new_membership(id, membership.into_membership()?))
        }
        Kind::Vote | Kind::Truncate | Kind::Purge | Kind::Committed => {
            Err(format!("record {id} of kind {:?} is no entry", record.kind))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn a_joint_configuration_is_kept_whole() {
        let peer =
            |id: NodeId| Peer { id: id.to_string(), name: String::new(), address: String::new() };
        let nodes: BTreeMap<NodeId, Peer> = (1..=5).map(|id| (id, peer(id))).collect();
        let configs = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([3, 4, 5])];
        let joint = Membership::<NodeId, Peer>::new(configs.clone(), nodes).unwrap();
        let bytes = codec::encode(&MembershipRecord::of(&joint));
        let kept: MembershipRecord = codec::decode(&bytes).unwrap();
        let kept = kept.into_membership().unwrap();
        assert_eq!(kept.get_joint_config(), &configs, "each majority counts until the end");
        assert_eq!(kept, joint);
    }
}
