//! Numbers with a meaning: index, cluster time, session id.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The store's own counter: plus one for each applied command that changed anything.
///
/// Consul's `ModifyIndex`. It is not the Raft index, and it never falls, not even by a restore.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Index(pub u64);

impl Index {
    /// The index as a door shows it: never 0, because 0 makes clients spin.
    pub fn shown(self) -> u64 {
        self.0.max(1)
    }
}

/// Replicated time, in milliseconds since the cluster began: it stands still without a leader.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ClusterTime(pub u64);

impl ClusterTime {
    /// This time plus `span`.
    #[must_use]
    pub fn after(self, span: std::time::Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// A session's id, chosen by who proposes its creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub Uuid);

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
