//! A run from its start to its verdict.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use crate::history::Op;
use crate::lab::network::Network;
use crate::nemesis::{self, Cluster as _, Pace};
use crate::report::{Loaded, Summary};
use crate::targets::{Deployment, Kind};
use crate::workloads::{Common, Plan};

use super::drive::{Load, read_all};
use super::files::{create, fresh_folder, read_faults, write_history};
use super::judge::{CONVERGES_WITHIN, Promise, judge, judge_logs};
use super::samples::{self, Samples};
use super::settings::Settings;

/// How long the clients go on once all faults are mended and the cluster serves.
const CALM: Duration = Duration::from_secs(2);
/// Threads of the clients' runtime.
const CLIENT_THREADS: usize = 2;
/// A run shorter than this has short faults, so that each kind comes more than once: one may find
/// its node down.
const SHORT_RUN: Duration = Duration::from_secs(30);

/// What a run brought before it was judged.
struct Driven {
    ops: Vec<Op>,
    logs: Vec<PathBuf>,
    samples: Samples,
    /// When the load began and ended, by the clock of the history.
    load: (u64, u64),
    faults: Option<nemesis::Report>,
    /// How long the cluster took to serve after the last fault.
    recovered: Duration,
    /// What went wrong beside the history: an outage that did not end, a node that died.
    troubles: Vec<String>,
}

/// Does a run, writes its files, and says what came of it. The folder keeps data and logs of the
/// nodes unless the verdict is valid.
///
/// # Errors
///
/// If the run could not be made at all. That is no verdict on the system.
pub fn run(settings: &Settings) -> anyhow::Result<Summary> {
    let folder = settings.folder();
    fresh_folder(&folder)?;
    let nodes = folder.join("nodes");
    std::fs::create_dir_all(&nodes)?;
    let network = if settings.nemesis.contains(&nemesis::Kind::Weather) {
        Network::with_weather(settings.nodes, settings.seed)?
    } else {
        Network::new(settings.nodes)?
    };
    // The thread goes into the clients' host for good, and all that it starts with it.
    let inside = || drive(settings, network, &folder, &nodes);
    let driven = std::thread::scope(|scope| scope.spawn(inside).join());
    let driven = driven.map_err(|_panic| anyhow::anyhow!("the run panicked"))??;
    write_history(&folder, settings.workload, &driven.ops)?;
    let mut promise = Promise::new(settings.target, settings.reads());
    promise.broken = read_faults(&folder)?;
    let mut judgements = judge(&driven.ops, settings.workload, &promise);
    if settings.target == Kind::Ours {
        judgements.extend(judge_logs(&driven.logs, &settings.nemesis)?);
        judgements.extend(samples::judge(&driven.samples));
    }
    let loaded = Loaded {
        load: driven.load,
        faults: driven.faults,
        recovered: driven.recovered,
        troubles: driven.troubles,
    };
    let summary = Summary::new(settings, &driven.ops, loaded, judgements);
    serde_json::to_writer_pretty(create(&folder.join("verdict.json"))?, &summary)?;
    if summary.is_valid() {
        std::fs::remove_dir_all(&nodes).with_context(|| nodes.display().to_string())?;
    }
    Ok(summary)
}

fn drive(
    settings: &Settings,
    network: Network,
    folder: &Path,
    nodes: &Path,
) -> anyhow::Result<Driven> {
    network.client().enter()?;
    let runtime =
        Builder::new_multi_thread().worker_threads(CLIENT_THREADS).enable_all().build()?;
    let handle = runtime.handle().clone();
    let equipment = settings.equipment()?;
    let place = (nodes, &equipment);
    let deployment = Deployment::start(settings.system()?, network, place, handle)?;
    runtime.block_on(deployment.serves()).context("the cluster does not start")?;
    let driven = load_and_break(settings, &deployment, &runtime, folder);
    // The clients' connections end before their servers do.
    runtime.shutdown_timeout(CALM);
    driven
}

fn load_and_break(
    settings: &Settings,
    deployment: &Deployment,
    runtime: &Runtime,
    folder: &Path,
) -> anyhow::Result<Driven> {
    let workload = settings.workload;
    let own = workload.plan();
    let plan = Plan {
        clients: settings.clients.unwrap_or(own.clients),
        rate: settings.rate.unwrap_or(own.rate),
    };
    let _inside = runtime.enter();
    let common = Arc::new(Common::new(settings.seed, settings.reads()));
    let began = common.now();
    let load = Load::start(deployment, &common, (workload, plan), runtime.handle());
    let (faults, samples) = break_and_sample(settings, deployment, &common, runtime, folder)?;
    let mut troubles = Vec::new();
    if let Some(why) = faults.as_ref().and_then(nemesis::Report::failure) {
        troubles.push(why);
    }
    for node in faults.iter().flat_map(|report| &report.down) {
        troubles.push(format!("node {node} was down, and no fault explains it"));
    }
    let recovered = match runtime.block_on(deployment.serves()) {
        Ok(recovered) => recovered,
        Err(error) => {
            troubles.push(format!("after all faults: {error:#}"));
            Duration::MAX
        }
    };
    runtime.block_on(sleep(CALM));
    let ended = common.now();
    let mut ops = runtime.block_on(load.stop())?;
    // What is to be the same everywhere by then must be so when it is read.
    runtime.block_on(sleep(Duration::from_nanos(CONVERGES_WITHIN)));
    match runtime.block_on(read_all(deployment, &common, workload, &ops)) {
        Ok(read) => ops.extend(read),
        Err(error) => troubles.push(format!("the last reads: {error:#}")),
    }
    for node in (0..deployment.nodes()).filter(|node| deployment.pid(*node).is_none()) {
        troubles.push(format!("node {node} is down at the end"));
    }
    ops.sort_by_key(|op| (op.called, op.returned));
    let logs = deployment.logs();
    Ok(Driven { ops, logs, samples, load: (began, ended), faults, recovered, troubles })
}

/// The faults of the run, and what its processes used meanwhile.
fn break_and_sample(
    settings: &Settings,
    deployment: &Deployment,
    common: &Common,
    runtime: &Runtime,
    folder: &Path,
) -> anyhow::Result<(Option<nemesis::Report>, Samples)> {
    let (over, now) = (AtomicBool::new(false), || common.now());
    let (faults, samples) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| samples::take(deployment, &now, &over));
        let faults = break_things(settings, deployment, common, runtime, folder);
        over.store(true, Ordering::Relaxed);
        (faults, sampler.join())
    });
    let samples = samples.map_err(|_panic| anyhow::anyhow!("the sampler panicked"))?;
    Ok((faults?, samples))
}

/// The faults of the run, or just its time.
fn break_things(
    settings: &Settings,
    deployment: &Deployment,
    common: &Common,
    runtime: &Runtime,
    folder: &Path,
) -> anyhow::Result<Option<nemesis::Report>> {
    if settings.nemesis.is_empty() {
        runtime.block_on(sleep(settings.time));
        return Ok(None);
    }
    let millis = |from, to| (Duration::from_millis(from), Duration::from_millis(to));
    let pace = if settings.time < SHORT_RUN {
        Pace { gap: millis(500, 2_000), length: millis(1_000, 3_000) }
    } else {
        Pace::default()
    };
    let (seed, nodes) = (settings.seed, deployment.nodes());
    let plan = nemesis::Plan::new(seed, nodes, settings.time, &settings.nemesis, pace);
    let (now, stop) = (|| common.now(), AtomicBool::new(false));
    let report = nemesis::run(deployment, &plan, &now, &stop, &folder.join("nemesis.jsonl"))?;
    Ok(Some(report))
}
