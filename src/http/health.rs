//! `/v1/health`: checks, and instances with their checks. Source: Consul HTTP API, "Health".

use std::sync::Arc;

use crate::model::{Answer, Check, Instance, Query, Read};

use super::call::{Call, Outcome, wrong_answer};
use super::catalog::{read, read_or_kept, selected_nodes};
use super::filter::{self, Filter};
use super::near;
use super::params::{ReadPlan, Selection};
use super::wire::{CheckJson, InstanceJson};

/// `GET /v1/health/node/<node>`.
pub(super) async fn node(call: Call) -> Outcome {
    let name = call.required("Missing node name")?.to_owned();
    checks(call, Query::NodeChecks(name)).await
}

/// `GET /v1/health/checks/<service>`.
pub(super) async fn service_checks(call: Call) -> Outcome {
    let name = call.required("Missing service name")?.to_owned();
    checks(call, Query::ServiceChecks(name)).await
}

/// `GET /v1/health/state/<state>`.
pub(super) async fn state(call: Call) -> Outcome {
    let state = call.required("Missing check state")?.to_owned();
    checks(call, Query::ChecksInState(state)).await
}

async fn checks(call: Call, query: Query) -> Outcome {
    let selection = Selection::of(&call.params)?;
    let (read, plan, filter) = read(&call, query, filter::check).await?;
    let Answer::Checks(found) = &*read.answer else { wrong_answer() };
    let mut chosen: Vec<&Arc<Check>> = found.iter().filter(|check| filter.keeps(check)).collect();
    if selection.by_node() {
        let nodes = selected_nodes(&call, &selection).await?;
        chosen.retain(|check| nodes.contains(&check.node.to_lowercase()));
    }
    near::sort(&call, &mut chosen, |check| &check.node).await?;
    let shown: Vec<_> = chosen.into_iter().map(|check| CheckJson::of(check)).collect();
    Ok(call.read_json(&shown, &read).consistency(&plan))
}

/// `GET /v1/health/service/<service>`: instances with their node's and their own checks.
pub(super) async fn service(call: Call) -> Outcome {
    let selection = Selection::of(&call.params)?;
    let name = call.required("Missing service name")?.to_owned();
    let found = read_or_kept(&call, Query::HealthService(name), filter::instance).await?;
    instances(&call, &selection, found).await
}

/// `GET /v1/health/connect/<service>`: the proxies of a service, and its own instances that need
/// none, as data.
pub(super) async fn connect(call: Call) -> Outcome {
    let selection = Selection::of(&call.params)?;
    let name = call.required("Missing service name")?.to_owned();
    let found = read(&call, Query::ConnectService(name), filter::instance).await?;
    instances(&call, &selection, found).await
}

async fn instances(
    call: &Call,
    selection: &Selection,
    (read, plan, filter): (Read, ReadPlan, Filter<Instance>),
) -> Outcome {
    let Answer::Instances(instances) = &*read.answer else { wrong_answer() };
    let chosen = instances.iter().filter(|one| selection.instance(one) && filter.keeps(one));
    let mut chosen: Vec<_> = chosen.collect();
    near::sort(call, &mut chosen, |one| &one.node.name).await?;
    let shown: Vec<_> = chosen.into_iter().map(InstanceJson::of).collect();
    Ok(call.read_json(&shown, &read).consistency(&plan).backend())
}
