//! `/v1/session`: sessions. Source: Consul HTTP API, "Sessions".

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::limits::{LOCK_DELAY_DEFAULT, NAME_BYTES_MAX, SESSION_TTL_MAX};
use crate::model::{
    Answer, Behavior, Command, Query, Reply, Session, SessionId, SessionSpec, Written,
};

use super::call::{Call, Discovery, Outcome, wrong_answer};
use super::error::Failure;
use super::json::{self, Fields};
use super::number;
use super::wire::SessionJson;

/// Bytes of a body that creates a session.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Checks that one session may name.
const CHECKS_MAX: usize = 1024;
/// The check that a session hangs on when it names none.
const DEFAULT_CHECK: &str = "serfHealth";
/// A lock delay given as a number below this is in seconds, else in nanoseconds.
const SECONDS_BELOW: i64 = 1000;
const NANOS_A_SECOND: i64 = 1_000_000_000;

/// `PUT /v1/session/create`.
pub(super) async fn create(mut call: Call) -> Outcome {
    call.check_datacenter()?;
    let body = call.body(BODY_BYTES_MAX, "limits").await?;
    let value = if body.is_empty() {
        json!({})
    } else {
        json::parse(&body).map_err(|text| Failure::decode(&text))?
    };
    call.own_datacenter(&named_datacenter(&value))?;
    let id = SessionId(Uuid::new_v4());
    let options = &call.options;
    let own = Own { node: &options.node_name, ttl_min: options.session_ttl_min };
    let spec = spec(&value, id, own)?;
    let Written { reply, index } = call.write(Command::SessionCreate(spec)).await?;
    let Reply::Session(id) = reply else { wrong_answer() };
    Ok(call.json(&json!({"ID": id.to_string()})).written(index))
}

fn named_datacenter(value: &Value) -> String {
    let named = Fields::of(value, "structs.Session").and_then(|mut all| all.text("Datacenter"));
    named.unwrap_or_default()
}

/// What this agent brings to a session: the node where none is named, and the shortest TTL.
#[derive(Clone, Copy)]
pub(super) struct Own<'a> {
    /// The node's name.
    pub node: &'a str,
    /// The shortest TTL.
    pub ttl_min: Duration,
}

/// What a body asks for; unknown fields are passed over, as Consul does here.
pub(super) fn spec(value: &Value, id: SessionId, own: Own<'_>) -> Result<SessionSpec, Failure> {
    let decode = |text: String| Failure::decode(&text);
    let mut fields = Fields::of(value, "structs.Session").map_err(decode)?;
    let lock_delay_ms = lock_delay_ms(fields.take("LockDelay")).map_err(decode)?;
    let name = fields.text("Name").map_err(decode)?;
    let node_given = fields.take("Node").is_some();
    let node = fields.text("Node").map_err(decode)?;
    let behavior = fields.text("Behavior").map_err(decode)?;
    let ttl_text = fields.text("TTL").map_err(decode)?;
    let node_checks = fields.texts("NodeChecks").map_err(decode)?;
    let checks = fields.texts("Checks").map_err(decode)?;
    let service_checks = service_checks(&mut fields).map_err(decode)?;
    if node_given && node.is_empty() {
        return Err(Failure::internal("Must provide Node"));
    }
    let chosen = node_checks.or(checks).unwrap_or_else(|| vec![DEFAULT_CHECK.to_owned()]);
    let named = chosen.len() + service_checks.as_ref().map_or(0, Vec::len);
    if named > CHECKS_MAX || name.len() > NAME_BYTES_MAX {
        return Err(Failure::bad(format!(
            "a session names at most {CHECKS_MAX} checks, and itself in {NAME_BYTES_MAX} bytes"
        )));
    }
    Ok(SessionSpec {
        id,
        name,
        node: if node.is_empty() { own.node.to_owned() } else { node },
        lock_delay_ms,
        behavior: match behavior.as_str() {
            "" | "release" => Behavior::Release,
            "delete" => Behavior::Delete,
            other => {
                return Err(Failure::internal(format!("Invalid Behavior setting '{other}'")));
            }
        },
        ttl_ms: ttl_ms(&ttl_text, own.ttl_min).map_err(Failure::internal)?,
        ttl_text,
        node_checks: chosen,
        service_checks,
        checks: None,
    })
}

