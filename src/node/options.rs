//! The one `Config` turned into each room's small options.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Handle;
use uuid::Uuid;

use super::identity;
use crate::config::{Config, RecursorStrategy};
use crate::model::{Node, host_port};
use crate::replica::{self, Replica};
use crate::telemetry::Metrics;
use crate::{agent, dns, gossip, http};

/// Between two heartbeats of a leader at the smallest `raft_multiplier`.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// A server stands for election after a silence between these two, likewise.
const ELECTION: (Duration, Duration) = (Duration::from_millis(900), Duration::from_millis(1400));

/// Where a server finds itself: what every room needs of it.
pub(super) struct Place {
    /// The node's id.
    pub(super) id: Uuid,
    /// The data folder, a temporary one with `-dev`.
    pub(super) dir: PathBuf,
    /// The address that others use.
    pub(super) address: String,
    /// Where Raft's tasks run.
    pub(super) raft: Handle,
}

pub(super) fn replica(config: &Config, place: &Place) -> replica::Options {
    let scale = config.performance.raft_multiplier;
    replica::Options {
        dir: place.dir.clone(),
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
        runtime: place.raft.clone(),
        sync: raft::Sync::Always,
    }
}

pub(super) fn gossip(config: &Config, place: &Place, replica: Replica) -> gossip::Options {
    gossip::Options {
        me: identity::member(config, place.id, &place.address),
        join: config.retry_join.iter().chain(&config.start_join).cloned().collect(),
        port: config.ports.serf_lan,
        bootstrapped: Box::new(move || replica.is_bootstrapped()),
    }
}

pub(super) fn agent(config: &Config, place: &Place) -> agent::Options {
    agent::Options {
        node: node(config, place),
        dir: (!config.dev).then(|| agent_dir(&place.dir)),
        output_interval: config.check_update_interval,
    }
}

fn agent_dir(dir: &Path) -> PathBuf {
    dir.join("agent")
}

/// This node as the catalog shows it.
fn node(config: &Config, place: &Place) -> Node {
    let family = if place.address.contains(':') { "ipv6" } else { "ipv4" };
    let mut addresses = BTreeMap::new();
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
        server_port: config.ports.server,
        serf_port: config.ports.serf_lan,
        value_bytes_max: config.limits.kv_max_value_size,
        txn_bytes_max: config.limits.txn_max_req_len,
        connections_a_client: config.limits.http_max_conns_per_client,
        leader_hold: config.performance.rpc_hold_timeout,
        wait_default: config.default_query_time,
        wait_max: config.max_query_time,
        settings: serde_json::json!({}),
        version: env!("CARGO_PKG_VERSION"),
        discovery_max_stale: (!config.discovery_max_stale.is_zero())
            .then_some(config.discovery_max_stale),
    }
}
