//! Each workload against real processes of ours, in short: a node is killed, one stands still,
//! and one is cut off, at times that follow from a seed. Then keys under failing disks, wrong
//! clocks and shortage, where the machine can have them.
//!
//! The program under test lies beside this one where the whole workspace was built; otherwise
//! `PORTOLAN_TEST_BINARY` names it. `PORTOLAN_JEPSEN_SECONDS` lengthens the faults of each run.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use portolan_jepsen::lab::LabError;
use portolan_jepsen::lab::clock::{Clock, Which};
use portolan_jepsen::lab::disk::Disk;
use portolan_jepsen::lab::network::Network;
use portolan_jepsen::lab::pressure::Group;
use portolan_jepsen::nemesis::Kind as Broken;
use portolan_jepsen::run::{Settings, run};
use portolan_jepsen::targets::{Kind, find_binary};
use portolan_jepsen::workloads::Workload;

/// How long the faults of a run go on, in seconds.
const SECONDS: u64 = 12;
/// The seed of the first workload; each has the next one.
const SEED: u64 = 1;

/// One test, since two runs at a time would disturb each other.
#[test]
fn every_workload_is_valid_under_kill_pause_and_partition() {
    if let Err(why) = Network::new(1) {
        return say(&format!("SKIPPED: the workloads under faults: no network here: {why}"));
    }
    let binary = find_binary(None).expect("the program under test");
    let dir = tempfile::Builder::new().prefix("portolan-jepsen-").tempdir();
    let dir = dir.expect("a temporary folder");
    let mut failed = Vec::new();
    for (seed, (workload, nemesis)) in (SEED..).zip(runs(dir.path())) {
        let settings = Settings {
            target: Kind::Ours,
            binary: Some(binary.clone()),
            other: None,
            nodes: 3,
            workload,
            nemesis,
            seed,
            time: Duration::from_secs(seconds()),
            level: None,
            rate: None,
            clients: None,
            dir: dir.path().to_owned(),
        };
        let name = workload.name();
        match run(&settings) {
            Ok(summary) if summary.is_valid() => say(&format!("{name}: {summary}")),
            Ok(summary) => failed.push(format!("{name}: {summary}")),
            Err(error) => failed.push(format!("{name}: {error:#}\n{}", settings.replay_line())),
        }
    }
    if !failed.is_empty() {
        let kept = dir.keep();
        panic!("{}\nhistories, data and logs are in {}", failed.join("\n"), kept.display());
    }
}

/// What is driven, and what is broken meanwhile.
fn runs(folder: &Path) -> Vec<(Workload, Vec<Broken>)> {
    let usual = || vec![Broken::Kill, Broken::Pause, Broken::Partition];
    let mut runs: Vec<_> = Workload::ALL.iter().map(|workload| (*workload, usual())).collect();
    let tried: [(Broken, Result<(), LabError>); 3] = [
        (Broken::Disk, Disk::new(&folder.join("disk"), 64, SEED).map(drop)),
        (Broken::Clock, Clock::new(folder.join("clock"), Which::Wall).map(drop)),
        (Broken::Pressure, Group::new("tried").map(drop)),
    ];
    for (kind, tried) in tried {
        match tried {
            Ok(()) => runs.push((Workload::Kv, vec![kind])),
            Err(why) => say(&format!("SKIPPED: keys under {}: {why}", kind.name())),
        }
    }
    runs
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration but this")]
fn seconds() -> u64 {
    let told = std::env::var("PORTOLAN_JEPSEN_SECONDS").ok();
    told.map_or(SECONDS, |text| text.parse().expect("PORTOLAN_JEPSEN_SECONDS is a number"))
}

/// Says something on stderr that shows even where the test passes, past the runner's capture.
fn say(text: &str) {
    let line = format!("{}\n", text.trim_end());
    std::io::stderr().write_all(line.as_bytes()).expect("stderr takes a line");
}
