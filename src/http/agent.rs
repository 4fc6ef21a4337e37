//! `/v1/agent`: what this host claims, and who is in the pool. Source: Consul HTTP API, "Agent".

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

use crate::agent::{AgentError, ReplaceChecks};
use crate::limits::CHECK_OUTPUT_BYTES_MAX;
use crate::model::{CheckStatus, MemberStatus, Service};
use crate::time;

use super::call::{Call, Discovery, Kind, Outcome, Output};
use super::definition::{self, DefinitionError};
use super::error::Failure;
use super::json::{self as wire_json, Fields};
use super::number::{self, quoted};
use super::wire::{AgentServiceJson, CheckJson, MemberJson};

/// How often a reader that waits for a service's new hash looks: the agent's registry is in
/// memory, and only this host's own tools wait so.
const HASH_LOOK_EVERY: Duration = Duration::from_millis(500);
/// The body of a check's update: its output is cut to its own bound behind this.
const UPDATE_BYTES_MAX: usize = 1024 * 1024;

/// `GET /v1/agent/members`.
pub(super) fn members(call: &Call) -> Output {
    let wide = call.params.get("wan").is_some_and(|value| value != "0" && value != "false");
    let version = call.options.version;
    let members = call.rooms.gossip.members();
    let shown: Vec<_> = if wide {
        let servers = members.iter().filter(|member| member.server_port > 0);
        servers.map(|member| MemberJson::wide(member, version)).collect()
    } else {
        members.iter().map(|member| MemberJson::of(member, version)).collect()
    };
    call.json(&shown)
}

/// `GET /v1/agent/services`.
pub(super) fn services(call: &Call) -> Outcome {
    call.no_filter()?;
    let services = call.rooms.agent.services();
    let shown: BTreeMap<_, _> =
        services.iter().map(|(id, service)| (id, AgentServiceJson::of(service, ""))).collect();
    Ok(call.json(&shown))
}

/// `GET /v1/agent/service/<id>`: with `hash` it waits until the service has another one.
pub(super) async fn service(call: Call) -> Outcome {
    let plan = call.read_plan(Discovery::No)?;
    let known = call.params.get("hash").unwrap_or_default();
    let wait = match call.params.get("wait").filter(|_| !known.is_empty()) {
        Some(text) => millis_param(text)?,
        None => plan.options.wait.unwrap_or(call.options.wait_default),
    };
    let until = time::now() + wait.min(call.options.wait_max);
    loop {
        let Some(service) = call.rooms.agent.services().remove(&call.rest) else {
            let text = format!("unknown service ID: {}", call.rest);
            return Err(Failure::new(StatusCode::NOT_FOUND, text));
        };
        let hash = content_hash(&service);
        if known.is_empty() || hash != known || time::now() >= until {
            let shown = AgentServiceJson::of(&service, &hash);
            return Ok(call.json(&shown).header("x-consul-contenthash", &hash));
        }
        tokio::time::sleep(HASH_LOOK_EVERY.min(until - time::now())).await;
    }
}

fn millis_param(text: &str) -> Result<Duration, Failure> {
    let nanos =
        number::duration_nanos(text).ok().ok_or_else(|| Failure::bad("Invalid wait time"))?;
    Ok(Duration::from_millis(number::millis(nanos)))
}

/// A hash of what the service's owner said of it.
fn content_hash(service: &Service) -> String {
    let bytes = wire_json::bytes(&AgentServiceJson::of(service, ""), false);
    let digest = Sha256::digest(&bytes);
    let (first, _) = digest.split_first_chunk::<8>().expect("a digest has 32 bytes");
    format!("{:016x}", u64::from_be_bytes(*first))
}

/// `GET /v1/agent/checks`.
pub(super) fn checks(call: &Call) -> Outcome {
    call.no_filter()?;
    let checks = call.rooms.agent.checks();
    let shown: BTreeMap<_, _> =
        checks.iter().map(|(id, check)| (id, CheckJson::local(check))).collect();
    Ok(call.json(&shown))
}

/// `PUT /v1/agent/service/register`.
pub(super) async fn register_service(mut call: Call) -> Outcome {
    let value = call.json_body().await?;
    let (service, checks) = definition::service(&value).map_err(defined)?;
    let replace = match call.params.get("replace-existing-checks") {
        None => ReplaceChecks::No,
        Some("") => ReplaceChecks::Yes,
        Some(text) => match number::truth(text) {
            Some(true) => ReplaceChecks::Yes,
            Some(false) => ReplaceChecks::No,
            None => {
                let text = format!("Invalid value for replace-existing-checks: {}", quoted(text));
                return Err(Failure::bad(text));
            }
        },
    };
    call.rooms.agent.register_service(service, checks, replace).await?;
    Ok(Output::empty())
}

