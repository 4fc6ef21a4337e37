//! Replies, topics and answers as one line each.

use std::fmt::Write;
use std::sync::Arc;

use crate::model::{
    Answer, Check, Execution, Instance, KvEntry, Node, NodeCoordinate, PreparedId, PreparedQuery,
    Refusal, Reply, Service, Session, SessionId, Topic, TxnError, TxnResult,
};

fn list<T>(items: &[T], one: impl Fn(&T) -> String) -> String {
    let shown: Vec<String> = items.iter().map(one).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join("; ") }
}

fn session_id(id: SessionId) -> String {
    format!("s{}", id.0.as_u128())
}

fn prepared_id(id: PreparedId) -> String {
    format!("p{}", id.0.as_u128())
}

pub(super) fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Done => "done".to_owned(),
        Reply::Flag(flag) => flag.to_string(),
        Reply::Session(id) => session_id(*id),
        Reply::Txn(outcome) => txn(outcome),
        Reply::Refused(what) => format!("refused: {}", refusal(what)),
    }
}

fn refusal(what: &Refusal) -> String {
    match what {
        Refusal::NoSuchSession(id) => format!("no session {}", session_id(*id)),
        Refusal::SessionDiffers { key, current, wanted } => {
            let current = current.map_or_else(|| "nobody".to_owned(), session_id);
            let wanted =
                wanted.parse().map_or_else(|_| wanted.clone(), |id| session_id(SessionId(id)));
            format!("{key} is held by {current}, not {wanted}")
        }
        Refusal::IndexDiffers { key, current, wanted } => {
            format!("{key} has index {}, not {}", current.0, wanted.0)
        }
        Refusal::PreparedMissing(id) => format!("no prepared query {}", prepared_id(*id)),
        other => format!("{other:?}"),
    }
}

fn txn(outcome: &Result<Vec<TxnResult>, Vec<TxnError>>) -> String {
    match outcome {
        Ok(results) => {
            let one = |it: &TxnResult| match it {
                TxnResult::Kv { entry: found, with_value: true } => entry(found),
                TxnResult::Kv { entry: found, with_value: false } => without_value(found),
                TxnResult::Node(found) => node(found),
                TxnResult::Service(found) => service(found),
                TxnResult::Check(found) => check(found),
            };
            format!("results: {}", list(results, one))
        }
        Err(errors) => {
            let one = |it: &TxnError| format!("op {}: {}", it.op, refusal(&it.what));
            format!("rolled back: {}", list(errors, one))
        }
    }
}

pub(super) fn topic(topic: &Topic) -> String {
    match topic {
        Topic::Key(key) => format!("key {key}"),
        Topic::Prefix(prefix) => format!("prefix {prefix}"),
        Topic::Service(name) => format!("service {name}"),
        Topic::ServiceCatalog(name) => format!("catalog {name}"),
        Topic::Services => "services".to_owned(),
        Topic::Nodes => "nodes".to_owned(),
        Topic::Node(name) => format!("node {name}"),
        Topic::NodeChecks(name) => format!("node-checks {name}"),
        Topic::ServiceChecks(name) => format!("service-checks {name}"),
        Topic::State(word) => format!("state {word}"),
        Topic::Sessions => "sessions".to_owned(),
        Topic::Prepared => "prepared".to_owned(),
        Topic::Coordinates => "coordinates".to_owned(),
        Topic::Autopilot => "autopilot".to_owned(),
        Topic::All => "all".to_owned(),
    }
}

fn without_value(entry: &Arc<KvEntry>) -> String {
    let mut text = format!("{} @{}..{}", entry.key, entry.create.0, entry.modify.0);
    if entry.flags != 0 {
        write!(text, " flags {}", entry.flags).unwrap();
    }
    if entry.lock_index != 0 {
        write!(text, " lock {}", entry.lock_index).unwrap();
    }
    if let Some(holder) = entry.session {
        write!(text, " held by {}", session_id(holder)).unwrap();
    }
    text
}

fn entry(entry: &Arc<KvEntry>) -> String {
    format!("{} = {:?}", without_value(entry), String::from_utf8_lossy(&entry.value))
}

