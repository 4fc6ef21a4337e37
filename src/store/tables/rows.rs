//! All tables together, and their content as rows: the unit in which they are stored and hashed.

use std::sync::Arc;

use super::catalog::{Catalog, fold};
use super::kv::{KvTable, Tombstone};
use super::last::{Counters, NodeLast, ServiceLast};
use super::prepared::PreparedTable;
use super::sessions::SessionTable;
use serde::{Deserialize, Serialize};

use crate::model::{
    Autopilot, Backup, Check, ClusterTime, KvEntry, Node, NodeCoordinate, PreparedId,
    PreparedQuery, Service, Session, SessionId,
};

/// The whole state.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// Index, clock and the last index of each table.
    pub(crate) counters: Counters,
    /// Keys.
    pub(crate) kv: KvTable,
    /// Nodes, instances, checks.
    pub(crate) catalog: Catalog,
    /// Sessions.
    pub(crate) sessions: SessionTable,
    /// Prepared queries.
    pub(crate) prepared: PreparedTable,
    /// Parts of a backup that were set aside; all of one backup, from the first on.
    pub(crate) staged: Vec<Arc<Part>>,
    /// Autopilot's settings.
    pub(crate) autopilot: Option<Arc<Autopilot>>,
}

/// A part of a backup that waits for the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Of which backup.
    pub(crate) id: u64,
    /// Its records.
    pub(crate) records: Backup,
}

/// Names one row. Names of nodes and services in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Row {
    /// A key.
    Kv(String),
    /// A deleted key.
    Tombstone(String),
    /// A key whose lock rests.
    LockDelay(String),
    /// A node.
    Node(String),
    /// An instance by node and id.
    Service(String, String),
    /// A check by node and id.
    Check(String, String),
    /// The last indexes of a node.
    NodeLast(String),
    /// The last indexes of a service.
    ServiceLast(String),
    /// A session.
    Session(SessionId),
    /// A part of a backup by its place.
    Staged(u32),
    /// A prepared query.
    Prepared(PreparedId),
    /// A coordinate by node and segment.
    Coordinate(String, String),
    /// Autopilot's settings.
    Autopilot,
}

/// What stands in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// Of [`Row::Kv`].
    Kv(Arc<KvEntry>),
    /// Of [`Row::Tombstone`].
    Tombstone(Tombstone),
    /// Of [`Row::LockDelay`].
    LockDelay(ClusterTime),
    /// Of [`Row::Node`].
    Node(Arc<Node>),
    /// Of [`Row::Service`].
    Service(Arc<Service>),
    /// Of [`Row::Check`].
    Check(Arc<Check>),
    /// Of [`Row::NodeLast`].
    NodeLast(NodeLast),
    /// Of [`Row::ServiceLast`].
    ServiceLast(ServiceLast),
    /// Of [`Row::Session`].
    Session(Arc<Session>),
    /// Of [`Row::Staged`].
    Staged(Arc<Part>),
    /// Of [`Row::Prepared`].
    Prepared(Arc<PreparedQuery>),
    /// Of [`Row::Coordinate`].
    Coordinate(Arc<NodeCoordinate>),
    /// Of [`Row::Autopilot`].
    Autopilot(Arc<Autopilot>),
}

impl Tables {
    /// What stands in a row now.
    pub(crate) fn record(&self, row: &Row) -> Option<Record> {
        match row {
            Row::Kv(key) => self.kv.get(key).map(|entry| Record::Kv(Arc::clone(entry))),
            Row::Tombstone(key) => self.kv.tombstone(key).map(Record::Tombstone),
            Row::LockDelay(key) => self.kv.lock_delay(key).map(Record::LockDelay),
            Row::Node(node) => {
                self.catalog.node(node).map(|record| Record::Node(Arc::clone(&record.node)))
            }
            Row::Service(node, id) => {
                self.catalog.instance(node, id).map(|service| Record::Service(Arc::clone(service)))
            }
            Row::Check(node, id) => {
                self.catalog.check(node, id).map(|check| Record::Check(Arc::clone(check)))
            }
            Row::NodeLast(node) => {
                self.catalog.node(node).map(|record| Record::NodeLast(record.last))
            }
            Row::ServiceLast(name) => {
                self.catalog.service(name).map(|record| Record::ServiceLast(record.last))
            }
            Row::Session(id) => {
                self.sessions.get(*id).map(|session| Record::Session(Arc::clone(session)))
            }
            Row::Autopilot => {
                self.autopilot.as_ref().map(|found| Record::Autopilot(Arc::clone(found)))
            }
            Row::Staged(place) => {
                let part = usize::try_from(*place).ok().and_then(|place| self.staged.get(place));
                part.map(|part| Record::Staged(Arc::clone(part)))
            }
            Row::Prepared(id) => {
                self.prepared.get(*id).map(|query| Record::Prepared(Arc::clone(query)))
            }
            Row::Coordinate(node, segment) => {
                let record = self.catalog.node(node);
                let found = record.and_then(|record| record.coordinates.get(segment));
                found.map(|one| Record::Coordinate(Arc::clone(one)))
            }
        }
    }

