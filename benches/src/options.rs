//! What the command line may choose.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::cluster::{Kind, System};
use crate::rows::{Pace, ROWS, Row, SERVICE_INSTANCES};

/// Most runs that one table may stand on.
const RUNS_MAX: u32 = 99;
/// Longest time that one row may be driven, in seconds.
const SECONDS_MAX: f64 = 3_600.0;
/// Most keys in the data set: the key's decimal number has eight digits.
const KEYS_MAX: u32 = 10_000_000;

/// Most instances in the catalogue: the number of a service has six digits.
const INSTANCES_MAX: u32 = 1_000_000;
/// Most sizes that the data grows through.
const SIZES_MAX: usize = 8;
/// Most shares of the peak that the open rows run at.
const SHARES_MAX: usize = 20;
/// Least and greatest share of the peak.
const SHARE_MIN: f64 = 0.01;
const SHARE_MAX: f64 = 5.0;

/// Compares Portolan with the real Consul and etcd: same client, same requests, same machine, in turn.
#[derive(Parser, Debug)]
#[command(name = "portolan-bench", version)]
pub(crate) struct Options {
    /// Our program.
    #[arg(long, default_value = "target/release/portolan")]
    pub(crate) ours: PathBuf,
    /// The real Consul [default: ~/.cache/portolan-peers/usr/bin/consul].
    #[arg(long)]
    consul: Option<PathBuf>,
    /// The real etcd [default: ~/.cache/portolan-peers/usr/bin/etcd].
    #[arg(long)]
    etcd: Option<PathBuf>,
    /// unbound, the ceiling of the DNS row [default: ~/.cache/portolan-peers/usr/sbin/unbound].
    #[arg(long)]
    unbound: Option<PathBuf>,
    /// Measure only these systems (with commas between, or repeated).
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Only>,
    /// Runs of each system; the table shows their median and range.
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: u32,
    /// Seconds that each row is measured for, in each run.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds of load before each measurement, not counted.
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Seconds without load before idle memory is read.
    #[arg(long, default_value_t = 3.0)]
    settle: f64,
    /// Keys in the data set. With several numbers (with commas between, each above the one before)
    /// the data grows, and rows that depend on it run at each size.
    #[arg(long, value_delimiter = ',', default_value = "100000")]
    pub(crate) keys: Vec<u32>,
    /// Instances in the catalogue, in services of ten; several numbers likewise.
    #[arg(long, value_delimiter = ',', default_value = "10")]
    pub(crate) instances: Vec<u32>,
    /// Which servers the connections go to.
    #[arg(long, value_enum, default_value = "all")]
    pub(crate) target: Target,
    /// Only these rows (with commas between, or repeated): put-1, put-64, put-256, get, get-256,
    /// get-consistent, get-consistent-256, get-stale, dns-srv, put-64-4k, put-256-4k, put-open, get-open.
    #[arg(long = "row", value_delimiter = ',')]
    rows: Vec<String>,
    /// The open rows run at these shares of each system's own peak (with commas between): its
    /// highest rate in the closed rows of the same requests.
    #[arg(long, value_delimiter = ',', default_value = "0.5")]
    pub(crate) open: Vec<f64>,
    /// Writes the open rows' latency against load as an SVG picture into this file.
    #[arg(long)]
    pub(crate) plot: Option<PathBuf>,
    /// Threads of the load generator.
    #[arg(long, default_value_t = 1)]
    pub(crate) client_threads: usize,
    /// Where the servers keep data and logs: on the disk that you mean, not in memory.
    #[arg(long, default_value = "target/bench")]
    pub(crate) data: PathBuf,
}

/// A system to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    Ours,
    Consul,
    Etcd,
    Unbound,
}

/// Where connections go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// To the leader alone.
    Leader,
    /// Evenly over the three servers, as behind a balancer.
    All,
}

