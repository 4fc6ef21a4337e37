//! Everything out, for a backup, and everything back in, from one.

use std::sync::Arc;

use super::prepared;
use super::sessions;
use super::step::Step;
use super::tables::{Catalog, Counters, Last, NodeLast, Part, Row, ServiceLast, Tables, fold};
use crate::model::{
    Autopilot, Backup, Check, CheckStatus, Index, KvEntry, Node, NodeCoordinate, PreparedQuery,
    Reply, Service, Session, Topic,
};

/// Highest index that is taken from a backup: one above it is a broken record, not a history.
const INDEX_MAX: Index = Index(1 << 62);

/// All records, still shared with the tables: gathering them keeps the writer waiting for much
/// less time than copying them.
#[derive(Debug)]
pub(crate) struct Gathered {
    kv: Vec<Arc<KvEntry>>,
    sessions: Vec<Arc<Session>>,
    nodes: Vec<Arc<Node>>,
    services: Vec<Arc<Service>>,
    checks: Vec<Arc<Check>>,
    prepared: Vec<Arc<PreparedQuery>>,
    coordinates: Vec<Arc<NodeCoordinate>>,
    autopilot: Option<Arc<Autopilot>>,
}

/// All records, each table in its order.
pub(crate) fn gather(tables: &Tables) -> Gathered {
    let nodes = tables.catalog.nodes().values();
    Gathered {
        kv: tables.kv.entries().map(Arc::clone).collect(),
        sessions: tables.sessions.all().map(Arc::clone).collect(),
        nodes: nodes.clone().map(|record| Arc::clone(&record.node)).collect(),
        services: nodes.clone().flat_map(|it| it.services.values()).map(Arc::clone).collect(),
        checks: nodes.clone().flat_map(|it| it.checks.values()).map(Arc::clone).collect(),
        prepared: tables.prepared.all().map(Arc::clone).collect(),
        coordinates: nodes.flat_map(|it| it.coordinates.values()).map(Arc::clone).collect(),
        autopilot: tables.autopilot.clone(),
    }
}

impl Gathered {
    /// Copies of them.
    pub(crate) fn copy(self) -> Backup {
        Backup {
            kv: copies(self.kv),
            sessions: copies(self.sessions),
            nodes: copies(self.nodes),
            services: copies(self.services),
            checks: copies(self.checks),
            prepared: copies(self.prepared),
            coordinates: copies(self.coordinates),
            autopilot: self.autopilot.map(Arc::unwrap_or_clone),
        }
    }
}

fn copies<T: Clone>(shared: Vec<Arc<T>>) -> Vec<T> {
    shared.into_iter().map(Arc::unwrap_or_clone).collect()
}

/// Replaces everything. Records keep their own indexes; the counter continues above them and
/// above itself. What hangs on something that the backup does not have is left out.
pub(crate) fn restore(step: &mut Step<'_>, backup: Backup) -> Reply {
    step.continue_above(highest(&backup));
    let index = step.index;
    let counters = Counters {
        index: step.tables.counters.index,
        clock: step.clock(),
        last: everything_at(index),
    };
    *step.tables = Tables { counters, ..Tables::default() };
    put_catalog(&mut step.tables.catalog, backup.nodes, backup.services, backup.checks);
    for one in backup.coordinates {
        step.tables.catalog.insert_coordinate(Arc::new(one));
    }
    touch_catalog(&mut step.tables.catalog, index);
    for session in backup.sessions {
        put_session(step, session);
    }
    for mut query in backup.prepared {
        clamp(&mut query.create, &mut query.modify);
        prepared::restore(step, query);
    }
    for entry in backup.kv {
        put_key(step, entry);
    }
    step.tables.autopilot = backup.autopilot.map(|mut settings| {
        clamp(&mut settings.create, &mut settings.modify);
        Arc::new(settings)
    });
    step.journal.wiped = true;
    step.journal.rows = step.tables.rows().into_iter().collect();
    step.touch(Topic::All);
    Reply::Done
}

/// Sets a part of a backup aside. Parts come in order; the first drops what was there before.
pub(crate) fn stage(step: &mut Step<'_>, id: u64, part: u32, records: Backup) -> Reply {
    let staged = usize::try_from(part).expect("32 bits fit");
    if part == 0 {
        drop_staged(step);
    }
    let same = step.tables.staged.iter().all(|part| part.id == id);
    if !same || step.tables.staged.len() != staged {
        return Reply::Flag(false);
    }
    step.dirty(Row::Staged(part));
    step.tables.staged.push(Arc::new(Part { id, records }));
    Reply::Flag(true)
}

