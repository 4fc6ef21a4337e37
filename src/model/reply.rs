//! What comes back from a write: a reply, a refusal inside it, or word that it is unavailable.

use serde::{Deserialize, Serialize};

use super::ids::{Index, SessionId};
use super::prepared::PreparedId;
use super::txn::{RecordKey, TxnError, TxnResult};

/// What the state said to a command; the same on every replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Done,
    /// Whether it took effect: compare-and-set, lock, unlock.
    Flag(bool),
    /// The session that was made.
    Session(SessionId),
    /// What each operation brought (deletions bring nothing), or why the whole was rolled back.
    Txn(Result<Vec<TxnResult>, Vec<TxnError>>),
    /// The state says no.
    Refused(Refusal),
}

/// A reply with the store's index right after its command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// What the state said.
    pub reply: Reply,
    /// The store's index once the command was applied.
    pub index: Index,
}

/// Why the state says no. Not an error: every replica says the same. Doors choose the words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The lock's session is not there.
    NoSuchSession(SessionId),
    /// The session's node is not registered.
    SessionNodeMissing(String),
    /// The session names a check that is not registered.
    SessionCheckMissing(String),
    /// The session names a check that is critical.
    SessionCheckCritical(String),
    /// A registration names no node.
    NodeNameMissing,
    /// A node has no address, and was not to be skipped.
    NodeAddressMissing,
    /// Another living node, of this id, has the name.
    NodeNameReserved {
        /// The name, as it was asked for.
        name: String,
        /// Who asked for it.
        id: String,
        /// The id of the node that has it.
        holder: String,
        /// That node's name and address, for people.
        holder_shown: String,
    },
    /// A check names a service that its node does not have.
    CheckServiceMissing {
        /// The service's id.
        service: String,
        /// The node.
        node: String,
    },
    /// A check or service names a node that is not registered.
    NodeMissing(String),
    /// Transaction: the key is not there.
    KeyMissing(String),
    /// Transaction: an index guard is on a key that is not there.
    IndexGuardMissing(String),
    /// Transaction: a session guard is on a key that is not there.
    SessionGuardMissing(String),
    /// Transaction: the key is there.
    KeyExists(String),
    /// Transaction: set, the key has another index.
    SetStale(String),
    /// Transaction: delete, the key has another index.
    DeleteStale(String),
    /// Transaction: somebody else holds the lock.
    LockHeld(String),
    /// Transaction: the lock rests after its holder's end.
    LockDelay(String),
    /// Transaction: unlock by who does not hold it.
    LockNotHeld(String),
    /// Transaction: index guard.
    IndexDiffers {
        /// The key.
        key: String,
        /// What it has.
        current: Index,
        /// What the guard names.
        wanted: Index,
    },
    /// Transaction: session guard.
    SessionDiffers {
        /// The key.
        key: String,
        /// Who holds it.
        current: Option<SessionId>,
        /// What the guard names, as the caller spelled it.
        wanted: String,
    },
    /// Transaction: what is read is not there.
    RecordMissing(RecordKey),
    /// Transaction: set, the record has another index.
    RecordSetStale(RecordKey),
    /// Transaction: delete, the record has another index or is not there.
    RecordDeleteStale(RecordKey),
    /// Transaction: an instance or a check names a node that is not registered.
    NodeUnregistered(String),
    /// Transaction: a check names an instance that its node does not have.
    ServiceUnregistered {
        /// The instance's id.
        service: String,
        /// The node.
        node: String,
    },
    /// Transaction: the operation fails whatever the state is, with this text.
    Nonsense(String),
    /// The command was made by a newer version and cannot be read here.
    UnknownCommand,
    /// There is no prepared query of this id.
    PreparedMissing(PreparedId),
    /// Another prepared query has the name.
    PreparedNameTaken(String),
    /// The name is the id of another prepared query.
    PreparedNameIsId(String),
    /// There is a template already that takes every name.
    PreparedCatchAllTaken,
}

/// The cluster could not do it now. Says whether a retry is safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Unavailable {
    /// It surely did not happen: retry at will.
    #[error("not applied: {0}")]
    NotApplied(String),
    /// There is no leader, and it surely did not happen: retry at will.
    #[error("not applied: no cluster leader")]
    NoLeader,
    /// It may have happened: retry only what is guarded by an index or a session.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// This server holds as many of these as it may.
    #[error("not applied: too many {0}")]
    TooMany(String),
    /// This agent knows of no server, and it surely did not happen: retry once it does.
    #[error("not applied: no server is known")]
    NoServers,
}
