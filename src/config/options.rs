//! The option table: every key that a file may hold and every flag that `agent` takes.

/// What values an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// `true` or `false`.
    Switch,
    /// A whole number between these bounds, both included.
    Number(i64, i64),
    /// A duration as Go writes it, such as `10s`.
    Duration,
    /// Strings; sources append to each other.
    List,
    /// Names and strings; sources merge.
    Map,
    /// Definitions of services or checks, kept as they came; sources append.
    Definitions,
    /// Watches, kept as they came; sources append.
    Watches,
    /// Anything: a section that we do not read.
    Opaque,
}

/// What this program does with an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has the effect that its text says.
    Used,
    /// It may be set and changes nothing that could be noticed.
    Quiet,
    /// It may be set, has no effect yet, and is warned about once.
    Warned,
    /// It asks for protection that we do not give: set to anything but empty, false or a port
    /// below 1, it is an error.
    Refused,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Key path in files, as Consul spells it: `performance.raft_multiplier`.
    pub key: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The value where nobody says otherwise, written as in a flag; empty for none.
    pub default: &'static str,
    /// Flags of `agent` that set it, without dashes.
    pub flags: &'static [&'static str],
    /// True if a reload takes it up; else it needs a restart.
    pub reloadable: bool,
    /// What this program does with it.
    pub state: State,
    /// What it is, in a few words.
    pub help: &'static str,
}

impl Setting {
    const fn flag(mut self, flags: &'static [&'static str]) -> Self {
        self.flags = flags;
        self
    }

    const fn reload(mut self) -> Self {
        self.reloadable = true;
        self
    }
}

const fn row(key: &'static str, kind: Kind, state: State, help: &'static str) -> Setting {
    Setting { key, kind, default: "", flags: &[], reloadable: false, state, help }
}

const fn used(key: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    let mut setting = row(key, kind, State::Used, help);
    setting.default = default;
    setting
}

const fn quiet(key: &'static str, kind: Kind) -> Setting {
    row(key, kind, State::Quiet, "accepted; what it asks for is already so, or is not needed here")
}

const fn warned(key: &'static str, kind: Kind) -> Setting {
    row(key, kind, State::Warned, "accepted with a warning; no effect yet")
}

const fn refused(key: &'static str, kind: Kind) -> Setting {
    row(key, kind, State::Refused, "protection that is not built yet; refused unless empty or off")
}

use Kind::{Definitions, Duration, List, Map, Number, Opaque, Switch, Text, Watches};

const PORT: Kind = Number(-1, 65535);
const COUNT: Kind = Number(0, i64::MAX);

