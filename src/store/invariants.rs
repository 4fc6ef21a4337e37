//! Every rule that holds across tables, looked at after each command in the room's tests.

use std::collections::BTreeSet;

use super::tables::{Row, Tables, fold};
use crate::model::{CheckStatus, Index, Session};

/// Panics with the rule that does not hold.
pub(crate) fn hold(tables: &Tables) {
    keys(tables);
    sessions(tables);
    catalog(tables);
    prepared(tables);
    indexes(tables);
    let rows = tables.rows();
    assert!(rows.iter().all(|row| tables.record(row).is_some()), "each listed row has a record");
}

fn keys(tables: &Tables) {
    let mut held = 0;
    for entry in tables.kv.entries() {
        let key = &entry.key;
        assert!(tables.kv.tombstone(key).is_none(), "{key:?} is alive and deleted at once");
        assert!(entry.create <= entry.modify, "{key:?} was changed before it was made");
        assert!(entry.modify <= tables.counters.index, "{key:?} has an index to come");
        let Some(session) = entry.session else { continue };
        held += 1;
        assert!(entry.lock_index > 0, "{key:?} is held and was never acquired");
        assert!(tables.sessions.get(session).is_some(), "holder {session} of {key:?} lives");
        let listed = tables.kv.holders().get(&session).is_some_and(|keys| keys.contains(key));
        assert!(listed, "{key:?} is listed under its holder {session}");
    }
    let listed: usize = tables.kv.holders().values().map(BTreeSet::len).sum();
    assert_eq!(held, listed, "each key that is listed as held is held");
    let by_age = tables.kv.oldest_tombstones().count();
    assert_eq!(by_age, tables.kv.tombstones().len(), "tombstones by age are all tombstones");
    let now = tables.counters.clock;
    assert!(tables.kv.lock_delays().values().all(|until| *until > now), "rests to come only");
}

fn sessions(tables: &Tables) {
    let (mut nodes, mut checks, mut deadlines) = (0, 0, 0);
    for session in tables.sessions.all() {
        let id = session.spec.id;
        let node = fold(&session.spec.node);
        assert!(tables.has_node(&node), "session {id} has its node {node:?}");
        let mut bound: Vec<&str> = Session::bound_checks(session).collect();
        bound.sort_unstable();
        bound.dedup();
        for check in &bound {
            let found = tables.catalog.check(&node, check).expect("a bound check is registered");
            assert!(
                found.status != CheckStatus::Critical,
                "check {check:?} of {id} is not critical"
            );
            assert!(tables.sessions.of_check(&node, check).contains(&id), "{id} is by its check");
        }
        assert!(tables.sessions.of_node(&node).contains(&id), "{id} is listed by its node");
        assert_eq!(session.deadline.is_some(), session.spec.ttl_ms.is_some(), "a TTL has an end");
        nodes += 1;
        checks += bound.len();
        deadlines += usize::from(session.deadline.is_some());
    }
    assert_eq!(tables.sessions.listed(), (nodes, checks), "sessions by node and by check");
    assert_eq!(tables.sessions.deadlines().len(), deadlines, "sessions by deadline");
}

fn catalog(tables: &Tables) {
    let catalog = &tables.catalog;
    let mut counts = [0; 4];
    let mut addresses = 0;
    for (name, record) in catalog.nodes() {
        assert_eq!(*name, fold(&record.node.name), "a node stands under its name");
        counts[0] += usize::from(!record.node.id.is_empty());
        counts[1] += 1;
        for (id, service) in &record.services {
            assert_eq!(fold(&service.node), *name, "instance {id:?} is on its node");
            let of = catalog.service(&fold(&service.name)).expect("an instance has its service");
            assert!(of.instances.contains(&(name.clone(), id.clone())), "{id:?} is listed");
            counts[2] += 1;
            addresses += usize::from(!service.address.is_empty());
        }
        for (id, check) in &record.checks {
            let grouped = record.checks_of(&check.service_id).any(|it| it.id == *id);
            assert!(grouped, "check {id:?} is in its group");
            counts[3] += 1;
            if !check.service_id.is_empty() {
                let service = record.services.get(&check.service_id);
                let service = service.expect("a check's instance is registered");
                assert_eq!(service.name, check.service_name, "check {id:?} has the service's name");
                assert_eq!(service.tags, check.service_tags, "check {id:?} has the service's tags");
            }
        }
    }
    assert_eq!(catalog.listed(), counts, "nodes by id and address, instances, checks by state");
    assert_eq!(catalog.listed_addresses(), addresses, "instances by address");
}