fn service_checks(fields: &mut Fields<'_>) -> Result<Option<Vec<(String, String)>>, String> {
    let list = fields.list("ServiceChecks")?;
    let pair = |value: &Value| {
        let mut fields = Fields::of(value, "structs.ServiceCheck")?;
        Ok::<_, String>((fields.text("ID")?, fields.text("Namespace")?))
    };
    let pairs = list.iter().map(pair).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(pairs).filter(|pairs| !pairs.is_empty()))
}

/// A lock delay: Go's text, or a number that means seconds when it is small. It is kept as said;
/// where it acts, it is a minute at most.
fn lock_delay_ms(value: Option<&Value>) -> Result<u64, String> {
    let nanos = match value {
        None => i64::try_from(LOCK_DELAY_DEFAULT.as_nanos()).expect("seconds fit"),
        Some(Value::String(text)) => number::duration_nanos(text)?,
        Some(value @ Value::Number(number)) => {
            let whole = number.as_i64().or_else(|| whole_part(number.as_f64()));
            let whole = whole.ok_or_else(|| json::mismatch(value, "LockDelay", "time.Duration"))?;
            if (0..SECONDS_BELOW).contains(&whole) { whole * NANOS_A_SECOND } else { whole }
        }
        Some(other) => return Err(json::mismatch(other, "LockDelay", "time.Duration")),
    };
    if nanos < 0 {
        return Err("LockDelay must not be negative".to_owned());
    }
    Ok(number::millis(nanos))
}

#[expect(clippy::cast_possible_truncation, reason = "Go cuts the fraction too, and bounds follow")]
fn whole_part(number: Option<f64>) -> Option<i64> {
    number.map(|number| number as i64)
}

/// A TTL in milliseconds; `None` for none and for 0. The error is Consul's text.
fn ttl_ms(text: &str, least: Duration) -> Result<Option<u64>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let nanos = number::duration_nanos(text)
        .map_err(|why| format!("Session TTL '{text}' invalid: {why}"))?;
    if nanos == 0 {
        return Ok(None);
    }
    let (min, max) = (least.as_nanos(), SESSION_TTL_MAX.as_nanos());
    let within = u128::try_from(nanos).is_ok_and(|nanos| (min..=max).contains(&nanos));
    if !within {
        let least = u64::try_from(least.as_millis()).unwrap_or(u64::MAX);
        let least = number::duration_text(least);
        return Err(format!("Invalid Session TTL '{nanos}', must be between [{least}=24h0m0s]"));
    }
    Ok(Some(number::millis(nanos)))
}

/// `PUT /v1/session/destroy/<id>`: true also for a session that is not there.
pub(super) async fn destroy(call: Call) -> Outcome {
    let text = call.required("Missing session")?;
    call.check_datacenter()?;
    let id = parse_id(text).map_err(Failure::internal)?;
    let written = call.write(Command::SessionDestroy(id)).await?;
    Ok(call.json(&true).written(written.index))
}

/// `PUT /v1/session/renew/<id>`.
pub(super) async fn renew(call: Call) -> Outcome {
    let text = call.required("Missing session")?;
    call.read_plan(Discovery::No)?;
    call.check_datacenter()?;
    let id = parse_id(text).map_err(Failure::internal)?;
    match call.client().renew(id).await? {
        Some(session) => Ok(call.json(&[SessionJson::of(&session)])),
        None => Err(Failure::new(
            axum::http::StatusCode::NOT_FOUND,
            format!("Session id '{text}' not found"),
        )),
    }
}

/// `GET /v1/session/info/<id>`: an empty list when there is none.
pub(super) async fn info(call: Call) -> Outcome {
    let text = call.required("Missing session")?;
    call.read_plan(Discovery::No)?;
    call.check_datacenter().map_err(Failure::indexed)?;
    let id = parse_id(text).map_err(|text| Failure::internal(text).indexed())?;
    sessions(call, Query::Session(id)).await
}

/// `GET /v1/session/node/<node>`.
pub(super) async fn of_node(call: Call) -> Outcome {
    let node = call.required("Missing node name")?.to_owned();
    sessions(call, Query::NodeSessions(node)).await
}

/// `GET /v1/session/list`.
pub(super) async fn list(call: Call) -> Outcome {
    sessions(call, Query::Sessions).await
}

