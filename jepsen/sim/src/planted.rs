//! The bugs on purpose, each hunted by the simulation and then by the unit tests.
//!
//! A harness that finds nothing proves nothing: this says of each planted bug what found it, after
//! how many seeds, and how to see it again. What fails without the bug as well has found nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
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
        let seen = match simulated {
            None => test(hunt, bug.number)?,
            found => found,
        };
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
    let Some((seed, wrong)) = sum.failed.first() else { return Ok(None) };
    let control = many::run(*seed..seed + 1, 1, true, None, |_, _| {}).await?;
    if let Some((_, wrong)) = control.failed.first() {
        anyhow::bail!("seed {seed} fails without any bug: {wrong}");
    }
    let short: String = wrong.chars().take(200).collect();
    Ok(Some(format!(
        "the simulation, {} seeds: {short}\n    replay: PORTOLAN_PLANTED={bug} portolan-sim one --seed {seed}",
        sum.seeds
    )))
}

/// The first test program that fails with the bug active, and the first test that it names.
fn test(hunt: &Hunt, bug: &str) -> anyhow::Result<Option<String>> {
    for program in &hunt.tests {
        let Some(name) = failed(program, Some(bug), &[])? else { continue };
        let shown = program.display();
        if failed(program, None, &["--exact", &name])?.is_some() {
            anyhow::bail!("the test {name} of {shown} fails without any bug");
        }
        return Ok(Some(format!(
            "the test {name}\n    replay: PORTOLAN_PLANTED={bug} {shown} {name}"
        )));
    }
    Ok(None)
}

/// The first test of a program that fails.
fn failed(program: &Path, bug: Option<&str>, arguments: &[&str]) -> anyhow::Result<Option<String>> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    if let Some(bug) = bug {
        command.env("PORTOLAN_PLANTED", bug);
    }
    let output = command.output().with_context(|| program.display().to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.ends_with("... FAILED"));
    let name = line.and_then(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    Ok(name.map(str::to_owned))
}
