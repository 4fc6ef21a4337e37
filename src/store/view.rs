//! The read side: one query to its answer, its index, and what a blocking read of it waits for.
#![deny(clippy::wildcard_enum_match_arm)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use super::encoding::{self, Digest};
use super::step::ANY_STATE;
use super::tables::{NodeRecord, Tables, fold};
use super::{backup, expiry, txn};
use crate::codec;
use crate::model::{
    Answer, Check, CheckStatus, ClusterTime, Command, Execution, Index, Instance, NodeServices,
    Query, Session, SessionId, Topic, Unresolved,
};

/// The read side of a [`super::Store`]: cheap to clone, usable from any thread.
///
/// Each call sees the state between two batches, never within one.
#[derive(Clone, Debug)]
pub struct View {
    tables: Arc<RwLock<Tables>>,
    changes: Arc<AtomicU64>,
    applied: Arc<Mutex<Option<Bytes>>>,
}

/// What a query comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// The data.
    pub answer: Arc<Answer>,
    /// The index that a door shows. 0 where nothing was ever there: [`Index::shown`] makes it 1.
    pub index: Index,
    /// When what was asked for last changed; a blocking read returns once this is above `after`.
    /// At most `index`, and lower where the index has to be of a whole table but the change is not.
    pub changed: Index,
}

/// An answer with its two indexes, before the floor of a restore is put under them.
type Found = (Answer, Index, Index);

impl View {
    pub(crate) fn new(
        tables: Arc<RwLock<Tables>>,
        changes: Arc<AtomicU64>,
        applied: Arc<Mutex<Option<Bytes>>>,
    ) -> Self {
        Self { tables, changes, applied }
    }

    /// Counts the batches that changed anything, also what moves no index, as a check's output
    /// alone. Taken before a query, it says later whether its answer is still what is there.
    /// Starts anew with the process.
    pub fn changes(&self) -> u64 {
        // What is counted under the writer's lock is seen by whoever has had the lock since.
        let _tables = self.tables.read();
        self.changes.load(Ordering::Relaxed)
    }

    /// Answers a query. Costs what the answer holds, not what the store holds.
    ///
    /// # Panics
    ///
    /// If an index that is shown were older than what woke its reader, which is our own mistake.
    pub fn query(&self, query: &Query) -> Evaluated {
        let tables = self.tables.read();
        let floor = tables.counters.last.restored;
        let (answer, index, changed) = evaluate(tables, query);
        let (index, changed) = (index.max(floor), changed.max(floor));
        assert!(changed <= index, "what a reader is shown is not older than what woke it");
        Evaluated { answer: Arc::new(answer), index, changed }
    }

    /// What a blocking read of a query subscribes to, before it reads. Empty: it does not block.
    pub fn topics(query: &Query) -> Vec<Topic> {
        match query {
            Query::Kv(key) => vec![Topic::Key(key.clone())],
            Query::KvTree(prefix) | Query::KvKeys { prefix, separator: _ } => {
                vec![Topic::Prefix(prefix.clone())]
            }
            Query::Session(_) | Query::NodeSessions(_) | Query::Sessions => vec![Topic::Sessions],
            Query::Nodes => vec![Topic::Nodes],
            Query::Services => vec![Topic::Services],
            Query::CatalogService(name) => vec![Topic::ServiceCatalog(fold(name))],
            Query::HealthService(name) => vec![Topic::Service(fold(name))],
            Query::NodeServices(node) => vec![Topic::Node(fold(node))],
            Query::NodeChecks(node) => vec![Topic::NodeChecks(fold(node))],
            Query::ServiceChecks(name) => vec![Topic::ServiceChecks(fold(name))],
            Query::ChecksInState(word) => vec![Topic::State(word.clone())],
            Query::Prepared(_) | Query::AllPrepared => vec![Topic::Prepared],
            Query::Coordinates | Query::NodeCoordinates(_) => vec![Topic::Coordinates],
            // Which services these are is not known before.
            Query::ConnectService(_) => {
                vec![Topic::Services, Topic::Nodes, Topic::State(ANY_STATE.to_owned())]
            }
            Query::NodesByAddress(_)
            | Query::InstancesByAddress(_)
            | Query::Txn(_)
            | Query::Backup
            | Query::Resolve(_)
            | Query::Execute { .. }
            | Query::CoordinatesOf(_)
            | Query::Autopilot => Vec::new(),
        }
    }

    /// The store's index.
    pub fn index(&self) -> Index {
        self.tables.read().counters.index
    }

    /// Cluster time as of the last command that was applied.
    pub fn clock(&self) -> ClusterTime {
        self.tables.read().counters.clock
    }