fn defined(error: DefinitionError) -> Failure {
    match error {
        DefinitionError::Decode(text) => Failure::decode(&text),
        DefinitionError::Invalid(text) => Failure::bad(text),
        DefinitionError::Scripts => Failure::internal(
            "Scripts are disabled on this agent from remote calls; to enable, configure \
             'enable_script_checks' to true",
        ),
    }
}

/// `PUT /v1/agent/service/deregister/<id>`.
pub(super) async fn deregister_service(call: Call) -> Outcome {
    if call.rest.is_empty() {
        return Err(Failure::internal("ServiceID missing"));
    }
    call.rooms.agent.deregister_service(&call.rest).await?;
    Ok(Output::empty())
}

/// `PUT /v1/agent/service/maintenance/<id>`.
pub(super) async fn service_maintenance(call: Call) -> Outcome {
    let id = call.required("Missing service ID")?;
    let reason = maintenance_reason(&call, "service")?;
    match call.rooms.agent.maintenance(Some(id), reason).await {
        Ok(()) => Ok(Output::empty()),
        Err(AgentError::UnknownService(_)) => {
            let text = format!("No service registered with ID {}", quoted(id));
            Err(Failure::new(StatusCode::NOT_FOUND, text))
        }
        Err(error) => Err(error.into()),
    }
}

/// `PUT /v1/agent/maintenance`.
pub(super) async fn maintenance(call: Call) -> Outcome {
    let reason = maintenance_reason(&call, "node")?;
    call.rooms.agent.maintenance(None, reason).await?;
    Ok(Output::empty())
}

/// Why maintenance begins, or `None` where it ends.
fn maintenance_reason(call: &Call, whose: &str) -> Result<Option<String>, Failure> {
    let text = call.params.get("enable").unwrap_or_default();
    if text.is_empty() {
        return Err(Failure::bad("Missing value for enable"));
    }
    let enable = number::truth(text)
        .ok_or_else(|| Failure::bad(format!("Invalid value for enable: {}", quoted(text))))?;
    if !enable {
        return Ok(None);
    }
    let given = call.params.get("reason").filter(|reason| !reason.is_empty());
    Ok(Some(given.map_or_else(
        || {
            format!(
                "Maintenance mode is enabled for this {whose}, but no reason was provided. \
                 This is a default message."
            )
        },
        str::to_owned,
    )))
}

/// `PUT /v1/agent/check/register`.
pub(super) async fn register_check(mut call: Call) -> Outcome {
    let value = call.json_body().await?;
    let spec = match definition::check(&value) {
        Err(DefinitionError::Invalid(_) | DefinitionError::Scripts) if nameless(&value) => {
            return Err(Failure::bad("Missing check name"));
        }
        other => other.map_err(defined)?,
    };
    if spec.check.name.is_empty() {
        return Err(Failure::bad("Missing check name"));
    }
    let service = spec.check.service_id.clone();
    match call.rooms.agent.register_check(spec).await {
        Ok(()) => Ok(Output::empty()),
        Err(AgentError::UnknownService(_)) => {
            Err(Failure::internal(definition::no_such_service(&service)))
        }
        Err(error) => Err(error.into()),
    }
}

fn nameless(value: &Value) -> bool {
    Fields::of(value, "structs.CheckDefinition")
        .and_then(|mut fields| fields.text("Name"))
        .is_ok_and(|name| name.is_empty())
}

/// `PUT /v1/agent/check/deregister/<id>`.
pub(super) async fn deregister_check(call: Call) -> Outcome {
    if call.rest.is_empty() {
        return Err(Failure::internal("CheckID missing"));
    }
    call.rooms.agent.deregister_check(&call.rest).await?;
    Ok(Output::empty())
}

/// `PUT /v1/agent/check/pass/<id>`.
pub(super) async fn pass(call: Call) -> Outcome {
    note(call, CheckStatus::Passing).await
}

/// `PUT /v1/agent/check/warn/<id>`.
pub(super) async fn warn(call: Call) -> Outcome {
    note(call, CheckStatus::Warning).await
}

/// `PUT /v1/agent/check/fail/<id>`.
pub(super) async fn fail(call: Call) -> Outcome {
    note(call, CheckStatus::Critical).await
}

