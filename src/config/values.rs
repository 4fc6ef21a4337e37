//! The checked configuration: every value of its own type, every bound held.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::autopilot::{AutopilotOptions, autopilot_of};
use super::definitions::both;
use super::duration;
use super::encrypt::{EncryptOptions, encrypt_of};
use super::environment::host_name;
use super::http::{HttpOptions, http_of};
use super::layer::{ConfigError, Layer};
use super::options::State;
use super::watches::{WatchOptions, watches_of};
use crate::limits::CHECK_OUTPUT_BYTES_MAX;

/// Longest node name, in bytes; DNS cannot carry a longer label.
const NODE_NAME_BYTES_MAX: usize = 63;

/// Most `node_meta` entries, as Consul bounds them.
const NODE_META_MAX: usize = 64;

/// Port of a recursor that names none.
const DNS_PORT: u16 = 53;

/// Everything that this process was told, checked.
///
/// Source: Consul agent configuration reference.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each mirrors one switch of the option table")]
pub struct Config {
    /// Name of this node; the host name unless told otherwise.
    pub node_name: String,
    /// Id of this node, if told; the node makes and keeps one otherwise.
    pub node_id: Option<Uuid>,
    /// Names and values about this node; at most 64.
    pub node_meta: BTreeMap<String, String>,
    /// Addresses of this node by tag, beside those that the agent knows by itself.
    pub tagged_addresses: BTreeMap<String, String>,
    /// Datacenter, in lower case: `a-z`, `0-9`, `-`, `_`.
    pub datacenter: String,
    /// Domain of the DNS door, without dots at its ends.
    pub domain: String,
    /// Second domain of the DNS door.
    pub alt_domain: Option<String>,
    /// Folder of the state. `None` only with `dev`, where the node takes a temporary folder.
    pub data_dir: Option<PathBuf>,
    /// True if this agent is a server.
    pub server: bool,
    /// True if this server may elect itself alone; implied by `bootstrap_expect = 1`.
    pub bootstrap: bool,
    /// Servers to wait for before the first election; 0 if unset, never 1.
    pub bootstrap_expect: u32,
    /// True if started with `-dev`.
    pub dev: bool,
    /// Address that agents' traffic is bound to.
    pub bind_addr: IpAddr,
    /// Address that others use, if told; never unspecified. Else `bind_addr` or, if that is
    /// unspecified, what the node finds out.
    pub advertise_addr: Option<IpAddr>,
    /// Addresses of the client doors; at least one.
    pub client_addr: Vec<IpAddr>,
    /// Addresses of each door, `client_addr` already filled in.
    pub addresses: Addresses,
    /// Ports; `None` is off.
    pub ports: Ports,
    /// Addresses to join until one answers.
    pub retry_join: Vec<String>,
    /// Addresses to join once.
    pub start_join: Vec<String>,
    /// Pause between attempts to join; above zero.
    pub retry_interval: Duration,
    /// Attempts to join; 0 is without end.
    pub retry_max: u64,
    /// Whether the catalog is told no network coordinates of this node.
    pub disable_coordinates: bool,
    /// Whether this node comes back to the pool by itself also after it left.
    pub rejoin_after_leave: bool,
    /// How long a failed member is waited for.
    pub reconnect_timeout: Duration,
    /// What SIGTERM does: leave the cluster, or just stop.
    pub leave_on_terminate: bool,
    /// What SIGINT does: just stop, or leave the cluster.
    pub skip_leave_on_interrupt: bool,
    /// `TRACE`, `DEBUG`, `INFO`, `WARN` or `ERROR`.
    pub log_level: String,
    /// True for log lines in JSON.
    pub log_json: bool,
    /// File to log into as well.
    pub log_file: Option<PathBuf>,
    /// When that file is begun anew, if ever.
    pub log_rotation: Option<LogRotationOptions>,
    /// File for the process id.
    pub pid_file: Option<PathBuf>,
    /// Service definitions as they stood in `service` and `services`, HCL turned into JSON.
    pub services: Vec<Value>,
    /// Check definitions as they stood in `check` and `checks`.
    pub checks: Vec<Value>,
    /// Watches of this agent; at most [`crate::limits::WATCHES_MAX`].
    pub watches: Vec<WatchOptions>,
    /// Longest delay of a change of a check's output alone.
    pub check_update_interval: Duration,
    /// True if checks may run programs, whoever registers them.
    pub enable_script_checks: bool,
    /// True if checks from files may run programs; `enable_script_checks` implies it.
    pub enable_local_script_checks: bool,
    /// True if no output of any check is kept.
    pub discard_check_output: bool,
    /// Most bytes of output that a check keeps; above zero.
    pub check_output_max_size: usize,
    /// DNS.
    pub dns: DnsOptions,
    /// Where names outside our domains are asked.
    pub recursors: Vec<SocketAddr>,
    /// Speed.
    pub performance: PerformanceOptions,
    /// Bounds that an operator may set.
    pub limits: LimitOptions,
    /// Shortest TTL of a session.
    pub session_ttl_min: Duration,
    /// Wait of a blocking read that names none.
    pub default_query_time: Duration,
    /// Longest wait of a blocking read.
    pub max_query_time: Duration,
    /// Age of state that discovery may be answered from by default; zero asks the leader.
    pub discovery_max_stale: Duration,
    /// Log entries between two snapshots.
    pub raft_snapshot_threshold: u64,
    /// Log entries kept behind a snapshot.
    pub raft_trailing_logs: u64,
    /// Metrics.
    pub telemetry: TelemetryOptions,
    /// The HTTP door.
    pub http: HttpOptions,
    /// How traffic between agents is encrypted.
    pub encrypt: EncryptOptions,
    /// What a new cluster's autopilot begins with.
    pub autopilot: AutopilotOptions,
    /// What was accepted without having an effect; for the log, one line each.
    pub warnings: Vec<String>,
}

