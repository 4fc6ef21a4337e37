//! `/v1/operator/keyring`: the keys of all members. There is one pool; where Consul has another of
//! all data centers, the servers are shown for it.
//! Source: Consul HTTP API, "Keyring".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::call::{Call, Outcome, Output};
use super::error::Failure;
use super::json::{self, Fields};
use super::number::{self, quoted};
use crate::gossip::{KeyReport, KeyVerb};

/// Bytes of a body that names a key.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// Most members that a key may be relayed through.
const RELAYS_MAX: i64 = 5;

fn bad(text: &str) -> Failure {
    Failure::bad(format!("Bad request: {text}"))
}

/// `GET`: the keys, and how many members have each.
pub(super) async fn list(call: Call) -> Outcome {
    relay_factor(&call)?;
    let local = local_only(&call)?;
    call.check_datacenter()?;
    on_a_server(&call)?;
    let report = call.rooms.gossip.keyring(KeyVerb::List).await;
    judge(&call, &report, local)?;
    let row = |wide: bool, report: &KeyReport| {
        let (keys, primary) = report.keys();
        json!({
            "WAN": wide,
            "Datacenter": call.options.datacenter,
            "Segment": "",
            "Keys": keys,
            "PrimaryKeys": primary,
            "NumNodes": report.members.len(),
        })
    };
    let mut rows = vec![row(false, &report)];
    if !local {
        rows.insert(0, row(true, &servers(&report)));
    }
    Ok(call.json(&rows))
}

/// `POST`, `PUT` and `DELETE`: a new key, the key to use, a key that goes. Returns when every
/// member has done it, or some seconds later with those that have not.
pub(super) async fn change(mut call: Call, verb: fn(String) -> KeyVerb) -> Outcome {
    let body = call.body(BODY_BYTES_MAX, "limits").await?;
    let decode = |text: String| bad(&format!("Request decode failed: {text}"));
    let value = json::parse(&body).map_err(decode)?;
    let key = key(&value).map_err(decode)?;
    relay_factor(&call)?;
    if local_only(&call)? {
        return Err(bad("Invalid use of local-only: local-only can only be set for list requests"));
    }
    call.check_datacenter()?;
    on_a_server(&call)?;
    if let Err(error) = STANDARD.decode(&key) {
        let at = match error {
            base64::DecodeError::InvalidByte(at, _)
            | base64::DecodeError::InvalidLastSymbol(at, _) => at,
            base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => {
                key.len() / 4 * 4
            }
        };
        let why = format!("illegal base64 data at input byte {at}");
        let datacenter = &call.options.datacenter;
        return Err(Failure::internal(errors(&[
            format!("WAN error: {why}"),
            format!("{datacenter} (LAN) error: {why}"),
        ])));
    }
    let report = call.rooms.gossip.keyring(verb(key)).await;
    judge(&call, &report, false)?;
    Ok(Output::empty())
}

fn servers(report: &KeyReport) -> KeyReport {
    report.of(|member| member.server_port > 0)
}

/// Fails where a member failed, or did not answer.
fn judge(call: &Call, report: &KeyReport, local: bool) -> Result<(), Failure> {
    let datacenter = &call.options.datacenter;
    let mut lines = Vec::new();
    if !local {
        let wide = |name: &str| format!("{name}.{datacenter}");
        lines.extend(complaints("WAN", &servers(report), wide));
    }
    lines.extend(complaints(&format!("{datacenter} (LAN)"), report, str::to_owned));
    if lines.is_empty() { Ok(()) } else { Err(Failure::internal(errors(&lines))) }
}

/// What went wrong in one pool, in the words of Serf.
fn complaints(pool: &str, report: &KeyReport, shown: impl Fn(&str) -> String) -> Vec<String> {
    let (asked, failed) = (report.members.len(), report.failed());
    let answered = report.answers.len();
    if failed.is_empty() && answered == asked {
        return Vec::new();
    }
    let head = if failed.is_empty() {
        format!("{pool} error: {answered}/{asked} nodes reported success")
    } else {
        format!("{pool} error: {}/{asked} nodes reported failure", failed.len())
    };
    let each = failed.iter().map(|(name, why)| format!("{}: {}", shown(name), capital(why)));
    std::iter::once(head).chain(each).collect()
}

/// Serf's errors begin with a capital where Consul prints them, but for those about a key's form.
fn capital(why: &str) -> String {
    let mut letters = why.chars();
    match letters.next() {
        Some(first) if !why.starts_with("key ") => first.to_uppercase().chain(letters).collect(),
        _ => why.to_owned(),
    }
}

/// Fails on an agent without a server, as Consul does.
fn on_a_server(call: &Call) -> Result<(), Failure> {
    if call.options.server_port > 0 {
        return Ok(());
    }
    Err(Failure::internal("keyring operations must run against a server node"))
}

pub(super) fn key(value: &Value) -> Result<String, String> {
    let mut fields = Fields::of(value, "agent.keyringArgs")?;
    let key = fields.text("Key")?;
    fields.ignore(&["Token", "RelayFactor", "LocalOnly"]);
    fields.finish()?;
    Ok(key)
}

fn relay_factor(call: &Call) -> Result<(), Failure> {
    let Some(text) = call.params.get("relay-factor").filter(|text| !text.is_empty()) else {
        return Ok(());
    };
    match text.parse::<i64>() {
        Ok(factor) if (0..=RELAYS_MAX).contains(&factor) => Ok(()),
        Ok(_) => Err(bad("Invalid relay-factor: Relay factor must be in range: [0, 5]")),
        Err(_) => Err(bad(&format!(
            "Error parsing relay factor: strconv.Atoi: parsing {}: invalid syntax",
            quoted(text)
        ))),
    }
}

fn local_only(call: &Call) -> Result<bool, Failure> {
    let Some(text) = call.params.get("local-only").filter(|text| !text.is_empty()) else {
        return Ok(false);
    };
    number::truth(text).ok_or_else(|| {
        bad(&format!(
            "Error parsing local-only: strconv.ParseBool: parsing {}: invalid syntax",
            quoted(text)
        ))
    })
}

/// Several errors as Go's collection of them prints.
fn errors(lines: &[String]) -> String {
    format!("{} errors occurred:\n\t* {}\n\n", lines.len(), lines.join("\n\t* "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_and_listed() {
        let lines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(errors(&lines), "2 errors occurred:\n\t* a\n\t* b\n\n");
    }
}