    /// The living session of this id.
    pub fn session(&self, id: SessionId) -> Option<Arc<Session>> {
        self.tables.read().sessions.get(id).map(Arc::clone)
    }

    /// When what a query asks for last changed; for a service's health without making an answer.
    pub fn changed(&self, query: &Query) -> Index {
        if let Query::HealthService(name) = query {
            return self.service_index(name);
        }
        self.query(query).changed
    }

    /// When an answer of [`Query::HealthService`] last changed, without making one.
    pub fn service_index(&self, name: &str) -> Index {
        let tables = self.tables.read();
        let record = tables.catalog.service(&fold(name));
        let last = &tables.counters.last;
        record.map_or(last.service_extinction, |record| record.last.health).max(last.restored)
    }

    /// At most `most` commands that end what is over at `now`: expiries of sessions, then one
    /// reaping of deleted keys. Each is checked again when it is applied.
    pub fn due(&self, now: ClusterTime, most: usize) -> Vec<Command> {
        expiry::due(&self.tables.read(), now, most)
    }

    /// Whether cluster time matters: some session has a TTL, some lock rests, some key was deleted.
    pub fn has_deadlines(&self) -> bool {
        expiry::has_deadlines(&self.tables.read())
    }

    /// The store's index and a hash over every row and counter except the clock.
    ///
    /// Two replicas that applied the same log up to the same entry give the same. Renewals and
    /// new outputs of checks count although they move no index, so compare where nothing is under
    /// way. Walks everything: for tests and audits.
    ///
    /// # Panics
    ///
    /// If the tables contradict themselves, which is our own mistake.
    pub fn digest(&self) -> (Index, u64) {
        digest(&self.tables.read())
    }

    /// [`View::digest`] and the log's own mark of the same moment: as far as that state has
    /// applied the log.
    pub fn digest_with_position(&self) -> ((Index, u64), Option<Bytes>) {
        let tables = self.tables.read();
        (digest(&tables), self.applied.lock().clone())
    }
}

pub(super) fn digest(tables: &Tables) -> (Index, u64) {
    let mut digest = Digest::new();
    digest.add(&codec::encode(&tables.counters.index));
    digest.add(&codec::encode(&tables.counters.last));
    for row in tables.rows() {
        let record = tables.record(&row).expect("a row that is listed has its record");
        digest.add(&encoding::name(&row));
        digest.add(&encoding::value(&record));
    }
    (tables.counters.index, digest.value())
}

/// Takes the lock with it: a backup is copied only once the writer may go on.
fn evaluate(tables: RwLockReadGuard<'_, Tables>, query: &Query) -> Found {
    let last = &tables.counters.last;
    let both = |answer, index| (answer, index, index);
    match query {
        Query::Kv(key) => key_answer(&tables, key),
        Query::KvTree(prefix) => {
            let entries = tables.kv.under(prefix).map(Arc::clone).collect();
            let (index, changed) = prefix_index(&tables, prefix);
            (Answer::Kv(entries), index, changed)
        }
        Query::KvKeys { prefix, separator } => {
            let names = cut_names(&tables, prefix, separator);
            let (index, changed) = prefix_index(&tables, prefix);
            (Answer::Names(names), index, changed)
        }
        Query::Session(id) => {
            both(Answer::Sessions(shared(tables.sessions.get(*id).into_iter())), last.sessions)
        }
        Query::NodeSessions(node) => both(sessions_of(&tables, &fold(node)), last.sessions),
        Query::Sessions => both(Answer::Sessions(shared(tables.sessions.all())), last.sessions),
        Query::Nodes => {
            let nodes = tables.catalog.nodes().values();
            both(Answer::Nodes(shared(nodes.map(|record| &record.node))), last.nodes)
        }
        Query::Services => both(Answer::ServiceTags(service_tags(&tables)), last.services),
        Query::CatalogService(name) => catalog_service(&tables, &fold(name)),
        Query::HealthService(name) => health_service(&tables, &fold(name)),
        Query::NodeServices(node) => node_services(&tables, node),
        Query::NodeChecks(node) => node_checks(&tables, &fold(node)),
        Query::ServiceChecks(name) => service_checks(&tables, &fold(name)),
        Query::ChecksInState(word) => state_checks(&tables, word),
        Query::NodesByAddress(address) => {
            let nodes = tables.catalog.nodes_at(address);
            both(Answer::Nodes(shared(nodes.map(|record| &record.node))), last.nodes)
        }
        Query::InstancesByAddress(address) => {
            both(instances_at(&tables, address), last.services.max(last.checks))
        }
        Query::Txn(ops) => both(Answer::Txn(txn::read(&tables, ops)), tables.counters.index),
        Query::ConnectService(name) => {
            let index = last.services.max(last.nodes).max(last.checks);
            both(connect_instances(&tables, &fold(name)), index)
        }
        Query::Autopilot => autopilot(&tables),
        Query::Backup => {
            let gathered = backup::gather(&tables);
            let index = tables.counters.index;
            drop(tables);
            both(Answer::Backup(Box::new(gathered.copy())), index)
        }
        Query::Prepared(id) => {
            both(Answer::Prepared(shared(tables.prepared.get(*id).into_iter())), last.prepared)
        }
        Query::AllPrepared => both(Answer::Prepared(shared(tables.prepared.all())), last.prepared),
        Query::Resolve(name) => {
            both(Answer::Resolved(tables.prepared.resolve(name)), last.prepared)
        }
        Query::Execute { name, connect } => {
            let found = execute(&tables, name, *connect);
            both(Answer::Executed(found.map(Box::new)), tables.counters.index)
        }
        Query::Coordinates => {
            let all = tables.catalog.nodes().values().flat_map(|it| it.coordinates.values());
            both(Answer::Coordinates(shared(all)), last.coordinates)
        }
        Query::NodeCoordinates(node) => {
            both(coordinates_of(&tables, std::slice::from_ref(node)), last.coordinates)
        }
        Query::CoordinatesOf(nodes) => both(coordinates_of(&tables, nodes), last.coordinates),
    }
}

