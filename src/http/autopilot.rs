//! `/v1/operator/autopilot`: its settings, which Raft keeps, and how the servers are.
//! Source: Consul HTTP API, "Autopilot".

use std::time::Duration;

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::model::{
    Answer, Autopilot, Command, Index, MemberStatus, Query, ReadOptions, Reply, ServerHealth,
};

use super::call::{Call, Discovery, Outcome, wrong_answer};
use super::error::Failure;
use super::json::{self, Fields};
use super::metrics::rfc3339;
use super::number::{self, duration_text, millis};
use super::params::ReadPlan;

/// Bytes of a body with settings.
const BODY_BYTES_MAX: usize = 64 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SettingsJson<'a> {
    cleanup_dead_servers: bool,
    last_contact_threshold: String,
    max_trailing_logs: u64,
    min_quorum: u64,
    server_stabilization_time: String,
    redundancy_zone_tag: &'a str,
    disable_upgrade_migration: bool,
    upgrade_version_tag: &'a str,
    create_index: u64,
    modify_index: u64,
}

impl<'a> SettingsJson<'a> {
    fn of(settings: &'a Autopilot) -> Self {
        Self {
            cleanup_dead_servers: settings.cleanup_dead_servers,
            last_contact_threshold: duration_text(settings.last_contact_ms),
            max_trailing_logs: settings.max_trailing_logs,
            min_quorum: settings.min_quorum,
            server_stabilization_time: duration_text(settings.stabilization_ms),
            redundancy_zone_tag: &settings.redundancy_zone_tag,
            disable_upgrade_migration: settings.disable_upgrade_migration,
            upgrade_version_tag: &settings.upgrade_version_tag,
            create_index: settings.create.0,
            modify_index: settings.modify.0,
        }
    }
}

/// `GET /v1/operator/autopilot/configuration`.
pub(super) async fn configuration(call: Call) -> Outcome {
    let plan = call.read_plan(Discovery::No)?;
    call.check_datacenter()?;
    let settings = stored(&call, &plan).await?;
    Ok(call.json(&SettingsJson::of(&settings)))
}

/// What is stored, or the defaults as long as no leader has stored any.
async fn stored(call: &Call, plan: &ReadPlan) -> Result<Autopilot, Failure> {
    let options = ReadOptions { after: None, wait: None, ..plan.options };
    let read = call.read(Query::Autopilot, &ReadPlan { options, ..*plan }).await?;
    let Answer::Autopilot(found) = &*read.answer else { wrong_answer() };
    Ok(found.as_deref().cloned().unwrap_or_default())
}

/// `PUT /v1/operator/autopilot/configuration`: fields that are not named get their defaults.
pub(super) async fn configure(mut call: Call) -> Outcome {
    let bad = |text: String| Failure::bad(format!("Bad request: {text}"));
    let body = call.body(BODY_BYTES_MAX, "limits").await?;
    let decode = |text: String| {
        let text = text.replace("struct field .", "struct field AutopilotConfiguration.");
        bad(format!("Error parsing autopilot config: {text}"))
    };
    let settings = json::parse(&body).and_then(|value| settings(&value)).map_err(decode)?;
    let index = match call.params.get("cas") {
        None => None,
        Some(text) => Some(Index(
            number::unsigned(text).map_err(|why| bad(format!("Error parsing cas value: {why}")))?,
        )),
    };
    call.check_datacenter()?;
    let written = call.write(Command::Autopilot { settings: Box::new(settings), index }).await?;
    let Reply::Flag(done) = written.reply else { wrong_answer() };
    Ok(call.json(&done).written(written.index))
}

pub(super) fn settings(value: &Value) -> Result<Autopilot, String> {
    let mut fields = Fields::of(value, "api.AutopilotConfiguration")?;
    let given = |fields: &mut Fields<'_>, name: &str| fields.take(name).is_some();
    let defaults = Autopilot::default();
    let mut settings = Autopilot {
        redundancy_zone_tag: fields.text("RedundancyZoneTag")?,
        disable_upgrade_migration: fields.truth("DisableUpgradeMigration")?,
        upgrade_version_tag: fields.text("UpgradeVersionTag")?,
        ..defaults
    };
    if given(&mut fields, "CleanupDeadServers") {
        settings.cleanup_dead_servers = fields.truth("CleanupDeadServers")?;
    }
    if given(&mut fields, "LastContactThreshold") {
        settings.last_contact_ms = millis(fields.duration_nanos("LastContactThreshold")?);
    }
    if given(&mut fields, "ServerStabilizationTime") {
        settings.stabilization_ms = millis(fields.duration_nanos("ServerStabilizationTime")?);
    }
    if let Some(value) = fields.take("MaxTrailingLogs") {
        settings.max_trailing_logs = count(value, "MaxTrailingLogs", "uint64")?;
    }
    if let Some(value) = fields.take("MinQuorum") {
        settings.min_quorum = count(value, "MinQuorum", "uint")?;
    }
    fields.ignore(&["CreateIndex", "ModifyIndex"]);
    fields.finish()?;
    Ok(settings)
}

fn count(value: &Value, name: &str, go_type: &str) -> Result<u64, String> {
    let field = format!("AutopilotConfiguration.{name}");
    match value {
        Value::Number(number) => number.as_u64().ok_or_else(|| {
            format!(
                "json: cannot unmarshal number {number} into Go struct field {field} of type \
                 {go_type}"
            )
        }),
        other => Err(json::mismatch(other, &field, go_type)),
    }
}