/// Every option, grouped by subject.
///
/// Source: Consul agent configuration reference, 1.8.
pub const OPTIONS: &[Setting] = &[
    // Who this agent is.
    used("node_name", Text, "", "name of this node, unique in the cluster; the host name if empty")
        .flag(&["node"]),
    used("node_id", Text, "", "id of this node, a UUID; made at the first start and kept if empty")
        .flag(&["node-id"]),
    used("node_meta", Map, "", "names and values that tell more about this node")
        .flag(&["node-meta"]),
    used("datacenter", Text, "dc1", "datacenter of this agent: a-z, 0-9, - and _")
        .flag(&["datacenter"]),
    used("domain", Text, "consul", "domain that the DNS door answers for").flag(&["domain"]),
    used("alt_domain", Text, "", "second domain that the DNS door answers for")
        .flag(&["alt-domain"]),
    used("data_dir", Text, "", "folder for all state; needed except with -dev").flag(&["data-dir"]),
    used("server", Switch, "false", "keep a replica of the cluster's state").flag(&["server"]),
    used("bootstrap", Switch, "false", "a lone server may elect itself").flag(&["bootstrap"]),
    used("bootstrap_expect", Number(i64::MIN, i64::MAX), "0", "servers to wait for at the start")
        .flag(&["bootstrap-expect"]),
    used("pid_file", Text, "", "file to keep the process id in").flag(&["pid-file"]),
    // Where it listens.
    used("bind_addr", Text, "127.0.0.1", "address for traffic between agents (Consul: 0.0.0.0)")
        .flag(&["bind"]),
    used("client_addr", Text, "127.0.0.1", "addresses of the client doors, parted by blanks")
        .flag(&["client"]),
    used("advertise_addr", Text, "", "address that others use to reach this agent")
        .flag(&["advertise"]),
    used("addresses.http", Text, "", "addresses of the HTTP door, or unix:///path; client_addr"),
    used("addresses.dns", Text, "", "addresses of the DNS door; client_addr if empty"),
    quiet("addresses.https", Text),
    quiet("addresses.grpc", Text),
    used("ports.http", PORT, "8500", "port of the HTTP door; -1 is off").flag(&["http-port"]),
    used("ports.dns", PORT, "8600", "port of the DNS door, UDP and TCP; -1 is off")
        .flag(&["dns-port"]),
    used("ports.server", PORT, "8300", "port for traffic between servers").flag(&["server-port"]),
    used("ports.serf_lan", PORT, "8301", "port of the gossip, UDP and TCP")
        .flag(&["serf-lan-port"]),
    used("ports.serf_wan", PORT, "8302", "kept and shown; gossip between datacenters is not built")
        .flag(&["serf-wan-port"]),
    refused("ports.https", PORT).flag(&["https-port"]),
    warned("ports.grpc", PORT).flag(&["grpc-port"]),
    warned("ports.grpc_tls", PORT),
    warned("ports.sidecar_min_port", PORT),
    warned("ports.sidecar_max_port", PORT),
    warned("ports.expose_min_port", PORT),
    warned("ports.expose_max_port", PORT),
    // Whom it joins, and how it leaves.
    used("retry_join", List, "", "addresses to join, tried until one answers")
        .flag(&["retry-join"]),
    used("start_join", List, "", "addresses to join once, at the start").flag(&["join"]),
    used("retry_interval", Duration, "1s", "pause between attempts to join (Consul: 30s)")
        .flag(&["retry-interval"]),
    used("retry_max", COUNT, "0", "attempts to join; 0 is without end").flag(&["retry-max"]),
    used("leave_on_terminate", Switch, "", "SIGTERM leaves; unset: on agents, not on servers"),
    used("skip_leave_on_interrupt", Switch, "", "SIGINT does not leave; unset: so on servers"),
    used("rejoin_after_leave", Switch, "false", "look for the pool by itself also after it left")
        .flag(&["rejoin"]),
    used("reconnect_timeout", Duration, "72h", "a failed member's node goes after this long"),
    warned("retry_join_wan", List).flag(&["retry-join-wan"]),
    warned("start_join_wan", List).flag(&["join-wan"]),
    warned("retry_interval_wan", Duration).flag(&["retry-interval-wan"]),
    warned("reconnect_timeout_wan", Duration),
    warned("retry_max_wan", COUNT).flag(&["retry-max-wan"]),
    warned("advertise_addr_wan", Text).flag(&["advertise-wan"]),
    warned("advertise_addr_ipv4", Text),
    warned("advertise_addr_ipv6", Text),
    warned("advertise_addr_wan_ipv4", Text),
    warned("advertise_addr_wan_ipv6", Text),
    warned("serf_lan", Text).flag(&["serf-lan-bind"]),
    warned("serf_wan", Text).flag(&["serf-wan-bind"]),
    warned("primary_gateways", List).flag(&["primary-gateway"]),
    warned("primary_gateways_interval", Duration),
    warned("primary_datacenter", Text),
    // What it logs.
    used("log_level", Text, "INFO", "TRACE, DEBUG, INFO, WARN or ERR")
        .flag(&["log-level"])
        .reload(),
    used("log_json", Switch, "false", "log lines as JSON").flag(&["log-json"]),
    used("log_file", Text, "", "file to log into as well").flag(&["log-file"]),
    used("log_rotate_bytes", COUNT, "0", "bytes after which a log file is followed by a new one")
        .flag(&["log-rotate-bytes"]),
    used("log_rotate_duration", Duration, "0s", "age after which it is; 0s with another is 24h")
        .flag(&["log-rotate-duration"]),
    used("log_rotate_max_files", Number(-1, i64::MAX), "0", "old ones kept; 0 is all, -1 none")
        .flag(&["log-rotate-max-files"]),
    warned("enable_syslog", Switch).flag(&["syslog"]),
    quiet("syslog_facility", Text),
    // What runs on this host.
    used("service", Definitions, "", "definition of a service on this host").reload(),
    used("services", Definitions, "", "definitions of services on this host").reload(),
    used("check", Definitions, "", "definition of a health check").reload(),
    used("checks", Definitions, "", "definitions of health checks").reload(),
    used("check_update_interval", Duration, "5m", "longest delay of a change of output alone"),
    used("enable_script_checks", Switch, "false", "checks may run programs, from any source")
        .flag(&["enable-script-checks"]),
    used("enable_local_script_checks", Switch, "false", "checks from files may run programs")
        .flag(&["enable-local-script-checks"]),
    used("discard_check_output", Switch, "false", "keep no output of any check").reload(),
    used("check_output_max_size", COUNT, "4096", "bytes of a check's output kept, at most 4096")
        .flag(&["check_output_max_size"]),
    used("watches", Watches, "", "what to watch, and who is told of each change").reload(),
    used("tagged_addresses", Map, "", "addresses of this node by tag; lan and wan are its own"),
    warned("translate_wan_addrs", Switch),
    // DNS.
    used("dns_config.node_ttl", Duration, "0s", "TTL of answers about nodes").reload(),
    used("dns_config.service_ttl", Map, "", "TTL by service name; db* and * match more").reload(),
    used("dns_config.allow_stale", Switch, "true", "any server may answer").reload(),
    used("dns_config.max_stale", Duration, "87600h", "oldest state that an answer may have")
        .reload(),
    used("dns_config.only_passing", Switch, "false", "leave out services with a warning").reload(),
    used("dns_config.enable_truncate", Switch, "true", "set TC on cut UDP answers").reload(),
    used("dns_config.udp_answer_limit", COUNT, "3", "records in a UDP answer without EDNS")
        .reload(),
    used("dns_config.a_record_limit", COUNT, "0", "address records in any answer; 0 is all")
        .reload(),
    used("dns_config.disable_compression", Switch, "false", "write every name in full").reload(),
    used("dns_config.enable_additional_node_meta_txt", Switch, "true", "TXT records of node_meta")
        .reload(),
    used("dns_config.recursor_timeout", Duration, "2s", "patience with one recursor").reload(),
    used("dns_config.recursor_strategy", Text, "sequential", "sequential or random").reload(),
    used("dns_config.soa.refresh", Number(0, u32::MAX as i64), "3600", "SOA refresh, s").reload(),
    used("dns_config.soa.retry", Number(0, u32::MAX as i64), "600", "SOA retry, s").reload(),
    used("dns_config.soa.expire", Number(0, u32::MAX as i64), "86400", "SOA expire, s").reload(),
    used("dns_config.soa.min_ttl", Number(0, u32::MAX as i64), "0", "SOA minimum, s").reload(),
    used("dns_config.use_cache", Switch, "false", "answer from this server's own state").reload(),
    used("dns_config.cache_max_age", Duration, "0s", "with use_cache: oldest such state; 0 is any")
        .reload(),
    row("dns_config.prefer_namespace", Switch, State::Warned, "namespaces are Consul Enterprise's"),
    used("recursors", List, "", "DNS servers for every other name").flag(&["recursor"]).reload(),
    // How fast, how much.
    used("performance.raft_multiplier", Number(1, 10), "1", "scales Raft's timeouts (Consul: 5)"),
    used("performance.rpc_hold_timeout", Duration, "7s", "patience while there is no leader"),
    used("performance.leave_drain_time", Duration, "5s", "pause between leaving and stopping"),
    used("limits.http_max_conns_per_client", COUNT, "200", "HTTP connections from one address"),
    used("limits.kv_max_value_size", COUNT, "524288", "bytes of one KV value"),
    used("limits.txn_max_req_len", COUNT, "524288", "bytes of one transaction"),
    warned("limits.rpc_rate", Opaque),
    warned("limits.rpc_max_burst", COUNT),
    warned("limits.rpc_max_conns_per_client", COUNT),
    warned("limits.rpc_handshake_timeout", Duration),
    warned("limits.https_handshake_timeout", Duration),
    warned("limits.request_limits", Opaque),
    used("session_ttl_min", Duration, "10s", "shortest TTL of a session"),
    used("default_query_time", Duration, "300s", "wait of a blocking read that names none")
        .flag(&["default-query-time"]),
    used("max_query_time", Duration, "600s", "longest wait of a blocking read")
        .flag(&["max-query-time"]),
    used("discovery_max_stale", Duration, "0s", "discovery may be this stale by default"),
    used("raft_snapshot_threshold", COUNT, "16384", "log entries between snapshots"),
    used("raft_trailing_logs", COUNT, "10240", "log entries kept behind a snapshot"),
    quiet("raft_snapshot_interval", Duration),
    quiet("raft_protocol", Number(0, 3)).flag(&["raft-protocol"]),
    quiet("protocol", Number(0, 3)).flag(&["protocol"]),
    quiet("raft_boltdb", Opaque),
    quiet("raft_logstore", Opaque),
    used("autopilot.cleanup_dead_servers", Switch, "true", "failed servers are removed"),
    used("autopilot.last_contact_threshold", Duration, "200ms", "a healthy server's silence"),
    used("autopilot.max_trailing_logs", COUNT, "250", "entries a healthy server is behind"),
    used("autopilot.min_quorum", COUNT, "0", "voters that cleaning up leaves"),
    used(
        "autopilot.server_stabilization_time",
        Duration,
        "10s",
        "a new server's wait for its vote",
    ),
    warned("autopilot.redundancy_zone_tag", Text),
    warned("autopilot.disable_upgrade_migration", Switch),
    warned("autopilot.upgrade_version_tag", Text),
    warned("non_voting_server", Switch).flag(&["non-voting-server"]),
    warned("read_replica", Switch),
    // What it tells.
    used("telemetry.prometheus_retention_time", Duration, "0s", "above 0s: metrics as text"),
    used("telemetry.disable_hostname", Switch, "false", "gauges without the host name"),
    used("telemetry.metrics_prefix", Text, "consul", "what metric names begin with"),
    warned("telemetry.statsd_address", Text),
    warned("telemetry.statsite_address", Text),
    warned("telemetry.dogstatsd_addr", Text),
    warned("telemetry.dogstatsd_tags", List),
    warned("telemetry.prefix_filter", List),
    warned("telemetry.filter_default", Switch),
    warned("telemetry.circonus_api_app", Text),
    warned("telemetry.circonus_api_token", Text),
    warned("telemetry.circonus_api_url", Text),
    warned("telemetry.circonus_broker_id", Text),
    warned("telemetry.circonus_broker_select_tag", Text),
    warned("telemetry.circonus_check_display_name", Text),
    warned("telemetry.circonus_check_force_metric_activation", Text),
    warned("telemetry.circonus_check_id", Text),
    warned("telemetry.circonus_check_instance_id", Text),
    warned("telemetry.circonus_check_search_tag", Text),
    warned("telemetry.circonus_check_tags", Text),
    warned("telemetry.circonus_submission_interval", Text),
    warned("telemetry.circonus_submission_url", Text),
    warned("ui", Switch).flag(&["ui"]),
    warned("ui_config", Opaque),
    warned("ui_dir", Text).flag(&["ui-dir"]),
    warned("ui_content_path", Text).flag(&["ui-content-path"]),
    warned("enable_debug", Switch),
    warned("enable_agent_tls_for_checks", Switch),
    quiet("disable_update_check", Switch),
    quiet("disable_anonymous_signature", Switch),
    quiet("disable_remote_exec", Switch),
    used("disable_coordinates", Switch, "false", "tell the catalog no network coordinates"),
    quiet("disable_host_node_id", Switch).flag(&["disable-host-node-id"]),
    used("disable_http_unprintable_char_filter", Switch, "false", "take any character in a path"),
    quiet("http_max_header_bytes", COUNT),
    quiet("use_streaming_backend", Switch),
    // How agents' traffic is protected.
    used("encrypt", Text, "", "key of the agents' traffic: base64 of 16, 24 or 32 bytes")
        .flag(&["encrypt"]),
    used("encrypt_verify_incoming", Switch, "true", "refuse plain text from other agents"),
    used("encrypt_verify_outgoing", Switch, "true", "send nothing plain to other agents"),
    used("disable_keyring_file", Switch, "false", "keep the keys in memory alone")
        .flag(&["disable-keyring-file"]),
    // Protection that we do not give yet.
    refused("ca_file", Text),
    refused("ca_path", Text),
    refused("cert_file", Text),
    refused("key_file", Text),
    refused("verify_incoming", Switch),
    refused("verify_incoming_rpc", Switch),
    refused("verify_incoming_https", Switch),
    refused("verify_outgoing", Switch),
    refused("verify_server_hostname", Switch),
    refused("tls", Opaque),
    refused("auto_encrypt", Opaque),
    refused("auto_config", Opaque),
    quiet("tls_min_version", Text),
    quiet("tls_cipher_suites", Text),
    quiet("tls_prefer_server_cipher_suites", Switch),
    refused("acl.enabled", Switch),
    warned("acl.default_policy", Text),
    warned("acl.down_policy", Text),
    warned("acl.enable_token_persistence", Switch),
    warned("acl.enable_token_replication", Switch),
    warned("acl.enable_key_list_policy", Switch),
    warned("acl.policy_ttl", Duration),
    warned("acl.token_ttl", Duration),
    warned("acl.role_ttl", Duration),
    warned("acl.tokens", Opaque),
    warned("acl.disabled_ttl", Duration),
    warned("acl.msp_disable_bootstrap", Switch),
    refused("acl_datacenter", Text),
    quiet("acl_enforce_version_8", Switch),
    warned("acl_default_policy", Text),
    warned("acl_down_policy", Text),
    warned("acl_enable_key_list_policy", Switch),
    warned("acl_agent_master_token", Text),
    warned("acl_agent_token", Text),
    warned("acl_master_token", Text),
    warned("acl_replication_token", Text),
    warned("acl_token", Text),
    warned("acl_ttl", Duration),
    warned("enable_acl_replication", Switch),
    used("http_config.block_endpoints", List, "", "beginnings of paths that are refused"),
    used("http_config.allow_write_http_from", List, "", "networks that may write; all if empty")
        .flag(&["allow-write-http-from"]),
    used("http_config.response_headers", Map, "", "headers that every answer has"),
    used("http_config.use_cache", Switch, "true", "?cached is heeded"),
    warned("http_config.max_header_bytes", COUNT),
    refused("serf_lan_allowed_cidrs", List).flag(&["serf-lan-allowed-cidrs"]),
    refused("serf_wan_allowed_cidrs", List).flag(&["serf-wan-allowed-cidrs"]),
    refused("audit", Opaque),
    // Sections of later versions, or of the mesh.
    warned("unix_sockets", Opaque),
    warned("connect", Opaque),
    warned("config_entries", Opaque),
    warned("enable_central_service_config", Switch),
    warned("cache", Opaque),
    warned("gossip_lan", Opaque),
    warned("gossip_wan", Opaque),
    warned("segment", Text).flag(&["segment"]),
    warned("segments", Opaque),
    warned("peering", Opaque),
    warned("xds", Opaque),
    warned("reporting", Opaque),
    warned("rpc", Opaque),
    warned("license_path", Text),
];

