//! Sessions: created, renewed, ended; and what an end does to the keys they hold.
//!
//! Source: Consul HTTP API, "Session", and Consul's "Session internals".

use std::sync::Arc;
use std::time::Duration;

use super::prepared;
use super::step::Step;
use super::tables::{Row, Tables, fold};
use crate::limits::{LOCK_DELAY_MAX, SESSION_TTL_FACTOR};
use crate::model::{
    Behavior, CheckStatus, ClusterTime, KvEntry, Refusal, Renewal, Reply, Session, SessionId,
    SessionSpec, Topic,
};

/// Creates a session. An id that lives already stays what it is.
pub(crate) fn create(step: &mut Step<'_>, spec: &SessionSpec) -> Reply {
    if step.tables.sessions.get(spec.id).is_some() {
        return Reply::Session(spec.id);
    }
    let mut session = Session {
        spec: spec.clone(),
        sequence: 0,
        deadline: None,
        create: step.index,
        modify: step.index,
    };
    if let Some(refusal) = refusal(step.tables, &session) {
        return Reply::Refused(refusal);
    }
    session.deadline = deadline(&session, step.clock());
    step.put_session(session);
    Reply::Session(spec.id)
}

/// What stands against a session: its node and checks have to be there and not critical.
fn refusal(tables: &Tables, session: &Session) -> Option<Refusal> {
    let node = fold(&session.spec.node);
    if tables.catalog.node(&node).is_none() {
        return Some(Refusal::SessionNodeMissing(session.spec.node.clone()));
    }
    session.bound_checks().find_map(|id| match tables.catalog.check(&node, id) {
        None => Some(Refusal::SessionCheckMissing(id.to_owned())),
        Some(check) if check.status == CheckStatus::Critical => {
            Some(Refusal::SessionCheckCritical(id.to_owned()))
        }
        Some(_) => None,
    })
}

/// When a session that was renewed at `at` runs out.
pub(crate) fn deadline(session: &Session, at: ClusterTime) -> Option<ClusterTime> {
    let ttl = Duration::from_millis(session.spec.ttl_ms?);
    Some(at.after(ttl.saturating_mul(SESSION_TTL_FACTOR)))
}

/// Takes a renewal in. It moves no index; it never brings a deadline nearer.
pub(crate) fn renew(step: &mut Step<'_>, renewal: &Renewal) {
    let Some(session) = step.tables.sessions.get(renewal.id) else { return };
    let mut session = Session::clone(session);
    session.deadline = session.deadline.max(deadline(&session, renewal.at));
    session.sequence += 1;
    step.dirty(Row::Session(renewal.id));
    step.tables.sessions.insert(Arc::new(session));
}

/// Ends a session whose deadline is past, unless it was renewed since it was looked at.
pub(crate) fn expire(step: &mut Step<'_>, id: SessionId, sequence: u64) {
    let Some(session) = step.tables.sessions.get(id) else { return };
    let past = session.deadline.is_some_and(|deadline| deadline <= step.clock());
    // B13: the leader has looked already, and what was renewed since then does not count.
    if (past && session.sequence == sequence) || planted!("planted_b13") {
        end(step, id);
    }
}

/// Ends a session: its keys are released or deleted, their locks rest, and its prepared queries
/// go.
pub(crate) fn end(step: &mut Step<'_>, id: SessionId) {
    if step.tables.sessions.get(id).is_none() {
        return;
    }
    step.touch_session(Row::Session(id));
    let session = step.tables.sessions.remove(id).expect("the session was just seen");
    let delay = Duration::from_millis(session.spec.lock_delay_ms).min(LOCK_DELAY_MAX);
    let until = step.clock().after(delay);
    let mut keys = step.tables.kv.held_by(id);
    if planted!("planted_b18") {
        // B18: each key gets an index of its own (below), in the order of a hash map.
        keys = keys.into_iter().collect::<std::collections::HashSet<_>>().into_iter().collect();
    }
    for key in keys {
        match session.spec.behavior {
            Behavior::Release => release(step, &key),
            Behavior::Delete => step.remove_key(&key, Topic::Key(key.clone())),
        }
        step.delay_lock(key, until);
        step.index.0 += u64::from(planted!("planted_b18"));
    }
    prepared::end_of_session(step, id);
}

fn release(step: &mut Step<'_>, key: &str) {
    let entry = step.tables.kv.get(key).expect("a key that is listed as held is there");
    let entry = KvEntry { session: None, modify: step.index, ..KvEntry::clone(entry) };
    step.put_key(Arc::new(entry));
}

/// Ends the sessions that are bound to a check; the node's name in lower case.
pub(crate) fn end_of_check(step: &mut Step<'_>, node: &str, check: &str) {
    for id in step.tables.sessions.of_check(node, check) {
        end(step, id);
    }
}

/// Ends the sessions of a node; its name in lower case.
pub(crate) fn end_of_node(step: &mut Step<'_>, node: &str) {
    for id in step.tables.sessions.of_node(node) {
        end(step, id);
    }
}