/// When a log file is begun anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRotationOptions {
    /// Bytes; 0 for no such bound.
    pub bytes: u64,
    /// Age; above zero.
    pub age: Duration,
    /// Old files that stay; `None` for all.
    pub keep: Option<usize>,
}

/// A place where a door listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address; the port is the door's.
    Ip(IpAddr),
    /// A unix socket.
    Unix(PathBuf),
}

/// Where each client door listens; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The HTTP door.
    pub http: Vec<Listen>,
    /// The DNS door.
    pub dns: Vec<IpAddr>,
}

/// Ports; `None` is off, 0 lets the system choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The HTTP door.
    pub http: Option<u16>,
    /// The DNS door, UDP and TCP.
    pub dns: Option<u16>,
    /// Traffic between servers.
    pub server: u16,
    /// Gossip.
    pub serf_lan: u16,
    /// Gossip between datacenters: kept, not used yet.
    pub serf_wan: Option<u16>,
}

/// The DNS door.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each mirrors one switch of the option table")]
pub struct DnsOptions {
    /// TTL of answers about nodes.
    pub node_ttl: Duration,
    /// TTL by service name; a key may end in `*`, and `*` alone matches every service.
    pub service_ttl: BTreeMap<String, Duration>,
    /// True if any server may answer.
    pub allow_stale: bool,
    /// Oldest state that an answer may have.
    pub max_stale: Duration,
    /// True to leave out services with a warning.
    pub only_passing: bool,
    /// True to set TC on UDP answers that were cut.
    pub enable_truncate: bool,
    /// Records in a UDP answer without EDNS.
    pub udp_answer_limit: usize,
    /// Address records in any answer; 0 is all.
    pub a_record_limit: usize,
    /// True to write every name in full.
    pub disable_compression: bool,
    /// True to add `node_meta` as TXT records.
    pub enable_additional_node_meta_txt: bool,
    /// Patience with one recursor.
    pub recursor_timeout: Duration,
    /// In which order recursors are asked.
    pub recursor_strategy: RecursorStrategy,
    /// True to answer from what this server has, without a look at `allow_stale`.
    pub use_cache: bool,
    /// With `use_cache`: oldest state that an answer may have; zero is any.
    pub cache_max_age: Duration,
    /// Numbers of the SOA record.
    pub soa: Soa,
}

/// In which order recursors are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecursorStrategy {
    /// In the order given.
    Sequential,
    /// In a new order each time.
    Random,
}

/// Numbers of the SOA record, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Soa {
    /// Refresh.
    pub refresh: u32,
    /// Retry.
    pub retry: u32,
    /// Expire.
    pub expire: u32,
    /// Minimum: how long a negative answer is kept.
    pub min_ttl: u32,
}

/// Speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerformanceOptions {
    /// Scales Raft's timeouts, 1 to 10.
    pub raft_multiplier: u32,
    /// Patience while there is no leader.
    pub rpc_hold_timeout: Duration,
    /// Pause between leaving and stopping.
    pub leave_drain_time: Duration,
}

/// Bounds that an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitOptions {
    /// HTTP connections from one address; 0 is unbounded by address.
    pub http_max_conns_per_client: usize,
    /// Bytes of one KV value.
    pub kv_max_value_size: usize,
    /// Bytes of one transaction.
    pub txn_max_req_len: usize,
}

/// Metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryOptions {
    /// Above zero turns the Prometheus text on.
    pub prometheus_retention_time: Duration,
    /// Metric names without the host name.
    pub disable_hostname: bool,
    /// What metric names begin with: `consul`.
    pub metrics_prefix: String,
}

/// Checks what was told and fills in the rest.
#[expect(clippy::too_many_lines, reason = "one line a field, and no branch but two")]
pub(super) fn build(
    dev: bool,
    told: Layer,
    mut warnings: Vec<String>,
) -> Result<Config, ConfigError> {
    judge(&told, &mut warnings)?;
    let bind_is_told = told.get("bind_addr").is_some();
    let mut layer = Layer::defaults();
    if dev {
        layer.merge(Layer::dev());
    }
    layer.merge(told);
    let server = layer.switch("server");
    let (bootstrap, bootstrap_expect) = bootstrap_of(&layer, &mut warnings)?;
    let client_addr = addresses_of("client_addr", layer.text("client_addr"))?;
    let data_dir = path_of(&layer, "data_dir");
    if data_dir.is_none() && !dev {
        return Err(ConfigError::new("data_dir cannot be empty"));
    }
    let retry_join = layer.list("retry_join");
    let start_join = layer.list("start_join");
    no_templates("retry_join", &retry_join)?;
    no_templates("start_join", &start_join)?;
    let bind_addr = address_of("bind_addr", layer.text("bind_addr"))?;
    let joins = !retry_join.is_empty() || !start_join.is_empty();
    if joins && !bind_is_told {
        warnings.push(format!(
            "bind_addr is not set and defaults to {bind_addr}: set it to join other hosts"
        ));
    }
    let enable_script_checks = layer.switch("enable_script_checks");
    let switch_or = |key: &str, otherwise: bool| match layer.get(key) {
        Some(_) => layer.switch(key),
        None => otherwise,
    };
    Ok(Config {
        node_name: node_name_of(layer.text("node_name"), &mut warnings)?,
        node_id: node_id_of(layer.text("node_id"))?,
        node_meta: node_meta_of(&layer)?,
        tagged_addresses: layer.map("tagged_addresses"),
        datacenter: datacenter_of(layer.text("datacenter"))?,
        domain: domain_of("domain", layer.text("domain"))?.unwrap_or_else(|| "consul".to_owned()),
        alt_domain: domain_of("alt_domain", layer.text("alt_domain"))?,
        data_dir,
        server,
        bootstrap,
        bootstrap_expect,
        dev,
        bind_addr,
        advertise_addr: advertise_of(layer.text("advertise_addr"))?,
        addresses: doors_of(&layer, &client_addr)?,
        client_addr,
        ports: ports_of(&layer)?,
        retry_join,
        start_join,
        retry_interval: above_zero(&layer, "retry_interval")?,
        retry_max: layer.number("retry_max").unsigned_abs(),
        disable_coordinates: layer.switch("disable_coordinates"),
        rejoin_after_leave: layer.switch("rejoin_after_leave"),
        reconnect_timeout: layer.duration("reconnect_timeout"),
        leave_on_terminate: switch_or("leave_on_terminate", !server),
        skip_leave_on_interrupt: switch_or("skip_leave_on_interrupt", server),
        log_level: log_level_of(layer.text("log_level"))?,
        log_json: layer.switch("log_json"),
        log_file: path_of(&layer, "log_file"),
        log_rotation: log_rotation_of(&layer),
        pid_file: path_of(&layer, "pid_file"),
        services: both(&layer, "service", "services"),
        checks: both(&layer, "check", "checks"),
        watches: watches_of(&layer)?,
        check_update_interval: layer.duration("check_update_interval"),
        enable_script_checks,
        enable_local_script_checks: enable_script_checks
            || layer.switch("enable_local_script_checks"),
        discard_check_output: layer.switch("discard_check_output"),
        check_output_max_size: check_output_of(&layer, &mut warnings)?,
        dns: dns_of(&layer)?,
        recursors: recursors_of(&layer.list("recursors"))?,
        performance: performance_of(&layer),
        limits: limits_of(&layer),
        session_ttl_min: layer.duration("session_ttl_min"),
        default_query_time: above_zero(&layer, "default_query_time")?,
        max_query_time: above_zero(&layer, "max_query_time")?,
        discovery_max_stale: layer.duration("discovery_max_stale"),
        raft_snapshot_threshold: layer.number("raft_snapshot_threshold").unsigned_abs(),
        raft_trailing_logs: layer.number("raft_trailing_logs").unsigned_abs(),
        telemetry: TelemetryOptions {
            prometheus_retention_time: layer.duration("telemetry.prometheus_retention_time"),
            disable_hostname: layer.switch("telemetry.disable_hostname"),
            metrics_prefix: layer.text("telemetry.metrics_prefix").to_owned(),
        },
        http: http_of(&layer)?,
        encrypt: encrypt_of(&layer),
        autopilot: autopilot_of(&layer),
        warnings,
    })
}

