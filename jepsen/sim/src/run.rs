//! One seed, from an empty cluster to its verdict.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use raft::sim::World;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::arena::Arena;
use crate::clients::Client;
use crate::plan::Plan;
use crate::storm::Storm;
use crate::{elections, judge};

/// What came of a seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    /// What was wrong; empty: nothing.
    pub(crate) wrong: Vec<String>,
    /// Simulated time, in milliseconds.
    pub(crate) virtual_ms: u64,
    /// Operations of clients, and those that were done.
    pub(crate) operations: u64,
    pub(crate) done: u64,
    /// Entries applied, on all servers together.
    pub(crate) applied: u64,
    /// Terms in which somebody led.
    pub(crate) terms: u64,
    /// How often each fault was there.
    pub(crate) faults: std::collections::BTreeMap<String, u64>,
    /// A checksum of all that the clients saw and the servers did: the same seed, the same trace.
    pub(crate) trace: String,
}

/// What panicked, wherever it was caught.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Runs a seed in this process, which can run no other one.
pub(crate) fn run(seed: u64, keep: Option<&Path>) -> anyhow::Result<Outcome> {
    entropy::seed(seed);
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(%panic, "a panic");
        PANICS.lock().push(format!("panic: {panic}").replace('\n', " "));
    }));
    let world = raft::sim::begin(seed);
    portolan::store::simulate();
    let root = Root::new()?;
    let plan = Plan::of(seed);
    tracing::info!(?plan, "a seed begins");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .context("a runtime")?;
    let outcome = runtime.block_on(simulate(world, &plan, &root.0, keep));
    runtime.shutdown_background();
    Ok(outcome)
}

async fn simulate(world: &'static World, plan: &Plan, root: &Path, keep: Option<&Path>) -> Outcome {
    let arena = Arena::new();
    let mut storm = Storm::new(world, plan, arena.clone(), root);
    let wrong = weather(world, plan, &arena, &mut storm).await;
    storm.end().await;
    let history = arena.history();
    let mut wrong = match wrong {
        Ok(()) => Vec::new(),
        Err(why) => vec![why],
    };
    wrong.extend(PANICS.lock().iter().cloned());
    wrong.extend(world.witness.broken());
    if wrong.is_empty() {
        wrong.extend(judge::history(&history, plan));
    }
    let lines: Vec<String> =
        history.iter().filter_map(|op| serde_json::to_string(op).ok()).collect();
    let text = lines.join("\n");
    if let Some(path) = keep {
        std::fs::write(path, &text).unwrap_or_else(|error| wrong.push(error.to_string()));
    }
    let (term, terms) = world.witness.terms();
    let done = history.iter().filter(|op| judge::is_done(op)).count();
    let sum = crc32c::crc32c(text.as_bytes());
    Outcome {
        seed: plan.seed,
        wrong,
        virtual_ms: arena.now() / 1_000_000,
        operations: history.len() as u64,
        done: done as u64,
        applied: world.witness.entries(),
        terms: terms as u64,
        faults: storm.counts,
        trace: format!("{sum:08x}-{}-{term}", world.witness.entries()),
    }
}

/// The storm, the calm after it, and what must be so then.
async fn weather(
    world: &'static World,
    plan: &Plan,
    arena: &Arena,
    storm: &mut Storm,
) -> Result<(), String> {
    storm.begin().await?;
    judge::serves(arena, Duration::from_secs(20)).await?;
    let mut clients = JoinSet::new();
    for place in 0..plan.clients {
        clients.spawn(Client::new(arena.clone(), plan, place).run());
    }
    storm.rage().await?;
    storm.clear().await?;
    judge::serves(arena, Duration::from_secs(20)).await?;
    // Clients go on for a moment, so that the calm has work to do as well.
    tokio::time::sleep(Duration::from_secs(2)).await;
    arena.calm_down();
    while let Some(ended) = clients.join_next().await {
        ended.map_err(|error| format!("a client failed: {error}"))?;
    }
    judge::converges(arena, Duration::from_secs(20)).await?;
    judge::reads_all(arena).await;
    elections::judge(world, arena).await?;
    match world.witness.broken().first() {
        Some(first) => Err(first.clone()),
        None => Ok(()),
    }
}

/// A folder for the disks, in memory where there is one; gone with this.
struct Root(PathBuf);

impl Root {
    fn new() -> anyhow::Result<Self> {
        let memory = Path::new("/dev/shm");
        let above = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let root = above.join(format!("portolan-sim-{}", std::process::id()));
        if root.exists() {
            // Of a process that was killed, and had this one's number.
            std::fs::remove_dir_all(&root).with_context(|| root.display().to_string())?;
        }
        std::fs::create_dir(&root).with_context(|| root.display().to_string())?;
        Ok(Self(root))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "the simulated disks stay");
        }
    }
}
