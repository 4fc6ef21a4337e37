//! Power cuts of real servers: honest disks keep every promise, and disks that lie are found out.
//!
//! Needs a peer's program or ours; what is missing is skipped aloud.

use std::path::{Path, PathBuf};

use portolan_jepsen::power::{Control, Mode, Options, Report, System, run};

use crate::harness::{network, skip};

/// Our program, where the workspace has built it beside this test.
fn ours() -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let built = test.parent()?.parent()?.join("portolan");
    built.exists().then_some(built)
}

/// The etcd that the scripts fetch.
fn etcd() -> Option<PathBuf> {
    let home = PathBuf::from(option_env!("HOME")?);
    let fetched = home.join(".cache/portolan-peers/usr/bin/etcd");
    fetched.exists().then_some(fetched)
}

fn options(system: System, program: PathBuf, nodes: u8, folder: &Path) -> Options {
    Options {
        system,
        program,
        nodes,
        cuts: 4,
        mode: Mode::Mixed,
        seed: 2,
        control: Control::Honest,
        folder: folder.to_owned(),
    }
}

fn cuts(options: &Options) -> Report {
    run(options).expect("the lab works")
}

#[test]
fn what_was_acknowledged_outlives_power_cuts() {
    let test = "what_was_acknowledged_outlives_power_cuts";
    if network(test, 1).is_none() {
        return;
    }
    let Some(program) = ours() else { return skip(test, "portolan is not built") };
    for nodes in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let report = cuts(&options(System::Ours, program.clone(), nodes, folder.path()));
        assert!(report.is_valid() && report.cuts == 4, "{report:#?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let lies = Control::DiskLies;
    let report =
        cuts(&Options { control: lies, ..options(System::Ours, program, 1, folder.path()) });
    assert!(!report.is_valid(), "a disk that lies is not found out: {report:#?}");
}

#[test]
fn an_etcd_that_does_not_sync_is_found_out() {
    let test = "an_etcd_that_does_not_sync_is_found_out";
    if network(test, 1).is_none() {
        return;
    }
    let Some(program) = etcd() else { return skip(test, "etcd is not fetched") };
    let folder = tempfile::tempdir().unwrap();
    let honest = options(System::Etcd, program, 1, folder.path());
    let report = cuts(&honest);
    assert!(report.is_valid(), "{report:#?}");
    let folder = tempfile::tempdir().unwrap();
    let report = cuts(&Options {
        control: Control::NoSync,
        folder: folder.path().to_owned(),
        mode: Mode::Drop,
        ..honest
    });
    assert!(!report.is_valid(), "{report:#?}");
}