impl Options {
    /// Whether every figure is within its bounds; the error names the first that is not.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let runs = self.runs;
        anyhow::ensure!((1..=RUNS_MAX).contains(&runs), "--runs {runs}: 1 to {RUNS_MAX}");
        check_sizes("keys", &self.keys, 1..=KEYS_MAX)?;
        check_sizes("instances", &self.instances, SERVICE_INSTANCES..=INSTANCES_MAX)?;
        for instances in &self.instances {
            let whole = instances.is_multiple_of(SERVICE_INSTANCES);
            anyhow::ensure!(whole, "--instances {instances}: whole services of ten");
        }
        let threads = self.client_threads;
        anyhow::ensure!((1..=64).contains(&threads), "--client-threads {threads}: 1 to 64");
        for (flag, value, least) in [
            ("seconds", self.seconds, 0.1),
            ("warmup", self.warmup, 0.0),
            ("settle", self.settle, 0.0),
        ] {
            let fits = (least..=SECONDS_MAX).contains(&value);
            anyhow::ensure!(fits, "--{flag} {value}: {least} to {SECONDS_MAX} seconds");
        }
        for name in &self.rows {
            let known = ROWS.iter().any(|row| row.name == name);
            anyhow::ensure!(known, "--row {name}: there is no such row, see --help");
        }
        self.check_open()
    }

    /// The same for the open rows.
    fn check_open(&self) -> anyhow::Result<()> {
        let shares = self.open.len();
        anyhow::ensure!((1..=SHARES_MAX).contains(&shares), "--open: 1 to {SHARES_MAX} shares");
        for share in &self.open {
            let fits = (SHARE_MIN..=SHARE_MAX).contains(share);
            anyhow::ensure!(fits, "--open {share}: {SHARE_MIN} to {SHARE_MAX}");
        }
        let rows = self.rows();
        for open in rows.iter().filter(|row| row.pace == Pace::Open) {
            let finds_peak = |row: &&Row| row.pace == Pace::Closed && row.work == open.work;
            let name = open.name;
            let with = ROWS.iter().rfind(finds_peak).map_or("none", |row| row.name);
            let found = rows.iter().any(|row| finds_peak(&row));
            anyhow::ensure!(found, "--row {name}: the peak comes from a closed row, add {with}");
        }
        let is_open = rows.iter().any(|row| row.pace == Pace::Open);
        anyhow::ensure!(self.plot.is_none() || is_open, "--plot: there is no open row to draw");
        Ok(())
    }

    /// The rows that were asked for, in the table's order.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let wanted = |row: &&Row| self.rows.is_empty() || self.rows.iter().any(|n| n == row.name);
        ROWS.iter().filter(wanted).copied().collect()
    }

    /// How long each row is measured.
    pub(crate) fn seconds(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// How long each row runs before that.
    pub(crate) fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup)
    }

    /// How long a new cluster is left alone before its idle memory is read.
    pub(crate) fn settle(&self) -> Duration {
        Duration::from_secs_f64(self.settle)
    }

    /// The systems to measure, ours first.
    ///
    /// Peers may be missing, which is said loudly; ours may not, unless it was not asked for.
    pub(crate) fn systems(&self) -> anyhow::Result<Vec<System>> {
        let mut systems = Vec::with_capacity(4);
        for only in [Only::Ours, Only::Consul, Only::Etcd, Only::Unbound] {
            if !self.only.is_empty() && !self.only.contains(&only) {
                continue;
            }
            let system = self.system(only);
            if !self.rows().iter().any(|row| system.kind.takes(row.work)) {
                continue; // none of the rows asked for is its work
            }
            let path = system.program.display();
            if system.program.is_file() {
                systems.push(System { program: absolute(&system.program)?, ..system });
            } else if only == Only::Ours {
                anyhow::bail!("{path}: no such program; build it first, or measure with --only");
            } else {
                let name = system.name;
                crate::say(&format!("*** {path} IS MISSING: {name} IS NOT MEASURED ***"));
            }
        }
        anyhow::ensure!(!systems.is_empty(), "none of the programs asked for is there");
        Ok(systems)
    }

    fn system(&self, only: Only) -> System {
        let (name, kind, program, net) = match only {
            Only::Ours => ("ours", Kind::Consul, self.ours.clone(), [127, 0, 2]),
            Only::Consul => {
                ("Consul", Kind::Consul, peer(self.consul.as_ref(), "bin/consul"), [127, 0, 3])
            }
            Only::Unbound => {
                let program = peer(self.unbound.as_ref(), "sbin/unbound");
                ("unbound", Kind::Unbound, program, [127, 0, 4])
            }
            Only::Etcd => ("etcd", Kind::Etcd, peer(self.etcd.as_ref(), "bin/etcd"), [127, 0, 4]),
        };
        let instances = self.instances.last().copied().unwrap_or(SERVICE_INSTANCES);
        System { name, kind, program, net, instances }
    }
}