async fn sessions(call: Call, query: Query) -> Outcome {
    let plan = call.read_plan(Discovery::No)?;
    call.check_datacenter().map_err(Failure::indexed)?;
    let read = call.read(query, &plan).await.map_err(|why| Failure::from(why).indexed())?;
    let Answer::Sessions(found) = &*read.answer else { wrong_answer() };
    let shown: Vec<_> = found.iter().map(|session: &_| shape(session)).collect();
    Ok(call.read_json(&shown, &read))
}

fn shape(session: &std::sync::Arc<Session>) -> SessionJson<'_> {
    SessionJson::of(session)
}

/// A session's id; the error is Consul's text.
pub(super) fn parse_id(text: &str) -> Result<SessionId, String> {
    let lookup = |why: String| format!("failed session lookup: index error: {why}");
    if text.len() != 36 {
        return Err(lookup("UUID must be 36 characters".to_owned()));
    }
    if let Ok(id) = Uuid::try_parse(text) {
        return Ok(SessionId(id));
    }
    match text.chars().find(|c| *c != '-' && !c.is_ascii_hexdigit()) {
        Some(c) => Err(lookup(format!("Invalid UUID: {}", invalid_byte(c)))),
        None => Err(lookup("UUID must be 36 characters".to_owned())),
    }
}

/// Go's text for a byte that is no hexadecimal digit.
pub(super) fn invalid_byte(c: char) -> String {
    format!("encoding/hex: invalid byte: U+{:04X} '{c}'", u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &Value) -> Result<SessionSpec, (u16, String)> {
        let own = Own { node: "own", ttl_min: Duration::from_secs(10) };
        spec(value, SessionId(Uuid::nil()), own)
            .map_err(|failure| (failure.status.as_u16(), failure.text.into_owned()))
    }

    #[test]
    fn a_session_has_consuls_defaults() {
        let spec = parse(&json!({})).unwrap();
        assert_eq!((spec.node.as_str(), spec.lock_delay_ms), ("own", 15_000));
        assert_eq!(spec.node_checks, ["serfHealth"]);
        assert_eq!((spec.ttl_ms, spec.behavior), (None, Behavior::Release));
        let spec = parse(&json!({"NodeChecks": [], "TTL": "0s", "Bogus": 1})).unwrap();
        assert!(spec.node_checks.is_empty());
        assert_eq!((spec.ttl_ms, spec.ttl_text.as_str()), (None, "0s"));
        let dockers = json!({"Behavior": "delete", "LockDelay": "1ms", "TTL": "30s"});
        let spec = parse(&dockers).unwrap();
        assert_eq!((spec.lock_delay_ms, spec.ttl_ms), (1, Some(30_000)));
    }

    #[test]
    fn lock_delays_are_read_as_consul_reads_them() {
        for (value, want) in [
            (json!(20), 20_000),
            (json!(1.5), 1_000),
            (json!(20_000_000), 20),
            (json!("0s"), 0),
            (json!("100s"), 100_000),
        ] {
            assert_eq!(lock_delay_ms(Some(&value)), Ok(want), "{value}");
        }
    }

    #[test]
    fn bad_sessions_have_consuls_texts() {
        for (value, want) in [
            (json!({"Behavior": "foo"}), (500, "Invalid Behavior setting 'foo'")),
            (json!({"Node": ""}), (500, "Must provide Node")),
            (
                json!({"TTL": "9s"}),
                (500, "Invalid Session TTL '9000000000', must be between [10s=24h0m0s]"),
            ),
            (
                json!({"TTL": "abc"}),
                (500, "Session TTL 'abc' invalid: time: invalid duration \"abc\""),
            ),
            (
                json!({"TTL": 10}),
                (
                    400,
                    "Request decode failed: json: cannot unmarshal number into Go struct field \
                     .TTL of type string",
                ),
            ),
            (
                json!({"LockDelay": "x"}),
                (400, "Request decode failed: time: invalid duration \"x\""),
            ),
        ] {
            assert_eq!(parse(&value), Err((want.0, want.1.to_owned())), "{value}");
        }
    }

    #[test]
    fn ids_have_consuls_texts() {
        assert!(parse_id("11111111-1111-1111-1111-111111111111").is_ok());
        for (text, want) in [
            ("x", "failed session lookup: index error: UUID must be 36 characters"),
            (
                "1111111111111111111111111111111111zz",
                "failed session lookup: index error: Invalid UUID: encoding/hex: invalid byte: \
                 U+007A 'z'",
            ),
        ] {
            assert_eq!(parse_id(text), Err(want.to_owned()));
        }
    }
}
