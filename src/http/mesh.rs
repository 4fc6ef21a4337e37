//! What belongs to the service mesh, where none runs: proxies are shown as the data that they
//! are, lists are empty, and what would need a mesh is refused with a word why.
//! Source: Consul HTTP API, "Config", "Connect", "Intentions".

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::call::{Call, Discovery, Outcome, Output};
use super::error::Failure;
use super::number::quoted;

/// The kinds of configuration entries that Consul 1.8 to 1.17 know.
const KINDS: [&str; 18] = [
    "service-defaults",
    "proxy-defaults",
    "service-router",
    "service-splitter",
    "service-resolver",
    "ingress-gateway",
    "terminating-gateway",
    "service-intentions",
    "mesh",
    "exported-services",
    "sameness-group",
    "api-gateway",
    "bound-api-gateway",
    "inline-certificate",
    "http-route",
    "tcp-route",
    "jwt-provider",
    "control-plane-request-limit",
];

/// Why a request is refused that only a mesh could serve.
fn no_mesh() -> Failure {
    let text = "Connect must be enabled in order to use this endpoint";
    Failure::new(StatusCode::NOT_IMPLEMENTED, text)
}

/// A list that nothing is in and nothing ever was.
fn nothing(call: &Call) -> Outcome {
    call.read_plan(Discovery::No)?;
    call.check_datacenter()?;
    Ok(call.json(&json!([])).of_nothing())
}

/// The same for routes of catalog and health.
fn nothing_discovered(call: &Call, shown: &Value) -> Outcome {
    let plan = call.read_plan(Discovery::Yes)?;
    call.check_datacenter().map_err(Failure::indexed)?;
    Ok(call.json(shown).of_nothing().consistency(&plan))
}

/// `GET /v1/config/<kind>` and `/v1/config/<kind>/<name>`: there are none.
pub(super) fn config(call: &Call) -> Outcome {
    let (kind, name) = call.rest.split_once('/').unwrap_or((&call.rest, ""));
    if kind.is_empty() {
        return nothing(call);
    }
    if !KINDS.contains(&kind) {
        return Err(Failure::internal(format!("invalid config entry kind: {kind}")).indexed());
    }
    if name.is_empty() {
        return nothing(call);
    }
    call.check_datacenter()?;
    let text = format!("Config entry not found for {} / {}", quoted(kind), quoted(name));
    Err(Failure::new(StatusCode::NOT_FOUND, text).indexed())
}

/// `PUT` and `DELETE` below `/v1/config`, and everything else that changes a mesh.
pub(super) fn refuse(_: &Call) -> Outcome {
    Err(no_mesh())
}

/// `GET /v1/connect/intentions`: there are none.
pub(super) fn intentions(call: &Call) -> Outcome {
    nothing(call)
}

/// `GET /v1/connect/intentions/match` and `check`, and one by its id.
pub(super) fn intention(call: &Call) -> Outcome {
    let has = |name: &str| call.params.get(name).is_some_and(|value| !value.is_empty());
    match call.rest.as_str() {
        "match" if !has("by") => Err(Failure::internal("required query parameter 'by' not set")),
        "match" if !has("name") => {
            Err(Failure::internal("required query parameter 'name' not set"))
        }
        "check" if !has("source") => {
            Err(Failure::internal("required query parameter 'source' not set"))
        }
        "check" if !has("destination") => {
            Err(Failure::internal("required query parameter 'destination' not set"))
        }
        // Without intentions and access control everything may talk to everything.
        "check" => Ok(call.json(&json!({"Allowed": true}))),
        "match" => {
            let names = call.params.all("name").map(|name| (name.to_owned(), Value::Null));
            let matched: serde_json::Map<_, _> = names.collect();
            Ok(call.json(&matched))
        }
        id if uuid::Uuid::try_parse(id).is_err() => Err(Failure::bad(
            "Bad request: failed intention lookup: index error: UUID must be 36 characters",
        )),
        _ => Err(Failure::new(StatusCode::NOT_FOUND, "Intention not found")),
    }
}

/// `GET /v1/catalog/gateway-services/<gateway>`: no gateway has services here.
pub(super) fn gateway_services(call: &Call) -> Outcome {
    call.required("Missing gateway name")?;
    nothing_discovered(call, &Value::Null)
}

/// `GET /v1/health/ingress/<service>`: no ingress gateway leads to any service here.
pub(super) fn ingress(call: &Call) -> Outcome {
    call.required("Missing service name")?;
    nothing_discovered(call, &json!([]))
}

/// `/v1/internal/ui/…`: there is no bundled page to serve.
pub(super) fn no_page(_: &Call) -> Outcome {
    Err(Failure::new(StatusCode::NOT_FOUND, "the UI's own endpoints are not served"))
}

impl Output {
    /// The same with the headers of a read that found nothing and never will.
    fn of_nothing(self) -> Self {
        let read = crate::model::Read {
            answer: std::sync::Arc::new(crate::model::Answer::Names(Vec::new())),
            index: crate::model::Index(1),
            known_leader: true,
            last_contact: std::time::Duration::ZERO,
        };
        self.about(&read)
    }
}