/// Warns of what has no effect, and refuses what asks for protection that is not there.
fn judge(told: &Layer, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    for (setting, value) in told.iter() {
        let key = setting.key;
        match setting.state {
            State::Refused if asks(value) => {
                return Err(ConfigError::new(format!(
                    "{key} is not supported yet; refusing to start without it"
                )));
            }
            State::Warned if asks(value) => {
                warnings.push(format!("config key {key} is accepted but has no effect yet"));
            }
            State::Used | State::Quiet | State::Warned | State::Refused => {}
        }
    }
    Ok(())
}

/// True if a value asks for something: not empty, not false, no port that is off.
fn asks(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(switch) => *switch,
        Value::Number(number) => number.as_f64().is_none_or(|number| number > 0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => items.iter().any(asks),
        Value::Object(entries) => entries.values().any(asks),
    }
}

fn bootstrap_of(layer: &Layer, warnings: &mut Vec<String>) -> Result<(bool, u32), ConfigError> {
    let (server, bootstrap) = (layer.switch("server"), layer.switch("bootstrap"));
    let expect = layer.number("bootstrap_expect");
    let Ok(count) = u32::try_from(expect) else {
        return Err(ConfigError::new(format!(
            "bootstrap_expect cannot be {expect}. Must be greater than or equal to zero"
        )));
    };
    if count > 0 && !server {
        return Err(ConfigError::new("'bootstrap_expect > 0' requires 'server = true'"));
    }
    if bootstrap && !server {
        return Err(ConfigError::new("'bootstrap = true' requires 'server = true'"));
    }
    if count == 1 {
        warnings.push("bootstrap_expect = 1 is the same as bootstrap = true".to_owned());
        return Ok((true, 0));
    }
    if bootstrap && count > 0 {
        return Err(ConfigError::new(
            "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive",
        ));
    }
    if count > 0 && count % 2 == 0 {
        warnings.push(format!("bootstrap_expect = {count}: an odd number of servers is better"));
    }
    Ok((bootstrap, count))
}

fn check_output_of(layer: &Layer, warnings: &mut Vec<String>) -> Result<usize, ConfigError> {
    let told = usize::try_from(layer.number("check_output_max_size")).unwrap_or(usize::MAX);
    if told == 0 {
        return Err(ConfigError::new(
            "check_output_max_size must be positive, to discard check output use the \
             discard_check_output flag",
        ));
    }
    if told > CHECK_OUTPUT_BYTES_MAX {
        warnings.push(format!(
            "check_output_max_size = {told} is above {CHECK_OUTPUT_BYTES_MAX}, which is used"
        ));
    }
    Ok(told.min(CHECK_OUTPUT_BYTES_MAX))
}

