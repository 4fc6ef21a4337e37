//! `/v1/agent/health`: whether this agent's own services are fit, told by the status alone, for
//! load balancers. Source: Consul HTTP API, "Get local service health".

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::header::ACCEPT;
use serde::Serialize;

use crate::model::{Check, CheckKind, CheckStatus, Service};

use super::call::{Call, Kind, Outcome, Output};
use super::error::Failure;
use super::wire::{AgentServiceJson, CheckJson};

/// A service with its own and its node's checks.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LocalJson<'a> {
    aggregated_status: &'static str,
    service: Option<AgentServiceJson<'a>>,
    checks: Option<Vec<CheckJson<'a>>>,
}

/// A verdict over several checks; maintenance is worse than any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Passing,
    Warning,
    Critical,
    Maintenance,
}

impl Verdict {
    fn of(check: &Check) -> Self {
        match (check.kind, &check.status) {
            (CheckKind::Maintenance, _) => Self::Maintenance,
            (_, CheckStatus::Passing) => Self::Passing,
            (_, CheckStatus::Warning) => Self::Warning,
            (_, CheckStatus::Critical | CheckStatus::Other(_)) => Self::Critical,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Maintenance => "maintenance",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Passing => StatusCode::OK,
            Self::Warning => StatusCode::TOO_MANY_REQUESTS,
            Self::Critical | Self::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

type Checks = BTreeMap<String, Arc<Check>>;

/// The checks that decide on a service: its own and its node's.
fn deciding<'a>(checks: &'a Checks, service: &'a str) -> impl Iterator<Item = &'a Check> {
    let decides = move |check: &&Check| check.service_id.is_empty() || check.service_id == service;
    checks.values().map(|check| &**check).filter(decides)
}

fn verdict(checks: &Checks, service: &str) -> Verdict {
    deciding(checks, service).map(Verdict::of).max().unwrap_or(Verdict::Passing)
}

fn shape<'a>(checks: &'a Checks, service: &'a Service) -> LocalJson<'a> {
    LocalJson {
        aggregated_status: verdict(checks, &service.id).word(),
        service: Some(AgentServiceJson::of(service, "")),
        checks: Some(deciding(checks, &service.id).map(CheckJson::local).collect()),
    }
}

/// `GET /v1/agent/health/service/id/<id>`.
pub(super) fn by_id(call: &Call) -> Outcome {
    if call.rest.is_empty() {
        return Err(Failure::internal("Bad request: Missing serviceID"));
    }
    let services = call.rooms.agent.services();
    let checks = call.rooms.agent.checks();
    let Some(service) = services.get(&call.rest) else {
        let reason = format!("ServiceId {} not found", call.rest);
        let nothing = LocalJson { aggregated_status: "critical", service: None, checks: None };
        if wants_text(call) {
            // Consul's slip: here alone the word comes as JSON.
            let said = call.json(&reason).status(StatusCode::NOT_FOUND);
            return Ok(said.header("x-consul-reason", &reason));
        }
        return Ok(told(call, StatusCode::NOT_FOUND, &reason, &nothing));
    };
    let verdict = verdict(&checks, &service.id);
    Ok(told(call, verdict.status(), verdict.word(), &shape(&checks, service)))
}

/// `GET /v1/agent/health/service/name/<name>`: the worst of all its instances here.
pub(super) fn by_name(call: &Call) -> Outcome {
    if call.rest.is_empty() {
        return Err(Failure::internal("Bad request: Missing service Name"));
    }
    let services = call.rooms.agent.services();
    let checks = call.rooms.agent.checks();
    let found = services.values().filter(|service| service.name == call.rest);
    let found: Vec<_> = found.map(|service| &**service).collect();
    let Some(worst) = found.iter().map(|service| verdict(&checks, &service.id)).max() else {
        let reason = format!("ServiceName {} Not Found", call.rest);
        let nothing: [LocalJson<'_>; 0] = [];
        return Ok(told(call, StatusCode::NOT_FOUND, &reason, &nothing));
    };
    let shown: Vec<_> = found.iter().map(|service| shape(&checks, service)).collect();
    Ok(told(call, worst.status(), worst.word(), &shown))
}

fn wants_text(call: &Call) -> bool {
    let accepts = call.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    call.params.get("format") == Some("text")
        || accepts.is_some_and(|accepts| accepts.starts_with("text/plain"))
}

/// The status, with the word alone for who asks for text.
fn told<T: Serialize + ?Sized>(call: &Call, status: StatusCode, reason: &str, shown: &T) -> Output {
    let output = if wants_text(call) {
        let body = reason.to_owned().into();
        Output { kind: Kind::Other("text/plain"), body, ..Output::empty() }
    } else {
        call.json(shown)
    };
    output.status(status).header("x-consul-reason", reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, service: &str, kind: CheckKind, status: CheckStatus) -> Arc<Check> {
        let (id, service_id) = (id.to_owned(), service.to_owned());
        Arc::new(Check { id, status, service_id, kind, ..Check::default() })
    }

    #[test]
    fn the_worst_of_its_own_and_its_nodes_checks_decides() {
        let mut checks = Checks::new();
        assert_eq!(verdict(&checks, "web"), Verdict::Passing);
        for (id, service, kind, status, want) in [
            ("a", "web", CheckKind::Ttl, CheckStatus::Passing, Verdict::Passing),
            ("b", "db", CheckKind::Ttl, CheckStatus::Critical, Verdict::Passing),
            ("c", "", CheckKind::Tcp, CheckStatus::Warning, Verdict::Warning),
            ("d", "web", CheckKind::Http, CheckStatus::Critical, Verdict::Critical),
            ("e", "", CheckKind::Maintenance, CheckStatus::Critical, Verdict::Maintenance),
        ] {
            checks.insert(id.to_owned(), check(id, service, kind, status));
            assert_eq!(verdict(&checks, "web"), want, "{id}");
        }
        assert_eq!(Verdict::Warning.status().as_u16(), 429);
        assert_eq!(Verdict::Maintenance.status().as_u16(), 503);
    }
}
