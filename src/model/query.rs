//! Every read that the store knows, and how fresh and how patient it is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::{Index, SessionId};
use super::prepared::PreparedId;
use super::txn::TxnOp;

/// A read. The answer's kind is named at each.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Query {
    /// One key: `Answer::Kv` of none or one.
    Kv(String),
    /// Every key that begins so, in order: `Answer::Kv`.
    KvTree(String),
    /// The keys that begin so, cut behind the separator's next occurrence: `Answer::Names`.
    KvKeys {
        /// The prefix.
        prefix: String,
        /// Empty for none.
        separator: String,
    },
    /// One session: `Answer::Sessions` of none or one.
    Session(SessionId),
    /// The sessions of a node: `Answer::Sessions`.
    NodeSessions(String),
    /// All sessions: `Answer::Sessions`.
    Sessions,
    /// All nodes by name: `Answer::Nodes`.
    Nodes,
    /// Every service with the tags of all its instances: `Answer::ServiceTags`.
    Services,
    /// The instances of a service: `Answer::Instances` **without** checks.
    CatalogService(String),
    /// The instances of a service with their checks: `Answer::Instances`.
    HealthService(String),
    /// A node by name or id with its instances: `Answer::NodeServices`.
    NodeServices(String),
    /// The checks of a node: `Answer::Checks`.
    NodeChecks(String),
    /// The checks of a service: `Answer::Checks`.
    ServiceChecks(String),
    /// The checks in a state, `any` for all: `Answer::Checks`.
    ChecksInState(String),
    /// Nodes that have this address: `Answer::Nodes`. Does not block.
    NodesByAddress(String),
    /// Instances that have this address of their own: `Answer::Instances`. Does not block.
    InstancesByAddress(String),
    /// The instances that let the mesh in to a service: its proxies, and its own where they speak
    /// the mesh's protocol; with checks: `Answer::Instances`. Costs a walk over all instances.
    ConnectService(String),
    /// A transaction that only reads: `Answer::Txn`. Does not block.
    Txn(Vec<TxnOp>),
    /// Everything, for a backup: `Answer::Backup`. Does not block.
    Backup,
    /// One prepared query: `Answer::Prepared` of none or one.
    Prepared(PreparedId),
    /// All prepared queries: `Answer::Prepared`.
    AllPrepared,
    /// The prepared query that a name or an id leads to, filled in: `Answer::Resolved`. Does not
    /// block.
    Resolve(String),
    /// Runs the prepared query that a name or an id leads to: `Answer::Executed`. Does not block.
    Execute {
        /// The name or id.
        name: String,
        /// Whether only mesh instances are asked for, whatever the query says.
        connect: bool,
    },
    /// The coordinates of all nodes, by node and segment: `Answer::Coordinates`.
    Coordinates,
    /// The coordinates of a node: `Answer::Coordinates`.
    NodeCoordinates(String),
    /// The coordinates of these nodes, to sort by: `Answer::Coordinates`. Does not block.
    CoordinatesOf(Vec<String>),
    /// Autopilot's settings: `Answer::Autopilot`. Does not block.
    Autopilot,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consistency {
    /// Linearizable: sees every write that was acknowledged before the read began.
    #[default]
    Linearizable,
    /// Whatever this server has, however old.
    Stale,
    /// As stale, unless what this server has may be older than this.
    StaleWithin(Duration),
}

/// How a read is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadOptions {
    /// How fresh.
    pub consistency: Consistency,
    /// Blocks until the answer's index is above this. `None` or 0: does not block.
    pub after: Option<Index>,
    /// How long to block; `None` means the default. Clamped and lengthened by jitter.
    pub wait: Option<Duration>,
}