fn node_name_of(told: &str, warnings: &mut Vec<String>) -> Result<String, ConfigError> {
    let name = if told.is_empty() { host_name().unwrap_or_default() } else { told.to_owned() };
    if name.is_empty() {
        return Err(ConfigError::new("node_name cannot be empty"));
    }
    if name.chars().any(char::is_control) {
        return Err(ConfigError::new(format!("node_name {name:?} has control characters")));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if name.len() > NODE_NAME_BYTES_MAX || !name.chars().all(plain) {
        warnings.push(format!(
            "node_name {name:?} will not be found through DNS: use a-z, 0-9 and -, at most \
             {NODE_NAME_BYTES_MAX}"
        ));
    }
    Ok(name)
}

fn node_id_of(told: &str) -> Result<Option<Uuid>, ConfigError> {
    if told.is_empty() {
        return Ok(None);
    }
    let id = Uuid::parse_str(told)
        .map_err(|why| ConfigError::new(format!("specified NodeID is invalid: {told:?}: {why}")))?;
    Ok(Some(id))
}

fn node_meta_of(layer: &Layer) -> Result<BTreeMap<String, String>, ConfigError> {
    let meta = layer.map("node_meta");
    if meta.len() > NODE_META_MAX {
        return Err(ConfigError::new(format!(
            "node_meta: {} entries are more than {NODE_META_MAX}",
            meta.len()
        )));
    }
    Ok(meta)
}

fn datacenter_of(told: &str) -> Result<String, ConfigError> {
    let name = told.to_lowercase();
    if name.is_empty() {
        return Err(ConfigError::new("datacenter cannot be empty"));
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        return Err(ConfigError::new(format!(
            "datacenter cannot be {name:?}. Please use only [a-z0-9-_]"
        )));
    }
    Ok(name)
}

fn domain_of(key: &str, told: &str) -> Result<Option<String>, ConfigError> {
    let domain = told.trim_matches('.').to_lowercase();
    let fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    if domain.is_empty() {
        return Ok(None);
    }
    if domain.len() > 253 || !domain.split('.').all(fits) {
        return Err(ConfigError::new(format!("{key}: invalid domain {told:?}")));
    }
    Ok(Some(domain))
}

fn no_templates(key: &str, values: &[String]) -> Result<(), ConfigError> {
    match values.iter().find(|value| value.contains("{{")) {
        None => Ok(()),
        Some(value) => Err(ConfigError::new(format!(
            "{key}: templates such as {value:?} are not supported yet; write the address"
        ))),
    }
}

fn address_of(key: &str, text: &str) -> Result<IpAddr, ConfigError> {
    no_templates(key, &[text.to_owned()])?;
    let bare = text.trim().trim_start_matches('[').trim_end_matches(']');
    if bare.is_empty() {
        return Err(ConfigError::new(format!("{key} cannot be empty")));
    }
    bare.parse::<IpAddr>()
        .map_err(|_source| ConfigError::new(format!("{key}: invalid ip address: {text}")))
}

fn addresses_of(key: &str, text: &str) -> Result<Vec<IpAddr>, ConfigError> {
    no_templates(key, &[text.to_owned()])?;
    let list: Vec<_> =
        text.split_whitespace().map(|one| address_of(key, one)).collect::<Result<_, _>>()?;
    if list.is_empty() {
        return Err(ConfigError::new(format!("{key} cannot be empty")));
    }
    Ok(list)
}

fn advertise_of(text: &str) -> Result<Option<IpAddr>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = address_of("advertise_addr", text)?;
    if address.is_unspecified() {
        return Err(ConfigError::new("Advertise address cannot be 0.0.0.0, :: or [::]"));
    }
    Ok(Some(address))
}

fn doors_of(layer: &Layer, client_addr: &[IpAddr]) -> Result<Addresses, ConfigError> {
    let http = match layer.text("addresses.http") {
        "" => client_addr.iter().copied().map(Listen::Ip).collect(),
        text => text.split_whitespace().map(listen_of).collect::<Result<_, _>>()?,
    };
    let dns = match layer.text("addresses.dns") {
        "" => client_addr.to_vec(),
        text => addresses_of("addresses.dns", text)?,
    };
    Ok(Addresses { http, dns })
}

fn listen_of(text: &str) -> Result<Listen, ConfigError> {
    match text.strip_prefix("unix://") {
        Some(path) => Ok(Listen::Unix(PathBuf::from(path))),
        None => Ok(Listen::Ip(address_of("addresses.http", text)?)),
    }
}

