//! Shortages and failing system calls hurt the process that they are for.

use std::fs;

use portolan_jepsen::lab::pressure::{Group, Pressure};
use portolan_jepsen::lab::process::{Daemon, Program};
use portolan_jepsen::lab::syscalls::{SyncFault, Tracer};

use crate::harness::{skip, until};

fn daemon(folder: &tempfile::TempDir, script: &str) -> Daemon {
    let program = Program::new("victim", "bash", folder.path().join("log")).args(["-c", script]);
    Daemon::start_outside(program).expect("it starts")
}

fn log(daemon: &Daemon) -> String {
    fs::read_to_string(daemon.log()).unwrap_or_default()
}

#[test]
fn a_process_runs_short_of_what_it_is_told() {
    let group = match Group::new("test") {
        Ok(group) => group,
        Err(why) => return skip("a_process_runs_short_of_what_it_is_told", &why.to_string()),
    };
    let folder = tempfile::tempdir().unwrap();
    // Twenty descriptors, then twenty children, each time around.
    let script = "while :; do
        (for n in {1..20}; do exec {fd}</dev/null || exit 1; done) && echo files
        (for n in {1..20}; do sleep 0.1 || exit 1 & done; wait) && echo children
        sleep 0.05
    done";
    let victim = daemon(&folder, script);
    let pid = victim.pid().unwrap();
    let bare = |word: &str| log(&victim).lines().filter(|line| *line == word).count();
    until("it has enough of all", || bare("files") > 0 && bare("children") > 0);
    group.press(pid, Pressure::Files(20)).unwrap();
    until("it is told so", || log(&victim).contains("Too many open files"));
    let before = bare("files");
    crate::harness::rest(500);
    assert!(bare("files") <= before + 1, "it opens more than it may");
    group.relieve(Some(pid)).unwrap();
    until("it has enough of files again", || bare("files") > before + 1);

    group.press(pid, Pressure::Threads(8)).unwrap();
    until("it is told that it starts too many", || log(&victim).contains("fork: "));
    drop(victim);
    group.relieve(None).unwrap();

    let script = "sleep 0.3; x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo had all";
    let mut victim = daemon(&folder, script);
    group.press(victim.pid().unwrap(), Pressure::Memory(16 << 20)).unwrap();
    let ended = || victim.ended_within(std::time::Duration::from_millis(10)).is_some();
    until("it ends", ended);
    assert!(!log(&victim).contains("had all"), "it had more memory than it may");
    group.relieve(None).unwrap();

    let victim = daemon(&folder, "while :; do :; done");
    let pid = victim.pid().unwrap();
    let used = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let ticks: u64 = stat.split_whitespace().nth(13).unwrap().parse().unwrap();
        ticks
    };
    group.press(pid, Pressure::Processor(10)).unwrap();
    let before = used();
    crate::harness::rest(1000);
    let ticks = used() - before;
    assert!(ticks <= 30, "{ticks} ticks of 10 ms in a second, where it may have 10");
}

#[test]
fn syncs_fail_and_are_slow() {
    let folder = tempfile::tempdir().unwrap();
    let script = "while :; do echo >a; sync -d a && echo well; sleep 0.05; done";
    let mut program = Program::new("victim", "sh", folder.path().join("log"));
    program = program.args(["-c", script]);
    program.folder = Some(folder.path().to_owned());
    let victim = Daemon::start_outside(program).unwrap();
    until("it syncs", || log(&victim).contains("well"));
    let strace = folder.path().join("strace");
    let tracer = Tracer::attach(victim.pid().unwrap(), SyncFault::Fails, &strace).unwrap();
    let failed = || log(&victim).contains("Input/output error");
    let refused = || fs::read_to_string(&strace).unwrap_or_default();
    until("a sync fails, or it is said why none does", || failed() || !refused().is_empty());
    if !failed() {
        return skip("syncs_fail_and_are_slow", &refused());
    }
    drop(tracer);
    let before = log(&victim).matches("well").count();
    until("it syncs again", || log(&victim).matches("well").count() > before + 1);
    let slow = SyncFault::Slow { delay_us: 400_000 };
    let _tracer = Tracer::attach(victim.pid().unwrap(), slow, &strace).unwrap();
    crate::harness::rest(500);
    let before = log(&victim).matches("well").count();
    crate::harness::rest(1000);
    let synced = log(&victim).matches("well").count() - before;
    assert!((1..=3).contains(&synced), "{synced} syncs of 0.4 s in a second");
}
