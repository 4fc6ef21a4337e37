//! Daemons run in their host, stand still when paused, and are gone with all their children.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use portolan_jepsen::lab::process::{Daemon, Program};

use crate::harness::{network, rest, until};

/// Counts aloud for ever, beside a child that sleeps.
const COUNT: &str = "sleep 1000 & echo child $!; while :; do echo tick; sleep 0.02; done";

fn lines(daemon: &Daemon) -> usize {
    fs::read_to_string(daemon.log()).expect("a log").lines().count()
}

#[test]
fn a_daemon_is_paused_killed_and_started_again() {
    let Some(network) = network("a_daemon_is_paused_killed_and_started_again", 1) else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = Program::new("count", "sh", folder.path().join("log")).args(["-c", COUNT]);
    let mut daemon = Daemon::start(&network.hosts()[0], program).unwrap();
    until("it counts", || lines(&daemon) > 3);
    assert!(daemon.is_running());

    daemon.pause();
    rest(50);
    let paused = lines(&daemon);
    rest(200);
    assert_eq!(lines(&daemon), paused, "it counts while it is paused");
    daemon.resume();
    until("it counts again", || lines(&daemon) > paused);

    let log = fs::read_to_string(daemon.log()).unwrap();
    let child = log.lines().find_map(|line| line.strip_prefix("child ")).unwrap().to_owned();
    let child = format!("/proc/{child}/cmdline");
    assert!(fs::read_to_string(&child).is_ok_and(|line| line.starts_with("sleep")));
    daemon.kill();
    assert!(!daemon.is_running());
    until("its child is gone too", || fs::read_to_string(&child).unwrap_or_default().is_empty());

    let before = lines(&daemon);
    daemon.restart().unwrap();
    until("it counts after a restart", || lines(&daemon) > before + 3);
    daemon.terminate();
    let status = daemon.ended_within(Duration::from_secs(5)).unwrap();
    assert_eq!(status.signal(), Some(15));
    assert_eq!(daemon.pid(), None);
}

#[test]
fn a_daemon_runs_in_its_host_and_dies_when_dropped() {
    let name = "a_daemon_runs_in_its_host_and_dies_when_dropped";
    let Some(network) = network(name, 1) else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = Program::new("address", "sh", folder.path().join("log"))
        .args(["-c", "ip -o address; echo $WORD; exec sleep 1000"])
        .env("WORD", "ready");
    let daemon = Daemon::start(&network.hosts()[0], program).unwrap();
    let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    until("it says its address", || log().contains("ready"));
    assert!(log().contains("10.77.0.1/24"), "{}", log());
    let running = format!("/proc/{}", daemon.pid().unwrap());
    assert!(fs::exists(&running).unwrap());
    drop(daemon);
    assert!(!fs::exists(&running).unwrap());
}
