//! A session: an owner of locks that ends by its TTL, its checks, or its node.

use serde::{Deserialize, Serialize};

use super::ids::{ClusterTime, Index, SessionId};

/// What the end of a session does to the keys that it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Behavior {
    /// The keys stay and lose their holder.
    #[default]
    Release,
    /// The keys are deleted.
    Delete,
}

/// What a caller asks for. Source: Consul HTTP API, "Create Session".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// The id, random, chosen by the proposer.
    pub id: SessionId,
    /// A name for people; may be empty.
    pub name: String,
    /// The node that it belongs to; it must be registered.
    pub node: String,
    /// In milliseconds, of which [`crate::limits::LOCK_DELAY_MAX`] counts; how long its keys cannot be
    /// acquired after an end that was not a release.
    pub lock_delay_ms: u64,
    /// What its end does to its keys.
    pub behavior: Behavior,
    /// In milliseconds; `None` never runs out. Checked at the door.
    pub ttl_ms: Option<u64>,
    /// The TTL as the caller wrote it, given back as it was.
    pub ttl_text: String,
    /// Checks of the node that end it when they are critical.
    pub node_checks: Vec<String>,
    /// Checks of services on the node that end it likewise: (check id, namespace as written).
    pub service_checks: Option<Vec<(String, String)>>,
    /// The old field `Checks`, kept only where the caller used it.
    pub checks: Option<Vec<String>>,
}

/// A living session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// As it was asked for.
    pub spec: SessionSpec,
    /// Grows by one with each renewal that was replicated; an expiry names the one it saw.
    pub sequence: u64,
    /// When it runs out, [`crate::limits::SESSION_TTL_FACTOR`] times its TTL after its renewal.
    pub deadline: Option<ClusterTime>,
    /// The index that created it.
    pub create: Index,
    /// The index that last changed it; renewals do not.
    pub modify: Index,
}

impl Session {
    /// Every check whose failure ends this session, each as (service or none, check id).
    pub fn bound_checks(&self) -> impl Iterator<Item = &str> {
        let spec = &self.spec;
        let services = spec.service_checks.iter().flatten().map(|(id, _)| id.as_str());
        let old = spec.checks.iter().flatten().map(String::as_str);
        spec.node_checks.iter().map(String::as_str).chain(services).chain(old)
    }
}
