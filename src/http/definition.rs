//! Definitions of services and checks as their owners write them: the same words for the API and
//! for configuration files. Source: Consul HTTP API, "Register Service" and "Register Check".

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::agent::CheckSpec;
use crate::limits::{META_KEY_BYTES_MAX, META_PAIRS_MAX, META_VALUE_BYTES_MAX, NAME_BYTES_MAX};
use crate::model::{
    Check, CheckDefinition, CheckKind, CheckStatus, Service, ServiceAddress, Weights,
};

use super::json::{Fields, mismatch};
use super::number::{millis, quoted};

/// Fields of later versions and of the enterprise product that change nothing here.
const SERVICE_IGNORED: [&str; 5] = ["Token", "Namespace", "Partition", "SocketPath", "Locality"];
const CHECK_IGNORED: [&str; 5] =
    ["Token", "Namespace", "Partition", "FailuresBeforeWarning", "Shell"];
/// Kinds of checks that this version does not run, by the field that asks for them.
const KINDS_LATER: [(&str, &str); 7] = [
    ("DockerContainerID", "docker"),
    ("GRPC", "gRPC"),
    ("AliasNode", "alias"),
    ("AliasService", "alias"),
    ("H2PING", "H2PING"),
    ("UDP", "UDP"),
    ("OSService", "OS service"),
];
/// Asked of an HTTP check, and not given: silence would judge another thing than was asked.
const OPTIONS_LATER: [&str; 6] =
    ["TLSServerName", "DisableRedirects", "ProxyHTTP", "ProxyGRPC", "TCPUseTLS", "GRPCUseTLS"];

/// Why a definition is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DefinitionError {
    /// It does not decode: Consul says so in front of the text.
    Decode(String),
    /// It decodes and makes no sense, in Consul's words.
    Invalid(String),
    /// It asks for a script, and scripts are off.
    Scripts,
}

impl DefinitionError {
    /// The text for a configuration file.
    fn local_text(self) -> String {
        match self {
            Self::Decode(text) | Self::Invalid(text) => text,
            Self::Scripts => "Scripts are disabled on this agent; to enable, configure \
                 'enable_script_checks' or 'enable_local_script_checks' to true"
                .to_owned(),
        }
    }
}

impl From<String> for DefinitionError {
    fn from(text: String) -> Self {
        Self::Decode(text)
    }
}

fn invalid(text: impl Into<String>) -> DefinitionError {
    DefinitionError::Invalid(text.into())
}

/// Reads a service with its checks as a configuration file or the API defines it.
///
/// Names of fields count without case and underscores. The service's `node`, `create` and
/// `modify` stay empty; ids and names of its checks may be empty, for the agent to choose.
///
/// # Errors
///
/// One line that names the field and its bound, in Consul's words where Consul has some.
///
/// Source: Consul HTTP API, "Register Service".
pub fn parse_service(value: &Value) -> Result<(Service, Vec<CheckSpec>), String> {
    service(value).map_err(DefinitionError::local_text)
}

/// Reads a check as a configuration file or the API defines it.
///
/// Its `service_id` is filled where the definition names one; the rest is as in
/// [`parse_service`].
///
/// # Errors
///
/// As [`parse_service`].
///
/// Source: Consul HTTP API, "Register Check".
pub fn parse_check(value: &Value) -> Result<CheckSpec, String> {
    check(value).map_err(DefinitionError::local_text)
}

/// As [`parse_service`], with the kind of the error.
pub(super) fn service(value: &Value) -> Result<(Service, Vec<CheckSpec>), DefinitionError> {
    let mut fields = Fields::of(value, "structs.ServiceDefinition")?;
    let name = fields.text("Name")?;
    let id = fields.text("ID")?;
    let service = Service {
        id: if id.is_empty() { name.clone() } else { id },
        name,
        tags: fields.texts("Tags")?.unwrap_or_default(),
        address: fields.text("Address")?,
        tagged_addresses: addresses(fields.take("TaggedAddresses"))?,
        meta: fields.pairs("Meta")?,
        port: port(fields.whole("Port")?)?,
        weights: weights(fields.take("Weights"))?.unwrap_or_default(),
        enable_tag_override: fields.truth("EnableTagOverride")?,
        kind: fields.text("Kind")?,
        proxy: kept(fields.take("Proxy")),
        connect: kept(fields.take("Connect")),
        ..Service::default()
    };
    let one = fields.take("Check").filter(|check| !is_empty(check));
    let many = fields.list("Checks")?;
    fields.ignore(&SERVICE_IGNORED);
    fields.finish()?;
    validate(&service)?;
    let mut checks = Vec::new();
    for value in one.into_iter().chain(many) {
        checks.push(check_of_service(value)?);
    }
    Ok((with_address_families(service), checks))
}

