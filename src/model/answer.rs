//! What a read brings back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::autopilot::Autopilot;
use super::backup::Backup;
use super::catalog::{Check, Instance, Node, NodeServices};
use super::coordinate::NodeCoordinate;
use super::ids::Index;
use super::kv::KvEntry;
use super::prepared::{Execution, PreparedQuery, Unresolved};
use super::session::Session;
use super::txn::{TxnError, TxnResult};

/// The data of an answer; which kind stands at each [`super::Query`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Keys.
    Kv(Vec<Arc<KvEntry>>),
    /// Names only.
    Names(Vec<String>),
    /// Sessions.
    Sessions(Vec<Arc<Session>>),
    /// Nodes.
    Nodes(Vec<Arc<Node>>),
    /// Service names, each with its tags, sorted.
    ServiceTags(BTreeMap<String, Vec<String>>),
    /// Instances.
    Instances(Vec<Instance>),
    /// A node with its instances, or nothing.
    NodeServices(Option<NodeServices>),
    /// Checks.
    Checks(Vec<Arc<Check>>),
    /// A transaction that only read.
    Txn(Result<Vec<TxnResult>, Vec<TxnError>>),
    /// Everything.
    Backup(Box<Backup>),
    /// Prepared queries.
    Prepared(Vec<Arc<PreparedQuery>>),
    /// A prepared query as it would run.
    Resolved(Result<Arc<PreparedQuery>, Unresolved>),
    /// What a prepared query found.
    Executed(Result<Box<Execution>, Unresolved>),
    /// Coordinates of nodes.
    Coordinates(Vec<Arc<NodeCoordinate>>),
    /// Autopilot's settings, if a leader has stored any.
    Autopilot(Option<Arc<Autopilot>>),
}

/// An answer with what every door says beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// The data.
    pub answer: Arc<Answer>,
    /// The index to give as `after` next time.
    pub index: Index,
    /// Whether this server knows a leader.
    pub known_leader: bool,
    /// How long ago this server last heard of the leader; zero for a linearizable read.
    pub last_contact: Duration,
}
