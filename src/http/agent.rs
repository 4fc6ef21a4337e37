//! `/v1/agent`: what this host claims. Source: Consul HTTP API, "Agent".

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::agent::{AgentError, ReplaceChecks};
use crate::limits;
use crate::model::{CheckStatus, Service};
use crate::time;

use super::call::{Call, Discovery, Outcome, Output};
use super::check_definition;
use super::definition::{self, DefinitionError};
use super::error::Failure;
use super::filter::{self, Filter};
use super::json::{self as wire_json, Fields};
use super::number::{self, quoted};
use super::wire::{AgentServiceJson, CheckJson};

/// The body of a check's update: its output is cut to its own bound behind this.
const UPDATE_BYTES_MAX: usize = 1024 * 1024;

/// `GET /v1/agent/services`.
pub(super) fn services(call: &Call) -> Outcome {
    let filter = Filter::of(call, filter::service)?;
    let services = call.rooms.agent.services();
    let kept = services.iter().filter(|(_, service)| filter.keeps(service));
    let shown: BTreeMap<_, _> =
        kept.map(|(id, service)| (id, AgentServiceJson::of(service, ""))).collect();
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
    let wait = wait.min(call.options.wait_max);
    let until = time::now() + wait + time::jitter(wait, limits::WAIT_JITTER_PART, time::random());
    // Listening begins before the first look, so that no change falls between.
    let mut changes = call.rooms.agent.service_changes();
    let mut stopping = call.rooms.stopping.clone();
    loop {
        changes.mark_unchanged();
        let Some(service) = call.rooms.agent.service(&call.rest) else {
            let text = format!("unknown service ID: {}", call.rest);
            return Err(Failure::new(StatusCode::NOT_FOUND, text));
        };
        let hash = content_hash(&service);
        let over = time::now() >= until || stopping.is_set();
        if known.is_empty() || hash != known || over {
            let shown = AgentServiceJson::of(&service, &hash);
            return Ok(call.json(&shown).header("x-consul-contenthash", &hash));
        }
        // Each may be dropped: after any of them the service is looked at again.
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep_until(until) => {}
            () = stopping.wait() => {}
        }
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
    let filter = Filter::of(call, filter::check)?;
    let checks = call.rooms.agent.checks();
    let kept = checks.iter().filter(|(_, check)| filter.keeps(check));
    let shown: BTreeMap<_, _> = kept.map(|(id, check)| (id, CheckJson::local(check))).collect();
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
    let text = call.params.get("enable").ok_or_else(|| Failure::bad("Missing value for enable"))?;
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
    let spec = match check_definition::check(&value) {
        Err(DefinitionError::Invalid(_)) if nameless(&value) => {
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
    let output = fields.text("Output").map_err(decode)?;
    fields.finish().map_err(decode)?;
    if !matches!(word.as_str(), "passing" | "warning" | "critical") {
        return Err(Failure::bad(format!("Invalid check status: '{word}'")));
    }
    told(&call, CheckStatus::from_word(&word), output).await
}

#[cfg(test)]
mod tests {
    use super::*;

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