/// A check of a service: its texts stand behind `Invalid check: `.
fn check_of_service(value: &Value) -> Result<CheckSpec, DefinitionError> {
    match check(value) {
        Err(DefinitionError::Invalid(text)) if text == BAD_STATUS => {
            Err(invalid("Status for checks must 'passing', 'warning', 'critical'"))
        }
        other => other,
    }
}

/// Consul's text for a status of a check alone.
const BAD_STATUS: &str = "Bad check status";

/// As [`parse_check`], with the kind of the error.
pub(super) fn check(value: &Value) -> Result<CheckSpec, DefinitionError> {
    let mut fields = Fields::of(value, "structs.CheckDefinition")?;
    let id = fields.text("CheckID")?;
    let other_id = fields.text("ID")?;
    let timing = Timing::of(&mut fields)?;
    let http = fields.text("HTTP")?;
    let tcp = fields.text("TCP")?;
    let definition = CheckDefinition {
        method: fields.text("Method")?,
        header: header(fields.take("Header"))?,
        body: fields.text("Body")?,
        tls_skip_verify: fields.truth("TLSSkipVerify")?,
        http,
        tcp,
        interval_ms: millis(timing.interval),
        timeout_ms: millis(timing.timeout),
        ttl_ms: millis(timing.ttl),
        deregister_after_ms: millis(timing.deregister_after),
    };
    let status = fields.text("Status")?;
    let spec = CheckSpec {
        check: Check {
            id: if id.is_empty() { other_id } else { id },
            name: fields.text("Name")?,
            notes: fields.text("Notes")?,
            service_id: fields.text("ServiceID")?,
            status: CheckStatus::from_word(&status),
            ..Check::default()
        },
        success_before_passing: count(&mut fields, "SuccessBeforePassing")?,
        failures_before_critical: count(&mut fields, "FailuresBeforeCritical")?,
        output_max: usize::try_from(fields.whole("OutputMaxSize")?.unwrap_or(0))
            .ok()
            .ok_or_else(|| invalid("Invalid check: MaxOutputMaxSize must be positive"))?,
    };
    let script = asks_for_script(&mut fields)?;
    let later = asked_for_later(&mut fields);
    fields.ignore(&CHECK_IGNORED);
    fields.finish()?;
    let asked = Asked { script, later };
    let kind = judge(&timing, &definition, &asked)?;
    if !status.is_empty() && !matches!(status.as_str(), "passing" | "warning" | "critical") {
        return Err(invalid(BAD_STATUS));
    }
    Ok(with_kind(spec, kind, definition))
}

fn with_kind(mut spec: CheckSpec, kind: CheckKind, definition: CheckDefinition) -> CheckSpec {
    spec.check.kind = kind;
    spec.check.definition = definition;
    spec
}

/// Durations of a check in nanoseconds, as written.
struct Timing {
    interval: i64,
    timeout: i64,
    ttl: i64,
    deregister_after: i64,
}

impl Timing {
    fn of(fields: &mut Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            interval: fields.duration_nanos("Interval")?,
            timeout: fields.duration_nanos("Timeout")?,
            ttl: fields.duration_nanos("TTL")?,
            deregister_after: fields.duration_nanos("DeregisterCriticalServiceAfter")?,
        })
    }
}

/// What a definition asks for beside HTTP, TCP and TTL.
struct Asked {
    script: bool,
    later: Option<&'static str>,
}

/// Consul's rules, in Consul's order; then what is not built yet.
fn judge(
    timing: &Timing,
    definition: &CheckDefinition,
    asked: &Asked,
) -> Result<CheckKind, DefinitionError> {
    let alias = asked.later == Some("alias");
    let other_kind = asked.later.is_some() && !alias;
    let by_interval =
        asked.script || other_kind || !definition.http.is_empty() || !definition.tcp.is_empty();
    let broken = if timing.interval > 0 && timing.ttl > 0 {
        Some("Interval and TTL cannot both be specified")
    } else if by_interval && timing.interval <= 0 {
        Some("Interval must be > 0 for Script, HTTP, or TCP checks")
    } else if !by_interval && !alias && timing.ttl <= 0 {
        Some("TTL must be > 0 for TTL checks")
    } else {
        None
    };
    if let Some(text) = broken {
        return Err(invalid(format!("Invalid check: {text}")));
    }
    if asked.script {
        return Err(DefinitionError::Scripts);
    }
    if let Some(kind) = asked.later {
        return Err(invalid(format!("Invalid check: {kind} checks are not supported yet")));
    }
    Ok(if !definition.http.is_empty() {
        CheckKind::Http
    } else if !definition.tcp.is_empty() {
        CheckKind::Tcp
    } else {
        CheckKind::Ttl
    })
}

