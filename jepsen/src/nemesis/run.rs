//! Carries a plan out: a thread for each kind, each of which breaks, waits and mends.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::journal::{DONE, Journal};
use super::{Binary, Cluster, Effect, Entry, Fault, Kind, NotDone, Plan, Planned, Report};
use crate::lab::LabError;
use crate::lab::clock::Skew;
use crate::lab::cuts::Cut;
use crate::lab::disk::DiskFault;
use crate::lab::switch::Weather;

/// How often a waiting thread looks whether to stop.
const LOOK: Duration = Duration::from_millis(20);
/// How long a signal may take until it shows.
const SHOWS_WITHIN: Duration = Duration::from_millis(500);

/// What all threads of a run share.
struct Run<'a> {
    cluster: &'a dyn Cluster,
    now: &'a (dyn Fn() -> u64 + Sync),
    stop: &'a AtomicBool,
    /// When the plan's time began, by `now`.
    began: u64,
    journal: Mutex<Journal>,
    report: Mutex<Report>,
}

/// Breaks a cluster as planned, mends it, and says what happened. Blocks for the plan's length, or
/// until `stop` is set, and as long as the mending takes; it belongs on a thread of its own.
///
/// `now` is the clock of the history: nanoseconds since the run began. The journal gets a line
/// for each fault (an [`Entry`]).
///
/// # Errors
///
/// If the journal cannot be written. Faults that did not happen are in the report.
pub fn run(
    cluster: &dyn Cluster,
    plan: &Plan,
    now: &(dyn Fn() -> u64 + Sync),
    stop: &AtomicBool,
    journal: &Path,
) -> Result<Report, LabError> {
    let mut report = Report::default();
    for kind in &plan.kinds {
        report.tallies.entry(*kind).or_default().planned = plan.lane(*kind).count();
    }
    let journal = Mutex::new(Journal::create(journal)?);
    let run = Run { cluster, now, stop, began: now(), journal, report: Mutex::new(report) };
    let done: Vec<_> = std::thread::scope(|scope| {
        let run = &run;
        let start = |kind: &Kind| {
            let kind = *kind;
            scope.spawn(move || run.lane(plan.lane(kind)))
        };
        let lanes: Vec<_> = plan.kinds.iter().map(start).collect();
        lanes.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    for lane in done {
        lane.map_err(|_panic| LabError::new("the nemesis", "a thread panicked"))??;
    }
    let mut report = run.report.into_inner();
    mend_all(cluster, &mut report);
    Ok(report)
}

impl Run<'_> {
    fn lane<'p>(&self, faults: impl Iterator<Item = &'p Planned>) -> Result<(), LabError> {
        for planned in faults {
            if !self.wait(planned.at) {
                return Ok(());
            }
            self.happen(planned)?;
        }
        Ok(())
    }

    /// One fault from its beginning to its end.
    fn happen(&self, planned: &Planned) -> Result<(), LabError> {
        let fault = &planned.fault;
        let leader = self.cluster.leader();
        let nodes = nodes_of(fault, self.cluster.nodes(), leader);
        let dropped = self.cluster.dropped();
        let began = (self.now)();
        let mut effect = self.begin(fault, &nodes, leader);
        let broken = (self.now)();
        if let (Fault::Stutter { stand, go, .. }, Ok(())) = (fault, &effect) {
            self.stutter(nodes[0], *stand, *go, planned.heal_at);
        } else if effect.is_ok() && !matches!(fault, Fault::Admin(_)) {
            self.wait(planned.heal_at);
        }
        if fault.kind() == Kind::Partition && effect.is_ok() {
            effect = has_dropped(dropped, self.cluster.dropped());
        }
        let mending = (self.now)();
        // Also what did not take effect is mended: it may have done so in part.
        let mending_effect = self.mend(fault, &nodes);
        let entry = Entry {
            kind: fault.kind(),
            fault: fault.clone(),
            leader,
            nodes,
            began,
            broken,
            effect: said(&effect),
            mending,
            mended: (self.now)(),
            mending_effect: said(&mending_effect),
        };
        let mut report = self.report.lock();
        report.count(fault.kind(), &effect);
        if let Err(NotDone::Lab(error)) = mending_effect {
            report.failures.push(format!("mending {}: {error}", fault.kind().name()));
        }
        drop(report);
        self.journal.lock().write(&entry)
    }

    fn begin(&self, fault: &Fault, nodes: &[usize], leader: Option<usize>) -> Effect {
        let cluster = self.cluster;
        let one = nodes.first().copied().unwrap_or_default();
        match fault {
            Fault::Partition(shape) => cluster.cut(&shape.cut(cluster.nodes(), leader)),
            Fault::Kill(_) => cluster.kill(one).and_then(|()| is_down(cluster, one)),
            Fault::KillAll => kill_all(cluster, nodes),
            Fault::Terminate(_) => cluster.terminate(one).and_then(|()| is_down(cluster, one)),
            Fault::Pause(_) | Fault::Stutter { .. } => {
                cluster.pause(one).and_then(|()| stands(cluster, one))
            }
            Fault::Clock(_, skew) => cluster.clock(one, *skew),
            Fault::Weather(weather) => cluster.weather(weather),
            Fault::Disk(_, disk) => {
                cluster.disk(one, disk)?;
                match disk {
                    DiskFault::Power(_) => is_down(cluster, one),
                    _ => Ok(()),
                }
            }
            Fault::Pressure(_, pressure) => cluster.pressure(one, Some(*pressure)),
            Fault::Remove(_) => cluster.remove(one),
            Fault::Admin(what) => cluster.administer(*what),
            Fault::Upgrade(_) => cluster.restart_with(one, Binary::Other),
        }
    }

    fn mend(&self, fault: &Fault, nodes: &[usize]) -> Effect {
        let cluster = self.cluster;
        let one = nodes.first().copied().unwrap_or_default();
        match fault {
            Fault::Partition(_) => cluster.cut(&Cut::none()),
            Fault::Kill(_) | Fault::Terminate(_) => cluster.start(one),
            Fault::KillAll => nodes.iter().try_for_each(|node| cluster.start(*node)),
            // One that was killed while it stood has nothing to go on with.
            Fault::Pause(_) | Fault::Stutter { .. } if cluster.pid(one).is_none() => Ok(()),
            Fault::Pause(_) | Fault::Stutter { .. } => cluster.resume(one),
            Fault::Clock(..) => cluster.clock(one, Skew::NONE),
            Fault::Weather(_) => cluster.weather(&Weather::CALM),
            Fault::Disk(..) => cluster.mend_disk(one),
            // Who is short of something may have died of it.
            Fault::Pressure(..) => cluster.pressure(one, None).and_then(|()| cluster.start(one)),
            Fault::Remove(_) => cluster.add(one),
            Fault::Admin(_) => Ok(()),
            Fault::Upgrade(_) => cluster.restart_with(one, Binary::Own),
        }
    }

    /// Lets a node go and stand in turn, until this time of the plan.
    fn stutter(&self, node: usize, stand: Duration, go: Duration, until: Duration) {
        let length = |at: Duration, more: Duration| (at + more).min(until);
        loop {
            let goes_on = self.wait(length(self.elapsed(), stand));
            if !goes_on || self.elapsed() >= until || self.cluster.resume(node).is_err() {
                return;
            }
            let goes_on = self.wait(length(self.elapsed(), go));
            if !goes_on || self.elapsed() >= until || self.cluster.pause(node).is_err() {
                return;
            }
        }
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos((self.now)().saturating_sub(self.began))
    }

    /// Waits until this time of the plan; says no if the run is to stop instead.
    fn wait(&self, until: Duration) -> bool {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            let left = until.saturating_sub(self.elapsed());
            if left.is_zero() {
                return true;
            }
            std::thread::park_timeout(left.min(LOOK));
        }
    }
}

