//! Definitions of checks as their owners write them: every kind, its rules in Consul's order, and
//! Consul's texts for what breaks them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::agent::{CheckRun, CheckSpec};
use crate::model::{Check, CheckDefinition, CheckKind, CheckStatus};

use super::definition::{DefinitionError, invalid};
use super::json::{Fields, mismatch};
use super::number::millis;

/// Fields of later versions and of the enterprise product that change nothing here.
const IGNORED: [&str; 4] = ["Token", "Namespace", "Partition", "EnterpriseMeta"];
/// Belongs to the mesh, and not given: silence would judge another thing than was asked.
const REFUSED: [&str; 2] = ["ProxyHTTP", "ProxyGRPC"];

/// Consul's text for a status of a check alone, and of a check of a service.
const BAD_STATUS: &str = "Bad check status";
const BAD_STATUS_OF_SERVICE: &str = "Status for checks must 'passing', 'warning', 'critical'";

/// Reads a check as a configuration file defines it.
///
/// Its `service_id` is filled where the definition names one, and it counts as one of a file; the
/// rest is as in [`super::parse_service`].
///
/// # Errors
///
/// As [`super::parse_service`].
///
/// Source: Consul HTTP API, "Register Check".
pub fn parse_check(value: &Value) -> Result<CheckSpec, String> {
    let spec = check(value).map_err(DefinitionError::local_text)?;
    Ok(CheckSpec { from_file: true, ..spec })
}

/// A check of its own, with the kind of the error: its status is looked at first.
pub(super) fn check(value: &Value) -> Result<CheckSpec, DefinitionError> {
    let Read { mut spec, status, timing } = read(value)?;
    if !is_status(&status) {
        return Err(invalid(BAD_STATUS));
    }
    spec.check.kind = judge(&timing, &spec)?;
    Ok(spec)
}

/// A check of a service: its status is looked at last.
pub(super) fn of_service(value: &Value) -> Result<CheckSpec, DefinitionError> {
    let Read { mut spec, status, timing } = read(value)?;
    spec.check.kind = judge(&timing, &spec)?;
    if is_status(&status) { Ok(spec) } else { Err(invalid(BAD_STATUS_OF_SERVICE)) }
}

/// Whether a definition says nothing at all.
pub(super) fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(|map| map.values().all(is_unset))
}

fn is_status(word: &str) -> bool {
    matches!(word, "" | "passing" | "warning" | "critical")
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// A definition as far as it decodes; its kind is not known yet.
struct Read {
    spec: CheckSpec,
    status: String,
    timing: Timing,
}

/// Durations and sizes of a check as written: durations in nanoseconds.
struct Timing {
    interval: i64,
    timeout: i64,
    ttl: i64,
    deregister_after: i64,
    output_max: i64,
}

impl Timing {
    fn of(fields: &mut Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            interval: fields.duration_nanos("Interval")?,
            timeout: fields.duration_nanos("Timeout")?,
            ttl: fields.duration_nanos("TTL")?,
            deregister_after: fields.duration_nanos("DeregisterCriticalServiceAfter")?,
            output_max: fields.whole("OutputMaxSize")?.unwrap_or(0),
        })
    }
}

fn read(value: &Value) -> Result<Read, DefinitionError> {
    let mut fields = Fields::of(value, "structs.CheckDefinition")?;
    let id = fields.text("CheckID")?;
    let other_id = fields.text("ID")?;
    let timing = Timing::of(&mut fields)?;
    let status = fields.text("Status")?;
    let definition = definition(&mut fields, &timing)?;
    let spec = CheckSpec {
        check: Check {
            id: if id.is_empty() { other_id } else { id },
            name: fields.text("Name")?,
            notes: fields.text("Notes")?,
            service_id: fields.text("ServiceID")?,
            status: CheckStatus::from_word(&status),
            definition,
            ..Check::default()
        },
        how: run(&mut fields)?,
        success_before_passing: count(&mut fields, "SuccessBeforePassing")?,
        failures_before_warning: count(&mut fields, "FailuresBeforeWarning")?,
        failures_before_critical: count(&mut fields, "FailuresBeforeCritical")?,
        output_max: usize::try_from(timing.output_max).unwrap_or(0),
        from_file: false,
    };
    refuse(&mut fields)?;
    fields.ignore(&IGNORED);
    fields.finish()?;
    Ok(Read { spec, status, timing })
}