async fn note(call: Call, status: CheckStatus) -> Outcome {
    let note = call.params.get("note").unwrap_or_default().to_owned();
    told(&call, status, note).await
}

async fn told(call: &Call, status: CheckStatus, output: String) -> Outcome {
    match call.rooms.agent.update_ttl(&call.rest, status, output).await {
        Ok(()) => Ok(Output::empty()),
        Err(AgentError::UnknownCheck(id)) => Err(AgentError::NoTtl(id).into()),
        Err(error) => Err(error.into()),
    }
}

/// `PUT /v1/agent/check/update/<id>`.
pub(super) async fn update(mut call: Call) -> Outcome {
    let body = call.body(UPDATE_BYTES_MAX, "limits").await?;
    let value = wire_json::parse(&body).map_err(|text| Failure::decode(&text))?;
    let decode = |text: String| Failure::decode(&text);
    let mut fields = Fields::of(&value, "agent.checkUpdate").map_err(decode)?;
    let word = fields.text("Status").map_err(decode)?;
    let mut output = fields.text("Output").map_err(decode)?;
    if !matches!(word.as_str(), "passing" | "warning" | "critical") {
        return Err(Failure::bad(format!("Invalid check status: '{word}'")));
    }
    cut(&mut output);
    told(&call, CheckStatus::from_word(&word), output).await
}

/// Cuts an output to its bound, and says so as Consul does.
fn cut(output: &mut String) {
    if output.len() <= CHECK_OUTPUT_BYTES_MAX {
        return;
    }
    let total = output.len();
    let said = format!("\n...\nCaptured {CHECK_OUTPUT_BYTES_MAX} of {total} bytes");
    let end =
        (0..=CHECK_OUTPUT_BYTES_MAX - said.len()).rev().find(|at| output.is_char_boundary(*at));
    output.truncate(end.unwrap_or(0));
    output.push_str(&said);
}

/// `PUT /v1/agent/join/<address>`.
pub(super) async fn join(call: Call) -> Outcome {
    let address = call.rest.clone();
    let joined = call.rooms.gossip.join(std::slice::from_ref(&address)).await;
    match joined {
        Ok(_) => Ok(Output::empty()),
        Err(why) => Err(Failure::internal(format!(
            "1 error occurred:\n\t* Failed to join {address}: {why}\n\n"
        ))),
    }
}

