//! Nodes and instances: registered and deregistered, idempotently.
//!
//! Source: Consul HTTP API, "Catalog". A registration is taken whole or refused whole.

use std::sync::Arc;

use super::checks;
use super::coordinates;
use super::sessions;
use super::step::Step;
use super::tables::{Row, Tables, fold};
use crate::model::{
    Check, CheckStatus, Deregistration, Index, Node, Refusal, Registration, Reply, Service, Topic,
};

/// The check by which the cluster says whether a node's agent lives. Source: Consul, "Checks".
const AGENT_CHECK: &str = "serfHealth";

/// Registers a node, and what comes with it.
pub(crate) fn register(step: &mut Step<'_>, registration: Registration) -> Reply {
    if let Some(refusal) = refusal(step.tables, &registration) {
        return Reply::Refused(refusal);
    }
    let name = fold(&registration.node.name);
    if !registration.skip_node_update || step.tables.catalog.node(&name).is_none() {
        put_node(step, registration.node);
    }
    let node = step.tables.catalog.node(&name).expect("the node was just registered");
    let node = Arc::clone(&node.node);
    if let Some(service) = registration.service {
        put_service(step, &node, service);
    }
    for check in registration.checks {
        put_check(step, &node, check);
    }
    Reply::Done
}

/// Stores a check of a node that is there, with the name and the tags of its instance.
pub(crate) fn put_check(step: &mut Step<'_>, node: &Node, mut check: Check) {
    check.node.clone_from(&node.name);
    let service = step.tables.catalog.instance(&fold(&node.name), &check.service_id);
    check.service_name = service.map(|it| it.name.clone()).unwrap_or_default();
    check.service_tags = service.map(|it| it.tags.clone()).unwrap_or_default();
    checks::put(step, check);
}

fn refusal(tables: &Tables, registration: &Registration) -> Option<Refusal> {
    let node = &registration.node;
    if node.name.is_empty() {
        return Some(Refusal::NodeNameMissing);
    }
    let name = fold(&node.name);
    if !registration.skip_node_update || tables.catalog.node(&name).is_none() {
        if node.address.is_empty() && !registration.skip_node_update {
            return Some(Refusal::NodeAddressMissing);
        }
        if let Some(refusal) = reserved(tables, node) {
            return Some(refusal);
        }
    }
    registration.checks.iter().find_map(|check| {
        if !check.node.is_empty() && fold(&check.node) != name {
            return Some(Refusal::NodeMissing(check.node.clone()));
        }
        let comes = registration.service.as_ref().is_some_and(|it| it.id == check.service_id);
        let there = || tables.catalog.instance(&name, &check.service_id).is_some();
        if check.service_id.is_empty() || comes || there() {
            return None;
        }
        let service = check.service_id.clone();
        Some(Refusal::CheckServiceMissing { service, node: node.name.clone() })
    })
}

/// Whether another living node has the name. A node that never had an agent holds it loosely.
pub(crate) fn reserved(tables: &Tables, node: &Node) -> Option<Refusal> {
    let name = fold(&node.name);
    let holder = tables.catalog.node(&name)?;
    if node.id.is_empty() || fold(&holder.node.id) == fold(&node.id) {
        return None;
    }
    let renamed = tables.catalog.node_of_id(&node.id).is_some();
    if holder.node.id.is_empty() && !renamed {
        return None;
    }
    let agent = holder.checks.get(AGENT_CHECK)?;
    if agent.status == CheckStatus::Critical {
        return None;
    }
    let holder = &holder.node;
    Some(Refusal::NodeNameReserved {
        name: node.name.clone(),
        id: node.id.clone(),
        holder: holder.id.clone(),
        holder_shown: format!("{} ({})", holder.name, holder.address),
    })
}

