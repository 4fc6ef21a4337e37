//! What autopilot is set to, and how it sees the servers. Source: Consul HTTP API, "Autopilot".

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::Index;
use super::member::MemberStatus;

/// The cluster's settings for the care of its servers. What is an enterprise feature of Consul is
/// stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autopilot {
    /// Servers that failed leave Raft's membership.
    pub cleanup_dead_servers: bool,
    /// Longest silence of a healthy server, in milliseconds.
    pub last_contact_ms: u64,
    /// Entries that a healthy server may be behind.
    pub max_trailing_logs: u64,
    /// Servers that cleaning up leaves; 0 is unset.
    pub min_quorum: u64,
    /// How long a new server is healthy before it votes, in milliseconds.
    pub stabilization_ms: u64,
    /// An enterprise feature's tag.
    pub redundancy_zone_tag: String,
    /// An enterprise feature's switch.
    pub disable_upgrade_migration: bool,
    /// An enterprise feature's tag.
    pub upgrade_version_tag: String,
    /// The index that created it.
    pub create: Index,
    /// The index that last changed it.
    pub modify: Index,
}

/// Consul's defaults.
impl Default for Autopilot {
    fn default() -> Self {
        Self {
            cleanup_dead_servers: true,
            last_contact_ms: 200,
            max_trailing_logs: 250,
            min_quorum: 0,
            stabilization_ms: 10_000,
            redundancy_zone_tag: String::new(),
            disable_upgrade_migration: false,
            upgrade_version_tag: String::new(),
            create: Index(0),
            modify: Index(0),
        }
    }
}

/// A server as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerHealth {
    /// Its UUID as text.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `host:port` where servers talk to each other.
    pub address: String,
    /// Whether it leads.
    pub leader: bool,
    /// Whether it votes.
    pub voter: bool,
    /// What the leader's pool says of it; `None` if it is in no pool.
    pub status: Option<MemberStatus>,
    /// The version of its program, if the pool knows it.
    pub version: String,
    /// How long ago it answered the leader; `None` if it never did.
    pub last_contact: Option<Duration>,
    /// The leader's term.
    pub term: u64,
    /// The last entry that it is known to have.
    pub last_log: u64,
    /// Whether it is alive, answers and keeps up, as the settings want it.
    pub healthy: bool,
    /// Since when that is so, in seconds since 1970 of the leader's clock.
    pub stable_since: u64,
}
