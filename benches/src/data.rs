//! The data set: the same keys and the same services for every system.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, Kind, dns_of};
use crate::consul;
use crate::dns::Asker;
use crate::rows::{SERVICE_INSTANCES, Work, service};
use crate::source::{Random, key, value};
use crate::steps::Size;

/// Writes in one transaction. Source: Consul HTTP API, Transactions: at most 64 operations; etcd
/// takes 128.
const BATCH_KEYS: u32 = 64;
/// Transactions under way at once while the data set is loaded.
const LOADERS: u32 = 8;
/// Registrations under way at once.
const REGISTRARS: u32 = 32;
/// Nodes that instances are spread over.
pub(crate) const NODES: u32 = 1_000;
/// Longest time from registration to all instances in every server's DNS answers.
const DNS_PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two looks at DNS.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Lets the data grow from one size to another and, where there is a catalogue, waits until every
/// server answers with the last service: the same for every system, so the memory read after it
/// stands on equal work.
pub(crate) async fn grow(cluster: &Cluster, from: Size, to: Size) -> anyhow::Result<()> {
    let (kind, doors) = (cluster.kind(), cluster.doors());
    let mut loaders = JoinSet::new();
    for loader in (0..LOADERS).filter(|_| kind.stores()) {
        let door = doors[loader as usize % doors.len()];
        loaders.spawn(fill_part(kind, door, loader, from.keys..to.keys));
    }
    for registrar in (0..REGISTRARS).filter(|_| kind == Kind::Consul) {
        let door = doors[registrar as usize % doors.len()];
        loaders.spawn(register_part(door, registrar, from.instances..to.instances));
    }
    while let Some(done) = loaders.join_next().await {
        done.context("a loader failed")?.context("cannot load the data")?;
    }
    if kind.takes(Work::Srv) {
        for door in doors {
            wait_for_dns(dns_of(door), to.services() - 1).await?;
        }
    }
    Ok(())
}

/// Every [`LOADERS`]th batch of keys, beginning with this loader's.
async fn fill_part(
    kind: Kind,
    door: SocketAddr,
    loader: u32,
    keys: Range<u32>,
) -> anyhow::Result<()> {
    let mut random = Random::new(u64::from(loader));
    let step = usize::try_from(BATCH_KEYS * LOADERS).expect("512");
    for first in (keys.start + loader * BATCH_KEYS..keys.end).step_by(step) {
        let last = (first + BATCH_KEYS).min(keys.end);
        let batch: Vec<_> = (first..last).map(|number| (key(number), value(&mut random))).collect();
        kind.write_all(door, &batch).await?;
    }
    Ok(())
}

/// Every [`REGISTRARS`]th instance, beginning with this registrar's.
async fn register_part(
    door: SocketAddr,
    registrar: u32,
    instances: Range<u32>,
) -> anyhow::Result<()> {
    let step = usize::try_from(REGISTRARS).expect("32");
    for number in (instances.start + registrar..instances.end).step_by(step) {
        let body = instance(number);
        consul::ask(door, "PUT", "/v1/catalog/register", body.as_bytes()).await?;
    }
    Ok(())
}

/// A registration of one instance; those of one service are on nodes of their own.
/// Source: Consul HTTP API, Catalog, "Register Entity".
fn instance(number: u32) -> String {
    let (service, Node { name, address }) = (service(number / SERVICE_INSTANCES), node(number));
    let port = port(number);
    let id = format!(r#""ID":"{service}-{number}","Service":"{service}""#);
    format!(r#"{{"Node":"{name}","Address":"{address}","Service":{{{id},"Port":{port}}}}}"#)
}

/// A node of the catalogue.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// Its address.
    pub(crate) address: Ipv4Addr,
}

/// The node of the instance with this number.
pub(crate) fn node(instance: u32) -> Node {
    let number = instance % NODES;
    let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 77, 0, 0).to_bits() + number);
    Node { name: format!("bench-node-{number}"), address }
}

/// The port of the instance with this number.
pub(crate) fn port(instance: u32) -> u32 {
    20_000 + instance / NODES
}

async fn wait_for_dns(server: SocketAddr, number: u32) -> anyhow::Result<()> {
    let mut asker = Asker::open(server).await?;
    let begin = Instant::now();
    loop {
        let found = match asker.ask(number).await {
            Ok(answer) if u32::from(answer.records) == SERVICE_INSTANCES => return Ok(()),
            Ok(answer) => format!("{} records instead of {SERVICE_INSTANCES}", answer.records),
            Err(error) => error,
        };
        let late = begin.elapsed() > DNS_PATIENCE;
        anyhow::ensure!(!late, "SRV {}.service.consul at {server}: {found}", service(number));
        sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_one_json_object() {
        let node = r#"{"Node":"bench-node-7","Address":"10.77.0.7","#;
        let service = r#""Service":{"ID":"bench-000000-7","Service":"bench-000000","Port":20000}}"#;
        assert_eq!(instance(7), format!("{node}{service}"));
        let node = r#"{"Node":"bench-node-999","Address":"10.77.3.231","#;
        let service =
            r#""Service":{"ID":"bench-000199-1999","Service":"bench-000199","Port":20001}}"#;
        assert_eq!(instance(1_999), format!("{node}{service}"));
    }
}