fn ports_of(layer: &Layer) -> Result<Ports, ConfigError> {
    let port = |key: &str| u16::try_from(layer.number(key)).ok();
    let needed = |key: &str| {
        port(key).ok_or_else(|| {
            ConfigError::new(format!("{key} cannot be {}: it cannot be off", layer.number(key)))
        })
    };
    let ports = Ports {
        http: port("ports.http"),
        dns: port("ports.dns"),
        server: needed("ports.server")?,
        serf_lan: needed("ports.serf_lan")?,
        serf_wan: port("ports.serf_wan"),
    };
    let all = [
        ("HTTP", ports.http),
        ("DNS", ports.dns),
        ("server", Some(ports.server)),
        ("serf_lan", Some(ports.serf_lan)),
    ];
    let mut seen: BTreeMap<u16, &str> = BTreeMap::new();
    for (name, port) in all {
        let Some(port) = port.filter(|&port| port != 0) else { continue };
        if let Some(other) = seen.insert(port, name) {
            return Err(ConfigError::new(format!(
                "port {port} of {name} is already configured for {other}"
            )));
        }
    }
    Ok(ports)
}

fn above_zero(layer: &Layer, key: &str) -> Result<Duration, ConfigError> {
    match layer.duration(key) {
        Duration::ZERO => Err(ConfigError::new(format!("{key} must be above 0s"))),
        long => Ok(long),
    }
}

fn log_level_of(told: &str) -> Result<String, ConfigError> {
    let level = told.to_uppercase();
    match level.as_str() {
        "TRACE" | "DEBUG" | "INFO" | "WARN" => Ok(level),
        "ERR" | "ERROR" => Ok("ERROR".to_owned()),
        _ => Err(ConfigError::new(format!(
            "Invalid log level: {told}. Valid log levels are: [TRACE DEBUG INFO WARN ERR ERROR]"
        ))),
    }
}

fn path_of(layer: &Layer, key: &str) -> Option<PathBuf> {
    Some(layer.text(key)).filter(|text| !text.is_empty()).map(PathBuf::from)
}

/// Where nothing is told, one file is written without end. A day is what Consul takes for no age.
fn log_rotation_of(layer: &Layer) -> Option<LogRotationOptions> {
    let bytes = layer.number("log_rotate_bytes").unsigned_abs();
    let age = layer.duration("log_rotate_duration");
    let most = layer.number("log_rotate_max_files");
    let told = bytes > 0 || !age.is_zero() || most != 0;
    told.then(|| LogRotationOptions {
        bytes,
        age: if age.is_zero() { Duration::from_hours(24) } else { age },
        keep: (most != 0).then(|| usize::try_from(most).unwrap_or_default()),
    })
}

fn dns_of(layer: &Layer) -> Result<DnsOptions, ConfigError> {
    let strategy = match layer.text("dns_config.recursor_strategy") {
        "sequential" | "" => RecursorStrategy::Sequential,
        "random" => RecursorStrategy::Random,
        other => {
            return Err(ConfigError::new(format!(
                "dns_config.recursor_strategy: {other:?} is neither sequential nor random"
            )));
        }
    };
    let mut service_ttl = BTreeMap::new();
    for (name, text) in layer.map("dns_config.service_ttl") {
        let ttl = duration::parse(&text)
            .map_err(|why| ConfigError::new(format!("dns_config.service_ttl.{name}: {why}")))?;
        service_ttl.insert(name, ttl);
    }
    let count = |key: &str| count_of(layer, key);
    let seconds = |key: &str| {
        u32::try_from(layer.number(key)).expect("the table bounds SOA numbers to 32 bits")
    };
    Ok(DnsOptions {
        node_ttl: layer.duration("dns_config.node_ttl"),
        service_ttl,
        allow_stale: layer.switch("dns_config.allow_stale"),
        max_stale: layer.duration("dns_config.max_stale"),
        only_passing: layer.switch("dns_config.only_passing"),
        enable_truncate: layer.switch("dns_config.enable_truncate"),
        udp_answer_limit: count("dns_config.udp_answer_limit"),
        a_record_limit: count("dns_config.a_record_limit"),
        disable_compression: layer.switch("dns_config.disable_compression"),
        enable_additional_node_meta_txt: layer.switch("dns_config.enable_additional_node_meta_txt"),
        recursor_timeout: above_zero(layer, "dns_config.recursor_timeout")?,
        recursor_strategy: strategy,
        use_cache: layer.switch("dns_config.use_cache"),
        cache_max_age: layer.duration("dns_config.cache_max_age"),
        soa: Soa {
            refresh: seconds("dns_config.soa.refresh"),
            retry: seconds("dns_config.soa.retry"),
            expire: seconds("dns_config.soa.expire"),
            min_ttl: seconds("dns_config.soa.min_ttl"),
        },
    })
}

