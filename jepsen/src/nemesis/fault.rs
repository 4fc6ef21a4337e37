//! Everything that can be broken, as data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Shape;
use crate::lab::clock::Skew;
use crate::lab::disk::DiskFault;
use crate::lab::pressure::Pressure;
use crate::lab::switch::Weather;

/// A class of faults. Faults of one kind never overlap; those of two kinds may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nodes no longer hear each other.
    Partition,
    /// A node is killed, and started again.
    Kill,
    /// All nodes are killed at once, and started again.
    KillAll,
    /// A node is asked to stop, and started again.
    Terminate,
    /// A node stands still, at one stretch or in a stutter.
    Pause,
    /// A node's wall clock goes wrong.
    Clock,
    /// The network is slow and loses things.
    Weather,
    /// A node's disk fails, is slow, is full, or loses its power.
    Disk,
    /// A node is short of memory, processor time, file descriptors or threads.
    Pressure,
    /// A node leaves the cluster, and comes back.
    Membership,
    /// An operator does what operators do.
    Admin,
    /// A node runs another version for a while.
    Upgrade,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 12] = [
        Self::Partition,
        Self::Kill,
        Self::KillAll,
        Self::Terminate,
        Self::Pause,
        Self::Clock,
        Self::Weather,
        Self::Disk,
        Self::Pressure,
        Self::Membership,
        Self::Admin,
        Self::Upgrade,
    ];

    /// Its name, as the command line and the journal have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::Kill => "kill",
            Self::KillAll => "kill_all",
            Self::Terminate => "terminate",
            Self::Pause => "pause",
            Self::Clock => "clock",
            Self::Weather => "weather",
            Self::Disk => "disk",
            Self::Pressure => "pressure",
            Self::Membership => "membership",
            Self::Admin => "admin",
            Self::Upgrade => "upgrade",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Which node a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The node of this number.
    Node(usize),
    /// Who leads when the fault begins; where nobody is known to, the node of this number.
    Leader(usize),
}

impl Target {
    /// The node among this many that is meant, when this one leads.
    pub fn node(self, nodes: usize, leader: Option<usize>) -> usize {
        let node = match self {
            Self::Node(node) => node,
            Self::Leader(instead) => leader.unwrap_or(instead),
        };
        node % nodes.max(1)
    }
}

/// What an operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admin {
    /// A snapshot is taken and kept.
    Snapshot,
    /// The snapshot taken last is put back into the living cluster.
    Restore,
    /// The leader is told to hand over its office.
    TransferLeader,
    /// Old revisions are thrown away.
    Compact,
}

/// Which program a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Binary {
    /// The one under test.
    Own,
    /// The other one: an earlier release, say.
    Other,
}

/// One thing that is broken, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A partition; healed.
    Partition(Shape),
    /// Kill -9; started.
    Kill(Target),
    /// Kill -9 of all at once; all started.
    KillAll,
    /// SIGTERM; started.
    Terminate(Target),
    /// SIGSTOP; SIGCONT.
    Pause(Target),
    /// Paused and resumed in turn, at these lengths.
    Stutter {
        /// Who.
        whom: Target,
        /// How long it stands.
        stand: Duration,
        /// How long it runs in between.
        go: Duration,
    },
    /// A wrong wall clock; set right.
    Clock(Target, Skew),
    /// A bad network; a good one.
    Weather(Weather),
    /// A disk that fails; one that does not, and the node started again.
    Disk(Target, DiskFault),
    /// A shortage; plenty.
    Pressure(Target, Pressure),
    /// Taken out of the cluster; taken in again.
    Remove(Target),
    /// Done once; nothing to mend.
    Admin(Admin),
    /// Another version; its own.
    Upgrade(Target),
}

impl Fault {
    /// The class that it is of.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Partition(_) => Kind::Partition,
            Self::Kill(_) => Kind::Kill,
            Self::KillAll => Kind::KillAll,
            Self::Terminate(_) => Kind::Terminate,
            Self::Pause(_) | Self::Stutter { .. } => Kind::Pause,
            Self::Clock(..) => Kind::Clock,
            Self::Weather(_) => Kind::Weather,
            Self::Disk(..) => Kind::Disk,
            Self::Pressure(..) => Kind::Pressure,
            Self::Remove(_) => Kind::Membership,
            Self::Admin(_) => Kind::Admin,
            Self::Upgrade(_) => Kind::Upgrade,
        }
    }
}
