//! The order of things: runs, systems in turn, and what happens within one turn.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, System, ask, dns_of};
use crate::dns::Asker;
use crate::load::{self, Plan, Random, Sample, key, value};
use crate::machine::{self, Memory};
use crate::options::{Options, Target};
use crate::report::{self, Setting};
use crate::rows::{INSTANCES, Row, SERVICE};
use crate::say;

/// Writes in one transaction. Source: Consul HTTP API, Transactions: at most 64 operations.
const BATCH_KEYS: u32 = 64;
/// Transactions under way at once while the data set is loaded.
const LOADERS: u32 = 8;
/// Longest time from registration to all instances in every server's DNS answers.
const DNS_PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two looks at DNS.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What one system showed in one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    /// One sample for each row.
    pub(crate) samples: Vec<Sample>,
    /// Each server's memory after start, with the data set, and after all rows.
    pub(crate) memory: [Vec<Memory>; 3],
    /// Seconds from the start of the processes to the first writes taken by all three.
    pub(crate) start_seconds: f64,
    /// Rows after which another server led than before.
    pub(crate) leader_changes: u32,
}

/// Measures all systems in turn and returns the finished report.
pub(crate) async fn everything(options: &Options) -> anyhow::Result<String> {
    let systems = options.systems()?;
    let rows = options.rows();
    std::fs::create_dir_all(&options.data).with_context(|| options.data.display().to_string())?;
    let setting = setting(options, &systems).await?;
    let mut turns: Vec<Vec<Turn>> = systems.iter().map(|_| Vec::new()).collect();
    for run in 1..=options.runs {
        for (system, turns) in systems.iter().zip(&mut turns) {
            let title = format!("run {run} of {}, {}", options.runs, system.name);
            let turn = one_turn(system, &rows, options, &title).await;
            turns.push(turn.with_context(|| title.clone())?);
        }
    }
    let results: Vec<_> = systems.iter().map(|system| system.name).zip(turns).collect();
    Ok(report::table(&setting, &rows, &results))
}

async fn setting(options: &Options, systems: &[System]) -> anyhow::Result<Setting> {
    let mut versions = Vec::with_capacity(systems.len());
    for system in systems {
        versions.push(format!("{}: {}", system.name, system.version().await?));
    }
    let disk = machine::file_system(&options.data)?;
    if disk == "tmpfs" || disk == "ramfs" {
        say("*** the data directory is in memory: syncing costs nothing there; see --data ***");
    }
    Ok(Setting {
        machine: machine::describe(),
        versions,
        disk,
        keys: options.keys,
        runs: options.runs,
        seconds: options.seconds().as_secs_f64(),
        warmup: options.warmup().as_secs_f64(),
        client_threads: options.client_threads,
        leader_only: options.target == Target::Leader,
    })
}

async fn one_turn(
    system: &System,
    rows: &[Row],
    options: &Options,
    title: &str,
) -> anyhow::Result<Turn> {
    let dir = options.data.join(system.name.to_lowercase());
    let begin = Instant::now();
    let mut cluster = Cluster::start(system, &dir).await?;
    let start_seconds = begin.elapsed().as_secs_f64();
    sleep(options.settle()).await;
    let idle = cluster.memory()?;
    fill(&cluster, options.keys).await?;
    let full = cluster.memory()?;
    say(&format!("{title}: up after {start_seconds:.1} s, {} keys loaded", options.keys));
    let (samples, leader_changes) = drive_rows(&mut cluster, rows, options, title).await?;
    let loaded = cluster.memory()?;
    cluster.stop().await?;
    remove_data(&dir)?;
    Ok(Turn { samples, memory: [idle, full, loaded], start_seconds, leader_changes })
}

async fn drive_rows(
    cluster: &mut Cluster,
    rows: &[Row],
    options: &Options,
    title: &str,
) -> anyhow::Result<(Vec<Sample>, u32)> {
    let (warmup, measured, keys) = (options.warmup(), options.seconds(), options.keys);
    let plan = Plan { warmup, measured, keys };
    let mut samples = Vec::with_capacity(rows.len());
    let mut changes = 0;
    for row in rows {
        let leader = cluster.leader().await?;
        let doors = match options.target {
            Target::Leader => vec![leader],
            Target::All => cluster.http(),
        };
        let sample = load::drive(*row, &doors, cluster, plan).await?;
        cluster.check_alive()?;
        changes += u32::from(cluster.leader().await? != leader);
        say(&format!("{title}: {}: {}", row.title, report::one_line(&sample)));
        samples.push(sample);
    }
    Ok((samples, changes))
}

/// Writes the whole data set and registers the service, the same for every system: so the memory
/// read after it stands on equal work.
async fn fill(cluster: &Cluster, keys: u32) -> anyhow::Result<()> {
    let doors = cluster.http();
    let mut loaders = JoinSet::new();
    for loader in 0..LOADERS {
        let door = doors[loader as usize % doors.len()];
        loaders.spawn(fill_part(door, loader, keys));
    }
    while let Some(done) = loaders.join_next().await {
        done.context("a loader failed")?.context("cannot load the keys")?;
    }
    for number in 0..INSTANCES {
        let body = instance(number);
        ask(doors[0], "PUT", "/v1/catalog/register", body.as_bytes()).await?;
    }
    for door in doors {
        wait_for_dns(dns_of(door)).await?;
    }
    Ok(())
}

/// Every [`LOADERS`]th batch of keys, beginning with this loader's.
async fn fill_part(door: SocketAddr, loader: u32, keys: u32) -> anyhow::Result<()> {
    let mut random = Random::new(u64::from(loader));
    let step = usize::try_from(BATCH_KEYS * LOADERS).expect("512");
    for first in (loader * BATCH_KEYS..keys).step_by(step) {
        let last = (first + BATCH_KEYS).min(keys);
        let sets = (first..last).map(|number| {
            let value = STANDARD.encode(value(&mut random));
            format!(r#"{{"KV":{{"Verb":"set","Key":"{}","Value":"{value}"}}}}"#, key(number))
        });
        let body = format!("[{}]", sets.collect::<Vec<_>>().join(","));
        ask(door, "PUT", "/v1/txn", body.as_bytes()).await?;
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

/// Frees the disk for the next turn; the logs stay.
fn remove_data(dir: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            std::fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
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
