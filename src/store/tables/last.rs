//! The last index of everything that a reader can wait for. Stored, so that none falls.

use serde::{Deserialize, Serialize};

use crate::model::{CheckStatus, ClusterTime, Index};

/// The numbers beside the tables, stored with every batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    /// The store's own counter.
    pub(crate) index: Index,
    /// Cluster time; never goes back.
    pub(crate) clock: ClusterTime,
    /// The last index of each table.
    pub(crate) last: Last,
}

/// The last index of each table and of what a table lost for good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Last {
    /// A key was written or deleted.
    pub(crate) kv: Index,
    /// The newest deletion that was forgotten: below it, "never there" cannot be told.
    pub(crate) reaped: Index,
    /// A node came, changed or went.
    pub(crate) nodes: Index,
    /// A node, or the id of one, went.
    pub(crate) node_extinction: Index,
    /// An instance came, changed or went.
    pub(crate) services: Index,
    /// A service lost its last instance.
    pub(crate) service_extinction: Index,
    /// A check came, changed or went.
    pub(crate) checks: Index,
    /// A check entered, left or changed in this state.
    pub(crate) passing: Index,
    /// As above.
    pub(crate) warning: Index,
    /// As above.
    pub(crate) critical: Index,
    /// All words that are none of the three; they are not counted apart, so that their number
    /// needs no bound.
    pub(crate) other: Index,
    /// A session came, changed or went.
    pub(crate) sessions: Index,
    /// Everything was replaced: no index that is shown is below it.
    pub(crate) restored: Index,
    /// A prepared query came, changed or went.
    pub(crate) prepared: Index,
    /// A coordinate came, changed or went.
    pub(crate) coordinates: Index,
}

impl Last {
    /// The last index of the checks in one state.
    pub(crate) fn state(&self, status: &CheckStatus) -> Index {
        match status {
            CheckStatus::Passing => self.passing,
            CheckStatus::Warning => self.warning,
            CheckStatus::Critical => self.critical,
            CheckStatus::Other(_) => self.other,
        }
    }

    /// Notes that a check of this state came, changed or went.
    pub(crate) fn touch_state(&mut self, status: &CheckStatus, index: Index) {
        self.checks = index;
        match status {
            CheckStatus::Passing => self.passing = index,
            CheckStatus::Warning => self.warning = index,
            CheckStatus::Critical => self.critical = index,
            CheckStatus::Other(_) => self.other = index,
        }
    }
}

/// The last indexes of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeLast {
    /// Itself or one of its instances.
    pub(crate) node: Index,
    /// One of its checks.
    pub(crate) checks: Index,
}

/// The last indexes of one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceLast {
    /// An instance, its node, or a check that decides over it.
    pub(crate) health: Index,
    /// An instance or its node.
    pub(crate) catalog: Index,
    /// A check of an instance.
    pub(crate) checks: Index,
}