fn definition(fields: &mut Fields<'_>, timing: &Timing) -> Result<CheckDefinition, String> {
    Ok(CheckDefinition {
        http: fields.text("HTTP")?,
        tcp: fields.text("TCP")?,
        method: fields.text("Method")?,
        header: header(fields.take("Header"))?,
        body: fields.text("Body")?,
        tls_skip_verify: fields.truth("TLSSkipVerify")?,
        interval_ms: millis(timing.interval),
        timeout_ms: millis(timing.timeout),
        ttl_ms: millis(timing.ttl),
        deregister_after_ms: millis(timing.deregister_after),
    })
}

fn run(fields: &mut Fields<'_>) -> Result<CheckRun, String> {
    let args = fields.texts("Args")?.unwrap_or_default();
    let script_args = fields.texts("ScriptArgs")?.unwrap_or_default();
    let grpc = fields.text("GRPC")?;
    let h2ping = fields.text("H2PING")?;
    let grpc_tls = fields.truth("GRPCUseTLS")?;
    let tcp_tls = fields.truth("TCPUseTLS")?;
    // A ping of HTTP/2 speaks TLS unless it is told not to. Source: Consul 1.10, "H2PingUseTLS".
    let h2ping_plain = fields.take("H2PingUseTLS") == Some(&Value::Bool(false));
    let tls = match (h2ping.is_empty(), grpc.is_empty()) {
        (_, false) => grpc_tls,
        (false, true) => !h2ping_plain,
        (true, true) => tcp_tls,
    };
    Ok(CheckRun {
        args: if args.is_empty() { script_args } else { args },
        container: fields.text("DockerContainerID")?,
        shell: fields.text("Shell")?,
        udp: fields.text("UDP")?,
        grpc,
        h2ping,
        tls,
        tls_server_name: fields.text("TLSServerName")?,
        disable_redirects: fields.truth("DisableRedirects")?,
        alias_node: fields.text("AliasNode")?,
        alias_service: fields.text("AliasService")?,
    })
}

/// What is asked for and cannot be given.
fn refuse(fields: &mut Fields<'_>) -> Result<(), DefinitionError> {
    // Consul runs these on Windows alone.
    if fields.take("OSService").is_some_and(|value| !is_unset(value)) {
        return Err(invalid("Invalid check: OSService checks are not available on this system"));
    }
    for name in REFUSED {
        if fields.take(name).is_some_and(|value| !is_unset(value)) {
            return Err(invalid(format!("Invalid check: {name} is not supported")));
        }
    }
    Ok(())
}

/// Consul's rules, in Consul's order, and which kind of check it is by them.
fn judge(timing: &Timing, spec: &CheckSpec) -> Result<CheckKind, DefinitionError> {
    let (how, definition) = (&spec.how, &spec.check.definition);
    let script = !how.args.is_empty();
    let alias = !how.alias_node.is_empty() || !how.alias_service.is_empty();
    let targets = [&definition.http, &definition.tcp, &how.udp, &how.grpc, &how.h2ping];
    let by_interval = script || targets.iter().any(|target| !target.is_empty());
    let (warn, fail) = (spec.failures_before_warning, spec.failures_before_critical);
    let broken = if timing.interval > 0 && timing.ttl > 0 {
        Some("Interval and TTL cannot both be specified")
    } else if by_interval && timing.interval <= 0 {
        Some("Interval must be > 0 for Script, HTTP, or TCP checks")
    } else if by_interval && alias {
        Some("Interval cannot be set for Alias checks")
    } else if alias && timing.ttl > 0 {
        Some("TTL must be not be set for Alias checks")
    } else if !by_interval && !alias && timing.ttl <= 0 {
        Some("TTL must be > 0 for TTL checks")
    } else if timing.output_max < 0 {
        Some("MaxOutputMaxSize must be positive")
    } else if warn > fail {
        Some("FailuresBeforeWarning can't be higher than FailuresBeforeCritical")
    } else {
        None
    };
    if let Some(text) = broken {
        return Err(invalid(format!("Invalid check: {text}")));
    }
    let script_kind = if how.container.is_empty() { CheckKind::Script } else { CheckKind::Docker };
    let kinds = [
        (timing.ttl > 0, CheckKind::Ttl),
        (!definition.http.is_empty(), CheckKind::Http),
        (!definition.tcp.is_empty(), CheckKind::Tcp),
        (!how.udp.is_empty(), CheckKind::Udp),
        (!how.grpc.is_empty(), CheckKind::Grpc),
        (script, script_kind),
        (!how.h2ping.is_empty(), CheckKind::H2ping),
    ];
    let first = kinds.iter().find(|(asked, _)| *asked);
    Ok(first.map_or(CheckKind::Alias, |(_, kind)| *kind))
}

