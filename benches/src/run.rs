//! The order of things: runs, systems in turn, and what happens within one turn.

use std::path::Path;

use anyhow::Context as _;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, System};
use crate::data::grow;
use crate::figures::whole;
use crate::load::{self, Plan, Sample};
use crate::machine::{self, Memory};
use crate::options::{Options, Target};
use crate::plot;
use crate::report::{self, Setting};
use crate::rows::Pace;
use crate::say;
use crate::steps::{Size, Step, sizes, steps};

/// Slowest open loop: a system that has no peak is not measured in it.
const RATE_MIN: f64 = 1.0;

/// What one system showed in one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    /// One sample for each step, none where the system cannot do such work.
    pub(crate) samples: Vec<Option<Sample>>,
    /// Each server's memory after the start.
    pub(crate) idle: Vec<Memory>,
    /// The same at each size, once the data was there.
    pub(crate) filled: Vec<Vec<Memory>>,
    /// The same after all rows.
    pub(crate) loaded: Vec<Memory>,
    /// The same after the restart.
    pub(crate) restarted: Vec<Memory>,
    /// Seconds from the start of the processes to the first writes taken by all.
    pub(crate) start_seconds: f64,
    /// Seconds from the start of killed servers with all the data to the same; none of what holds
    /// no data.
    pub(crate) restart_seconds: Option<f64>,
    /// Rows after which another server led than before.
    pub(crate) leader_changes: u32,
}

/// Measures all systems in turn and returns the finished report.
pub(crate) async fn everything(options: &Options) -> anyhow::Result<String> {
    let systems = options.systems()?;
    let sizes = sizes(&options.keys, &options.instances);
    let steps = steps(&options.rows(), &options.open, &sizes);
    std::fs::create_dir_all(&options.data).with_context(|| options.data.display().to_string())?;
    let setting = setting(options, &systems, sizes).await?;
    let mut turns: Vec<Vec<Turn>> = systems.iter().map(|_| Vec::new()).collect();
    for run in 1..=options.runs {
        for (system, turns) in systems.iter().zip(&mut turns) {
            let title = format!("run {run} of {}, {}", options.runs, system.name);
            let turn = one_turn(system, &steps, options, &title).await;
            turns.push(turn.with_context(|| title.clone())?);
        }
    }
    let results: Vec<_> = systems.iter().map(|system| system.name).zip(turns).collect();
    if let Some(file) = &options.plot {
        let picture = plot::svg(&plot::panels(&steps, &results));
        std::fs::write(file, picture).with_context(|| file.display().to_string())?;
    }
    Ok(report::table(&setting, &steps, &results))
}

async fn setting(
    options: &Options,
    systems: &[System],
    sizes: Vec<Size>,
) -> anyhow::Result<Setting> {
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
        sizes,
        runs: options.runs,
        seconds: options.seconds().as_secs_f64(),
        warmup: options.warmup().as_secs_f64(),
        client_threads: options.client_threads,
        leader_only: options.target == Target::Leader,
    })
}

async fn one_turn(
    system: &System,
    steps: &[Step],
    options: &Options,
    title: &str,
) -> anyhow::Result<Turn> {
    let dir = options.data.join(system.name.to_lowercase());
    let begin = Instant::now();
    let mut cluster = Cluster::start(system, &dir).await?;
    let mut turn = Turn { start_seconds: begin.elapsed().as_secs_f64(), ..Turn::default() };
    sleep(options.settle()).await;
    turn.idle = memory(&cluster)?;
    let mut before = Size::default();
    for (stage, size) in sizes(&options.keys, &options.instances).into_iter().enumerate() {
        grow(&cluster, before, size).await?;
        before = size;
        turn.filled.push(memory(&cluster)?);
        let (keys, instances) = (whole(size.keys), whole(size.instances));
        say(&format!("{title}: {keys} keys and {instances} instances loaded"));
        for step in steps.iter().filter(|step| step.stage == stage) {
            let plan = Plan {
                warmup: options.warmup(),
                measured: options.seconds(),
                size,
                rate: step.share.map(|share| share * peak(steps, &turn.samples, step)),
            };
            take(&mut cluster, &mut turn, (step, plan, options.target), title).await?;
        }
    }
    turn.loaded = memory(&cluster)?;
    if cluster.kind().stores() {
        let seconds = cluster.restart(system).await?;
        say(&format!("{title}: up again after {seconds:.1} s"));
        turn.restart_seconds = Some(seconds);
        sleep(options.settle()).await;
        turn.restarted = memory(&cluster)?;
    }
    cluster.stop().await?;
    remove_data(&dir)?;
    Ok(turn)
}

/// Takes one measurement, or none if the system cannot do such work or has no peak to go by.
async fn take(
    cluster: &mut Cluster,
    turn: &mut Turn,
    (step, plan, target): (&Step, Plan, Target),
    title: &str,
) -> anyhow::Result<()> {
    if !cluster.kind().takes(step.row.work) || plan.rate.is_some_and(|rate| rate < RATE_MIN) {
        turn.samples.push(None);
        return Ok(());
    }
    let leader = cluster.leader().await?;
    let doors = match target {
        Target::Leader => vec![leader],
        Target::All => cluster.doors(),
    };
    let sample = load::drive(step.row, &doors, cluster, plan).await?;
    cluster.check_alive()?;
    turn.leader_changes += u32::from(cluster.leader().await? != leader);
    say(&format!("{title}: {}: {}", step.title(), report::one_line(&sample)));
    turn.samples.push(Some(sample));
    Ok(())
}

/// Memory of each server of a store; of what holds no data, none.
fn memory(cluster: &Cluster) -> anyhow::Result<Vec<Memory>> {
    if cluster.kind().stores() { cluster.memory() } else { Ok(Vec::new()) }
}

/// The highest rate so far in the closed rows of the same work and size; zero if none was valid.
fn peak(steps: &[Step], samples: &[Option<Sample>], wanted: &Step) -> f64 {
    let same = |step: &Step| {
        let is_closed = step.row.pace == Pace::Closed && step.stage == wanted.stage;
        is_closed && step.row.work == wanted.row.work
    };
    let before = steps.iter().zip(samples).filter(|(step, _)| same(step));
    let valid = before.filter_map(|(_, sample)| sample.as_ref().filter(|one| one.is_valid()));
    valid.map(|sample| sample.rate).fold(0.0, f64::max)
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
    use crate::rows::ROWS;

    #[test]
    fn the_peak_is_the_best_valid_closed_row_of_the_same_work() {
        let named = |name| *ROWS.iter().find(|row| row.name == name).unwrap();
        let rows = ["put-64", "put-256", "get", "put-open", "get-open"].map(named);
        let steps = steps(&rows, &[0.5], &sizes(&[9], &[10]));
        let sample = |rate, good| Some(Sample { rate, good, ..Sample::default() });
        let samples = [sample(100.0, 9), sample(900.0, 0), sample(500.0, 9), sample(50.0, 9)];
        assert!((peak(&steps, &samples, &steps[3]) - 100.0).abs() < 1e-9);
        assert!((peak(&steps, &samples, &steps[4]) - 500.0).abs() < 1e-9);
        assert!(peak(&steps, &[None, None], &steps[3]) < RATE_MIN);
    }
}
