//! One command at work: the tables, the index that it will have, and what it has touched so far.
//!
//! Here stand the changes that several commands share, each with the indexes it moves and the
//! readers it wakes. A command that calls none of them moves nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::tables::{Row, Tables, Tombstone, fold};
use super::undo::Undo;
use crate::model::{Check, CheckStatus, ClusterTime, Index, KvEntry, Node, Session, Topic};

/// What a batch of commands touched.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// The rows to be stored again.
    pub(crate) rows: BTreeSet<Row>,
    /// The readers to be woken.
    pub(crate) topics: BTreeSet<Topic>,
    /// Whether everything that was stored goes first.
    pub(crate) wiped: bool,
}

/// One command at work.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    /// The state.
    pub(crate) tables: &'a mut Tables,
    /// What was touched, also by the commands before it in the batch.
    pub(crate) journal: &'a mut Journal,
    /// The index that the command has if it changes anything visible.
    pub(crate) index: Index,
    moved: bool,
    undo: Option<Undo>,
}

impl<'a> Step<'a> {
    /// Begins a command.
    pub(crate) fn begin(tables: &'a mut Tables, journal: &'a mut Journal) -> Self {
        let index = Index(tables.counters.index.0 + 1);
        Self { tables, journal, index, moved: false, undo: None }
    }

    /// Ends a command: the store's index moves if anything visible did.
    pub(crate) fn end(self) -> Index {
        assert!(self.undo.is_none(), "what was begun on trial is kept or taken back");
        if self.moved {
            assert!(self.index > self.tables.counters.index, "the index only grows");
            self.tables.counters.index = self.index;
        }
        self.tables.counters.index
    }

    /// Raises the index that this command has, for a restore whose records have higher ones.
    pub(crate) fn continue_above(&mut self, highest: Index) {
        self.index = self.index.max(Index(highest.0 + 1));
    }

    /// Cluster time as this command sees it.
    pub(crate) fn clock(&self) -> ClusterTime {
        self.tables.counters.clock
    }

    /// Moves cluster time on, never back; locks that rested long enough are free again.
    pub(crate) fn advance(&mut self, at: ClusterTime) {
        self.tables.counters.clock = self.clock().max(at);
        while let Some(key) = self.tables.kv.pop_lock_delay(self.tables.counters.clock) {
            self.journal.rows.insert(Row::LockDelay(key));
        }
    }

    /// Notes that this command changed something that readers can wait for.
    pub(crate) fn touch(&mut self, topic: Topic) {
        self.moved = true;
        self.journal.topics.insert(topic);
    }

    /// Notes a row that has to be stored again, visible or not. Called **before** the row
    /// changes: what it was may have to come back.
    pub(crate) fn dirty(&mut self, row: Row) {
        if let Some(undo) = &mut self.undo {
            undo.note(self.tables, &row);
        }
        self.journal.rows.insert(row);
    }

    /// From here on, changes are on trial, until they are kept or taken back.
    pub(crate) fn try_out(&mut self) {
        if self.undo.is_none() {
            let outer = std::mem::take(self.journal);
            self.undo = Some(Undo::new(outer, self.tables.counters.last.clone(), self.moved));
        }
    }

    /// Keeps what was on trial.
    pub(crate) fn keep(&mut self) {
        if let Some(undo) = self.undo.take() {
            let mut outer = undo.into_journal();
            self.journal.rows.append(&mut outer.rows);
            self.journal.topics.append(&mut outer.topics);
            self.journal.wiped |= outer.wiped;
        }
    }

    /// Takes back what was on trial: tables, indexes and journal are as they were before.
    pub(crate) fn take_back(&mut self) {
        if let Some(undo) = self.undo.take() {
            self.moved = undo.moved();
            *self.journal = undo.restore(self.tables);
        }
    }

    /// Stores a key. Its `modify` is this command's.
    pub(crate) fn put_key(&mut self, entry: Arc<KvEntry>) {
        assert!(entry.modify == self.index, "a written key has its command's index");
        let key = entry.key.clone();
        self.dirty(Row::Kv(key.clone()));
        if self.tables.kv.tombstone(&key).is_some() {
            self.dirty(Row::Tombstone(key.clone()));
            self.tables.kv.unbury(&key);
        }
        self.tables.kv.insert(entry);
        self.tables.counters.last.kv = self.index;
        self.touch(Topic::Key(key));
    }