fn said(effect: &Effect) -> String {
    match effect {
        Ok(()) => DONE.to_owned(),
        Err(why) => why.to_string(),
    }
}

/// The nodes that a fault is for, of this many, when this one leads.
fn nodes_of(fault: &Fault, nodes: usize, leader: Option<usize>) -> Vec<usize> {
    match fault {
        Fault::Kill(whom)
        | Fault::Terminate(whom)
        | Fault::Pause(whom)
        | Fault::Stutter { whom, .. }
        | Fault::Clock(whom, _)
        | Fault::Disk(whom, _)
        | Fault::Pressure(whom, _)
        | Fault::Remove(whom)
        | Fault::Upgrade(whom) => vec![whom.node(nodes, leader)],
        Fault::Partition(_) | Fault::KillAll | Fault::Weather(_) => (0..nodes).collect(),
        Fault::Admin(_) => leader.into_iter().collect(),
    }
}

/// Kills all nodes as near to the same moment as can be.
fn kill_all(cluster: &dyn Cluster, nodes: &[usize]) -> Effect {
    let killed: Vec<Effect> = std::thread::scope(|scope| {
        let kills = nodes.iter().map(|node| scope.spawn(move || cluster.kill(*node)));
        let kills: Vec<_> = kills.collect();
        let panicked = |_| Err(NotDone::Lab(LabError::new("a kill", "it panicked")));
        kills.into_iter().map(|kill| kill.join().unwrap_or_else(panicked)).collect()
    });
    killed.into_iter().collect::<Effect>()?;
    nodes.iter().try_for_each(|node| is_down(cluster, *node))
}

fn is_down(cluster: &dyn Cluster, node: usize) -> Effect {
    match cluster.pid(node) {
        None => Ok(()),
        Some(pid) => Err(NotDone::Refused(format!("node {node} runs as {pid}"))),
    }
}

/// Whether a node's process stands, which the kernel may take a moment to bring about.
fn stands(cluster: &dyn Cluster, node: usize) -> Effect {
    let mut last = None;
    let looks = SHOWS_WITHIN.as_millis() / LOOK.as_millis();
    for _ in 0..looks {
        let Some(pid) = cluster.pid(node) else { break };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name before the state is in brackets, and may hold anything.
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let state = after_name.chars().find(|sign| !sign.is_whitespace());
        if state == Some('T') {
            return Ok(());
        }
        last = state;
        std::thread::park_timeout(LOOK);
    }
    Err(NotDone::Refused(format!("node {node} does not stand: {last:?}")))
}

/// A cut through which nobody wanted to send cut nothing.
fn has_dropped(before: Option<u64>, after: Option<u64>) -> Effect {
    match (before, after) {
        (Some(before), Some(after)) if after <= before => {
            Err(NotDone::Refused("no packet was dropped".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Once all faults are mended: no cut, and every node runs.
fn mend_all(cluster: &dyn Cluster, report: &mut Report) {
    report.down = (0..cluster.nodes()).filter(|node| cluster.pid(*node).is_none()).collect();
    let mut mended = vec![cluster.cut(&Cut::none())];
    mended.extend((0..cluster.nodes()).map(|node| cluster.start(node)));
    for effect in mended {
        if let Err(why) = effect {
            report.failures.push(format!("mending all: {why}"));
        }
    }
}
