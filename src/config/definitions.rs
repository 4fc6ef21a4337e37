//! Definitions of services and checks: which keys they may hold, and how the CLI reads them.

use std::path::Path;

use serde_json::Value;

use super::layer::{ConfigError, Layer, expected};
use super::load::{Format, read_file};

/// Keys of a service, without underscores, since both spellings are met.
const SERVICE_KEYS: &[&str] = &[
    "address",
    "check",
    "checks",
    "connect",
    "enabletagoverride",
    "id",
    "kind",
    "locality",
    "meta",
    "name",
    "namespace",
    "partition",
    "port",
    "proxy",
    "socketpath",
    "taggedaddresses",
    "tags",
    "token",
    "weights",
];

/// Keys of a check, without underscores.
const CHECK_KEYS: &[&str] = &[
    "aliasnode",
    "aliasservice",
    "args",
    "body",
    "checkid",
    "deregistercriticalserviceafter",
    "disableredirects",
    "dockercontainerid",
    "enterprisemeta",
    "failuresbeforecritical",
    "failuresbeforewarning",
    "grpc",
    "grpcusetls",
    "h2ping",
    "h2pingusetls",
    "header",
    "http",
    "id",
    "interval",
    "method",
    "name",
    "namespace",
    "notes",
    "osservice",
    "outputmaxsize",
    "partition",
    "scriptargs",
    "serviceid",
    "shell",
    "status",
    "successbeforepassing",
    "tcp",
    "tcpusetls",
    "timeout",
    "tlsservername",
    "tlsskipverify",
    "token",
    "ttl",
    "udp",
];

/// Reads the service definitions of a file, `service` and `services` alike, as they stand in it.
///
/// # Errors
///
/// The file cannot be read, is neither JSON nor HCL, or holds a key that nobody knows.
pub fn read_services(path: &Path) -> Result<Vec<Value>, ConfigError> {
    read_both(path, "service", "services")
}

/// Reads the check definitions of a file, `check` and `checks` alike, as they stand in it.
///
/// # Errors
///
/// As [`read_services`].
pub fn read_checks(path: &Path) -> Result<Vec<Value>, ConfigError> {
    read_both(path, "check", "checks")
}

fn read_both(path: &Path, one: &str, many: &str) -> Result<Vec<Value>, ConfigError> {
    let format = Format::of(path).ok_or_else(|| {
        ConfigError::new(format!("{}: the name must end in .json or .hcl", path.display()))
    })?;
    let layer = read_file(path, format)?;
    Ok(both(&layer, one, many))
}

/// The definitions under `one` and `many`, in this order.
pub(super) fn both(layer: &Layer, one: &str, many: &str) -> Vec<Value> {
    let mut all = layer.definitions(one);
    all.extend(layer.definitions(many));
    all
}

/// `value` as a list of definitions whose keys are all known.
pub(super) fn check_keys(key: &str, value: &Value) -> Result<Value, ConfigError> {
    let list = match value {
        Value::Array(list) => list.clone(),
        Value::Object(_) => vec![value.clone()],
        other => return Err(expected(key, "an object or a list of them", other)),
    };
    let known = if key.starts_with("service") { SERVICE_KEYS } else { CHECK_KEYS };
    for (at, definition) in list.iter().enumerate() {
        let path = if value.is_array() { format!("{key}[{at}]") } else { key.to_owned() };
        check_one(&path, definition, known)?;
    }
    Ok(Value::Array(list))
}

fn check_one(path: &str, definition: &Value, known: &[&str]) -> Result<(), ConfigError> {
    let Value::Object(entries) = definition else {
        return Err(expected(path, "an object", definition));
    };
    for (name, entry) in entries {
        let bare = name.replace('_', "").to_ascii_lowercase();
        if !known.contains(&bare.as_str()) {
            return Err(ConfigError::new(format!("invalid config key {path}.{name}")));
        }
        if !std::ptr::eq(known, SERVICE_KEYS) || entry.is_null() {
            continue;
        }
        if bare == "check" || bare == "checks" {
            check_keys_of_checks(&format!("{path}.{name}"), entry)?;
        }
    }
    Ok(())
}

fn check_keys_of_checks(path: &str, value: &Value) -> Result<(), ConfigError> {
    match value {
        Value::Array(list) => list.iter().try_for_each(|one| check_one(path, one, CHECK_KEYS)),
        one => check_one(path, one, CHECK_KEYS),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_keys_are_named_with_their_place() {
        let table = [
            ("service", json!({"name": "a", "bogus": 1}), "invalid config key service.bogus"),
            ("services", json!([{"name": "a"}, {"prt": 1}]), "invalid config key services[1].prt"),
            ("service", json!({"check": {"tll": "1s"}}), "invalid config key service.check.tll"),
            ("check", json!({"port": 1}), "invalid config key check.port"),
            ("checks", json!("x"), "'checks' expected an object or a list of them, got \"x\""),
        ];
        for (key, value, message) in table {
            assert_eq!(check_keys(key, &value).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn both_spellings_are_known() {
        let service = json!({"Name": "a", "EnableTagOverride": true, "enable_tag_override": true,
            "checks": [{"ScriptArgs": ["x"], "deregister_critical_service_after": "1m"}]});
        assert!(check_keys("service", &service).is_ok());
    }
}