fn sessions_of(tables: &Tables, node: &str) -> Answer {
    let ids = tables.sessions.of_node(node).into_iter();
    Answer::Sessions(ids.filter_map(|id| tables.sessions.get(id).map(Arc::clone)).collect())
}

fn instances_at(tables: &Tables, address: &str) -> Answer {
    let at = tables.catalog.services_at(address);
    let found = at.filter_map(|(node, id)| instance(tables, node, id, Checks::With));
    Answer::Instances(found.collect())
}

fn autopilot(tables: &Tables) -> Found {
    let found = tables.autopilot.clone();
    let index = found.as_ref().map_or(Index(0), |found| found.modify);
    (Answer::Autopilot(found), index, index)
}

fn shared<'a, T: 'a>(all: impl Iterator<Item = &'a Arc<T>>) -> Vec<Arc<T>> {
    all.map(Arc::clone).collect()
}

/// A key that is not there has the table's index, but only its own deletion counts as a change,
/// so that who waits for it is not disturbed by its neighbours.
fn key_answer(tables: &Tables, key: &str) -> Found {
    let last = &tables.counters.last;
    if let Some(entry) = tables.kv.get(key) {
        return (Answer::Kv(vec![Arc::clone(entry)]), entry.modify, entry.modify);
    }
    let deleted = tables.kv.tombstone(key).map(|tombstone| tombstone.index);
    (Answer::Kv(Vec::new()), last.kv, deleted.unwrap_or_default().max(last.reaped))
}

/// The newest write or deletion under a prefix. Where nothing is known to have been, the table's
/// index is shown, and nothing counts as a change.
fn prefix_index(tables: &Tables, prefix: &str) -> (Index, Index) {
    let last = &tables.counters.last;
    if prefix.is_empty() {
        return (last.kv, last.kv);
    }
    let written = tables.kv.under(prefix).map(|entry| entry.modify).max().unwrap_or_default();
    let found = written.max(tables.kv.tombstone_under(prefix));
    let changed = found.max(last.reaped);
    if found == Index(0) { (last.kv, changed) } else { (changed, changed) }
}

fn cut_names(tables: &Tables, prefix: &str, separator: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for entry in tables.kv.under(prefix) {
        let rest = entry.key.get(prefix.len()..).expect("a key under a prefix begins with it");
        let cut = match rest.find(separator) {
            Some(at) if !separator.is_empty() => prefix.len() + at + separator.len(),
            Some(_) | None => entry.key.len(),
        };
        let name = entry.key.get(..cut).expect("a separator ends at a character's end");
        if names.last().is_none_or(|last| last != name) {
            names.push(name.to_owned());
        }
    }
    names
}

fn service_tags(tables: &Tables) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for record in tables.catalog.services().values() {
        let instances = record.instances.iter();
        let mut services =
            instances.filter_map(|(node, id)| tables.catalog.instance(node, id)).peekable();
        let Some(name) = services.peek().map(|service| service.name.clone()) else { continue };
        let mut tags: Vec<String> = services.flat_map(|service| service.tags.clone()).collect();
        tags.sort();
        tags.dedup();
        all.insert(name, tags);
    }
    all
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Checks {
    With,
    Without,
}

