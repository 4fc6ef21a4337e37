//! A plan is carried out against a cluster of plain processes: each fault happens, is written
//! down, and is mended; and one that never happens fails the run.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use portolan_jepsen::lab::cuts::Cut;
use portolan_jepsen::lab::network::{Host, Network};
use portolan_jepsen::lab::process::{Daemon, Program};
use portolan_jepsen::nemesis::{Cluster, Effect, Entry, Kind, NotDone, Pace, Plan, run};
use rustix::time::{ClockId, clock_gettime};

use crate::harness::network;

/// Three hosts that ping each other without end.
struct Pingers {
    network: Network,
    daemons: Mutex<Vec<Daemon>>,
}

impl Pingers {
    fn new(network: Network, folder: &Path) -> Self {
        let hosts = network.hosts();
        let addresses: Vec<String> = hosts.iter().map(|host| host.address.to_string()).collect();
        let start = |host: &Host| {
            let log = folder.join(host.address.to_string());
            let pings = addresses.iter().map(|to| format!("ping -q -i 0.05 {to} & "));
            let script = pings.collect::<String>() + "exec sleep 1000";
            let program = Program::new("pinger", "sh", log).args(["-c", &script]);
            Daemon::start(host, program).expect("it starts")
        };
        let daemons = hosts.iter().map(start).collect();
        Self { network, daemons: Mutex::new(daemons) }
    }

    fn signal(&self, node: usize, send: impl FnOnce(&mut Daemon)) -> Effect {
        let daemon = &mut self.daemons.lock()[node];
        if !daemon.is_running() {
            return Err(NotDone::Refused("it does not run".to_owned()));
        }
        send(daemon);
        Ok(())
    }
}

impl Cluster for Pingers {
    fn nodes(&self) -> usize {
        self.network.hosts().len()
    }

    fn leader(&self) -> Option<usize> {
        Some(1)
    }

    fn pid(&self, node: usize) -> Option<u32> {
        let daemon = &mut self.daemons.lock()[node];
        if daemon.is_running() { daemon.pid() } else { None }
    }

    fn start(&self, node: usize) -> Effect {
        let daemon = &mut self.daemons.lock()[node];
        if daemon.is_running() {
            return Ok(());
        }
        Ok(daemon.restart()?)
    }

    fn kill(&self, node: usize) -> Effect {
        self.daemons.lock()[node].kill();
        Ok(())
    }

    fn terminate(&self, node: usize) -> Effect {
        let daemon = &mut self.daemons.lock()[node];
        daemon.terminate();
        // One that stands does not hear it.
        if daemon.ended_within(Duration::from_millis(300)).is_none() {
            daemon.kill();
        }
        Ok(())
    }

    fn pause(&self, node: usize) -> Effect {
        self.signal(node, |daemon| daemon.pause())
    }

    fn resume(&self, node: usize) -> Effect {
        self.signal(node, |daemon| daemon.resume())
    }

    fn cut(&self, cut: &Cut) -> Effect {
        Ok(self.network.set_cut(cut)?)
    }

    fn dropped(&self) -> Option<u64> {
        self.network.dropped().ok()
    }
}

fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).expect("a time")
}

const WANTED: [Kind; 5] =
    [Kind::Partition, Kind::Kill, Kind::KillAll, Kind::Terminate, Kind::Pause];

#[test]
fn a_plan_happens_and_is_written_down() {
    let Some(network) = network("a_plan_happens_and_is_written_down", 3) else { return };
    let folder = tempfile::tempdir().unwrap();
    let pingers = Pingers::new(network, folder.path());
    let ms = Duration::from_millis;
    let pace = Pace { gap: (ms(300), ms(900)), length: (ms(100), ms(200)) };
    let plan = Plan::new(3, 3, Duration::from_secs(5), &WANTED, pace);
    let journal = folder.path().join("nemesis.jsonl");
    let report = run(&pingers, &plan, &now, &AtomicBool::new(false), &journal).unwrap();

    assert_eq!(report.failure(), None, "{report:?}");
    let happened = |kind| report.tallies[&kind].happened;
    assert!(happened(Kind::Partition) >= 3 && happened(Kind::Pause) >= 2, "{report:?}");
    let text = std::fs::read_to_string(journal).unwrap();
    let entries: Vec<Entry> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries.len(), plan.faults.len());
    for entry in &entries {
        assert!(entry.began <= entry.broken && entry.mending <= entry.mended, "{entry:?}");
    }
    for kind in WANTED {
        let of_kind = entries.iter().filter(|entry| entry.kind == kind);
        let faults: Vec<_> = of_kind.map(|entry| &entry.fault).collect();
        assert_eq!(faults, plan.lane(kind).map(|it| &it.fault).collect::<Vec<_>>());
    }
    // All is mended.
    let daemons = &mut pingers.daemons.lock();
    assert!(daemons.iter_mut().all(Daemon::is_running));
    let dropped = pingers.network.dropped().unwrap();
    crate::harness::rest(300);
    assert_eq!(pingers.network.dropped().unwrap(), dropped, "something is still cut");
}

#[test]
fn a_kind_that_never_happens_fails_the_run() {
    let Some(network) = network("a_kind_that_never_happens_fails_the_run", 3) else { return };
    let folder = tempfile::tempdir().unwrap();
    let pingers = Pingers::new(network, folder.path());
    let kinds = [Kind::Clock, Kind::Kill];
    let plan = Plan::new(1, 3, Duration::from_secs(1), &kinds, Pace::default());
    let journal = folder.path().join("nemesis.jsonl");
    let report = run(&pingers, &plan, &now, &AtomicBool::new(false), &journal).unwrap();
    assert_eq!(report.missing(), [Kind::Clock]);
    assert_eq!(report.tallies[&Kind::Clock].impossible, 1);
    assert!(report.failure().unwrap().contains("never happened: clock"), "{report:?}");
}
