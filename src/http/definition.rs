//! Definitions of services as their owners write them: the same words for the API and for
//! configuration files. Source: Consul HTTP API, "Register Service".

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::agent::CheckSpec;
use crate::limits::{META_KEY_BYTES_MAX, META_PAIRS_MAX, META_VALUE_BYTES_MAX, NAME_BYTES_MAX};
use crate::model::{Service, ServiceAddress, Weights};

use super::check_definition;
use super::json::{Fields, mismatch};
use super::number::quoted;

/// Fields of later versions and of the enterprise product that change nothing here.
const SERVICE_IGNORED: [&str; 5] = ["Token", "Namespace", "Partition", "SocketPath", "Locality"];

/// Why a definition is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DefinitionError {
    /// It does not decode: Consul says so in front of the text.
    Decode(String),
    /// It decodes and makes no sense, in Consul's words.
    Invalid(String),
}

impl DefinitionError {
    /// The bare text: for a configuration file, a transaction, an archive.
    pub(super) fn local_text(self) -> String {
        match self {
            Self::Decode(text) | Self::Invalid(text) => text,
        }
    }
}

impl From<String> for DefinitionError {
    fn from(text: String) -> Self {
        Self::Decode(text)
    }
}

pub(super) fn invalid(text: impl Into<String>) -> DefinitionError {
    DefinitionError::Invalid(text.into())
}

/// Reads a service with its checks as a configuration file defines it.
///
/// Names of fields count without case and underscores; its checks count as those of a file. The
/// service's `node`, `create` and `modify` stay empty; ids and names of its checks may be empty,
/// for the agent to choose.
///
/// # Errors
///
/// One line that names the field and its bound, in Consul's words where Consul has some.
///
/// Source: Consul HTTP API, "Register Service".
pub fn parse_service(value: &Value) -> Result<(Service, Vec<CheckSpec>), String> {
    let (service, mut checks) = service(value).map_err(DefinitionError::local_text)?;
    for check in &mut checks {
        check.from_file = true;
    }
    Ok((service, checks))
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
        ..Service::default()
    };
    let service = with_mesh(service, fields.take("Proxy"), fields.take("Connect"))?;
    let one = fields.take("Check").filter(|check| !check_definition::is_empty(check));
    let many = fields.list("Checks")?;
    fields.ignore(&SERVICE_IGNORED);
    fields.finish()?;
    validate(&service)?;
    let mut checks = Vec::new();
    for value in one.into_iter().chain(many) {
        checks.push(check_definition::of_service(value)?);
    }
    Ok((with_address_families(service), checks))
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

/// The same with its mesh settings.
pub(super) fn with_mesh(
    mut service: Service,
    proxy: Option<&Value>,
    connect: Option<&Value>,
) -> Result<Service, String> {
    service.lets_in_to = lets_in_to(&service, proxy, connect)?;
    (service.proxy, service.connect) = (kept(proxy), kept(connect));
    Ok(service)
}

/// The service that an instance lets the mesh in to, by its kind and mesh settings.
fn lets_in_to(
    service: &Service,
    proxy: Option<&Value>,
    connect: Option<&Value>,
) -> Result<String, String> {
    if service.kind == "connect-proxy" {
        let mut fields = proxy.map(|proxy| Fields::of(proxy, "structs.ConnectProxyConfig"));
        return match &mut fields {
            Some(Ok(fields)) => fields.text("DestinationServiceName"),
            Some(Err(error)) => Err(std::mem::take(error)),
            None => Ok(String::new()),
        };
    }
    let native = match connect {
        Some(connect) => Fields::of(connect, "structs.ServiceConnect")?.truth("Native")?,
        None => false,
    };
    Ok(if native { service.name.clone() } else { String::new() })
}

/// JSON that is kept as data; an empty object is nothing.
fn kept(value: Option<&Value>) -> String {
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
    if service.kind == "connect-proxy" && service.lets_in_to.trim().is_empty() {
        return Err(invalid(
            "1 error occurred:\n\t* Proxy.DestinationServiceName must be non-empty for Connect \
             proxy services\n\n",
        ));
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
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(address).parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
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
    use crate::model::{CheckKind, CheckStatus};
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
}