fn asks_for_script(fields: &mut Fields<'_>) -> Result<bool, String> {
    let args = fields.texts("Args")?.unwrap_or_default();
    let script_args = fields.texts("ScriptArgs")?.unwrap_or_default();
    let script = fields.text("Script")?;
    Ok(!args.is_empty() || !script_args.is_empty() || !script.is_empty())
}

/// The first kind or option that is asked for and not built.
fn asked_for_later(fields: &mut Fields<'_>) -> Option<&'static str> {
    let mut found = None;
    for (name, kind) in KINDS_LATER {
        if fields.take(name).is_some_and(|value| !is_unset(value)) {
            found = found.or(Some(kind));
        }
    }
    for name in OPTIONS_LATER {
        if fields.take(name).is_some_and(|value| !is_unset(value)) {
            found = found.or(Some(name));
        }
    }
    // Encryption of the check's own call is on by default in later versions: no wish by itself.
    fields.ignore(&["H2PingUseTLS"]);
    found
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(|map| map.values().all(is_unset))
}

fn count(fields: &mut Fields<'_>, name: &str) -> Result<u32, String> {
    Ok(u32::try_from(fields.whole(name)?.unwrap_or(0).max(0)).unwrap_or(u32::MAX))
}

pub(super) fn header(value: Option<&Value>) -> Result<BTreeMap<String, Vec<String>>, String> {
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let wrong = |found: &Value| mismatch(found, "Header", "map[string][]string");
    let map = value.as_object().ok_or_else(|| wrong(value))?;
    let texts = |values: &Value| {
        let list = values.as_array().ok_or_else(|| wrong(values))?;
        let one = |item: &Value| item.as_str().map(str::to_owned).ok_or_else(|| wrong(item));
        list.iter().map(one).collect::<Result<Vec<_>, _>>()
    };
    map.iter().map(|(name, values)| Ok((name.clone(), texts(values)?))).collect()
}

/// Addresses by purpose; a port outside its range is refused.
pub(super) fn addresses(
    value: Option<&Value>,
) -> Result<BTreeMap<String, ServiceAddress>, DefinitionError> {
    let mut found = BTreeMap::new();
    let Some(value) = value else { return Ok(found) };
    let wrong = || mismatch(value, "TaggedAddresses", "map[string]structs.ServiceAddress");
    for (purpose, value) in value.as_object().ok_or_else(wrong)? {
        let mut fields = Fields::of(value, "structs.ServiceAddress")?;
        let address = fields.text("Address")?;
        let port = port(fields.whole("Port")?)?;
        fields.finish()?;
        found.insert(purpose.clone(), ServiceAddress { address, port });
    }
    Ok(found)
}

/// A port of a service; none is 0.
pub(super) fn port(number: Option<i64>) -> Result<u16, DefinitionError> {
    let number = number.unwrap_or(0);
    u16::try_from(number)
        .ok()
        .ok_or_else(|| invalid(format!("Invalid service port {number}: must be 0 to 65535")))
}

/// Weights in Consul's bounds; `None` when they are not given.
pub(super) fn weights(value: Option<&Value>) -> Result<Option<Weights>, DefinitionError> {
    let Some(value) = value else { return Ok(None) };
    let mut fields = Fields::of(value, "structs.Weights")?;
    let passing = fields.whole("Passing")?.unwrap_or(0);
    let warning = fields.whole("Warning")?.unwrap_or(0);
    fields.finish()?;
    if passing < 1 {
        return Err(invalid("Invalid Weights: Passing must be greater than 0"));
    }
    if warning < 0 {
        return Err(invalid("Invalid Weights: Warning must be greater or equal than 0"));
    }
    match (u16::try_from(passing), u16::try_from(warning)) {
        (Ok(passing), Ok(warning)) => Ok(Some(Weights { passing, warning })),
        (Err(_), _) | (_, Err(_)) => {
            Err(invalid("Invalid Weights: DNS Weight must be between 0 and 65535"))
        }
    }
}

/// JSON that is kept as data; an empty object is nothing.
pub(super) fn kept(value: Option<&Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::Object(map)) if map.is_empty() => String::new(),
        Some(value) => value.to_string(),
    }
}

