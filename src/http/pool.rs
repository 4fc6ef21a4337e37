//! `/v1/agent`: the pool of members, this agent's place in it, and its own start and end.
//! Source: Consul HTTP API, "Agent".

use std::sync::Arc;

use axum::http::StatusCode;
use tokio::sync::oneshot;

use crate::model::Member;

use super::call::{Call, Outcome, Output};
use super::error::Failure;
use super::number::quoted;
use super::wire::MemberJson;

/// `GET /v1/agent/members`; `wan` with any value shows the servers as the pool of all data
/// centers would. An agent without a server is in no such pool, nor in any segment.
pub(super) fn members(call: &Call) -> Outcome {
    let is_server = call.options.server_port > 0;
    let segment = call.params.get("segment").unwrap_or_default();
    if !segment.is_empty() && segment != "_all" {
        let unknown = || format!("segment {} not found", quoted(segment));
        let text = "Network segments are not supported in this version of Consul";
        return Err(Failure::internal(if is_server { text.to_owned() } else { unknown() }));
    }
    if call.params.has("wan") && !is_server {
        return Ok(call.json(&serde_json::Value::Null));
    }
    let version = call.options.version;
    let wan_port = call.options.serf_wan_port;
    let members = call.rooms.gossip.members();
    let shown: Vec<_> = if call.params.has("wan") {
        let servers = members.iter().filter(|member| member.server_port > 0);
        servers.map(|member| MemberJson::wide(member, version, wan_port)).collect()
    } else {
        members.iter().map(|member| MemberJson::of(member, version)).collect()
    };
    Ok(call.json(&shown))
}

/// `PUT /v1/agent/join/<address>`. There is no pool of all data centers yet: `wan` is refused.
pub(super) async fn join(call: Call) -> Outcome {
    let address = call.rest.clone();
    if call.params.has("wan") {
        let text = "pools of several data centers are not supported yet";
        return Err(Failure::new(StatusCode::NOT_IMPLEMENTED, text));
    }
    let failed = |why: String| Failure::internal(format!("1 error occurred:\n\t* {why}\n\n"));
    if address.is_empty() {
        return Err(failed("Failed to resolve : lookup : no such host".to_owned()));
    }
    match call.rooms.gossip.join(std::slice::from_ref(&address)).await {
        Ok(_) => Ok(Output::empty()),
        Err(why) => Err(failed(format!("Failed to join {}: {why}", host_of(&address)))),
    }
}

/// An address without its port.
fn host_of(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, _)) if !host.contains(':') || host.ends_with(']') => {
            host.trim_matches(['[', ']'])
        }
        _ => address,
    }
}

/// `PUT /v1/agent/leave`: answers once the others know that this member left; the node goes on
/// serving for a while and then stops.
pub(super) async fn leave(call: Call) -> Outcome {
    let (answer, told) = oneshot::channel();
    let stopping = || Failure::internal("this agent is stopping");
    call.rooms.leave.send(answer).await.map_err(|_gone| stopping())?;
    told.await.map_err(|_gone| stopping())?;
    Ok(Output::empty())
}

/// `PUT /v1/agent/force-leave/<node>`. `prune` forgets the member at once, instead of showing it
/// as one that left.
pub(super) fn force_leave(call: &Call) -> Outcome {
    let known = |member: &Arc<Member>| member.name == call.rest;
    if !call.rooms.gossip.members().iter().any(known) {
        let text = format!("agent: No node found with name '{}'", call.rest);
        return Err(Failure::internal(text));
    }
    call.rooms.gossip.force_leave(&call.rest, call.params.has("prune"));
    Ok(Output::empty())
}

/// `PUT /v1/agent/reload`: answers once the configuration is taken over, or says why it is not.
pub(super) async fn reload(call: Call) -> Outcome {
    let (answer, told) = oneshot::channel();
    let stopping = || Failure::internal("this agent is stopping");
    call.rooms.reload.send(answer).await.map_err(|_gone| stopping())?;
    match told.await {
        Ok(Ok(())) => Ok(Output::empty()),
        Ok(Err(why)) => Err(Failure::internal(why)),
        Err(_gone) => Err(stopping()),
    }
}

/// `/v1/acl/…` and `/v1/agent/token/…`: what Consul says to everything there while access control
/// is off.
pub(super) fn acl_disabled(_: &Call) -> Outcome {
    Err(Failure::new(StatusCode::UNAUTHORIZED, "ACL support disabled"))
}
