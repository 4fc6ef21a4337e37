//! The data set: the same keys and the same service for every system.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, Kind, dns_of};
use crate::consul;
use crate::dns::Asker;
use crate::rows::{INSTANCES, SERVICE};
use crate::source::{Random, key, value};

/// Writes in one transaction. Source: Consul HTTP API, Transactions: at most 64 operations; etcd
/// takes 128.
const BATCH_KEYS: u32 = 64;
/// Transactions under way at once while the data set is loaded.
const LOADERS: u32 = 8;
/// Longest time from registration to all instances in every server's DNS answers.
const DNS_PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two looks at DNS.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Writes the whole data set and, where there is a catalogue, registers the service: the same for
/// every system, so the memory read after it stands on equal work.
pub(crate) async fn fill(cluster: &Cluster, keys: u32) -> anyhow::Result<()> {
    let doors = cluster.doors();
    if cluster.kind() == Kind::Unbound {
        return answers(&doors).await; // it has the service from its configuration
    }
    let mut loaders = JoinSet::new();
    for loader in 0..LOADERS {
        let door = doors[loader as usize % doors.len()];
        loaders.spawn(fill_part(cluster.kind(), door, loader, keys));
    }
    while let Some(done) = loaders.join_next().await {
        done.context("a loader failed")?.context("cannot load the keys")?;
    }
    match cluster.kind() {
        Kind::Consul => register(&doors).await,
        Kind::Etcd | Kind::Unbound => Ok(()),
    }
}

/// Every [`LOADERS`]th batch of keys, beginning with this loader's.
async fn fill_part(kind: Kind, door: SocketAddr, loader: u32, keys: u32) -> anyhow::Result<()> {
    let mut random = Random::new(u64::from(loader));
    let step = usize::try_from(BATCH_KEYS * LOADERS).expect("512");
    for first in (loader * BATCH_KEYS..keys).step_by(step) {
        let last = (first + BATCH_KEYS).min(keys);
        let batch: Vec<_> = (first..last).map(|number| (key(number), value(&mut random))).collect();
        kind.write_all(door, &batch).await?;
    }
    Ok(())
}

async fn register(doors: &[SocketAddr]) -> anyhow::Result<()> {
    for number in 0..INSTANCES {
        let body = instance(number);
        consul::ask(doors[0], "PUT", "/v1/catalog/register", body.as_bytes()).await?;
    }
    answers(doors).await
}

/// Returns when every server answers with all instances.
async fn answers(doors: &[SocketAddr]) -> anyhow::Result<()> {
    for door in doors {
        wait_for_dns(dns_of(*door)).await?;
    }
    Ok(())
}

/// A registration of one instance on a node of its own.
/// Source: Consul HTTP API, Catalog, "Register Entity".
fn instance(number: u16) -> String {
    let port = 20_000 + number;
    let node = format!(r#""Node":"bench-node-{number}","Address":"10.77.0.{number}""#);
    let id = format!(r#""ID":"{SERVICE}-{number}","Service":"{SERVICE}""#);
    format!(r#"{{{node},"Service":{{{id},"Port":{port}}}}}"#)
}

async fn wait_for_dns(server: SocketAddr) -> anyhow::Result<()> {
    let mut asker = Asker::open(server).await?;
    let begin = Instant::now();
    loop {
        let found = match asker.ask().await {
            Ok(answer) if answer.records == INSTANCES => return Ok(()),
            Ok(answer) => format!("{} records instead of {INSTANCES}", answer.records),
            Err(error) => error,
        };
        let late = begin.elapsed() > DNS_PATIENCE;
        anyhow::ensure!(!late, "SRV {SERVICE}.service.consul at {server}: {found}");
        sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_is_one_json_object() {
        let node = r#"{"Node":"bench-node-7","Address":"10.77.0.7","#;
        let service = r#""Service":{"ID":"bench-web-7","Service":"bench-web","Port":20007}}"#;
        assert_eq!(instance(7), format!("{node}{service}"));
    }
}