    /// Puts a stored row back. Rows come in their stored order: a node before what is on it.
    ///
    /// False if what the row belongs to is not there.
    pub(crate) fn load(&mut self, row: Row, record: Record) -> bool {
        match (row, record) {
            (Row::Kv(_), Record::Kv(entry)) => self.kv.insert(entry),
            (Row::Tombstone(key), Record::Tombstone(tombstone)) => self.kv.bury(key, tombstone),
            (Row::LockDelay(key), Record::LockDelay(until)) => self.kv.delay_lock(key, until),
            (Row::Node(_), Record::Node(node)) => self.catalog.insert_node(node),
            (Row::Service(..), Record::Service(service)) => {
                return self.catalog.insert_service(service);
            }
            (Row::Check(..), Record::Check(check)) => return self.catalog.insert_check(check),
            (Row::NodeLast(node), Record::NodeLast(last)) => {
                return self.catalog.node_last(&node).map(|slot| *slot = last).is_some();
            }
            (Row::ServiceLast(name), Record::ServiceLast(last)) => {
                return self.catalog.service_last(&name).map(|slot| *slot = last).is_some();
            }
            (Row::Session(_), Record::Session(session)) => self.sessions.insert(session),
            (Row::Staged(_), Record::Staged(part)) => self.staged.push(part),
            (Row::Prepared(_), Record::Prepared(query)) => self.prepared.insert(query),
            (Row::Coordinate(..), Record::Coordinate(one)) => {
                return self.catalog.insert_coordinate(one);
            }
            (Row::Autopilot, Record::Autopilot(found)) => self.autopilot = Some(found),
            _ => return false,
        }
        true
    }

    /// Empties a row before what stood there is put back. What hangs on it goes first. A node
    /// that still carries something stays, without its id: it is about to be put back itself.
    pub(crate) fn clear(&mut self, row: &Row) {
        match row {
            Row::Kv(key) => drop(self.kv.remove(key)),
            Row::Tombstone(key) => drop(self.kv.unbury(key)),
            Row::LockDelay(key) => self.kv.end_lock_delay(key),
            Row::Node(node) => self.catalog.clear_node(node),
            Row::Service(node, id) => drop(self.catalog.remove_service(node, id)),
            Row::Check(node, id) => drop(self.catalog.remove_check(node, id)),
            Row::Session(id) => drop(self.sessions.remove(*id)),
            Row::Prepared(id) => drop(self.prepared.remove(*id)),
            Row::Coordinate(node, segment) => self.catalog.remove_coordinate(node, segment),
            // The first two are put back in place; no transaction sets parts of a backup aside, or
            // touches autopilot.
            Row::NodeLast(_) | Row::ServiceLast(_) | Row::Staged(_) | Row::Autopilot => {}
        }
    }

    /// Every row there is, table by table, each in order.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        rows.extend(self.kv.entries().map(|entry| Row::Kv(entry.key.clone())));
        rows.extend(self.kv.tombstones().keys().cloned().map(Row::Tombstone));
        rows.extend(self.kv.lock_delays().keys().cloned().map(Row::LockDelay));
        for (name, record) in self.catalog.nodes() {
            rows.push(Row::Node(name.clone()));
            rows.push(Row::NodeLast(name.clone()));
            rows.extend(record.services.keys().map(|id| Row::Service(name.clone(), id.clone())));
            rows.extend(record.checks.keys().map(|id| Row::Check(name.clone(), id.clone())));
            let segments = record.coordinates.keys();
            rows.extend(segments.map(|segment| Row::Coordinate(name.clone(), segment.clone())));
        }
        rows.extend(self.catalog.services().keys().cloned().map(Row::ServiceLast));
        rows.extend(self.sessions.all().map(|session| Row::Session(session.spec.id)));
        rows.extend((0..).take(self.staged.len()).map(Row::Staged));
        rows.extend(self.prepared.all().map(|query| Row::Prepared(query.id)));
        rows.extend(self.autopilot.iter().map(|_| Row::Autopilot));
        rows
    }

    /// Whether a node of this name is registered.
    pub(crate) fn has_node(&self, name: &str) -> bool {
        self.catalog.node(&fold(name)).is_some()
    }
}