fn prepared(tables: &Tables) {
    let mut counts = [0; 3];
    for query in tables.prepared.all() {
        let id = query.id;
        if query.name.is_empty() {
            // The doors see to it; a fuzzer comes through none.
            let found = query.is_template() || query.session.is_some();
            assert!(found || !cfg!(test), "{id} can be found or ends");
        } else {
            assert_eq!(tables.prepared.named(&query.name), Some(id), "{id} is listed by its name");
        }
        if let Some(session) = query.session {
            assert!(tables.sessions.get(session).is_some(), "session {session} of {id} lives");
            assert!(tables.prepared.of_session(session).contains(&id), "{id} is by its session");
        }
        counts[0] += usize::from(!query.name.is_empty());
        counts[1] += usize::from(query.is_template());
        counts[2] += usize::from(query.session.is_some());
        assert!(query.create <= query.modify, "{id} was changed before it was made");
    }
    assert_eq!(tables.prepared.listed(), counts, "prepared queries by name, template, session");
    for (name, record) in tables.catalog.nodes() {
        for (segment, one) in &record.coordinates {
            assert_eq!((fold(&one.node), &one.segment), (name.clone(), segment), "a coordinate");
        }
    }
}

/// No record is newer than the index of what it is waited for by, and none of these is to come.
fn indexes(tables: &Tables) {
    let last = &tables.counters.last;
    let index = tables.counters.index;
    let tops = [last.kv, last.nodes, last.services, last.checks, last.sessions, last.reaped];
    assert!(last.prepared.max(last.coordinates) <= index, "nor have these");
    let prepared = tables.prepared.all().map(|query| query.modify).max();
    assert!(prepared.unwrap_or_default() <= last.prepared, "prepared queries within their table");
    assert!(tops.iter().all(|top| *top <= index), "no table has an index to come");
    let settings = tables.autopilot.as_ref();
    assert!(settings.is_none_or(|it| it.create <= it.modify && it.modify <= index), "settings too");
    assert!(tables.kv.entries().all(|entry| entry.modify <= last.kv), "keys within their table");
    assert!(tables.sessions.all().all(|it| it.modify <= last.sessions), "sessions likewise");
    for (name, record) in tables.catalog.nodes() {
        assert!(record.last.node >= record.node.modify, "{name:?} within its own index");
        assert!(last.nodes >= record.node.modify, "{name:?} within its table");
        let newest = record.checks.values().map(|check| check.modify).max();
        assert!(record.last.checks >= newest.unwrap_or_default(), "checks of {name:?}");
        assert!(record.last.checks > Index(0), "{name:?} has an index for its checks");
        for check in record.checks.values() {
            assert!(last.state(&check.status) >= check.modify, "checks within their state");
        }
    }
    for (name, record) in tables.catalog.services() {
        let row = tables.record(&Row::ServiceLast(name.clone()));
        assert!(row.is_some(), "service {name:?} has its row");
        assert!(record.last.health >= record.last.catalog, "{name:?}: health includes catalog");
        assert!(record.last.health >= record.last.checks, "{name:?}: health includes checks");
        assert!(record.last.checks > Index(0), "{name:?} has an index for its checks");
    }
}