    /// Removes a key that is there; `topic` says how its readers are told.
    pub(crate) fn remove_key(&mut self, key: &str, topic: Topic) {
        self.dirty(Row::Kv(key.to_owned()));
        self.dirty(Row::Tombstone(key.to_owned()));
        let removed = self.tables.kv.remove(key);
        assert!(removed.is_some(), "key {key:?} is removed while it is there");
        let tombstone = Tombstone { index: self.index, at: self.clock() };
        self.tables.kv.bury(key.to_owned(), tombstone);
        self.tables.counters.last.kv = self.index;
        self.touch(topic);
    }

    /// Lets the lock of a key rest until a time that is still to come.
    pub(crate) fn delay_lock(&mut self, key: String, until: ClusterTime) {
        if until > self.clock() {
            self.dirty(Row::LockDelay(key.clone()));
            self.tables.kv.delay_lock(key, until);
        }
    }

    /// Stores a session whose change is visible.
    pub(crate) fn put_session(&mut self, session: Session) {
        self.touch_session(Row::Session(session.spec.id));
        self.tables.sessions.insert(Arc::new(session));
    }

    /// Notes that a session comes or goes.
    pub(crate) fn touch_session(&mut self, row: Row) {
        self.tables.counters.last.sessions = self.index;
        self.dirty(row);
        self.touch(Topic::Sessions);
    }

    /// Notes that a node or an instance on it changed: for readers of the node.
    pub(crate) fn touch_node(&mut self, node: &Node) {
        let name = fold(&node.name);
        self.dirty(Row::NodeLast(name.clone()));
        if let Some(last) = self.tables.catalog.node_last(&name) {
            last.node = self.index;
        }
        self.touch(Topic::Node(name));
        if !node.id.is_empty() {
            self.touch(Topic::Node(fold(&node.id)));
        }
    }

    /// Notes that an instance of a service, or its node, changed; `name` in lower case.
    pub(crate) fn touch_service(&mut self, name: &str) {
        self.dirty(Row::ServiceLast(name.to_owned()));
        match self.tables.catalog.service_last(name) {
            Some(last) => {
                last.catalog = self.index;
                last.health = self.index;
            }
            None => self.tables.counters.last.service_extinction = self.index,
        }
        self.touch(Topic::ServiceCatalog(name.to_owned()));
        self.touch(Topic::Service(name.to_owned()));
    }

    /// Notes that a check came, went or changed, for the readers of everything it decides over.
    pub(crate) fn touch_check(&mut self, check: &Check) {
        let node = fold(&check.node);
        self.dirty(Row::NodeLast(node.clone()));
        if let Some(last) = self.tables.catalog.node_last(&node) {
            last.checks = self.index;
        }
        self.touch(Topic::NodeChecks(node.clone()));
        self.touch_state(&check.status);
        if check.service_id.is_empty() {
            for name in self.services_on(&node) {
                self.touch_health(&name);
            }
            return;
        }
        let name = fold(&check.service_name);
        self.dirty(Row::ServiceLast(name.clone()));
        if let Some(last) = self.tables.catalog.service_last(&name) {
            last.checks = self.index;
        }
        self.touch(Topic::ServiceChecks(name.clone()));
        self.touch_health(&name);
    }

    fn touch_state(&mut self, status: &CheckStatus) {
        self.tables.counters.last.touch_state(status, self.index);
        self.touch(Topic::State(status.as_str().to_owned()));
        self.touch(Topic::State(ANY_STATE.to_owned()));
    }

    fn touch_health(&mut self, name: &str) {
        self.dirty(Row::ServiceLast(name.to_owned()));
        if let Some(last) = self.tables.catalog.service_last(name) {
            last.health = self.index;
        }
        self.touch(Topic::Service(name.to_owned()));
    }

    /// The names, in lower case, of the services that have an instance on a node.
    pub(crate) fn services_on(&self, node: &str) -> BTreeSet<String> {
        let Some(record) = self.tables.catalog.node(node) else { return BTreeSet::new() };
        record.services.values().map(|service| fold(&service.name)).collect()
    }
}

/// The word that asks for the checks of all states. Source: Consul HTTP API, "List Checks in State".
pub(crate) const ANY_STATE: &str = "any";
