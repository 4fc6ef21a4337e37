//! Prepared queries: created, changed, removed; and what ends with a session.
//!
//! Source: Consul HTTP API, "Prepared Queries". What a query asks for is looked at by the door,
//! so that no version of a regular expression decides over the state.

use std::sync::Arc;

use super::step::Step;
use super::tables::{Row, Tables};
use crate::model::{Index, PreparedId, PreparedQuery, Refusal, Reply, SessionId, Topic};

/// Stores a new query. An id that is there already stays what it is: this is a repetition.
pub(crate) fn create(step: &mut Step<'_>, query: PreparedQuery) -> Reply {
    if step.tables.prepared.get(query.id).is_some() {
        return Reply::Done;
    }
    put(step, query, None)
}

/// Stores a query in place of the one that has its id. One that says nothing new moves nothing.
pub(crate) fn update(step: &mut Step<'_>, query: PreparedQuery) -> Reply {
    match step.tables.prepared.get(query.id).map(Arc::clone) {
        Some(before) => put(step, query, Some(&before)),
        None => Reply::Refused(Refusal::PreparedMissing(query.id)),
    }
}

fn put(step: &mut Step<'_>, mut query: PreparedQuery, before: Option<&PreparedQuery>) -> Reply {
    if let Some(refusal) = refusal(step.tables, &query) {
        return Reply::Refused(refusal);
    }
    let (create, modify) = before.map_or((step.index, Index(0)), |it| (it.create, it.modify));
    query.create = create;
    query.modify = modify;
    if before == Some(&query) {
        return Reply::Done;
    }
    query.modify = step.index;
    touch(step, query.id);
    step.tables.prepared.insert(Arc::new(query));
    Reply::Done
}

/// What stands against a query: its name leads nowhere else, and its session lives.
fn refusal(tables: &Tables, query: &PreparedQuery) -> Option<Refusal> {
    let other = |found: Option<PreparedId>| found.is_some_and(|id| id != query.id);
    let name = || query.name.clone();
    if !query.name.is_empty() && other(tables.prepared.named(&query.name)) {
        return Some(Refusal::PreparedNameTaken(name()));
    }
    if query.name.is_empty() && query.is_template() && other(tables.prepared.catch_all()) {
        return Some(Refusal::PreparedCatchAllTaken);
    }
    let as_id = uuid::Uuid::try_parse(&query.name).ok().map(PreparedId);
    if other(as_id.filter(|id| tables.prepared.get(*id).is_some())) {
        return Some(Refusal::PreparedNameIsId(name()));
    }
    let session = query.session.filter(|id| tables.sessions.get(*id).is_none());
    session.map(Refusal::NoSuchSession)
}

/// Removes a query.
pub(crate) fn delete(step: &mut Step<'_>, id: PreparedId) -> Reply {
    if step.tables.prepared.get(id).is_none() {
        return Reply::Refused(Refusal::PreparedMissing(id));
    }
    touch(step, id);
    step.tables.prepared.remove(id);
    Reply::Done
}

/// Removes the queries of a session that ends.
pub(crate) fn end_of_session(step: &mut Step<'_>, session: SessionId) {
    for id in step.tables.prepared.of_session(session) {
        touch(step, id);
        step.tables.prepared.remove(id);
    }
}

/// Notes that a query comes, changes or goes.
fn touch(step: &mut Step<'_>, id: PreparedId) {
    step.tables.counters.last.prepared = step.index;
    step.dirty(Row::Prepared(id));
    step.touch(Topic::Prepared);
}

/// Stores a query of a backup, unless its session is gone or another has its name.
pub(crate) fn restore(step: &mut Step<'_>, query: PreparedQuery) {
    if refusal(step.tables, &query).is_none() {
        step.tables.prepared.insert(Arc::new(query));
    }
}