/// What `-dev` sets before any file is read: one server for itself alone, on loopback.
pub(super) const DEV: &[(&str, &str)] = &[
    ("server", "true"),
    ("bootstrap", "true"),
    ("bind_addr", "127.0.0.1"),
    ("log_level", "DEBUG"),
    ("performance.raft_multiplier", "1"),
];

/// Flags of `agent` that name sources instead of values: name, argument, help.
pub(super) const SOURCE_FLAGS: &[(&str, &str, &str)] = &[
    ("dev", "", "a server for itself alone, on loopback, in a temporary folder"),
    ("config-file", "path", "a JSON or HCL file, or a folder of them; may be repeated"),
    ("config-dir", "path", "a folder whose .json and .hcl files are read, sorted by name"),
    ("config-format", "hcl|json", "read every file as this, whatever its name"),
    ("hcl", "text", "a piece of HCL; may be repeated"),
];

/// The row of a key path, whatever its case.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    OPTIONS.iter().find(|setting| setting.key.eq_ignore_ascii_case(key))
}

/// The row that a flag, given without dashes, sets.
pub(super) fn find_flag(flag: &str) -> Option<&'static Setting> {
    OPTIONS.iter().find(|setting| setting.flags.contains(&flag))
}

/// True if some option lies below this key path, which makes it a section.
pub(super) fn is_section(path: &str) -> bool {
    let below = |key: &str| {
        key.get(..path.len()).is_some_and(|head| head.eq_ignore_ascii_case(path))
            && key.as_bytes().get(path.len()) == Some(&b'.')
    };
    OPTIONS.iter().any(|setting| below(setting.key))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_and_flags_are_unique_and_explained() {
        let mut keys = BTreeSet::new();
        let mut flags: BTreeSet<&str> = SOURCE_FLAGS.iter().map(|flag| flag.0).collect();
        for setting in OPTIONS {
            assert!(keys.insert(setting.key), "{} twice", setting.key);
            assert!(!is_section(setting.key), "{} is a section too", setting.key);
            assert!(!setting.help.is_empty(), "{} has no help", setting.key);
            for flag in setting.flags {
                assert!(flags.insert(flag), "-{flag} twice");
            }
        }
    }

    #[test]
    fn the_preset_names_real_options() {
        for (key, _) in DEV {
            assert!(find(key).is_some(), "{key}");
        }
    }
}