fn session(session: &Arc<Session>) -> String {
    let spec = &session.spec;
    let deadline = session.deadline.map_or_else(|| "never".to_owned(), |at| at.0.to_string());
    let span = format!("@{}..{}", session.create.0, session.modify.0);
    let id = session_id(spec.id);
    format!("{id} on {} {span} sequence {} until {deadline}", spec.node, session.sequence)
}

fn node(node: &Arc<Node>) -> String {
    let id = if node.id.is_empty() { String::new() } else { format!(" ({})", node.id) };
    format!("{}{id} at {} @{}..{}", node.name, node.address, node.create.0, node.modify.0)
}

fn service(service: &Arc<Service>) -> String {
    let tags = service.tags.join(",");
    let span = format!("@{}..{}", service.create.0, service.modify.0);
    format!("{}/{} of {}:{} [{tags}] {span}", service.node, service.id, service.name, service.port)
}

fn check(check: &Arc<Check>) -> String {
    let mut text = format!("{}/{} {}", check.node, check.id, check.status.as_str());
    if !check.service_id.is_empty() {
        let tags = check.service_tags.join(",");
        write!(text, " for {} of {} [{tags}]", check.service_id, check.service_name).unwrap();
    }
    if !check.output.is_empty() {
        write!(text, " {:?}", check.output).unwrap();
    }
    format!("{text} @{}..{}", check.create.0, check.modify.0)
}

fn instance(instance: &Instance) -> String {
    let checks = list(&instance.checks, check);
    format!("{} on {} with {checks}", service(&instance.service), instance.node.address)
}

fn prepared(query: &Arc<PreparedQuery>) -> String {
    let asked = &query.service;
    let mut text = format!("{} {:?} for {}", prepared_id(query.id), query.name, asked.service);
    if query.is_template() {
        write!(text, " template {:?}", query.template.regexp).unwrap();
    }
    if let Some(tags) = &asked.tags {
        write!(text, " tags [{}]", tags.join(",")).unwrap();
    }
    if let Some(session) = query.session {
        write!(text, " of {}", session_id(session)).unwrap();
    }
    format!("{text} @{}..{}", query.create.0, query.modify.0)
}

fn executed(found: &Execution) -> String {
    let on = |one: &Instance| format!("{}/{}", one.service.node, one.service.id);
    format!("{}: {}", prepared(&found.query), list(&found.instances, on))
}

fn coordinate(one: &Arc<NodeCoordinate>) -> String {
    format!("{}{:?} at {}", one.node, one.segment, one.coordinate.vec[0].get())
}

pub(super) fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Kv(entries) => list(entries, entry),
        Answer::Names(names) => list(names, Clone::clone),
        Answer::Sessions(sessions) => list(sessions, session),
        Answer::Nodes(nodes) => list(nodes, node),
        Answer::ServiceTags(tags) => {
            let tags: Vec<(&String, &Vec<String>)> = tags.iter().collect();
            list(&tags, |(name, tags)| format!("{name} [{}]", tags.join(",")))
        }
        Answer::Instances(instances) => list(instances, instance),
        Answer::NodeServices(None) | Answer::Autopilot(None) => "nothing".to_owned(),
        Answer::NodeServices(Some(found)) => {
            format!("{}: {}", node(&found.node), list(&found.services, service))
        }
        Answer::Checks(checks) => list(checks, check),
        Answer::Txn(outcome) => txn(outcome),
        Answer::Autopilot(Some(found)) => {
            let span = format!("@{}..{}", found.create.0, found.modify.0);
            format!(
                "contact {} ms, trailing {} {span}",
                found.last_contact_ms, found.max_trailing_logs
            )
        }
        Answer::Backup(backup) => format!("{} keys", backup.kv.len()),
        Answer::Prepared(queries) => list(queries, prepared),
        Answer::Resolved(Ok(query)) => prepared(query),
        Answer::Executed(Ok(found)) => executed(found),
        Answer::Resolved(Err(why)) | Answer::Executed(Err(why)) => format!("{why:?}"),
        Answer::Coordinates(all) => list(all, coordinate),
    }
}
