//! The bugs on purpose, each hunted by the simulation and then by the unit tests.
//!
//! A harness that finds nothing proves nothing: this says of each planted bug what found it, after
//! how many seeds, and how to see it again.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use portolan_jepsen::planted::{BUGS, Bug};

use crate::many;

/// How each bug is hunted.
pub(crate) struct Hunt {
    /// The first seed, and how many before the simulation gives up.
    pub(crate) from: u64,
    pub(crate) seeds: u64,
    pub(crate) jobs: usize,
    /// Test programs, built with the bugs in, that hunt what the simulation did not find.
    pub(crate) tests: Vec<PathBuf>,
    /// These alone; empty: all.
    pub(crate) only: Vec<String>,
}

/// Hunts; gives how many bugs there were and how many were found.
#[expect(clippy::print_stdout, reason = "what came of it is what the caller wants")]
pub(crate) async fn hunt(hunt: &Hunt) -> anyhow::Result<(usize, usize)> {
    let wanted = |bug: &&Bug| {
        hunt.only.is_empty() || hunt.only.iter().any(|name| name.eq_ignore_ascii_case(bug.number))
    };
    let (mut planted, mut found) = (0, 0);
    for bug in BUGS.iter().filter(wanted) {
        planted += 1;
        let began = portolan::time::now();
        let simulated = simulate(hunt, bug.number).await?;
        let seen = simulated.or_else(|| test(hunt, bug.number));
        let seconds = began.elapsed().as_secs_f64();
        match seen {
            Some(what) => {
                found += 1;
                println!("{} found in {seconds:.1} s by {what}\n    ({})", bug.number, bug.what);
            }
            None => println!(
                "{} NOT FOUND in {} seeds, {seconds:.1} s\n    ({})",
                bug.number, hunt.seeds, bug.what
            ),
        }
    }
    println!("planted {planted}, found {found}");
    Ok((planted, found))
}

async fn simulate(hunt: &Hunt, bug: &str) -> anyhow::Result<Option<String>> {
    let seeds = hunt.from..hunt.from + hunt.seeds;
    let sum = many::run(seeds, hunt.jobs, true, Some(bug), |_, _| {}).await?;
    Ok(sum.failed.first().map(|(seed, wrong)| {
        let short: String = wrong.chars().take(200).collect();
        format!(
            "the simulation, {} seeds: {short}\n    replay: PORTOLAN_PLANTED={bug} portolan-sim one --seed {seed}",
            sum.seeds
        )
    }))
}

/// The first test program that fails with the bug active, and the first test that it names.
fn test(hunt: &Hunt, bug: &str) -> Option<String> {
    hunt.tests.iter().find_map(|program| {
        let mut command = Command::new(program);
        command.env("PORTOLAN_PLANTED", bug).stdin(Stdio::null()).stderr(Stdio::null());
        let output = command.output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let failed = text.lines().find(|line| line.ends_with("... FAILED"))?;
        let name = failed.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
        let program = program.display();
        Some(format!("the test {name}\n    replay: PORTOLAN_PLANTED={bug} {program} {name}"))
    })
}