fn drop_staged(step: &mut Step<'_>) -> Vec<Arc<Part>> {
    for place in (0..).take(step.tables.staged.len()) {
        step.dirty(Row::Staged(place));
    }
    std::mem::take(&mut step.tables.staged)
}

/// Replaces everything by the parts that were set aside, if these are all of them.
pub(crate) fn restore_staged(step: &mut Step<'_>, id: u64, parts: u32) -> Reply {
    let whole = usize::try_from(parts).expect("32 bits fit") == step.tables.staged.len();
    if !whole || step.tables.staged.iter().any(|part| part.id != id) {
        return Reply::Flag(false);
    }
    let mut all = Backup::default();
    for part in drop_staged(step) {
        all.append(Arc::unwrap_or_clone(part).records);
    }
    restore(step, all);
    Reply::Flag(true)
}

fn highest(backup: &Backup) -> Index {
    let kv = backup.kv.iter().map(|it| it.create.max(it.modify));
    let sessions = backup.sessions.iter().map(|it| it.create.max(it.modify));
    let nodes = backup.nodes.iter().map(|it| it.create.max(it.modify));
    let services = backup.services.iter().map(|it| it.create.max(it.modify));
    let checks = backup.checks.iter().map(|it| it.create.max(it.modify));
    let prepared = backup.prepared.iter().map(|it| it.create.max(it.modify));
    let settings = backup.autopilot.iter().map(|it| it.create.max(it.modify));
    let all = kv
        .chain(sessions)
        .chain(nodes)
        .chain(services)
        .chain(checks)
        .chain(prepared)
        .chain(settings);
    all.map(|index| index.min(INDEX_MAX)).max().unwrap_or_default()
}

fn everything_at(index: Index) -> Last {
    Last {
        kv: index,
        reaped: index,
        nodes: index,
        node_extinction: index,
        services: index,
        service_extinction: index,
        checks: index,
        passing: index,
        warning: index,
        critical: index,
        other: index,
        sessions: index,
        restored: index,
        prepared: index,
        coordinates: index,
    }
}

fn put_catalog(
    catalog: &mut Catalog,
    nodes: Vec<Node>,
    services: Vec<Service>,
    checks: Vec<Check>,
) {
    for mut node in nodes {
        if catalog.node_of_id(&node.id).is_some_and(|name| name != fold(&node.name)) {
            node.id.clear();
        }
        clamp(&mut node.create, &mut node.modify);
        catalog.insert_node(Arc::new(node));
    }
    for mut service in services {
        clamp(&mut service.create, &mut service.modify);
        catalog.insert_service(Arc::new(service));
    }
    for mut check in checks {
        clamp(&mut check.create, &mut check.modify);
        if check.service_id.is_empty() {
            check.service_name.clear();
            check.service_tags.clear();
        } else {
            let Some(service) = catalog.instance(&fold(&check.node), &check.service_id) else {
                continue;
            };
            check.service_name.clone_from(&service.name);
            check.service_tags.clone_from(&service.tags);
        }
        catalog.insert_check(Arc::new(check));
    }
}

fn touch_catalog(catalog: &mut Catalog, index: Index) {
    let nodes: Vec<String> = catalog.nodes().keys().cloned().collect();
    for name in nodes {
        let last = catalog.node_last(&name).expect("the name was just listed");
        *last = NodeLast { node: index, checks: index };
    }
    let services: Vec<String> = catalog.services().keys().cloned().collect();
    for name in services {
        let last = catalog.service_last(&name).expect("the name was just listed");
        *last = ServiceLast { health: index, catalog: index, checks: index };
    }
}

/// A session begins its TTL anew.
fn put_session(step: &mut Step<'_>, mut session: Session) {
    let node = fold(&session.spec.node);
    let lives = |id| {
        let check = step.tables.catalog.check(&node, id);
        check.is_some_and(|check| check.status != CheckStatus::Critical)
    };
    if !step.tables.has_node(&node) || !session.bound_checks().all(lives) {
        return;
    }
    clamp(&mut session.create, &mut session.modify);
    session.deadline = sessions::deadline(&session, step.clock());
    step.tables.sessions.insert(Arc::new(session));
}

fn put_key(step: &mut Step<'_>, mut entry: KvEntry) {
    clamp(&mut entry.create, &mut entry.modify);
    entry.session = entry.session.filter(|id| step.tables.sessions.get(*id).is_some());
    entry.lock_index = entry.lock_index.max(u64::from(entry.session.is_some()));
    step.tables.kv.insert(Arc::new(entry));
}

fn clamp(create: &mut Index, modify: &mut Index) {
    *create = (*create).min(INDEX_MAX);
    *modify = (*modify).min(INDEX_MAX).max(*create);
}
