//! `/v1/operator`: the servers as Raft's membership has them. Source: Consul HTTP API, "Operator".

use serde::Serialize;
use serde_json::json;

use crate::model::{Consistency, Server, ServerHealth};

use super::call::{Call, Discovery, Outcome, Output};
use super::error::Failure;
use super::number::quoted;

/// Raft's protocol number, which old clients print.
const RAFT_PROTOCOL: &str = "3";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServerJson<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    node: &'a str,
    address: &'a str,
    leader: bool,
    protocol_version: &'static str,
    voter: bool,
}

impl<'a> ServerJson<'a> {
    fn of(server: &'a Server) -> Self {
        Self {
            id: &server.id,
            node: &server.name,
            address: &server.address,
            leader: server.leader,
            protocol_version: RAFT_PROTOCOL,
            voter: server.voter,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigurationJson<'a> {
    servers: Vec<ServerJson<'a>>,
    /// Consul 1.8.7 says 0 here.
    index: u64,
}

/// `GET /v1/operator/raft/configuration`: as the leader has it, or with `stale` this server, which
/// may have been removed without hearing of it.
pub(super) async fn configuration(call: Call) -> Outcome {
    let plan = call.read_plan(Discovery::No)?;
    call.check_datacenter()?;
    let servers = match plan.options.consistency {
        Consistency::Linearizable => {
            call.client().health().await?.into_iter().map(server).collect()
        }
        Consistency::Stale | Consistency::StaleWithin(_) => call.client().status().await?.servers,
    };
    let servers = servers.iter().map(ServerJson::of).collect();
    let shown = ConfigurationJson { servers, index: 0 };
    Ok(call.json(&shown))
}

fn server(health: ServerHealth) -> Server {
    let ServerHealth { id, name, address, leader, voter, .. } = health;
    Server { id, name, address, leader, voter }
}

/// `DELETE /v1/operator/raft/peer?id=…` or `?address=…`.
pub(super) async fn remove_peer(call: Call) -> Outcome {
    let bad = |text| Failure::bad(format!("Bad request: {text}"));
    let (id, address) = (call.params.get("id"), call.params.get("address"));
    let unknown = |kind: &str, value: &str| {
        Failure::internal(format!(
            "{kind} {} was not found in the Raft configuration",
            quoted(value)
        ))
    };
    match (id, address) {
        (None, None) => Err(bad("Must specify either ?id with the server's ID or ?address with \
             IP:port of peer to remove")),
        (Some(_), Some(_)) => Err(bad("Must specify only one of ?id or ?address")),
        (Some(id), None) => {
            call.check_datacenter()?;
            if call.client().remove_server(id).await? {
                return Ok(Output::empty());
            }
            Err(unknown("id", id))
        }
        (None, Some(address)) => {
            call.check_datacenter()?;
            let servers = call.client().health().await?;
            // A server that came back with another id is at the same place as who it was.
            let there = servers.iter().filter(|server| server.address == address);
            let found = there.min_by_key(|server| server.healthy);
            let id = found.map(|server| server.id.as_str());
            match id {
                Some(id) if call.client().remove_server(id).await? => Ok(Output::empty()),
                Some(_) | None => Err(unknown("address", address)),
            }
        }
    }
}

/// `PUT` or `POST /v1/operator/raft/transfer-leader`, optionally `?id=…`.
pub(super) async fn transfer_leader(call: Call) -> Outcome {
    call.check_datacenter()?;
    let to = call.params.get("id").filter(|id| !id.is_empty());
    if let Some(id) = to
        && !call.client().status().await?.servers.iter().any(|server| server.id == id)
    {
        return Err(Failure::internal(format!(
            "id {} was not found in the Raft configuration",
            quoted(id)
        )));
    }
    call.client().transfer_leader(to).await?;
    Ok(call.json(&json!({"Success": true})))
}
