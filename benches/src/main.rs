//! Portolan, the real Consul and the real etcd under one and the same load, in turn, on one
//! machine.
//!
//! A run brings up three servers of one system on empty disks, loads the same data into them,
//! drives each row of the table for some seconds, and takes them down; then the next system has
//! its turn: A B C A B C. Only the system under load exists at that moment. Stopping the idle ones
//! with SIGSTOP would keep their memory and, on waking them, begin their turn with an election and
//! with gossip that believes everybody dead; a fresh start gives every run the same beginning, and
//! an honest figure for idle memory.
//!
//! Ours and Consul get the same command line and requests; etcd has its own command line and gets,
//! over gRPC, the same keys and values in the same order, over as many connections with one
//! request at a time on each. Most rows are a closed loop (a connection asks again when it has its
//! answer), so latencies are those of a saturated system and rates are its capacity; in the open
//! rows requests are due by the clock, at a share of that capacity. Rates are comparable within one
//! table only, never between machines. Processor time for 1,000 requests is the quiet figure: other
//! programs disturb it least. To see how much of a ratio is noise, let Consul run against itself:
//! `--ours` with the path of Consul.
//!
//! Given several sizes, the data grows within a turn and the rows run at each, so that the table
//! shows cost against size. At the end of a turn all servers are killed and started again on the
//! largest.

mod cluster;
mod consul;
mod data;
mod dns;
mod etcd;
mod figures;
mod grpc;
mod histogram;
mod http;
mod load;
mod machine;
mod open;
mod options;
mod patience;
mod plot;
mod report;
mod rows;
mod run;
mod source;
mod steps;
mod unbound;
mod worker;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

use options::Options;

fn main() -> ExitCode {
    let options = Options::parse();
    match start(&options) {
        Ok(table) => {
            // The reader of a pipe may be gone; there is nobody left to tell.
            drop(writeln!(std::io::stdout().lock(), "{table}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("portolan-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs everything on a small runtime of its own and returns the finished table.
fn start(options: &Options) -> anyhow::Result<String> {
    options.check()?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(options.client_threads)
        .enable_all()
        .build()
        .context("cannot start the load generator's threads")?
        .block_on(until_stopped(options))
}

/// The whole measurement, or an error as soon as somebody asks us to stop: either way the servers
/// that were started are dropped, and so killed.
async fn until_stopped(options: &Options) -> anyhow::Result<String> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    // Dropping the measurement is how it is cancelled: its clusters kill their children.
    tokio::select! {
        table = run::everything(options) => table,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("terminated"),
    }
}

/// One line of progress or of warning, on stderr, so that stdout holds the table alone.
fn say(line: &str) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}