/// `PUT /v1/agent/leave`: gives the word; the node leaves and stops after the answer is out.
pub(super) fn leave(call: &Call) -> Output {
    call.rooms.leave.send_replace(true);
    Output::empty()
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

/// `/v1/acl/…`: what Consul says to everything there while access control is off.
pub(super) fn acl_disabled(_: &Call) -> Outcome {
    Err(Failure::new(StatusCode::UNAUTHORIZED, "ACL support disabled"))
}

/// `PUT /v1/agent/force-leave/<node>`.
pub(super) fn force_leave(call: &Call) -> Outcome {
    if call.rooms.gossip.force_leave(&call.rest) {
        return Ok(Output::empty());
    }
    Err(Failure::internal(format!("agent: No node found with name '{}'", call.rest)))
}

/// `GET /v1/agent/self`.
pub(super) fn own(call: &Call) -> Output {
    let options = &call.options;
    let members = call.rooms.gossip.members();
    let own = members.iter().find(|member| member.id == options.node_id);
    let member = own.map(|member| MemberJson::of(member, options.version));
    let alive = |status| members.iter().filter(|member| member.status == status).count();
    let shown = json!({
        "Config": {
            "Datacenter": options.datacenter,
            "NodeName": options.node_name,
            "NodeID": options.node_id,
            "Revision": "",
            "Server": options.server_port > 0,
            "Version": options.version,
        },
        "DebugConfig": debug_config(call),
        "Member": member,
        "Stats": stats(call, members.len(), alive(MemberStatus::Failed), alive(MemberStatus::Left)),
        "Meta": call.rooms.agent.node().meta,
    });
    call.json(&shown)
}

/// The settings as they are in force, with the fields that clients look for.
fn debug_config(call: &Call) -> Value {
    let options = &call.options;
    let mut settings = match &options.settings {
        Value::Object(map) => map.clone(),
        _ => serde_json::Map::new(),
    };
    let host = &options.advertise;
    let address = |port: u16| format!("tcp://{}", host_port(host, port));
    for (name, value) in [
        ("Datacenter", json!(options.datacenter)),
        ("NodeName", json!(options.node_name)),
        ("NodeID", json!(options.node_id)),
        ("AdvertiseAddrLAN", json!(host)),
        ("SerfAdvertiseAddrLAN", json!(address(options.serf_port))),
        ("SerfPortLAN", json!(options.serf_port)),
        ("RPCAdvertiseAddr", json!(address(options.server_port))),
        ("ServerPort", json!(options.server_port)),
        ("ServerMode", json!(options.server_port > 0)),
        ("KVMaxValueSize", json!(options.value_bytes_max)),
        ("TxnMaxReqLen", json!(options.txn_bytes_max)),
        ("HTTPMaxConnsPerClient", json!(options.connections_a_client)),
        ("Version", json!(options.version)),
    ] {
        settings.entry(name).or_insert(value);
    }
    Value::Object(settings)
}

/// `host:port`, with brackets around an IPv6 address.
fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What is counted, all as text as Consul has it.
fn stats(call: &Call, members: usize, failed: usize, left: usize) -> Value {
    let status = call.client().status();
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
    let checks = call.rooms.agent.checks();
    json!({
        "agent": {
            "checks": checks.len().to_string(),
            "services": call.rooms.agent.services().len().to_string(),
        },
        "build": {"prerelease": "", "revision": "", "version": call.options.version},
        "consul": {
            "acl": "disabled",
            "bootstrap": "false",
            "known_datacenters": "1",
            "known_servers": status.servers.len().to_string(),
            "leader": status.is_leader.to_string(),
            "leader_addr": status.leader.clone().unwrap_or_default(),
            "server": (call.options.server_port > 0).to_string(),
        },
        "raft": {
            "applied_index": status.applied.to_string(),
            "commit_index": status.committed.to_string(),
            "fsm_pending": status.committed.saturating_sub(status.applied).to_string(),
            "last_contact": contact,
            "last_log_index": status.last_log.to_string(),
            "last_log_term": status.term.to_string(),
            "last_snapshot_index": status.snapshot.to_string(),
            "latest_configuration": format!("[{}]", servers.join(" ")),
            "num_peers": peers.count().to_string(),
            "protocol_version": "3",
            "state": state,
            "term": status.term.to_string(),
        },
        "runtime": {
            "arch": std::env::consts::ARCH,
            "cpu_count": std::thread::available_parallelism().map_or(1, usize::from).to_string(),
            "os": std::env::consts::OS,
        },
        "serf_lan": {
            "failed": failed.to_string(),
            "left": left.to_string(),
            "members": members.to_string(),
        },
    })
}

fn raft_server(server: &crate::model::Server) -> String {
    let suffrage = if server.voter { "Voter" } else { "Nonvoter" };
    format!("{{Suffrage:{suffrage} ID:{} Address:{}}}", server.id, server.address)
}

/// `GET /v1/agent/metrics`: Consul's JSON, or with `format=prometheus` the text.
pub(super) fn metrics(call: &Call) -> Output {
    if call.params.get("format") == Some("prometheus") {
        return prometheus(call);
    }
    call.json(&super::metrics::shape(&call.rooms.metrics.samples()))
}

/// `GET /metrics`: the text that Prometheus reads.
pub(super) fn prometheus(call: &Call) -> Output {
    Output {
        kind: Kind::Other("text/plain; version=0.0.4; charset=utf-8"),
        body: call.rooms.metrics.text().into(),
        ..Output::empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_output_is_cut_at_a_character() {
        let mut output = "\u{e9}".repeat(CHECK_OUTPUT_BYTES_MAX);
        cut(&mut output);
        assert!(output.len() <= CHECK_OUTPUT_BYTES_MAX);
        assert!(output.ends_with("\n...\nCaptured 4096 of 8192 bytes"));
        let mut short = "x".to_owned();
        cut(&mut short);
        assert_eq!(short, "x");
    }

    #[test]
    fn an_ipv6_host_has_brackets() {
        assert_eq!(host_port("::1", 8301), "[::1]:8301");
        assert_eq!(host_port("10.0.0.1", 8301), "10.0.0.1:8301");
    }

    #[test]
    fn a_hash_follows_what_is_said() {
        let mut service = Service { name: "web".into(), ..Service::default() };
        let before = content_hash(&service);
        assert_eq!(before.len(), 16);
        service.modify = crate::model::Index(9);
        assert_eq!(content_hash(&service), before);
        service.port = 80;
        assert_ne!(content_hash(&service), before);
    }
}
