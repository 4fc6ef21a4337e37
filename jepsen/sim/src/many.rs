//! Many seeds, each in a process of its own, some at a time.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::run::Outcome;

/// A seed that takes longer than this, by the wall's clock, hangs.
const HANGS: Duration = Duration::from_mins(2);

/// What came of many seeds.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) seeds: u64,
    pub(crate) failed: Vec<(u64, String)>,
    pub(crate) virtual_ms: u64,
    pub(crate) operations: u64,
    pub(crate) done: u64,
    pub(crate) applied: u64,
    pub(crate) faults: BTreeMap<String, u64>,
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: Result<Outcome, String>) {
        self.seeds += 1;
        match outcome {
            Ok(outcome) => {
                self.virtual_ms += outcome.virtual_ms;
                self.operations += outcome.operations;
                self.done += outcome.done;
                self.applied += outcome.applied;
                for (fault, count) in outcome.faults {
                    *self.faults.entry(fault).or_default() += count;
                }
                if let Some(first) = outcome.wrong.first() {
                    self.failed.push((seed, first.clone()));
                }
            }
            Err(why) => self.failed.push((seed, why)),
        }
    }
}

/// Runs the seeds, `jobs` at a time, with this planted bug active if there is one; stops at the
/// first failure if `until_found`.
///
/// # Errors
///
/// If a seed cannot be run at all: nothing is known of it then.
pub(crate) async fn run(
    seeds: Range<u64>,
    jobs: usize,
    until_found: bool,
    planted: Option<&str>,
    mut each: impl FnMut(u64, &Result<Outcome, String>),
) -> anyhow::Result<Sum> {
    let mut left: VecDeque<u64> = seeds.collect();
    let (mut sum, mut running) = (Sum::default(), JoinSet::new());
    loop {
        let stop = until_found && !sum.failed.is_empty();
        while running.len() < jobs
            && !stop
            && let Some(seed) = left.pop_front()
        {
            let planted = planted.map(str::to_owned);
            running.spawn(async move { (seed, one(seed, planted).await) });
        }
        let Some(ended) = running.join_next().await else { break };
        let (seed, outcome) = ended.context("a seed's task")?;
        let outcome = outcome?;
        each(seed, &outcome);
        sum.add(seed, outcome);
    }
    Ok(sum)
}

/// Runs one seed in a process of its own. A process that cannot be had is no verdict.
async fn one(seed: u64, planted: Option<String>) -> anyhow::Result<Result<Outcome, String>> {
    let program = std::env::current_exe().context("the program itself")?;
    let mut command = Command::new(program);
    command.args(["one", "--json", "--seed", &seed.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    if let Some(bug) = planted {
        command.env("PORTOLAN_PLANTED", bug);
    }
    let began = portolan::time::now();
    let Ok(output) = tokio::time::timeout(HANGS, command.output()).await else {
        return Ok(Err(format!("hangs: no end within {HANGS:?}")));
    };
    let output = output.context("a process of a seed")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let parsed = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    Ok(parsed.ok_or_else(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        let errors: Vec<&str> = errors.lines().filter(|line| !line.is_empty()).take(4).collect();
        format!("ended with {} after {:?}: {}", output.status, began.elapsed(), errors.join(" | "))
    }))
}
