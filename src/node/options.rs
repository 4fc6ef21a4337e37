//! The one `Config` turned into each room's small options.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{identity, settings};
use crate::config::{
    AutopilotOptions, Config, HttpOptions, RecursorStrategy, WatchHandler, WatchOptions,
    environment, host_name,
};
use crate::model::{Autopilot, Event, Node, host_port};
use crate::replica::{self, Replica};
use crate::seal::{Keyring, Streams};
use crate::telemetry::Metrics;
use crate::{agent, client, dns, gossip, http};

/// Between two heartbeats of a leader at the smallest `raft_multiplier`.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// A server stands for election after a silence between these two, likewise.
const ELECTION: (Duration, Duration) = (Duration::from_millis(900), Duration::from_millis(1400));

/// What the peer protocol's connections are encrypted as.
const PEERS: &str = "peers";
/// How long it remembers one that left. Source: Serf, `TombstoneTimeout`.
const MEMBER_LEFT: Duration = Duration::from_hours(24);

/// Where a server finds itself: what every room needs of it.
pub(super) struct Place {
    /// The node's id.
    pub(super) id: Uuid,
    /// Its disk's number in Raft.
    pub(super) number: u64,
    /// The data folder, a temporary one with `-dev`.
    pub(super) dir: PathBuf,
    /// The address that others use.
    pub(super) address: String,
    /// Where Raft's tasks run, on a server.
    pub(super) raft: Handle,
    /// The keys that this agent shares with the others.
    pub(super) keyring: Keyring,
}

pub(super) fn replica(
    config: &Config,
    place: &Place,
    dismiss: mpsc::Sender<String>,
    metrics: Metrics,
) -> replica::Options {
    let scale = config.performance.raft_multiplier;
    replica::Options {
        dir: place.dir.clone(),
        number: place.number,
        id: place.id.to_string(),
        name: config.node_name.clone(),
        address: host_port(&place.address, config.ports.server),
        datacenter: config.datacenter.clone(),
        expect: if config.bootstrap { 1 } else { config.bootstrap_expect },
        heartbeat: HEARTBEAT * scale,
        election: (ELECTION.0 * scale, ELECTION.1 * scale),
        leader_hold: config.performance.rpc_hold_timeout,
        wait_default: config.default_query_time,
        wait_max: config.max_query_time,
        snapshot_every: config.raft_snapshot_threshold,
        keep_behind: config.raft_trailing_logs,
        autopilot: autopilot(&config.autopilot),
        reconnect_timeout: config.reconnect_timeout,
        dismiss,
        runtime: place.raft.clone(),
        sync: raft::Sync::Always,
        wire: Some(Arc::new(Streams::new(place.keyring.clone(), PEERS))),
        metrics,
    }
}

/// For an agent without a server: how it asks those of others.
pub(super) fn remote(config: &Config, place: &Place) -> client::RemoteOptions {
    client::RemoteOptions {
        number: place.id.as_u64_pair().0.max(1),
        datacenter: config.datacenter.clone(),
        streams: Streams::new(place.keyring.clone(), PEERS),
        hold: config.performance.rpc_hold_timeout,
        wait_default: config.default_query_time,
        wait_max: config.max_query_time,
    }
}

/// How long a node serves after it said that it leaves. Nobody asks an agent without a server, so
/// nobody has to get used to its end.
pub(super) fn drain(config: &Config) -> Duration {
    if config.server { config.performance.leave_drain_time } else { Duration::ZERO }
}

fn autopilot(asked: &AutopilotOptions) -> Autopilot {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Autopilot {
        cleanup_dead_servers: asked.cleanup_dead_servers,
        last_contact_ms: millis(asked.last_contact_threshold),
        max_trailing_logs: asked.max_trailing_logs,
        min_quorum: asked.min_quorum,
        stabilization_ms: millis(asked.server_stabilization_time),
        redundancy_zone_tag: asked.redundancy_zone_tag.clone(),
        disable_upgrade_migration: asked.disable_upgrade_migration,
        upgrade_version_tag: asked.upgrade_version_tag.clone(),
        ..Autopilot::default()
    }
}

