//! The configuration as `/v1/agent/self` shows it, by the names that Consul's clients know.

use serde_json::{Map, Value, json};

use crate::config::{Config, Listen, Ports, format_duration};

/// `DebugConfig`: what is in force. Nothing here is a secret.
pub(super) fn shown(config: &Config) -> Value {
    let mut all = Map::new();
    for part in [who(config), doors(config), dns(config), duties(config), off()] {
        if let Value::Object(fields) = part {
            all.extend(fields);
        }
    }
    Value::Object(all)
}

fn who(config: &Config) -> Value {
    let data_dir = config.data_dir.as_ref().map(|dir| dir.display().to_string());
    let Ports { server, serf_lan, serf_wan, .. } = config.ports;
    json!({
        "Bootstrap": config.bootstrap,
        "BootstrapExpect": config.bootstrap_expect,
        "DataDir": data_dir.unwrap_or_default(),
        "Datacenter": config.datacenter,
        "PrimaryDatacenter": config.datacenter,
        "DevMode": config.dev,
        "NodeMeta": config.node_meta,
        "NodeName": config.node_name,
        "ServerMode": config.server,
        "ServerPort": server,
        "SerfPortLAN": serf_lan,
        "SerfPortWAN": serf_wan.map_or(-1, i32::from),
        "BindAddr": config.bind_addr.to_string(),
        "RetryJoinLAN": config.retry_join,
        "RetryJoinIntervalLAN": format_duration(config.retry_interval),
        "RetryJoinMaxAttemptsLAN": config.retry_max,
        "StartJoinAddrsLAN": config.start_join,
        "LeaveOnTerm": config.leave_on_terminate,
        "SkipLeaveOnInt": config.skip_leave_on_interrupt,
        "PidFile": config.pid_file.as_ref().map(|it| it.display().to_string()).unwrap_or_default(),
        "Logging": {
            "EnableSyslog": false,
            "LogFilePath": config.log_file.as_ref().map(|it| it.display().to_string()),
            "LogJSON": config.log_json,
            "LogLevel": config.log_level,
        },
    })
}

fn doors(config: &Config) -> Value {
    let clients: Vec<String> = config.client_addr.iter().map(ToString::to_string).collect();
    let http = config.addresses.http.iter().map(|listen| match listen {
        Listen::Ip(address) => {
            format!(
                "tcp://{}",
                crate::model::host_port(&address.to_string(), port(config.ports.http))
            )
        }
        Listen::Unix(path) => format!("unix://{}", path.display()),
    });
    let http: Vec<String> = http.filter(|_| config.ports.http.is_some()).collect();
    let networks = config.http.allow_write_http_from.iter();
    let networks: Vec<String> = networks.map(|(ip, bits)| format!("{ip}/{bits}")).collect();
    json!({
        "ClientAddrs": clients,
        "HTTPAddrs": http,
        "HTTPPort": config.ports.http.map_or(-1, i32::from),
        "HTTPSAddrs": [],
        "HTTPSPort": -1,
        "HTTPBlockEndpoints": config.http.block_endpoints,
        "HTTPResponseHeaders": config.http.response_headers,
        "HTTPUseCache": config.http.use_cache,
        "HTTPMaxConnsPerClient": config.limits.http_max_conns_per_client,
        "AllowWriteHTTPFrom": networks,
        "DisableHTTPUnprintableCharFilter": config.http.unprintable_paths,
        "DefaultQueryTime": format_duration(config.default_query_time),
        "MaxQueryTime": format_duration(config.max_query_time),
        "DiscoveryMaxStale": format_duration(config.discovery_max_stale),
        "KVMaxValueSize": config.limits.kv_max_value_size,
        "TxnMaxReqLen": config.limits.txn_max_req_len,
        "SessionTTLMin": format_duration(config.session_ttl_min),
    })
}

fn port(port: Option<u16>) -> u16 {
    port.unwrap_or_default()
}