fn recursors_of(told: &[String]) -> Result<Vec<SocketAddr>, ConfigError> {
    no_templates("recursors", told)?;
    let mut all = Vec::new();
    for text in told {
        let address = match text.parse::<SocketAddr>() {
            Ok(full) => full,
            Err(_) => SocketAddr::new(address_of("recursors", text)?, DNS_PORT),
        };
        if address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
            return Err(ConfigError::new(format!("recursors: {text} is no address to ask")));
        }
        if !all.contains(&address) {
            all.push(address);
        }
    }
    Ok(all)
}

fn performance_of(layer: &Layer) -> PerformanceOptions {
    PerformanceOptions {
        raft_multiplier: u32::try_from(layer.number("performance.raft_multiplier"))
            .expect("the table bounds it to 1 to 10"),
        rpc_hold_timeout: layer.duration("performance.rpc_hold_timeout"),
        leave_drain_time: layer.duration("performance.leave_drain_time"),
    }
}

fn limits_of(layer: &Layer) -> LimitOptions {
    LimitOptions {
        http_max_conns_per_client: count_of(layer, "limits.http_max_conns_per_client"),
        kv_max_value_size: count_of(layer, "limits.kv_max_value_size"),
        txn_max_req_len: count_of(layer, "limits.txn_max_req_len"),
    }
}

