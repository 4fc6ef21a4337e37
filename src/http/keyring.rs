//! `/v1/operator/keyring`: encryption of gossip is off, and this says so as Consul does.
//! Source: Consul HTTP API, "Keyring".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::call::{Call, Outcome};
use super::error::Failure;
use super::json::{self, Fields};
use super::number::{self, quoted};

/// Bytes of a body that names a key.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// Most members that a key may be relayed through.
const RELAYS_MAX: i64 = 5;

fn bad(text: &str) -> Failure {
    Failure::bad(format!("Bad request: {text}"))
}

/// `GET`: the keys; there are none.
pub(super) fn list(call: &Call) -> Outcome {
    relay_factor(call)?;
    let local = local_only(call)?;
    call.check_datacenter()?;
    on_a_server(call)?;
    Err(refused(call, local, "Keyring is empty (encryption not enabled)"))
}

/// `POST`, `PUT` and `DELETE`: a new key, the key to use, a key that goes. None can be.
pub(super) async fn change(mut call: Call) -> Outcome {
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
    Err(refused(&call, false, "No keyring to modify (encryption not enabled)"))
}

/// Fails on an agent without a server, as Consul does.
fn on_a_server(call: &Call) -> Result<(), Failure> {
    if call.options.server_port > 0 {
        return Ok(());
    }
    Err(Failure::internal("keyring operations must run against a server node"))
}

fn key(value: &Value) -> Result<String, String> {
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

/// What every member of both pools says; of the wide one's only this.
fn refused(call: &Call, local: bool, why: &str) -> Failure {
    let (datacenter, node) = (&call.options.datacenter, &call.options.node_name);
    let members = call.rooms.gossip.members();
    let count = members.len();
    let mut lines = Vec::new();
    if !local {
        let servers = members.iter().filter(|member| member.server_port > 0).count();
        lines.push(format!("WAN error: {servers}/{servers} nodes reported failure"));
        lines.push(format!("{node}.{datacenter}: {why}"));
    }
    lines.push(format!("{datacenter} (LAN) error: {count}/{count} nodes reported failure"));
    lines.push(format!("{node}: {why}"));
    Failure::internal(errors(&lines))
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