/// What the leader's pool says of a server, in the words of Serf.
fn status(server: &ServerHealth) -> &'static str {
    match server.status {
        Some(MemberStatus::Alive) => "alive",
        Some(MemberStatus::Leaving) => "leaving",
        Some(MemberStatus::Left) => "left",
        Some(MemberStatus::Failed) => "failed",
        None => "none",
    }
}

fn contact(server: &ServerHealth) -> String {
    let age = server.last_contact.unwrap_or(Duration::MAX);
    u64::try_from(age.as_millis()).map_or_else(|_| "-1ms".to_owned(), duration_text)
}

/// All servers, as the leader judges them, whether all are well, and how many may still fail.
async fn judged(call: &Call) -> Result<(Vec<ServerHealth>, bool, usize), Failure> {
    call.check_datacenter()?;
    call.read_plan(Discovery::No)?;
    let all = call.client().health().await?;
    let (well, tolerance) = verdict(&all);
    Ok((all, well, tolerance))
}

fn verdict(all: &[ServerHealth]) -> (bool, usize) {
    let well = !all.is_empty() && all.iter().all(|one| one.healthy);
    let voters = all.iter().filter(|one| one.voter);
    let fit = voters.clone().filter(|one| one.healthy).count();
    (well, fit.saturating_sub(voters.count() / 2 + 1))
}

/// `GET /v1/operator/autopilot/health`: 429 where a server is not well.
pub(super) async fn health(call: Call) -> Outcome {
    let (servers, well, tolerance) = judged(&call).await?;
    let of = |one: &ServerHealth| {
        json!({
            "ID": one.id,
            "Name": one.name,
            "Address": one.address,
            "SerfStatus": status(one),
            "Version": one.version,
            "Leader": one.leader,
            "LastContact": contact(one),
            "LastTerm": one.term,
            "LastIndex": one.last_log,
            "Healthy": one.healthy,
            "Voter": one.voter,
            "StableSince": rfc3339(one.stable_since),
        })
    };
    let shown = json!({
        "Healthy": well,
        "FailureTolerance": tolerance,
        "Servers": servers.iter().map(of).collect::<Vec<_>>(),
    });
    let status = if well { StatusCode::OK } else { StatusCode::TOO_MANY_REQUESTS };
    Ok(call.json(&shown).status(status))
}

/// `GET /v1/operator/autopilot/state`: the same by server. Source: Consul since 1.9.
pub(super) async fn state(call: Call) -> Outcome {
    let (servers, well, tolerance) = judged(&call).await?;
    let of = |one: &ServerHealth| {
        let role = match (one.leader, one.voter) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "non-voter",
        };
        let shown = json!({
            "ID": one.id,
            "Name": one.name,
            "Address": one.address,
            "NodeStatus": status(one),
            "Version": one.version,
            "LastContact": contact(one),
            "LastTerm": one.term,
            "LastIndex": one.last_log,
            "Healthy": one.healthy,
            "StableSince": rfc3339(one.stable_since),
            "ReadReplica": false,
            "Status": role,
            "Meta": null,
            "NodeType": "voter",
        });
        (one.id.clone(), shown)
    };
    let by_id: Map<String, Value> = servers.iter().map(of).collect();
    let leader = servers.iter().find(|one| one.leader).map(|one| one.id.clone());
    let voters = servers.iter().filter(|one| one.voter).map(|one| &one.id);
    Ok(call.json(&json!({
        "Healthy": well,
        "FailureTolerance": tolerance,
        "OptimisticFailureTolerance": tolerance,
        "Servers": by_id,
        "Leader": leader.unwrap_or_default(),
        "Voters": voters.collect::<Vec<_>>(),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_settings_are_the_defaults_and_nonsense_is_named() {
        let given = settings(&json!({"minquorum": 3, "LastContactThreshold": "1s"})).unwrap();
        let want = Autopilot { min_quorum: 3, last_contact_ms: 1000, ..Autopilot::default() };
        assert_eq!(given, want);
        for (value, want) in [
            (json!({"bogus": 1}), "json: unknown field \"bogus\""),
            (json!({"LastContactThreshold": "zz"}), "time: invalid duration \"zz\""),
            (
                json!({"MaxTrailingLogs": -1}),
                "json: cannot unmarshal number -1 into Go struct field \
                 AutopilotConfiguration.MaxTrailingLogs of type uint64",
            ),
        ] {
            assert_eq!(settings(&value).unwrap_err(), want);
        }
    }

    #[test]
    fn as_many_may_fail_as_leave_a_majority_of_the_well() {
        let server = |voter, healthy| ServerHealth {
            id: "i".into(),
            name: "n".into(),
            address: "a:1".into(),
            leader: false,
            voter,
            status: Some(MemberStatus::Alive),
            version: String::new(),
            last_contact: None,
            term: 1,
            last_log: 100,
            healthy,
            stable_since: 0,
        };
        // `v` a voter that is well, `V` one that is not; `l` and `L` likewise without a vote.
        for (servers, well, tolerance) in [
            ("", false, 0),
            ("v", true, 0),
            ("vvv", true, 1),
            ("vvV", false, 0),
            ("vvvvv", true, 2),
            ("vvvvV", false, 1),
            ("vvvl", true, 1),
            ("vvvL", false, 1),
            ("vVV", false, 0),
        ] {
            let all: Vec<_> = servers
                .chars()
                .map(|mark| server("vV".contains(mark), mark.is_lowercase()))
                .collect();
            assert_eq!(verdict(&all), (well, tolerance), "{servers}");
        }
        assert_eq!(contact(&server(true, true)), "-1ms", "it never answered");
    }
}
