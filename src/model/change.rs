//! What an applied command touched, in the words that waiting readers use.

use serde::{Deserialize, Serialize};

/// Something that a reader can wait for. Names are in lower case where they compare so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Topic {
    /// One key. A change of it also wakes every waiter on a prefix of it.
    Key(String),
    /// All keys that begin so. As a change: a whole subtree went away, wakes keys below it too.
    Prefix(String),
    /// A service by its name: instances, their checks, their nodes' checks and addresses.
    Service(String),
    /// The catalog view of a service: as [`Topic::Service`], but not its checks.
    ServiceCatalog(String),
    /// Which services exist, and any instance's registration.
    Services,
    /// Which nodes exist, and their addresses.
    Nodes,
    /// A node by its name: itself and its services.
    Node(String),
    /// The checks of one node.
    NodeChecks(String),
    /// The checks of one service.
    ServiceChecks(String),
    /// The checks in one state, by its word; a check that changes its state touches both.
    State(String),
    /// Any session.
    Sessions,
    /// Any prepared query.
    Prepared,
    /// The coordinate of any node.
    Coordinates,
    /// Autopilot's settings.
    Autopilot,
    /// Everything was replaced by a restored snapshot: wakes every waiter.
    All,
}

impl Topic {
    /// The kind of topic in one word, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Prefix(_) => "prefix",
            Self::Service(_) => "service",
            Self::ServiceCatalog(_) => "service_catalog",
            Self::Services => "services",
            Self::Nodes => "nodes",
            Self::Node(_) => "node",
            Self::NodeChecks(_) => "node_checks",
            Self::ServiceChecks(_) => "service_checks",
            Self::State(_) => "state",
            Self::Sessions => "sessions",
            Self::Autopilot => "autopilot",
            Self::Prepared => "prepared",
            Self::Coordinates => "coordinates",
            Self::All => "all",
        }
    }
}
