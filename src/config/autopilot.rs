//! `autopilot`: the configuration that a new cluster begins with.

use std::time::Duration;

use super::layer::Layer;

/// What the first leader of a cluster stores; later changes come over the API.
///
/// Source: Consul agent configuration, `autopilot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutopilotOptions {
    /// Servers that failed leave Raft's membership.
    pub cleanup_dead_servers: bool,
    /// Silence of a healthy server, at most.
    pub last_contact_threshold: Duration,
    /// Log entries that a healthy server may be behind.
    pub max_trailing_logs: u64,
    /// Servers that are never gone below; 0 is unset.
    pub min_quorum: u64,
    /// How long a new server is healthy before it votes.
    pub server_stabilization_time: Duration,
    /// Kept and shown: an enterprise feature.
    pub redundancy_zone_tag: String,
    /// Likewise.
    pub disable_upgrade_migration: bool,
    /// Likewise.
    pub upgrade_version_tag: String,
}

/// Reads the section.
pub(super) fn autopilot_of(layer: &Layer) -> AutopilotOptions {
    AutopilotOptions {
        cleanup_dead_servers: layer.switch("autopilot.cleanup_dead_servers"),
        last_contact_threshold: layer.duration("autopilot.last_contact_threshold"),
        max_trailing_logs: layer.number("autopilot.max_trailing_logs").unsigned_abs(),
        min_quorum: layer.number("autopilot.min_quorum").unsigned_abs(),
        server_stabilization_time: layer.duration("autopilot.server_stabilization_time"),
        redundancy_zone_tag: layer.text("autopilot.redundancy_zone_tag").to_owned(),
        disable_upgrade_migration: layer.switch("autopilot.disable_upgrade_migration"),
        upgrade_version_tag: layer.text("autopilot.upgrade_version_tag").to_owned(),
    }
}