pub(super) fn gossip(
    config: &Config,
    place: &Place,
    replica: Option<Replica>,
    events: mpsc::Sender<Event>,
) -> gossip::Options {
    gossip::Options {
        keyring: place.keyring.clone(),
        kept: (!config.dev).then(|| place.dir.join("serf/local.snapshot")),
        rejoin: config.rejoin_after_leave,
        forget: (config.reconnect_timeout, MEMBER_LEFT),
        me: identity::member(config, place),
        join: config.retry_join.clone(),
        join_once: config.start_join.clone(),
        retry: config.retry_interval,
        retry_max: config.retry_max,
        port: config.ports.serf_lan,
        bootstrapped: Box::new(move || replica.as_ref().is_some_and(Replica::is_bootstrapped)),
        events,
    }
}

pub(super) fn agent(config: &Config, place: &Place) -> agent::Options {
    agent::Options {
        node: node(config, place),
        dir: (!config.dev).then(|| agent_dir(&place.dir)),
        output_interval: config.check_update_interval,
        output_max: config.check_output_max_size,
        discard_output: config.discard_check_output,
        scripts: scripts(config),
    }
}

/// The watches, whose handlers of one line are the shell's.
pub(super) fn watches(config: &Config) -> Vec<agent::Watch> {
    let watch = |asked: &WatchOptions| {
        let view = asked.view.clone();
        agent::Watch {
            kind: asked.kind.clone(),
            path: view.path.clone(),
            query: view.query.clone(),
            events: view.events,
            token: asked.token.clone(),
            handler: handler(&asked.handler),
            show: Arc::new(move |status, value, known| match value {
                None => view.is_nothing(status).then_some(Value::Null),
                Some(value) => Some(view.show(value, known)),
            }),
        }
    };
    config.watches.iter().map(watch).collect()
}

fn handler(asked: &WatchHandler) -> agent::Handler {
    match asked {
        WatchHandler::Args(args) => agent::Handler::Program(args.clone()),
        WatchHandler::Shell(line) => {
            let shell = environment().shell.unwrap_or_else(|| "/bin/sh".to_owned());
            agent::Handler::Program(vec![shell, "-c".to_owned(), line.clone()])
        }
        WatchHandler::Http(call) => {
            let lines = call.header.iter().flat_map(|(name, values)| {
                values.iter().map(move |value| (name.clone(), value.clone()))
            });
            agent::Handler::Call(agent::Call {
                url: call.url.clone(),
                method: call.method.clone(),
                timeout: call.timeout,
                header: lines.collect(),
                tls_skip_verify: call.tls_skip_verify,
            })
        }
    }
}

/// Which checks may run programs.
pub(super) fn scripts(config: &Config) -> agent::Scripts {
    if config.enable_script_checks {
        agent::Scripts::On
    } else if config.enable_local_script_checks {
        agent::Scripts::FromFiles
    } else {
        agent::Scripts::Off
    }
}

fn agent_dir(dir: &Path) -> PathBuf {
    dir.join("agent")
}

/// This node as the catalog shows it. An address that the agent knows takes the place of a told
/// one of the same tag, as in Consul 1.8.
fn node(config: &Config, place: &Place) -> Node {
    let family = if place.address.contains(':') { "ipv6" } else { "ipv4" };
    let mut addresses = config.tagged_addresses.clone();
    for scope in ["lan", "wan"] {
        addresses.insert(scope.to_owned(), place.address.clone());
        addresses.insert(format!("{scope}_{family}"), place.address.clone());
    }
    let mut meta = config.node_meta.clone();
    meta.entry("consul-network-segment".to_owned()).or_default();
    Node {
        id: place.id.to_string(),
        name: config.node_name.clone(),
        address: place.address.clone(),
        datacenter: config.datacenter.clone(),
        tagged_addresses: addresses,
        meta,
        ..Node::default()
    }
}