fn count(fields: &mut Fields<'_>, name: &str) -> Result<u32, String> {
    Ok(u32::try_from(fields.whole(name)?.unwrap_or(0).max(0)).unwrap_or(u32::MAX))
}

/// Headers of an HTTP check, each with its values.
pub(super) fn header(value: Option<&Value>) -> Result<BTreeMap<String, Vec<String>>, String> {
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let wrong = |found: &Value| mismatch(found, "Header", "map[string][]string");
    let map = value.as_object().ok_or_else(|| wrong(value))?;
    let texts = |values: &Value| {
        let part = |found: &Value, wanted: &str| mismatch(found, "Header", wanted);
        let list = values.as_array().ok_or_else(|| part(values, "[]string"))?;
        let one =
            |item: &Value| item.as_str().map(str::to_owned).ok_or_else(|| part(item, "string"));
        list.iter().map(one).collect::<Result<Vec<_>, _>>()
    };
    map.iter().map(|(name, values)| Ok((name.clone(), texts(values)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse_service;
    use serde_json::json;

    #[test]
    fn every_kind_is_told_by_its_field() {
        for (check, kind) in [
            (json!({"TTL": "1s"}), CheckKind::Ttl),
            (json!({"HTTP": "http://x", "Interval": "1s"}), CheckKind::Http),
            (json!({"tcp": "x:1", "interval": 1_000_000_000}), CheckKind::Tcp),
            (json!({"udp": "x:1", "interval": "1s"}), CheckKind::Udp),
            (json!({"GRPC": "x:1/y", "Interval": "1s"}), CheckKind::Grpc),
            (json!({"h2ping": "x:1", "interval": "1s"}), CheckKind::H2ping),
            (json!({"Args": ["x"], "Interval": "1s"}), CheckKind::Script),
            (json!({"script_args": ["x"], "interval": "1s"}), CheckKind::Script),
            (
                json!({"docker_container_id": "c", "args": ["x"], "interval": "1s"}),
                CheckKind::Docker,
            ),
            (json!({"AliasService": "web"}), CheckKind::Alias),
            (json!({"alias_node": "n2", "Interval": "1s"}), CheckKind::Alias),
        ] {
            let spec = parse_check(&check).unwrap();
            assert_eq!((spec.check.kind, spec.from_file), (kind, true), "{check}");
        }
    }

    #[test]
    fn all_fields_arrive() {
        let spec = parse_check(&json!({
            "ID": "c", "name": "c", "docker_container_id": "cont", "ScriptArgs": ["a", "b"],
            "Shell": "/bin/ash", "Interval": "10s", "Timeout": 5_000_000_000_i64,
            "TLSSkipVerify": true, "tls_server_name": "t", "DisableRedirects": true,
            "success_before_passing": 2, "failures_before_warning": 3,
            "FailuresBeforeCritical": 4, "output_max_size": 9,
            "deregister_critical_service_after": "90m",
        }))
        .unwrap();
        let how = CheckRun {
            args: vec!["a".to_owned(), "b".to_owned()],
            container: "cont".to_owned(),
            shell: "/bin/ash".to_owned(),
            tls_server_name: "t".to_owned(),
            disable_redirects: true,
            ..CheckRun::default()
        };
        assert_eq!((spec.how, spec.output_max), (how, 9));
        let definition = &spec.check.definition;
        assert_eq!((definition.timeout_ms, definition.deregister_after_ms), (5000, 5_400_000));
        let counts = [
            spec.success_before_passing,
            spec.failures_before_warning,
            spec.failures_before_critical,
        ];
        assert_eq!(counts, [2, 3, 4]);
    }

    #[test]
    fn tls_is_asked_for_by_kind() {
        for (check, tls) in [
            (json!({"GRPC": "x:1"}), false),
            (json!({"GRPC": "x:1", "GRPCUseTLS": true}), true),
            (json!({"H2PING": "x:1"}), true),
            (json!({"H2PING": "x:1", "h2ping_use_tls": false}), false),
            (json!({"TCP": "x:1"}), false),
            (json!({"TCP": "x:1", "tcp_use_tls": true}), true),
        ] {
            let mut check = check;
            check["Interval"] = json!("1s");
            assert_eq!(parse_check(&check).unwrap().how.tls, tls, "{check}");
        }
    }

    #[test]
    fn bad_checks_have_consuls_texts() {
        for (check, want) in [
            (
                json!({"HTTP": "x"}),
                "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks",
            ),
            (
                json!({"UDP": "x", "Status": "weird"}),
                "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks",
            ),
            (json!({"Interval": "10s"}), "Invalid check: TTL must be > 0 for TTL checks"),
            (json!({"TTL": "-1s"}), "Invalid check: TTL must be > 0 for TTL checks"),
            (json!({"Name": "foo"}), "Invalid check: TTL must be > 0 for TTL checks"),
            (
                json!({"DockerContainerID": "x", "Interval": "3s"}),
                "Invalid check: TTL must be > 0 for TTL checks",
            ),
            (
                json!({"TTL": "1s", "Interval": "3s"}),
                "Invalid check: Interval and TTL cannot both be specified",
            ),
            (
                json!({"AliasService": "x", "TTL": "3s"}),
                "Invalid check: TTL must be not be set for Alias checks",
            ),
            (
                json!({"AliasService": "x", "HTTP": "http://a", "Interval": "3s"}),
                "Invalid check: Interval cannot be set for Alias checks",
            ),
            (
                json!({"TTL": "1s", "OutputMaxSize": -1}),
                "Invalid check: MaxOutputMaxSize must be positive",
            ),
            (
                json!({"TTL": "1s", "FailuresBeforeWarning": 3}),
                "Invalid check: FailuresBeforeWarning can't be higher than FailuresBeforeCritical",
            ),
            (json!({"TTL": "abc"}), "time: invalid duration \"abc\""),
            (
                json!({"TTL": "1s", "Status": "weird"}),
                "Status for checks must 'passing', 'warning', 'critical'",
            ),
            (json!({"Script": "x", "Interval": "1s"}), "json: unknown field \"Script\""),
            (
                json!({"OSService": "x", "Interval": "1s"}),
                "Invalid check: OSService checks are not available on this system",
            ),
            (
                json!({"HTTP": "x", "Interval": "1s", "ProxyHTTP": "y"}),
                "Invalid check: ProxyHTTP is not supported",
            ),
            (
                json!({"HTTP": "x", "Interval": "1s", "Header": {"a": "b"}}),
                "json: cannot unmarshal string into Go struct field .Header of type []string",
            ),
        ] {
            let value = json!({"Name": "x", "Check": check});
            assert_eq!(parse_service(&value).unwrap_err(), want, "{value}");
        }
        let weird = json!({"Name": "c", "HTTP": "x", "Status": "weird"});
        assert_eq!(parse_check(&weird).unwrap_err(), "Bad check status");
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
