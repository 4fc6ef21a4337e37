//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use portolan_jepsen::history;
use portolan_jepsen::nemesis;
use portolan_jepsen::power;
use portolan_jepsen::run::Settings;
use portolan_jepsen::targets::{Kind, find_binary, find_peer};
use portolan_jepsen::workloads::Workload;

/// Real clusters under load and faults, and a verdict on each.
#[derive(Debug, Parser)]
#[command(name = "portolan-jepsen", version)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes one run and judges it. Needs root.
    Run(One),
    /// Judges a written history again.
    Check(Check),
    /// Shows that the harness finds what is wrong with the real peers, and nothing else.
    Calibrate(Many),
    /// Makes a run of each workload against ours, with kill, pause and partition together.
    All(Many),
    /// Makes runs of ours for some time, each with the next seed of a ledger.
    Soak(Soak),
    /// Cuts the power of servers under a writing load, and looks what is left. Needs root.
    Power(Power),
    /// Prints the sums of a ledger.
    Ledger {
        /// The ledger.
        file: PathBuf,
    },
}

/// How fresh reads are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// What the system answers when nothing is said.
    Default,
    /// Its strongest.
    Strong,
    /// What may be old.
    Stale,
}

impl Level {
    fn of_history(self) -> history::Level {
        match self {
            Self::Default => history::Level::Default,
            Self::Strong => history::Level::Strong,
            Self::Stale => history::Level::Stale,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct One {
    /// The system.
    #[arg(long, value_enum, default_value = "ours")]
    target: Kind,
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// What the clients do.
    #[arg(long, value_enum)]
    workload: Workload,
    /// Kinds of faults, with commas between them, or none.
    #[arg(long, default_value = "none")]
    nemesis: String,
    /// What all randomness follows from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long the faults go on, in seconds.
    #[arg(long, default_value_t = 30)]
    time: u64,
    /// How fresh reads are; not given, what the system calls linearizable.
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// Operations a second of all clients, if not the workload's own; 0 is as fast as they can.
    #[arg(long)]
    rate: Option<u32>,
    /// How many clients, if not the workload's own number.
    #[arg(long)]
    clients: Option<usize>,
    #[command(flatten)]
    place: Place,
}

/// Where things are.
#[derive(Args, Clone, Debug)]
pub(crate) struct Place {
    /// The program of ours, if it does not lie beside this one.
    #[arg(long)]
    pub(crate) binary: Option<PathBuf>,
    /// Another program of ours: an earlier release, that nodes run for a while (`upgrade`).
    #[arg(long)]
    pub(crate) other: Option<PathBuf>,
    /// The folder below which runs are kept; not given, one below the system's temporary folder.
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl Place {
    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| std::env::temp_dir().join("portolan-jepsen"))
    }
}

#[derive(Args, Debug)]
pub(crate) struct Check {
    /// A history as a run writes it.
    pub(crate) file: PathBuf,
    /// What its clients did.
    #[arg(long, value_enum)]
    pub(crate) workload: Workload,
    /// Whose history it is.
    #[arg(long, value_enum, default_value = "ours")]
    pub(crate) target: Kind,
    /// A level whose reads are to be linearizable, besides those that the system calls so.
    #[arg(long, value_enum, default_value = "strong")]
    level: Level,
}

impl Check {
    pub(crate) fn level(&self) -> history::Level {
        self.level.of_history()
    }
}

#[derive(Args, Debug)]
pub(crate) struct Many {
    /// How long the faults of each run go on, in seconds.
    #[arg(long, default_value_t = 20)]
    pub(crate) time: u64,
    /// The seed of the first run.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Args, Debug)]
pub(crate) struct Soak {
    /// The ledger: a line for each run, continued if it is there.
    #[arg(long)]
    pub(crate) ledger: PathBuf,
    /// How long runs are begun, in minutes.
    #[arg(long)]
    pub(crate) minutes: u64,
    /// How long the faults of each run go on, in seconds.
    #[arg(long, default_value_t = 60)]
    pub(crate) time: u64,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// Whose servers lose their power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Powered {
    Ours,
    Etcd,
}

/// What a cut leaves of what was not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Nothing.
    Drop,
    /// Some sectors of each write.
    Torn,
    /// Some writes, each as a whole.
    Subset,
    /// One of the three, another one each time.
    Mixed,
}

/// What is made wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Control {
    /// Nothing is.
    Honest,
    /// The disks answer flushes and do not flush.
    DiskLies,
    /// The servers do not ask for flushes (etcd only).
    NoSync,
}

#[derive(Args, Debug)]
pub(crate) struct Power {
    /// Whose servers.
    #[arg(long, value_enum, default_value = "ours")]
    target: Powered,
    /// How many.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=7))]
    nodes: u8,
    /// How many times the power is cut.
    #[arg(long, default_value_t = 10)]
    cuts: u32,
    /// What a cut leaves of what was not flushed.
    #[arg(long, value_enum, default_value = "mixed")]
    mode: Mode,
    /// What the moments, victims and losses follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What is made wrong on purpose, so that something must be found.
    #[arg(long, value_enum, default_value = "honest")]
    control: Control,
    #[command(flatten)]
    place: Place,
}

impl Power {
    pub(crate) fn options(&self) -> anyhow::Result<power::Options> {
        let (system, program) = match self.target {
            Powered::Ours => (power::System::Ours, find_binary(self.place.binary.as_deref())?),
            Powered::Etcd => (power::System::Etcd, find_peer("etcd")?),
        };
        Ok(power::Options {
            system,
            program,
            nodes: self.nodes,
            cuts: self.cuts,
            mode: match self.mode {
                Mode::Drop => power::Mode::Drop,
                Mode::Torn => power::Mode::Torn,
                Mode::Subset => power::Mode::Subset,
                Mode::Mixed => power::Mode::Mixed,
            },
            seed: self.seed,
            control: match self.control {
                Control::Honest => power::Control::Honest,
                Control::DiskLies => power::Control::DiskLies,
                Control::NoSync => power::Control::NoSync,
            },
            folder: self.place.folder().join(format!("power-{}", self.seed)),
        })
    }
}

impl One {
    pub(crate) fn settings(self) -> anyhow::Result<Settings> {
        Ok(Settings {
            target: self.target,
            dir: self.place.folder(),
            binary: self.place.binary,
            other: self.place.other,
            nodes: self.nodes,
            workload: self.workload,
            nemesis: kinds(&self.nemesis)?,
            seed: self.seed,
            time: Duration::from_secs(self.time),
            level: self.level.map(Level::of_history),
            rate: self.rate,
            clients: self.clients,
        })
    }
}

fn kinds(text: &str) -> anyhow::Result<Vec<nemesis::Kind>> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let kind = |name: &str| {
        let known = nemesis::Kind::named(name.trim());
        known.ok_or_else(|| {
            let all = nemesis::Kind::ALL.map(nemesis::Kind::name).join(", ");
            anyhow::anyhow!("no kind of faults is called {name}; there are {all}")
        })
    };
    text.split(',').map(kind).collect()
}