fn dns(config: &Config) -> Value {
    let dns = &config.dns;
    let at = config.addresses.dns.iter();
    let at = at.map(|it| crate::model::host_port(&it.to_string(), port(config.ports.dns)));
    let addresses = at.flat_map(|it| [format!("tcp://{it}"), format!("udp://{it}")]);
    let addresses: Vec<String> = addresses.filter(|_| config.ports.dns.is_some()).collect();
    let ttls =
        dns.service_ttl.iter().map(|(name, ttl)| (name.clone(), json!(format_duration(*ttl))));
    json!({
        "DNSAddrs": addresses,
        "DNSPort": config.ports.dns.map_or(-1, i32::from),
        "DNSDomain": format!("{}.", config.domain),
        "DNSAltDomain": config.alt_domain.clone().unwrap_or_default(),
        "DNSAllowStale": dns.allow_stale,
        "DNSARecordLimit": dns.a_record_limit,
        "DNSDisableCompression": dns.disable_compression,
        "DNSEnableTruncate": dns.enable_truncate,
        "DNSMaxStale": format_duration(dns.max_stale),
        "DNSNodeMetaTXT": dns.enable_additional_node_meta_txt,
        "DNSNodeTTL": format_duration(dns.node_ttl),
        "DNSOnlyPassing": dns.only_passing,
        "DNSRecursorTimeout": format_duration(dns.recursor_timeout),
        "DNSRecursors": config.recursors.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "DNSServiceTTL": ttls.collect::<Map<_, _>>(),
        "DNSSOA": {
            "Expire": dns.soa.expire,
            "Minttl": dns.soa.min_ttl,
            "Refresh": dns.soa.refresh,
            "Retry": dns.soa.retry,
        },
        "DNSUDPAnswerLimit": dns.udp_answer_limit,
    })
}

fn duties(config: &Config) -> Value {
    let autopilot = &config.autopilot;
    json!({
        "AEInterval": "1m0s",
        "CheckUpdateInterval": format_duration(config.check_update_interval),
        "CheckOutputMaxSize": config.check_output_max_size,
        "CheckReapInterval": "30s",
        "CheckDeregisterIntervalMin": "1m0s",
        "EnableLocalScriptChecks": config.enable_local_script_checks,
        "EnableRemoteScriptChecks": config.enable_script_checks,
        "AutopilotCleanupDeadServers": autopilot.cleanup_dead_servers,
        "AutopilotLastContactThreshold": format_duration(autopilot.last_contact_threshold),
        "AutopilotMaxTrailingLogs": autopilot.max_trailing_logs,
        "AutopilotMinQuorum": autopilot.min_quorum,
        "AutopilotServerStabilizationTime": format_duration(autopilot.server_stabilization_time),
        "LeaveDrainTime": format_duration(config.performance.leave_drain_time),
        "RPCHoldTimeout": format_duration(config.performance.rpc_hold_timeout),
        "RaftProtocol": 3,
        "RaftSnapshotThreshold": config.raft_snapshot_threshold,
        "RaftTrailingLogs": config.raft_trailing_logs,
        "Telemetry": {
            "DisableHostname": config.telemetry.disable_hostname,
            "MetricsPrefix": config.telemetry.metrics_prefix,
            "PrometheusRetentionTime":
                format_duration(config.telemetry.prometheus_retention_time),
        },
    })
}

/// What this program does not do yet, as one that has it switched off says it.
fn off() -> Value {
    json!({
        "ACLsEnabled": false,
        "ConnectEnabled": false,
        "EnableUI": false,
        "EncryptVerifyIncoming": false,
        "EncryptVerifyOutgoing": false,
        "VerifyIncoming": false,
        "VerifyIncomingHTTPS": false,
        "VerifyIncomingRPC": false,
        "VerifyOutgoing": false,
        "VerifyServerHostname": false,
        "TranslateWANAddrs": false,
        "DisableRemoteExec": true,
        "SegmentName": "",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_look_for_is_there_and_in_consuls_form() {
        let config = Config::load(&["-dev".to_owned(), "-node=n".to_owned()]).unwrap();
        let shown = shown(&config);
        assert_eq!(shown["NodeName"], "n");
        assert_eq!(shown["HTTPAddrs"][0], "tcp://127.0.0.1:8500");
        assert_eq!(shown["DNSAddrs"][1], "udp://127.0.0.1:8600");
        assert_eq!(shown["MaxQueryTime"], "10m0s");
        assert_eq!(shown["Telemetry"]["MetricsPrefix"], "consul");
        assert!(shown.as_object().is_some_and(|all| all.len() > 60));
    }

    #[test]
    fn what_is_set_is_what_is_shown() {
        let words = ["-dev", "-hcl", "check_output_max_size = 100"].map(str::to_owned);
        let config = Config::load(&words).unwrap();
        assert_eq!(shown(&config)["CheckOutputMaxSize"], 100);
    }
}
