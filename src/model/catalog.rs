//! Nodes, services and checks: where containers are, and whether they are fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::Index;

/// A host. Source: Consul HTTP API, "Catalog".
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Node {
    /// A UUID as text, or empty where whoever registered it gave none.
    pub id: String,
    /// Its name; compared without regard to case.
    pub name: String,
    /// An IP address or a host name.
    pub address: String,
    /// Its data center.
    pub datacenter: String,
    /// Further addresses by purpose (`lan`, `wan`, …).
    pub tagged_addresses: BTreeMap<String, String>,
    /// The operator's own pairs.
    pub meta: BTreeMap<String, String>,
    /// The index that created it.
    pub create: Index,
    /// The index that last changed it.
    pub modify: Index,
}

/// An address of a service for one purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServiceAddress {
    /// An IP address or a host name.
    pub address: String,
    /// A port, 0 where there is none.
    pub port: u16,
}

/// How much traffic an instance takes, by health. Each 0 to 65,535; `passing` above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Weights {
    /// While it passes.
    pub passing: u16,
    /// While it warns.
    pub warning: u16,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

/// Names one instance of a service in the whole cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceKey {
    /// The node.
    pub node: String,
    /// The instance's id, unique on its node.
    pub id: String,
}

/// One instance of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Service {
    /// The node that it runs on.
    pub node: String,
    /// Unique on its node.
    pub id: String,
    /// The service's name; compared without regard to case.
    pub name: String,
    /// In the order given.
    pub tags: Vec<String>,
    /// Its own address; empty means the node's.
    pub address: String,
    /// Further addresses by purpose.
    pub tagged_addresses: BTreeMap<String, ServiceAddress>,
    /// The owner's own pairs.
    pub meta: BTreeMap<String, String>,
    /// Its port; 0 where there is none.
    pub port: u16,
    /// For DNS answers.
    pub weights: Weights,
    /// Whether the catalog's tags win over the agent's.
    pub enable_tag_override: bool,
    /// Empty for an ordinary service.
    pub kind: String,
    /// Proxy settings as JSON text, kept as data; empty where there are none.
    pub proxy: String,
    /// Mesh settings as JSON text, kept as data; empty where there are none.
    pub connect: String,
    /// The service that this instance lets the mesh in to: that of a proxy, or itself where it
    /// speaks the mesh's protocol. Empty for all others.
    pub lets_in_to: String,
    /// The index that created it.
    pub create: Index,
    /// The index that last changed it.
    pub modify: Index,
}

/// A check's verdict. Ordered from best to worst, so that the worst of several is their maximum.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CheckStatus {
    /// Fit.
    Passing,
    /// Fit, with a warning.
    Warning,
    /// A word that the catalog was given and does not know; Consul stores it as it came.
    Other(String),
    /// Not fit.
    #[default]
    Critical,
}

impl CheckStatus {
    /// The word that every Consul client knows.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Other(word) => word,
            Self::Critical => "critical",
        }
    }

    /// The status a word names; an unknown word is kept.
    pub fn from_word(word: &str) -> Self {
        match word {
            "passing" => Self::Passing,
            "warning" => Self::Warning,
            "critical" | "" => Self::Critical,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// What kind of check an agent runs; on the wire its lower-case name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CheckKind {
    /// Registered in the catalog only: nobody runs it.
    #[default]
    None,
    /// Told by its owner, critical when it is not told in time.
    Ttl,
    /// A GET whose status is judged.
    Http,
    /// A connection.
    Tcp,
    /// Set by maintenance mode.
    Maintenance,
    /// A program of this host.
    Script,
    /// A program in a container.
    Docker,
    /// A datagram.
    Udp,
    /// A call of the gRPC health service.
    Grpc,
    /// A ping of HTTP/2.
    H2ping,
    /// Mirrors the checks of an instance or a node.
    Alias,
}

/// How a check is run: the parts that the catalog shows again. Durations in milliseconds, 0 unset.
/// Of a check that an agent runs, the catalog has only interval and time-out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CheckDefinition {
    /// The URL of an HTTP check.
    pub http: String,
    /// Its method; empty means GET.
    pub method: String,
    /// Its headers, each with its values.
    pub header: BTreeMap<String, Vec<String>>,
    /// Its body.
    pub body: String,
    /// Whether its certificate is not judged.
    pub tls_skip_verify: bool,
    /// `host:port` of a TCP check.
    pub tcp: String,
    /// Between two runs.
    pub interval_ms: u64,
    /// Of one run.
    pub timeout_ms: u64,
    /// Of a TTL check.
    pub ttl_ms: u64,
    /// After this long critical, the service is deregistered.
    pub deregister_after_ms: u64,
}

/// A check of a node or of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Check {
    /// The node.
    pub node: String,
    /// Unique on its node.
    pub id: String,
    /// For people.
    pub name: String,
    /// The verdict.
    pub status: CheckStatus,
    /// For people.
    pub notes: String,
    /// What the last run said, at most [`crate::limits::CHECK_OUTPUT_BYTES_MAX`] bytes.
    /// A new output alone moves no index and wakes nobody.
    pub output: String,
    /// The instance that it belongs to; empty for a check of the node.
    pub service_id: String,
    /// That instance's service name.
    pub service_name: String,
    /// That instance's tags.
    pub service_tags: Vec<String>,
    /// Who runs it and how.
    pub kind: CheckKind,
    /// The parts of its definition that are shown.
    pub definition: CheckDefinition,
    /// The index that created it.
    pub create: Index,
    /// The index that last changed it.
    pub modify: Index,
}

/// An instance with all that decides whether it is fit: also its node's own checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its node.
    pub node: Arc<Node>,
    /// The instance.
    pub service: Arc<Service>,
    /// The node's checks first, then its own, each group in the order of ids.
    pub checks: Vec<Arc<Check>>,
}

impl Instance {
    /// The worst verdict of all its checks; passing when it has none.
    pub fn status(&self) -> CheckStatus {
        self.checks.iter().map(|check| check.status.clone()).max().unwrap_or(CheckStatus::Passing)
    }

    /// Where to reach it: its own address, or its node's.
    pub fn address(&self) -> &str {
        if self.service.address.is_empty() { &self.node.address } else { &self.service.address }
    }
}

/// A node with its instances, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeServices {
    /// The node.
    pub node: Arc<Node>,
    /// Its instances.
    pub services: Vec<Arc<Service>>,
}