fn count_of(layer: &Layer, key: &str) -> usize {
    usize::try_from(layer.number(key)).expect("the table bounds counts to zero and above")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    fn load(hcl: &str) -> Result<Config, ConfigError> {
        let args = ["-data-dir=/x", "-node=n", "-hcl", hcl].map(str::to_owned);
        Config::load(&args)
    }

    #[test]
    fn the_defaults_are_consuls_but_for_what_we_chose() {
        let config = load("").unwrap();
        assert_eq!(config.node_name, "n");
        assert_eq!(config.datacenter, "dc1");
        assert_eq!(config.domain, "consul");
        assert_eq!(config.bind_addr, IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(config.addresses.http, [Listen::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST))]);
        assert_eq!(config.ports.http, Some(8500));
        assert_eq!(config.ports.dns, Some(8600));
        assert_eq!((config.ports.server, config.ports.serf_lan), (8300, 8301));
        assert_eq!(config.max_query_time, Duration::from_mins(10));
        assert_eq!(config.dns.udp_answer_limit, 3);
        assert_eq!(config.dns.soa, Soa { refresh: 3600, retry: 600, expire: 86400, min_ttl: 0 });
        assert_eq!(config.limits.kv_max_value_size, 524_288);
        assert!(!config.server && config.leave_on_terminate && !config.skip_leave_on_interrupt);
        assert!(config.warnings.is_empty());
    }

    /// The table's texts and the program's own bounds say the same.
    #[test]
    fn the_defaults_are_those_of_limits() {
        let config = load("").unwrap();
        assert_eq!(config.default_query_time, limits::WAIT_DEFAULT);
        assert_eq!(config.max_query_time, limits::WAIT_MAX);
        assert_eq!(config.limits.kv_max_value_size, limits::VALUE_BYTES_MAX);
        assert_eq!(config.limits.http_max_conns_per_client, limits::HTTP_CONNECTIONS_A_CLIENT);
        assert_eq!(config.session_ttl_min, limits::SESSION_TTL_MIN);
    }

    #[test]
    fn dev_is_a_server_for_itself() {
        let config = Config::load(&["-dev".to_owned()]).unwrap();
        assert!(config.dev && config.server && config.bootstrap);
        assert_eq!(config.data_dir, None);
        assert!(!config.leave_on_terminate && config.skip_leave_on_interrupt);
        assert!(Config::load(&["-dev", "-bootstrap-expect=1"].map(str::to_owned)).is_ok());
    }

    #[test]
    fn errors_are_consuls_where_it_has_them() {
        assert_eq!(Config::load(&[]).unwrap_err().to_string(), "data_dir cannot be empty");
        let table = [
            ("bootstrap_expect = 3", "'bootstrap_expect > 0' requires 'server = true'"),
            ("bootstrap = true", "'bootstrap = true' requires 'server = true'"),
            (
                "server = true\nbootstrap = true\nbootstrap_expect = 3",
                "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive",
            ),
            (
                "bootstrap_expect = -1",
                "bootstrap_expect cannot be -1. Must be greater than or equal to zero",
            ),
            ("bind_addr = \"\"", "bind_addr cannot be empty"),
            ("bind_addr = \"foo\"", "bind_addr: invalid ip address: foo"),
            ("client_addr = \"127.0.0.1 foo\"", "client_addr: invalid ip address: foo"),
            ("advertise_addr = \"0.0.0.0\"", "Advertise address cannot be 0.0.0.0, :: or [::]"),
            (
                "bind_addr = \"{{ GetPrivateIP }}\"",
                "bind_addr: templates such as \"{{ GetPrivateIP }}\" are not supported yet; \
                 write the address",
            ),
            (
                "datacenter = \"BAD x\"",
                "datacenter cannot be \"bad x\". Please use only [a-z0-9-_]",
            ),
            (
                "log_level = \"foo\"",
                "Invalid log level: foo. Valid log levels are: [TRACE DEBUG INFO WARN ERR ERROR]",
            ),
            ("ports { dns = 8500 }", "port 8500 of DNS is already configured for HTTP"),
            ("ports { server = -1 }", "ports.server cannot be -1: it cannot be off"),
            ("recursors = [\"x\"]", "recursors: invalid ip address: x"),
            ("retry_interval = \"0s\"", "retry_interval must be above 0s"),
            (
                "dns_config { service_ttl { web = \"x\" } }",
                "dns_config.service_ttl.web: invalid duration \"x\": a number is missing",
            ),
        ];
        for (hcl, message) in table {
            assert_eq!(load(hcl).unwrap_err().to_string(), message, "{hcl}");
        }
    }

    #[test]
    fn asking_for_protection_that_is_not_there_stops_the_start() {
        let table = [
            ("acl { enabled = true }", "acl.enabled"),
            ("verify_incoming = true", "verify_incoming"),
            ("verify_incoming_rpc = true", "verify_incoming_rpc"),
            ("ca_file = \"/ca.pem\"", "ca_file"),
            ("cert_file = \"/cert.pem\"", "cert_file"),
            ("tls { defaults { verify_incoming = true } }", "tls"),
            ("auto_encrypt { tls = true }", "auto_encrypt"),
            ("ports { https = 8501 }", "ports.https"),
        ];
        for (hcl, key) in table {
            let message = format!("{key} is not supported yet; refusing to start without it");
            assert_eq!(load(hcl).unwrap_err().to_string(), message, "{hcl}");
        }
        let off = "acl { enabled = false }\nencrypt = \"\"\nverify_incoming = false\n\
                   tls { defaults { verify_incoming = false } }\nports { https = -1 }";
        assert_eq!(load(off).unwrap().warnings, [""; 0]);
    }

    #[test]
    fn what_has_no_effect_is_warned_of_once() {
        let config = load(
            "connect { enabled = true }\nui = true\nui = true\nports { grpc = 8502 }\n\
             telemetry { statsd_address = \"x:1\" }\ndisable_update_check = true",
        )
        .unwrap();
        let keys = ["connect", "ports.grpc", "telemetry.statsd_address", "ui"];
        let lines = keys.map(|key| format!("config key {key} is accepted but has no effect yet"));
        assert_eq!(config.warnings, lines);
    }

    #[test]
    fn addresses_fall_back_to_client_addr() {
        let config = load(
            "client_addr = \"127.0.0.1 ::1\"\n\
             addresses { http = \"unix:///run/x.sock 10.0.0.1\" }\nports { dns = -1 }\n\
             recursors = [\"1.1.1.1\", \"[::1]:5353\", \"1.1.1.1\"]",
        )
        .unwrap();
        let ten = "10.0.0.1".parse().unwrap();
        assert_eq!(
            config.addresses.http,
            [Listen::Unix(PathBuf::from("/run/x.sock")), Listen::Ip(ten)]
        );
        assert_eq!(config.addresses.dns.len(), 2);
        assert_eq!(config.ports.dns, None);
        let recursors: Vec<_> = config.recursors.iter().map(ToString::to_string).collect();
        assert_eq!(recursors, ["1.1.1.1:53", "[::1]:5353"]);
    }
}