/// Stores a node. A new name under a known id takes the old node away with all that is on it.
pub(crate) fn put_node(step: &mut Step<'_>, mut node: Node) {
    let name = fold(&node.name);
    node.create = step.index;
    if let Some(old) = step.tables.catalog.node_of_id(&node.id).map(str::to_owned)
        && old != name
    {
        let record = step.tables.catalog.node(&old).expect("a node is there under its id");
        node.create = record.node.create;
        remove_node(step, &old);
    }
    let before = step.tables.catalog.node(&name).map(|record| Arc::clone(&record.node));
    if let Some(before) = &before {
        if node.id.is_empty() {
            node.id.clone_from(&before.id);
        }
        node.create = before.create;
        node.modify = before.modify;
        if **before == node {
            return;
        }
        step.dirty(Row::Node(name.clone()));
        step.touch_node(before);
        if fold(&before.id) != fold(&node.id) {
            // Whoever asks by the old id finds nothing any more.
            step.tables.counters.last.node_extinction = step.index;
        }
    }
    node.modify = step.index;
    let node = Arc::new(node);
    step.dirty(Row::Node(name.clone()));
    step.dirty(Row::NodeLast(name.clone()));
    step.tables.catalog.insert_node(Arc::clone(&node));
    if before.is_none() {
        let last = step.tables.catalog.node_last(&name).expect("the node was just stored");
        last.checks = step.index;
    }
    step.tables.counters.last.nodes = step.index;
    step.touch(Topic::Nodes);
    step.touch_node(&node);
    for service in step.services_on(&name) {
        step.touch_service(&service);
    }
}

pub(crate) fn put_service(step: &mut Step<'_>, node: &Node, mut service: Service) {
    let on = fold(&node.name);
    service.node.clone_from(&node.name);
    service.create = step.index;
    let before = step.tables.catalog.instance(&on, &service.id).map(Arc::clone);
    if let Some(before) = &before {
        service.create = before.create;
        service.modify = before.modify;
        if **before == service {
            return;
        }
    }
    service.modify = step.index;
    let service = Arc::new(service);
    let name = fold(&service.name);
    step.dirty(Row::Service(on, service.id.clone()));
    step.dirty(Row::ServiceLast(name.clone()));
    if let Some(before) = &before {
        step.dirty(Row::ServiceLast(fold(&before.name)));
    }
    let kept = step.tables.catalog.insert_service(Arc::clone(&service));
    assert!(kept, "an instance is stored on a node that is there");
    let last = step.tables.catalog.service_last(&name).expect("the service was just stored");
    if last.catalog == Index(0) {
        last.checks = step.index;
    }
    step.touch_service(&name);
    if let Some(before) = before.filter(|before| fold(&before.name) != name) {
        step.touch_service(&fold(&before.name));
    }
    touch_services(step, node);
    checks::follow_service(step, &service);
}

fn touch_services(step: &mut Step<'_>, node: &Node) {
    step.tables.counters.last.services = step.index;
    step.touch(Topic::Services);
    step.touch_node(node);
}

/// Removes an instance with its checks, a check, or a node with everything that is on it.
pub(crate) fn deregister(step: &mut Step<'_>, what: &Deregistration) {
    let node = fold(&what.node);
    match (&what.service, &what.check) {
        (Some(service), _) => remove_service(step, &node, service),
        (None, Some(check)) => checks::remove(step, &node, check),
        (None, None) => remove_node(step, &node),
    }
}

pub(crate) fn remove_service(step: &mut Step<'_>, node: &str, id: &str) {
    let Some(record) = step.tables.catalog.node(node) else { return };
    let Some(service) = record.services.get(id) else { return };
    let name = fold(&service.name);
    let on = Arc::clone(&record.node);
    let bound: Vec<String> = record.checks_of(id).map(|check| check.id.clone()).collect();
    for check in bound {
        checks::remove(step, node, &check);
    }
    step.dirty(Row::Service(node.to_owned(), id.to_owned()));
    step.dirty(Row::ServiceLast(name.clone()));
    let service = step.tables.catalog.remove_service(node, id);
    assert!(service.is_some(), "the instance was seen before its checks went");
    step.touch_service(&name);
    touch_services(step, &on);
}

pub(crate) fn remove_node(step: &mut Step<'_>, name: &str) {
    let Some(record) = step.tables.catalog.node(name) else { return };
    let node = Arc::clone(&record.node);
    let services: Vec<String> = record.services.keys().cloned().collect();
    let bound: Vec<String> = record.checks_of("").map(|check| check.id.clone()).collect();
    let segments: Vec<String> = record.coordinates.keys().cloned().collect();
    sessions::end_of_node(step, name);
    for service in services {
        remove_service(step, name, &service);
    }
    for check in bound {
        checks::remove(step, name, &check);
    }
    for segment in segments {
        coordinates::touch(step, name, &segment);
    }
    step.touch_node(&node);
    step.dirty(Row::Node(name.to_owned()));
    step.tables.catalog.remove_node(name);
    step.tables.counters.last.nodes = step.index;
    step.tables.counters.last.node_extinction = step.index;
    step.touch(Topic::Nodes);
    step.touch(Topic::NodeChecks(name.to_owned()));
}
