//! Servers of Portolan in one process, on a simulated network and simulated disks, in virtual
//! time: the same seed gives the same run, to the last byte.
//!
//! What is simulated is the ground (see `raft/sim`, `store/memory`); consensus, log, snapshots,
//! peer protocol, state machine, watches, sessions and the leader's duties are the real code.
//!
//! Source of the method: FoundationDB's simulation, TigerBeetle's VOPR, openraft's own fuzzer.

mod act;
mod arena;
mod clients;
mod elections;
mod judge;
mod many;
mod plan;
mod planted;
mod run;
mod server;
mod storm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Simulates clusters of Portolan from seeds")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Runs one seed in this process; RUST_LOG shows what it does.
    One {
        /// Which.
        #[arg(long)]
        seed: u64,
        /// Says what came of it in one line of JSON.
        #[arg(long)]
        json: bool,
        /// Writes what the clients saw to this file.
        #[arg(long)]
        history: Option<PathBuf>,
    },
    /// Runs many seeds, each in a process of its own.
    Run {
        /// The first.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many.
        #[arg(long, default_value_t = 100)]
        seeds: u64,
        /// At a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Ends at the first that fails.
        #[arg(long)]
        until_found: bool,
    },
    /// Hunts every planted bug; this program was built with `--features planted`.
    Planted {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// After so many seeds the simulation gives up.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// At a time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Test programs that hunt what the simulation does not find.
        #[arg(long = "test")]
        tests: Vec<PathBuf>,
        /// Only these bugs, by number.
        only: Vec<String>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().what {
        What::One { seed, json, history } => one(seed, json, history.as_deref()),
        What::Run { from, seeds, jobs, until_found } => run(from, seeds, jobs, until_found),
        What::Planted { from, seeds, jobs, tests, only } => {
            anyhow::ensure!(cfg!(feature = "planted"), "this program has no bugs on purpose in it");
            let hunt = planted::Hunt { from, seeds, jobs, tests, only };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (planted, found) = runtime.block_on(planted::hunt(&hunt))?;
            Ok(if planted == found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

#[expect(clippy::print_stdout, reason = "what came of it is what the caller wants")]
fn one(seed: u64, json: bool, history: Option<&Path>) -> anyhow::Result<ExitCode> {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::OFF.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    let outcome = run::run(seed, history)?;
    if json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    }
    Ok(if outcome.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "what came of it is what the caller wants")]
fn run(from: u64, seeds: u64, jobs: usize, until_found: bool) -> anyhow::Result<ExitCode> {
    let began = portolan::time::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let program = std::env::args().next().unwrap_or_default();
    let sum = runtime.block_on(many::run(
        from..from + seeds,
        jobs,
        until_found,
        None,
        |seed, outcome| {
            let wrong = match outcome {
                Ok(outcome) => outcome.wrong.first(),
                Err(why) => Some(why),
            };
            if let Some(wrong) = wrong {
                println!("seed {seed}: {wrong}\nreplay: {program} one --seed {seed}");
            }
        },
    ))?;
    let (real, simulated) = (began.elapsed().as_secs_f64(), sum.virtual_ms / 1000);
    println!(
        "{} seeds, {} failed; {simulated} s simulated in {real:.1} s; {} operations, {} of them \
         done; {} entries applied; faults {:?}",
        sum.seeds,
        sum.failed.len(),
        sum.operations,
        sum.done,
        sum.applied,
        sum.faults,
    );
    Ok(if sum.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
