//! A clock jumps under a process that runs, and nobody else's does.

use std::process::Command;

use portolan_jepsen::lab::clock::{Clock, Skew, Which};
use portolan_jepsen::lab::process::{Daemon, Program};

use crate::harness::{skip, until};

/// Says the date as this process sees it, in seconds, again and again.
const CLOCKS: &str = "while :; do date +%s; sleep 0.05; done";

fn now() -> i64 {
    let out = Command::new("date").arg("+%s").output().expect("date starts");
    String::from_utf8_lossy(&out.stdout).trim().parse().expect("seconds")
}

#[test]
fn a_clock_jumps_while_its_process_runs() {
    let folder = tempfile::tempdir().unwrap();
    let clock = match Clock::new(folder.path().join("clock"), Which::Wall) {
        Ok(clock) => clock,
        Err(why) => return skip("a_clock_jumps_while_its_process_runs", &why.to_string()),
    };
    let mut program = Program::new("date", "sh", folder.path().join("log")).args(["-c", CLOCKS]);
    program.environment = clock.environment();
    let daemon = Daemon::start_outside(program).unwrap();
    let ahead = || {
        let log = std::fs::read_to_string(daemon.log()).unwrap_or_default();
        let last = log.lines().last().and_then(|line| line.parse::<i64>().ok());
        last.map_or(i64::MAX, |last| last - now())
    };
    until("it shows the right time", || ahead().abs() <= 1);
    clock.set(Skew { ahead_ms: 3_600_000, percent: 100 }).unwrap();
    until("it is an hour ahead", || (ahead() - 3600).abs() <= 1);
    clock.set(Skew { ahead_ms: -120_000, percent: 100 }).unwrap();
    until("it is two minutes behind", || (ahead() + 120).abs() <= 1);
    clock.set(Skew::NONE).unwrap();
    until("it shows the right time again", || ahead().abs() <= 1);
}

#[test]
fn time_runs_faster_for_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let clock = match Clock::new(folder.path().join("clock"), Which::Both) {
        Ok(clock) => clock,
        Err(why) => return skip("time_runs_faster_for_one_process", &why.to_string()),
    };
    clock.set(Skew { ahead_ms: 0, percent: 1000 }).unwrap();
    let mut program = Program::new("date", "sh", folder.path().join("log"));
    program = program.args(["-c", "date +%s; sleep 20; date +%s"]);
    program.environment = clock.environment();
    let began = now();
    let mut daemon = Daemon::start_outside(program).unwrap();
    let mut ended = || daemon.ended_within(std::time::Duration::from_millis(10)).is_some();
    until("it has slept 20 of its seconds", &mut ended);
    let took = now() - began;
    let log = std::fs::read_to_string(daemon.log()).unwrap();
    let seen: Vec<i64> = log.lines().map(|line| line.parse().expect("seconds")).collect();
    assert!((1..=4).contains(&took), "{took} s");
    assert!(seen.len() == 2 && seen[1] - began >= 10, "{began} {seen:?}");
}
