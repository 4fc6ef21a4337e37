//! The errors of the door, named by who must act.

use crate::options::NodeId;

/// This machine's disk or bytes are wrong: the node stops, and nothing is answered any more.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

impl Fault {
    /// A fault at a file, with what went wrong there.
    pub(crate) fn at(path: &std::path::Path, what: impl std::fmt::Display) -> Fault {
        Fault(format!("{}: {what}", path.display()))
    }
}

/// Why a proposal has no reply.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    /// Surely not applied: this node does not lead. Ask `leader`, if anybody is known to lead.
    #[error("not the leader, which is {leader:?}")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// Surely not applied, for the reason given: may be tried again.
    #[error("not applied: {0}")]
    NotApplied(String),
    /// It may have happened or may still happen: only a guarded write may be tried again.
    #[error("may have been applied: {0}")]
    Unknown(String),
    /// This node is stopping or has a fault; whether the proposal was applied is unknown.
    #[error("this node has stopped")]
    Stopped,
}

/// Why a read barrier was not passed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BarrierError {
    /// Nobody led with a majority behind him for the whole of the time given.
    #[error("no leader")]
    NoLeader,
    /// There was a leader, but the time ran out before this node had applied enough.
    #[error("timed out")]
    Timeout,
    /// This node is stopping or has a fault.
    #[error("this node has stopped")]
    Stopped,
}

/// Why a request to another node has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// Surely not received: may be tried again, also elsewhere.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It may have been received and acted upon.
    #[error("may have been received: {0}")]
    Unknown(String),
}

/// Why a change of membership or leadership was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MembershipError {
    /// Only the leader can do it.
    #[error("not the leader, which is {leader:?}")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// Another change is still under way.
    #[error("another change of membership is under way")]
    InProgress,
    /// The change makes no sense in the present state; the text says why.
    #[error("refused: {0}")]
    Refused(String),
    /// It may have been carried out, wholly or up to the joint configuration.
    #[error("may have been carried out: {0}")]
    Unknown(String),
    /// This node is stopping or has a fault.
    #[error("this node has stopped")]
    Stopped,
}
