//! `GET /v1/agent/self` and `/v1/agent/version`: what this agent is, is set to, and has counted.
//! Source: Consul HTTP API, "Read Configuration".

use std::sync::Arc;

use serde_json::{Value, json};

use crate::client::ClusterStatus;
use crate::model::{CheckKind, Member, MemberStatus, host_port};

use super::call::{Call, Outcome, Output};
use super::wire::{MemberJson, PlaceJson};

/// `GET /v1/agent/version`.
pub(super) fn version(call: &Call) -> Output {
    let version = call.options.version;
    call.json(&json!({
        "SHA": "",
        "BuildDate": "",
        "HumanVersion": version,
        "FIPS": "",
    }))
}

/// `GET /v1/agent/self`.
pub(super) async fn own(call: Call) -> Outcome {
    let status = match call.options.server_port {
        0 => None, // it says what it knows itself, and asks no server
        _ => Some(call.client().status().await?),
    };
    let options = &call.options;
    let members = call.rooms.gossip.members();
    let own = members.iter().find(|member| member.id == options.node_id);
    let member = own.map(|member| MemberJson::of(member, options.version));
    let shown = json!({
        "Config": {
            "Datacenter": options.datacenter,
            "NodeName": options.node_name,
            "NodeID": options.node_id,
            "Revision": "",
            "Server": options.server_port > 0,
            "Version": options.version,
        },
        "DebugConfig": debug_config(&call),
        "Coord": PlaceJson::of(&call.rooms.gossip.coordinate()),
        "Member": member,
        "Stats": stats(&call, status.as_ref(), &members),
        "Meta": call.rooms.agent.node().meta,
    });
    Ok(call.json(&shown))
}

/// The settings as they are in force, by Consul's names, with those that only the door knows.
fn debug_config(call: &Call) -> Value {
    let options = &call.options;
    let mut settings = match &options.settings {
        Value::Object(map) => map.clone(),
        _ => serde_json::Map::new(),
    };
    let host = &options.advertise;
    let address = |port: u16| format!("tcp://{}", host_port(host, port));
    let told = settings.get("ServerPort").and_then(Value::as_u64);
    let server_port = told.and_then(|port| u16::try_from(port).ok()).unwrap_or_default();
    for (name, value) in [
        ("AdvertiseAddrLAN", json!(host)),
        ("AdvertiseAddrWAN", json!(host)),
        ("SerfAdvertiseAddrLAN", json!(address(options.serf_port))),
        ("SerfAdvertiseAddrWAN", json!(address(options.serf_wan_port.unwrap_or_default()))),
        ("RPCAdvertiseAddr", json!(address(server_port))),
        ("NodeID", json!(options.node_id)),
        ("Revision", json!("")),
        ("Version", json!(options.version)),
        ("VersionPrerelease", json!("")),
    ] {
        settings.entry(name).or_insert(value);
    }
    Value::Object(settings)
}

/// What is counted, all as text as Consul has it.
fn stats(call: &Call, status: Option<&ClusterStatus>, members: &[Arc<Member>]) -> Value {
    let of = |status| members.iter().filter(|member| member.status == status).count().to_string();
    let pool = json!({
        "encrypted": call.rooms.gossip.is_encrypted().to_string(),
        "failed": of(MemberStatus::Failed),
        "health_score": call.rooms.gossip.health_score().to_string(),
        "left": of(MemberStatus::Left),
        "members": members.len().to_string(),
    });
    let mut stats = json!({
        "agent": own_checks(call),
        "build": {"prerelease": "", "revision": "", "version": call.options.version},
        "consul": status.map_or_else(|| agents_cluster(members), servers_cluster),
        "runtime": runtime(),
        "serf_lan": pool,
    });
    if let Some(status) = status {
        stats["raft"] = raft(status);
    }
    stats
}

/// What a server says of its cluster.
fn servers_cluster(status: &ClusterStatus) -> Value {
    json!({
        "acl": "disabled",
        "bootstrap": (status.servers.len() == 1).to_string(),
        "known_datacenters": "1",
        "known_servers": status.servers.len().to_string(),
        "leader": status.is_leader.to_string(),
        "leader_addr": status.leader.clone().unwrap_or_default(),
        "server": "true",
    })
}

/// What an agent without a server says of it.
fn agents_cluster(members: &[Arc<Member>]) -> Value {
    let there =
        |member: &&Arc<Member>| member.server_port > 0 && member.status == MemberStatus::Alive;
    let servers = members.iter().filter(there).count();
    json!({"acl": "disabled", "known_servers": servers.to_string(), "server": "false"})
}

fn own_checks(call: &Call) -> Value {
    let checks = call.rooms.agent.checks();
    let of = |ttl: bool| {
        let found = checks.values().filter(|check| (check.kind == CheckKind::Ttl) == ttl);
        found.count().to_string()
    };
    json!({
        "check_monitors": of(false),
        "check_ttls": of(true),
        "checks": checks.len().to_string(),
        "services": call.rooms.agent.services().len().to_string(),
    })
}

fn runtime() -> Value {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).to_string();
    let tasks = tokio::runtime::Handle::try_current();
    let tasks = tasks.map_or(0, |runtime| runtime.metrics().num_alive_tasks());
    json!({
        "arch": std::env::consts::ARCH,
        "cpu_count": threads,
        "goroutines": tasks.to_string(),
        "max_procs": threads,
        "os": std::env::consts::OS,
        "version": "",
    })
}

/// What Raft counts.
fn raft(status: &ClusterStatus) -> Value {
    let state = match (&status.leader, status.is_leader) {
        (_, true) => "Leader",
        (Some(_), false) => "Follower",
        (None, false) => "Candidate",
    };
    let peers = status.servers.iter().filter(|server| server.voter && server.id != status.id);
    let contact = match &status.leader {
        _ if status.is_leader => "0".to_owned(),
        None => "never".to_owned(),
        Some(_) => format!("{}ms", status.last_contact.as_millis()),
    };
    let servers: Vec<_> = status.servers.iter().map(raft_server).collect();
    json!({
        "applied_index": status.applied.to_string(),
        "commit_index": status.committed.to_string(),
        "fsm_pending": status.committed.saturating_sub(status.applied).to_string(),
        "last_contact": contact,
        "last_log_index": status.last_log.to_string(),
        "last_log_term": status.term.to_string(),
        "last_snapshot_index": status.snapshot.to_string(),
        "last_snapshot_term": "0",
        "latest_configuration": format!("[{}]", servers.join(" ")),
        "latest_configuration_index": "0",
        "num_peers": peers.count().to_string(),
        "protocol_version": "3",
        "protocol_version_max": "3",
        "protocol_version_min": "0",
        "snapshot_version_max": "1",
        "snapshot_version_min": "0",
        "state": state,
        "term": status.term.to_string(),
    })
}

fn raft_server(server: &crate::model::Server) -> String {
    let suffrage = if server.voter { "Voter" } else { "Nonvoter" };
    format!("{{Suffrage:{suffrage} ID:{} Address:{}}}", server.id, server.address)
}