fn validate(service: &Service) -> Result<(), DefinitionError> {
    if service.name.is_empty() {
        return Err(invalid("Missing service name"));
    }
    for name in [&service.name, &service.id] {
        if name.len() > NAME_BYTES_MAX {
            let length = name.len();
            return Err(invalid(format!(
                "service name or id of {length} bytes is too long, at most {NAME_BYTES_MAX}"
            )));
        }
    }
    if is_any_address(&service.address) {
        return Err(invalid("Invalid service address"));
    }
    let meta = &service.meta;
    let reserved = meta.iter().find(|(key, _)| key.starts_with("consul-"));
    let reserved = reserved.map(|(key, value)| {
        let why = "Key prefix 'consul-' is reserved for internal use";
        format!("Couldn't load metadata pair ('{key}', '{value}'): {why}")
    });
    metadata(meta)
        .and_then(|()| reserved.map_or(Ok(()), Err))
        .map_err(|text| invalid(format!("Invalid Service Meta: {text}")))
}

/// Whether this is the address that means every interface.
pub(super) fn is_any_address(address: &str) -> bool {
    address.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

/// Consul's bounds of metadata, with Consul's texts; reserved keys are the caller's matter.
pub(super) fn metadata(meta: &BTreeMap<String, String>) -> Result<(), String> {
    if meta.len() > META_PAIRS_MAX {
        return Err(format!(
            "Node metadata cannot contain more than {META_PAIRS_MAX} key/value pairs"
        ));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    for (key, value) in meta {
        let why = if key.is_empty() {
            "Key cannot be blank".to_owned()
        } else if !key.bytes().all(plain) {
            "Key contains invalid characters".to_owned()
        } else if key.len() > META_KEY_BYTES_MAX {
            format!("Key is too long (limit: {META_KEY_BYTES_MAX} characters)")
        } else if value.len() > META_VALUE_BYTES_MAX {
            format!("Value is too long (limit: {META_VALUE_BYTES_MAX} characters)")
        } else {
            continue;
        };
        return Err(format!("Couldn't load metadata pair ('{key}', '{value}'): {why}"));
    }
    Ok(())
}

/// Adds the addresses by family that Consul adds for a service whose address is an IP.
fn with_address_families(mut service: Service) -> Service {
    let purposes = match service.address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => ["lan_ipv4", "wan_ipv4"],
        Ok(IpAddr::V6(_)) => ["lan_ipv6", "wan_ipv6"],
        Err(_) => return service,
    };
    for purpose in purposes {
        let own = ServiceAddress { address: service.address.clone(), port: service.port };
        service.tagged_addresses.entry(purpose.to_owned()).or_insert(own);
    }
    service
}

/// Consul's text for a check whose service this agent does not have.
pub(super) fn no_such_service(id: &str) -> String {
    format!("ServiceID {} does not exist", quoted(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_has_all_its_fields() {
        let (service, checks) = parse_service(&json!({
            "Name": "web", "tags": ["a", "B"], "PORT": 80, "Address": "10.0.0.1",
            "Meta": {"x": "y"}, "enable_tag_override": true,
            "tagged_addresses": {"lan": {"address": "1.2.3.4", "port": 8}},
            "Check": {"TTL": "30s", "Notes": "n"},
            "Checks": [
                {"HTTP": "http://127.0.0.1:1/x", "Interval": "10s", "Timeout": "1s",
                 "Header": {"X": ["y"]}, "Method": "POST",
                 "DeregisterCriticalServiceAfter": "1m"},
                {"TCP": "127.0.0.1:1", "interval": "5s", "Status": "warning"},
            ],
        }))
        .unwrap();
        assert_eq!((service.id.as_str(), service.port), ("web", 80));
        assert!(service.enable_tag_override);
        let purposes: Vec<_> = service.tagged_addresses.keys().map(String::as_str).collect();
        assert_eq!(purposes, ["lan", "lan_ipv4", "wan_ipv4"]);
        let kinds: Vec<_> = checks.iter().map(|spec| spec.check.kind).collect();
        assert_eq!(kinds, [CheckKind::Ttl, CheckKind::Http, CheckKind::Tcp]);
        assert_eq!(checks[0].check.definition.ttl_ms, 30_000);
        assert_eq!(checks[1].check.definition.deregister_after_ms, 60_000);
        assert_eq!(checks[1].check.definition.header["X"], ["y"]);
        assert_eq!(checks[2].check.status, CheckStatus::Warning);
    }

    #[test]
    fn an_empty_check_is_none() {
        let (_, checks) = parse_service(&json!({"Name": "x", "Check": {}})).unwrap();
        assert!(checks.is_empty());
    }

    #[test]
    fn bad_services_have_consuls_texts() {
        let long = "a".repeat(129);
        let pairs: serde_json::Map<_, _> = (0..65).map(|n| (format!("k{n}"), json!(""))).collect();
        for (value, want) in [
            (json!({}), "Missing service name"),
            (json!({"Name": "x", "Bogus": 1}), "json: unknown field \"Bogus\""),
            (json!({"Name": "x", "Address": "0.0.0.0"}), "Invalid service address"),
            (json!({"Name": "x", "Address": "::"}), "Invalid service address"),
            (
                json!({"Name": "x", "Weights": {"Passing": 0, "Warning": 1}}),
                "Invalid Weights: Passing must be greater than 0",
            ),
            (
                json!({"Name": "x", "Weights": {"Passing": 65536, "Warning": 1}}),
                "Invalid Weights: DNS Weight must be between 0 and 65535",
            ),
            (
                json!({"Name": "x", "Weights": {"Passing": 2, "Warning": -1}}),
                "Invalid Weights: Warning must be greater or equal than 0",
            ),
            (
                json!({"Name": "x", "Meta": {"a b": "1"}}),
                "Invalid Service Meta: Couldn't load metadata pair ('a b', '1'): Key contains \
                 invalid characters",
            ),
            (
                json!({"Name": "x", "Meta": {"consul-x": "1"}}),
                "Invalid Service Meta: Couldn't load metadata pair ('consul-x', '1'): Key prefix \
                 'consul-' is reserved for internal use",
            ),
            (
                json!({"Name": "x", "Meta": pairs}),
                "Invalid Service Meta: Node metadata cannot contain more than 64 key/value pairs",
            ),
            (json!({"Name": "x", "Port": 70000}), "Invalid service port 70000: must be 0 to 65535"),
        ] {
            assert_eq!(parse_service(&value).unwrap_err(), want, "{value}");
        }
        let text = parse_service(&json!({"Name": "x", "Meta": {long: ""}})).unwrap_err();
        assert!(text.ends_with("Key is too long (limit: 128 characters)"), "{text}");
    }

    #[test]
    fn bad_checks_have_consuls_texts() {
        for (check, want) in [
            (
                json!({"HTTP": "x"}),
                "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks",
            ),
            (json!({"Interval": "10s"}), "Invalid check: TTL must be > 0 for TTL checks"),
            (json!({"TTL": "-1s"}), "Invalid check: TTL must be > 0 for TTL checks"),
            (json!({"Name": "foo"}), "Invalid check: TTL must be > 0 for TTL checks"),
            (
                json!({"TTL": "1s", "Interval": "3s"}),
                "Invalid check: Interval and TTL cannot both be specified",
            ),
            (json!({"TTL": "abc"}), "time: invalid duration \"abc\""),
            (
                json!({"TTL": "1s", "Status": "weird"}),
                "Status for checks must 'passing', 'warning', 'critical'",
            ),
            (
                json!({"Args": ["x"], "Interval": "1s"}),
                "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' \
                 or 'enable_local_script_checks' to true",
            ),
            (
                json!({"GRPC": "x:1", "Interval": "1s"}),
                "Invalid check: gRPC checks are not supported yet",
            ),
            (json!({"AliasService": "web"}), "Invalid check: alias checks are not supported yet"),
        ] {
            let value = json!({"Name": "x", "Check": check});
            assert_eq!(parse_service(&value).unwrap_err(), want, "{value}");
        }
        assert_eq!(
            parse_check(&json!({"Name": "c", "TTL": "10s", "Status": "weird"})).unwrap_err(),
            "Bad check status"
        );
    }

    #[test]
    fn a_check_may_name_its_service() {
        let spec = parse_check(&json!({
            "id": "c2", "name": "c", "http": "http://x", "interval": "10ms", "timeout": "5s",
            "tls_skip_verify": true, "service_id": "web", "success_before_passing": 2,
        }))
        .unwrap();
        assert_eq!((spec.check.id.as_str(), spec.check.service_id.as_str()), ("c2", "web"));
        assert_eq!(spec.check.definition.interval_ms, 10);
        assert_eq!(spec.success_before_passing, 2);
    }
}
