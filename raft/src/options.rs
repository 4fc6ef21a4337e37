//! What a node is started with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::peer::Wire;

/// A node's number in the cluster; never 0.
pub type NodeId = u64;

/// How a member of the cluster is found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// UUID of the node, as text.
    pub id: String,
    /// Name that people give it.
    pub name: String,
    /// `host:port` of the peer protocol.
    pub address: String,
}

/// When the log calls `fdatasync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before anything is acknowledged.
    Always,
    /// Never. Exists to show that the crash test can fail; loses acknowledged entries.
    Never,
}

/// What a node is started with. `node` and `cluster` are checked on every connection.
#[derive(Clone, Debug)]
pub struct Options {
    /// This node; never 0.
    pub node: NodeId,
    /// Name of the cluster; peers of another one are refused.
    pub cluster: String,
    /// Folder for the log and the snapshots; created if absent, locked while in use.
    pub dir: PathBuf,
    /// How often an idle leader is heard from.
    pub heartbeat: Duration,
    /// Shortest and longest silence after which a follower stands for election. Half of the
    /// longest is the lease in which a follower that heard of a leader votes for nobody else;
    /// it must be above two heartbeats, and the shortest should be above the lease.
    pub election: (Duration, Duration),
    /// Replication requests under way to one follower before it has answered.
    pub window: usize,
    /// Size of one file of the log, in bytes; 4 KiB to 1 GiB.
    pub segment_bytes: u64,
    /// Tail of the log that is kept in memory, in bytes.
    pub cache_bytes: usize,
    /// Entries applied between two snapshots.
    pub snapshot_every: u64,
    /// Entries that are kept in the log behind a snapshot, for followers that lag.
    pub keep_behind: u64,
    /// When the log is synced.
    pub sync: Sync,
    /// What is around the connections between peers; plain TCP if nothing is.
    pub wire: Option<Arc<dyn Wire>>,
}

impl Options {
    /// The figures that the cluster is meant to run with: heartbeat 100 ms, election 0.9 to 1.4 s,
    /// window 2, segments of 64 MiB, 64 MiB of tail, a snapshot each 100,000 entries, plain
    /// connections.
    pub fn new(node: NodeId, cluster: impl Into<String>, dir: impl Into<PathBuf>) -> Options {
        Options {
            node,
            cluster: cluster.into(),
            dir: dir.into(),
            heartbeat: Duration::from_millis(100),
            election: (Duration::from_millis(900), Duration::from_millis(1400)),
            window: 2,
            segment_bytes: 64 * 1024 * 1024,
            cache_bytes: 64 * 1024 * 1024,
            snapshot_every: 100_000,
            keep_behind: 10_000,
            sync: Sync::Always,
            wire: None,
        }
    }
}