fn instance(tables: &Tables, node: &str, id: &str, checks: Checks) -> Option<Instance> {
    let record = tables.catalog.node(node)?;
    let service = record.services.get(id)?;
    let checks = match checks {
        Checks::With => record.checks_of("").chain(record.checks_of(id)).map(Arc::clone).collect(),
        Checks::Without => Vec::new(),
    };
    Some(Instance { node: Arc::clone(&record.node), service: Arc::clone(service), checks })
}

fn instances(tables: &Tables, name: &str, checks: Checks) -> Answer {
    let record = tables.catalog.service(name);
    let listed = record.into_iter().flat_map(|record| &record.instances);
    let found = listed.filter_map(|(node, id)| instance(tables, node, id, checks));
    Answer::Instances(found.collect())
}

fn connect_instances(tables: &Tables, name: &str) -> Answer {
    let mut found = Vec::new();
    for (node, record) in tables.catalog.nodes() {
        let leads = record.services.values().filter(|service| fold(&service.lets_in_to) == *name);
        found.extend(leads.filter_map(|it| instance(tables, node, &it.id, Checks::With)));
    }
    Answer::Instances(found)
}

fn health_service(tables: &Tables, name: &str) -> Found {
    let last = tables.counters.last.service_extinction;
    let index = tables.catalog.service(name).map_or(last, |record| record.last.health);
    (instances(tables, name, Checks::With), index, index)
}

/// Runs a prepared query. Mesh instances are kept as data that nothing here looks into: who asks
/// for them finds none.
fn execute(tables: &Tables, name: &str, connect: bool) -> Result<Execution, Unresolved> {
    let query = tables.prepared.resolve(name)?;
    let asked = &query.service;
    let record = tables.catalog.service(&fold(&asked.service));
    let listed = record.filter(|_| !connect && !asked.connect).into_iter();
    let listed = listed.flat_map(|record| &record.instances);
    let found = listed.filter_map(|(node, id)| instance(tables, node, id, Checks::With));
    let instances = found.filter(|one| asked.takes(one)).collect();
    Ok(Execution { query, instances })
}

fn coordinates_of(tables: &Tables, nodes: &[String]) -> Answer {
    let records = nodes.iter().filter_map(|node| tables.catalog.node(&fold(node)));
    Answer::Coordinates(shared(records.flat_map(|record| record.coordinates.values())))
}

/// The catalog shows the same index as health does, but its readers are not woken by checks.
fn catalog_service(tables: &Tables, name: &str) -> Found {
    let last = tables.counters.last.service_extinction;
    let record = tables.catalog.service(name);
    let index = record.map_or(last, |record| record.last.health);
    let changed = record.map_or(last, |record| record.last.catalog);
    (instances(tables, name, Checks::Without), index, changed)
}

fn node_services(tables: &Tables, node: &str) -> Found {
    let last = &tables.counters.last;
    let by_name = tables.catalog.node(&fold(node));
    let by_id = || tables.catalog.node_of_id(node).and_then(|name| tables.catalog.node(name));
    let Some(record) = by_name.or_else(by_id) else {
        return (Answer::NodeServices(None), last.nodes, last.node_extinction);
    };
    let services = record.services.values().map(Arc::clone).collect();
    let found = NodeServices { node: Arc::clone(&record.node), services };
    (Answer::NodeServices(Some(found)), record.last.node, record.last.node)
}

fn node_checks(tables: &Tables, node: &str) -> Found {
    let last = &tables.counters.last;
    let Some(record) = tables.catalog.node(node) else {
        return (Answer::Checks(Vec::new()), last.nodes, last.node_extinction);
    };
    let checks = record.checks.values().map(Arc::clone).collect();
    (Answer::Checks(checks), record.last.checks, record.last.checks)
}

fn service_checks(tables: &Tables, name: &str) -> Found {
    let last = tables.counters.last.service_extinction;
    let Some(record) = tables.catalog.service(name) else {
        return (Answer::Checks(Vec::new()), last, last);
    };
    let of = |(node, id): &(String, String)| {
        let record = tables.catalog.node(node);
        let checks = record.into_iter().flat_map(|record: &NodeRecord| record.checks_of(id));
        checks.map(Arc::clone).collect::<Vec<Arc<Check>>>()
    };
    let checks = record.instances.iter().flat_map(of).collect();
    (Answer::Checks(checks), record.last.checks, record.last.checks)
}

fn state_checks(tables: &Tables, word: &str) -> Found {
    let last = &tables.counters.last;
    if word == ANY_STATE {
        let nodes = tables.catalog.nodes().values();
        let all = nodes.flat_map(|record| record.checks.values().map(Arc::clone)).collect();
        return (Answer::Checks(all), last.checks, last.checks);
    }
    let status = CheckStatus::from_word(word);
    let checks = tables.catalog.checks_in(&status).map(Arc::clone).collect();
    (Answer::Checks(checks), last.state(&status), last.state(&status))
}
