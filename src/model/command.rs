//! Every write that the store knows. This list is closed: `store/apply.rs` matches all of it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::autopilot::Autopilot;
use super::backup::Backup;
use super::catalog::{Check, CheckStatus, Node, Service};
use super::coordinate::NodeCoordinate;
use super::ids::{ClusterTime, Index, SessionId};
use super::prepared::{PreparedId, PreparedQuery};
use super::session::SessionSpec;
use super::txn::TxnOp;

/// A write, as a door words it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Changes nothing; carries cluster time and renewals.
    Tick,
    /// One operation on a key. `Reply::Flag` says whether it took effect.
    Kv(KvOp),
    /// Operations that take effect together or not at all.
    Txn(Vec<TxnOp>),
    /// `Reply::Session`, or a refusal.
    SessionCreate(SessionSpec),
    /// `Reply::Done`, also for a session that is not there.
    SessionDestroy(SessionId),
    /// Ends a session if it still has this sequence and its deadline is past.
    SessionExpire {
        /// The session.
        id: SessionId,
        /// The sequence that the proposer saw.
        sequence: u64,
    },
    /// A node, optionally with a service and checks; idempotent. `Reply::Done` or a refusal.
    Register(Box<Registration>),
    /// Removes a node, a service or a check. `Reply::Done` always.
    Deregister(Deregistration),
    /// New verdicts of checks that are registered already; one that is not is passed over.
    CheckUpdate(Vec<CheckUpdate>),
    /// Forgets deleted keys whose index is at most this.
    TombstoneReap(Index),
    /// Replaces everything by the content of a backup. The index never falls: the restored
    /// records keep their own, and the counter continues above both.
    Restore(Box<Backup>),
    /// Sets a part of a backup aside that is too large for one command. `Reply::Flag`: false if
    /// it is not the part that comes next. Part 0 drops whatever was set aside before.
    RestorePart {
        /// Random, chosen by the proposer: the parts of one backup share it.
        id: u64,
        /// Its place, from 0.
        part: u32,
        /// Its records; together the parts are the backup.
        records: Box<Backup>,
    },
    /// As [`Command::Restore`], of the parts that were set aside. `Reply::Flag`: false, and
    /// nothing happened, if they are not all there.
    RestoreParts {
        /// The parts' own.
        id: u64,
        /// How many there are.
        parts: u32,
    },
    /// A new prepared query; its `create` and `modify` are not read. `Reply::Done` or a refusal.
    PreparedCreate(Box<PreparedQuery>),
    /// A prepared query in place of the one that has its id. `Reply::Done` or a refusal.
    PreparedUpdate(Box<PreparedQuery>),
    /// Removes a prepared query. `Reply::Done`, or a refusal when there is none.
    PreparedDelete(PreparedId),
    /// Where nodes lie now; at most [`crate::limits::COORDINATES_A_COMMAND_MAX`]. One of a node
    /// that is not registered is passed over.
    CoordinateUpdate(Vec<NodeCoordinate>),
    /// Autopilot's settings; their `create` and `modify` are not read. With `index` only if the
    /// stored ones still have this one, 0: if there are none. `Reply::Flag`.
    Autopilot {
        /// The settings.
        settings: Box<Autopilot>,
        /// The index that the caller saw.
        index: Option<Index>,
    },
}

/// One operation on a key: a write, a read or a guard.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KvOp {
    /// The key, or the prefix of a tree operation.
    pub key: String,
    /// What to do.
    pub verb: KvWrite,
}

/// What to do with a key. Source: Consul HTTP API, "KV Store" and "Transactions".
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KvWrite {
    /// Stores the value.
    Set {
        /// The value.
        value: Bytes,
        /// The caller's number.
        flags: u64,
    },
    /// Stores the value if the key still has this index; index 0: if there is no such key.
    Cas {
        /// The value.
        value: Bytes,
        /// The caller's number.
        flags: u64,
        /// The index that the caller saw.
        index: Index,
    },
    /// Stores the value and takes the lock, if it is free or already this session's.
    Lock {
        /// The value.
        value: Bytes,
        /// The caller's number.
        flags: u64,
        /// Who takes it.
        session: SessionId,
    },
    /// Stores the value and gives the lock back, if this session holds it.
    Unlock {
        /// The value.
        value: Bytes,
        /// The caller's number.
        flags: u64,
        /// Who gives it back.
        session: SessionId,
    },
    /// Removes the key; true also when there is none.
    Delete,
    /// Removes the key if it still has this index; true when there is none.
    DeleteCas {
        /// The index that the caller saw.
        index: Index,
    },
    /// Removes every key that begins with this one.
    DeleteTree,
    /// Transaction only: reads the key; refused when there is none.
    Get,
    /// Transaction only: reads the key; an empty entry of index 0 when there is none.
    GetOrEmpty,
    /// Transaction only: reads every key that begins with this one.
    GetTree,
    /// Transaction only: refused unless the key has this index.
    CheckIndex {
        /// The index.
        index: Index,
    },
    /// Transaction only: refused unless this session holds the key.
    CheckSession {
        /// The session as the caller spelled it; empty: nobody holds the key.
        session: String,
    },
    /// Transaction only: refused when the key exists.
    CheckNotExists,
}

/// A node with, optionally, one instance and checks. Source: Consul HTTP API, "Register Entity".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The node; its `create` and `modify` are not read.
    pub node: Node,
    /// Leaves a node that exists as it is.
    pub skip_node_update: bool,
    /// The instance; its `node` is not read.
    pub service: Option<Service>,
    /// The checks; an empty `node` means this one.
    pub checks: Vec<Check>,
}

/// Removes a service if `service` is named, else a check if `check` is, else the node.
/// Source: observed on Consul 1.8.7.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deregistration {
    /// The node.
    pub node: String,
    /// The instance's id.
    pub service: Option<String>,
    /// The check's id.
    pub check: Option<String>,
}

/// A new verdict of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckUpdate {
    /// The node.
    pub node: String,
    /// The check's id.
    pub check: String,
    /// The verdict.
    pub status: CheckStatus,
    /// What it said. A new output alone moves no index.
    pub output: String,
}

/// A session that was renewed: it runs out `SESSION_TTL_FACTOR` TTLs after `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewal {
    /// The session.
    pub id: SessionId,
    /// When the leader took the renewal.
    pub at: ClusterTime,
}

/// What the leader puts around a command as it proposes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Cluster time; the store's clock never goes back, whatever a leader writes.
    pub at: ClusterTime,
    /// Renewals since the last command that carried any.
    pub renewals: Vec<Renewal>,
    /// The command as [`crate::codec::encode`] gave it, untouched by the leader.
    pub command: Bytes,
}
