//! `/v1/health`: checks, and instances with their checks. Source: Consul HTTP API, "Health".

use std::sync::Arc;

use crate::model::{Answer, Check, Query};

use super::call::{Call, Outcome, wrong_answer};
use super::catalog::{read, selected_nodes};
use super::near;
use super::params::Selection;
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
    let (read, plan) = read(&call, query).await?;
    let Answer::Checks(found) = &*read.answer else { wrong_answer() };
    let mut chosen: Vec<&Arc<Check>> = found.iter().collect();
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
    let (read, plan) = read(&call, Query::HealthService(name)).await?;
    let Answer::Instances(instances) = &*read.answer else { wrong_answer() };
    let mut chosen: Vec<_> = instances.iter().filter(|one| selection.instance(one)).collect();
    near::sort(&call, &mut chosen, |one| &one.node.name).await?;
    let shown: Vec<_> = chosen.into_iter().map(InstanceJson::of).collect();
    Ok(call.read_json(&shown, &read).consistency(&plan))
}