/// The program that was chosen, or the one that the script for the peers unpacks.
fn peer(chosen: Option<&PathBuf>, name: &str) -> PathBuf {
    let home = || std::env::home_dir().unwrap_or_else(|| PathBuf::from("/root"));
    let usual = || home().join(".cache/portolan-peers/usr").join(name);
    chosen.cloned().unwrap_or_else(usual)
}

/// Whether the sizes of the data are within their bounds and rise.
fn check_sizes(flag: &str, sizes: &[u32], bounds: RangeInclusive<u32>) -> anyhow::Result<()> {
    let (least, most) = (bounds.start(), bounds.end());
    let count = sizes.len();
    anyhow::ensure!((1..=SIZES_MAX).contains(&count), "--{flag}: 1 to {SIZES_MAX} numbers");
    for size in sizes {
        anyhow::ensure!(bounds.contains(size), "--{flag} {size}: {least} to {most}");
    }
    let rise = sizes.windows(2).all(|two| two[0] < two[1]);
    anyhow::ensure!(rise, "--{flag}: each number must be above the one before");
    Ok(())
}

fn absolute(program: &Path) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(program)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Options {
        let program = ["portolan-bench"];
        Options::try_parse_from(program.iter().chain(args)).unwrap()
    }

    #[test]
    fn defaults_are_within_their_bounds() {
        let options = parse(&[]);
        options.check().unwrap();
        assert_eq!(options.rows().len(), ROWS.len());
        assert_eq!(options.target, Target::All);
    }

    #[test]
    fn the_error_names_flag_value_and_bound() {
        let refused = |args: &[&str]| parse(args).check().unwrap_err().to_string();
        assert_eq!(refused(&["--runs", "0"]), "--runs 0: 1 to 99");
        assert_eq!(refused(&["--seconds", "0"]), "--seconds 0: 0.1 to 3600 seconds");
        assert_eq!(refused(&["--keys", "5,0"]), "--keys 0: 1 to 10000000");
        let rising = "--keys: each number must be above the one before";
        assert_eq!(refused(&["--keys", "5,9,9"]), rising);
        assert_eq!(refused(&["--instances", "15"]), "--instances 15: whole services of ten");
        assert_eq!(refused(&["--row", "nil"]), "--row nil: there is no such row, see --help");
    }

    #[test]
    fn an_open_row_needs_one_that_finds_the_peak() {
        let check = |args: &[&str]| parse(args).check().map_err(|error| error.to_string());
        let why = "--row put-open: the peak comes from a closed row, add put-256";
        assert_eq!(check(&["--row", "put-open,get"]), Err(why.to_owned()));
        assert_eq!(check(&["--row", "put-open,put-64", "--open", "0.1,0.9"]), Ok(()));
        let why = "--plot: there is no open row to draw";
        assert_eq!(check(&["--row", "get", "--plot", "a.svg"]), Err(why.to_owned()));
        assert_eq!(check(&["--open", "0.5,9"]), Err("--open 9: 0.01 to 5".to_owned()));
    }

    #[test]
    fn rows_keep_the_order_of_the_table() {
        let rows = parse(&["--row", "dns-srv,get", "--row", "put-64"]).rows();
        assert_eq!(
            rows.iter().map(|row| row.name).collect::<Vec<_>>(),
            ["put-64", "get", "dns-srv"]
        );
    }

    #[test]
    fn help_names_every_row() {
        let help = <Options as clap::CommandFactory>::command().render_help().to_string();
        let words: Vec<_> = help.split([' ', ',', '.', '\n', ':']).collect();
        for row in ROWS {
            assert!(words.contains(&row.name), "{} is not in the help", row.name);
        }
    }
}