pub(super) fn dns(config: &Config, metrics: Metrics) -> dns::Options {
    let asked = &config.dns;
    dns::Options {
        datacenter: config.datacenter.clone(),
        node_name: config.node_name.clone(),
        domain: config.domain.clone(),
        alt_domain: config.alt_domain.clone(),
        node_ttl: asked.node_ttl,
        service_ttl: asked.service_ttl.clone(),
        only_passing: asked.only_passing,
        enable_truncate: asked.enable_truncate,
        udp_answer_limit: asked.udp_answer_limit,
        a_record_limit: asked.a_record_limit,
        soa: dns::Soa {
            refresh: seconds(asked.soa.refresh),
            retry: seconds(asked.soa.retry),
            expire: seconds(asked.soa.expire),
            min_ttl: seconds(asked.soa.min_ttl),
        },
        node_meta_txt: asked.enable_additional_node_meta_txt,
        allow_stale: asked.allow_stale,
        max_stale: asked.max_stale,
        recursors: config.recursors.clone(),
        recursor_timeout: asked.recursor_timeout,
        recursor_order: match asked.recursor_strategy {
            RecursorStrategy::Sequential => dns::RecursorOrder::AsGiven,
            RecursorStrategy::Random => dns::RecursorOrder::Random,
        },
        use_cache: asked.use_cache,
        cache_max_age: asked.cache_max_age,
        disable_compression: asked.disable_compression,
        observe: Some(dns::Observer::new(move |seen| {
            metrics.dns(seen.transport, seen.code);
            if let Some(outcome) = seen.cache {
                metrics.dns_cache(outcome);
            }
        })),
    }
}

/// A number of seconds as a duration.
fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

pub(super) fn http(config: &Config, place: &Place) -> http::Options {
    http::Options {
        datacenter: config.datacenter.clone(),
        node_name: config.node_name.clone(),
        node_id: place.id.to_string(),
        advertise: place.address.clone(),
        server_port: if config.server { config.ports.server } else { 0 },
        serf_port: config.ports.serf_lan,
        value_bytes_max: config.limits.kv_max_value_size,
        txn_bytes_max: config.limits.txn_max_req_len,
        connections_a_client: Arc::new(config.limits.http_max_conns_per_client.into()),
        leader_hold: config.performance.rpc_hold_timeout,
        wait_default: config.default_query_time,
        wait_max: config.max_query_time,
        settings: settings::shown(config),
        data_dir: place.dir.clone(),
        version: env!("CARGO_PKG_VERSION"),
        discovery_max_stale: (!config.discovery_max_stale.is_zero())
            .then_some(config.discovery_max_stale),
        session_ttl_min: config.session_ttl_min,
        access: access(&config.http),
        response_headers: config.http.response_headers.clone().into_iter().collect(),
        use_cache: config.http.use_cache,
        unprintable_paths: config.http.unprintable_paths,
        prometheus: metrics_leave(config),
        metrics_prefix: config.telemetry.metrics_prefix.clone(),
        gauge_host: gauge_host(config),
        serf_wan_port: config.ports.serf_wan,
    }
}

fn access(config: &HttpOptions) -> http::Access {
    let networks = config.allow_write_http_from.iter();
    http::Access {
        blocked: config.block_endpoints.clone(),
        writers: networks.map(|(address, bits)| http::Network::new(*address, *bits)).collect(),
    }
}

/// Whether metrics leave this process in another way than Consul's own JSON.
fn metrics_leave(config: &Config) -> bool {
    !config.telemetry.prometheus_retention_time.is_zero()
}

/// Consul puts the host's name into gauges once metrics leave for somewhere, unless told not to.
fn gauge_host(config: &Config) -> Option<String> {
    let wanted = metrics_leave(config) && !config.telemetry.disable_hostname;
    host_name().filter(|_| wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the real Consul 1.8.7 answers at `/v1/catalog/nodes` for the same file.
    #[tokio::test]
    async fn told_tags_stand_beside_the_known_ones() {
        let told = r#"tagged_addresses { lan = "10.1.1.1" wan = "10.2.2.2" lan_ipv4 = "10.1.1.4"
            lan_ipv6 = "::5" own = "hello there" empty = "" }"#;
        let config = Config::load(&["-dev", "-hcl", told].map(str::to_owned)).unwrap();
        let place = Place {
            id: Uuid::nil(),
            number: 1,
            dir: PathBuf::new(),
            address: "127.0.0.44".to_owned(),
            raft: Handle::current(),
            keyring: Keyring::off(),
        };
        let shown = serde_json::to_value(node(&config, &place).tagged_addresses).unwrap();
        let expected = serde_json::json!({
            "empty": "",
            "lan": "127.0.0.44",
            "lan_ipv4": "127.0.0.44",
            "lan_ipv6": "::5",
            "own": "hello there",
            "wan": "127.0.0.44",
            "wan_ipv4": "127.0.0.44",
        });
        assert_eq!(shown, expected);
    }
}
