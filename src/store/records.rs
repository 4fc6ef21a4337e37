//! Operations of a transaction on nodes, instances and checks.
//!
//! Source: Consul HTTP API, "Transactions", and observed on Consul 1.8.7. One thing is better on
//! purpose: a check set-if-absent on a node that is not there is refused, and not passed over.

use std::sync::Arc;

use super::catalog;
use super::checks;
use super::step::Step;
use super::tables::{Tables, fold};
use crate::model::{Check, Index, Node, RecordKey, RecordVerb, Refusal, Service, TxnOp, TxnResult};

type Brought = Result<Vec<TxnResult>, Refusal>;

/// Runs an operation; one that is refused changes nothing.
pub(crate) fn run(step: &mut Step<'_>, op: TxnOp) -> Brought {
    match op {
        TxnOp::Node { verb, node } => on_node(step, verb, *node),
        TxnOp::Service { verb, service } => on_service(step, verb, *service),
        TxnOp::Check { verb, check } => on_check(step, verb, *check),
        op @ (TxnOp::Kv(_) | TxnOp::Nonsense(_)) => get(step.tables, &op),
    }
}

/// What an operation reads, whatever its verb; a key or nonsense is no record and brings nothing.
pub(crate) fn get(tables: &Tables, op: &TxnOp) -> Brought {
    let found = match op {
        TxnOp::Node { node, .. } => find_node(tables, node).map(TxnResult::Node),
        TxnOp::Service { service, .. } => find_service(tables, service).map(TxnResult::Service),
        TxnOp::Check { check, .. } => find_check(tables, check).map(TxnResult::Check),
        TxnOp::Kv(_) | TxnOp::Nonsense(_) => return Ok(Vec::new()),
    };
    match (found, key_of(op)) {
        (Some(found), _) => Ok(vec![found]),
        (None, Some(key)) => Err(Refusal::RecordMissing(key)),
        (None, None) => Ok(Vec::new()),
    }
}

fn key_of(op: &TxnOp) -> Option<RecordKey> {
    match op {
        TxnOp::Node { node, .. } => Some(node_key(node)),
        TxnOp::Service { service, .. } => Some(service_key(service)),
        TxnOp::Check { check, .. } => Some(check_key(check)),
        TxnOp::Kv(_) | TxnOp::Nonsense(_) => None,
    }
}

fn node_key(node: &Node) -> RecordKey {
    RecordKey::Node(node.name.clone())
}

fn service_key(service: &Service) -> RecordKey {
    RecordKey::Service { node: service.node.clone(), id: service.id.clone() }
}

fn check_key(check: &Check) -> RecordKey {
    RecordKey::Check { node: check.node.clone(), id: check.id.clone() }
}

/// By its id where one is given, else by its name.
fn find_node(tables: &Tables, node: &Node) -> Option<Arc<Node>> {
    let name = if node.id.is_empty() {
        fold(&node.name)
    } else {
        tables.catalog.node_of_id(&node.id)?.to_owned()
    };
    tables.catalog.node(&name).map(|record| Arc::clone(&record.node))
}

fn find_service(tables: &Tables, service: &Service) -> Option<Arc<Service>> {
    tables.catalog.instance(&fold(&service.node), &service.id).map(Arc::clone)
}

fn find_check(tables: &Tables, check: &Check) -> Option<Arc<Check>> {
    tables.catalog.check(&fold(&check.node), &check.id).map(Arc::clone)
}

/// Whether a guard lets a change through; `current` is the record's index, 0 where there is none.
fn guard(verb: RecordVerb, current: Index, key: RecordKey) -> Result<(), Refusal> {
    match verb {
        RecordVerb::Cas(wanted) if wanted != current => Err(Refusal::RecordSetStale(key)),
        RecordVerb::DeleteCas(wanted) if wanted != current || current == Index(0) => {
            Err(Refusal::RecordDeleteStale(key))
        }
        RecordVerb::Set
        | RecordVerb::Cas(_)
        | RecordVerb::Get
        | RecordVerb::Delete
        | RecordVerb::DeleteCas(_) => Ok(()),
    }
}

fn on_node(step: &mut Step<'_>, verb: RecordVerb, node: Node) -> Brought {
    let name = fold(&node.name);
    let current = step.tables.catalog.node(&name).map_or(Index(0), |it| it.node.modify);
    guard(verb, current, node_key(&node))?;
    match verb {
        RecordVerb::Get => {}
        RecordVerb::Set | RecordVerb::Cas(_) => {
            if let Some(refusal) = catalog::reserved(step.tables, &node) {
                return Err(refusal);
            }
            catalog::put_node(step, node.clone());
        }
        RecordVerb::Delete | RecordVerb::DeleteCas(_) => {
            catalog::remove_node(step, &name);
            return Ok(Vec::new());
        }
    }
    get(step.tables, &TxnOp::Node { verb, node: Box::new(node) })
}

fn on_service(step: &mut Step<'_>, verb: RecordVerb, service: Service) -> Brought {
    let current = find_service(step.tables, &service).map_or(Index(0), |it| it.modify);
    guard(verb, current, service_key(&service))?;
    match verb {
        RecordVerb::Get => {}
        RecordVerb::Set | RecordVerb::Cas(_) => {
            let node = registered(step.tables, &service.node)?;
            catalog::put_service(step, &node, service.clone());
        }
        RecordVerb::Delete | RecordVerb::DeleteCas(_) => {
            catalog::remove_service(step, &fold(&service.node), &service.id);
            return Ok(Vec::new());
        }
    }
    get(step.tables, &TxnOp::Service { verb, service: Box::new(service) })
}

fn on_check(step: &mut Step<'_>, verb: RecordVerb, check: Check) -> Brought {
    let current = find_check(step.tables, &check).map_or(Index(0), |it| it.modify);
    guard(verb, current, check_key(&check))?;
    match verb {
        RecordVerb::Get => {}
        RecordVerb::Set | RecordVerb::Cas(_) => {
            let node = registered(step.tables, &check.node)?;
            let on = fold(&node.name);
            let of = &check.service_id;
            if !of.is_empty() && step.tables.catalog.instance(&on, of).is_none() {
                let (service, node) = (of.clone(), check.node.clone());
                return Err(Refusal::ServiceUnregistered { service, node });
            }
            catalog::put_check(step, &node, check.clone());
        }
        RecordVerb::Delete | RecordVerb::DeleteCas(_) => {
            checks::remove(step, &fold(&check.node), &check.id);
            return Ok(Vec::new());
        }
    }
    get(step.tables, &TxnOp::Check { verb, check: Box::new(check) })
}

fn registered(tables: &Tables, node: &str) -> Result<Arc<Node>, Refusal> {
    let record = tables.catalog.node(&fold(node));
    let found = record.map(|record| Arc::clone(&record.node));
    found.ok_or_else(|| Refusal::NodeUnregistered(node.to_owned()))
}
