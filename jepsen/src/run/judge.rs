//! Which checkers judge which workload, and what they make of a history together.

use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;

use crate::checkers::{
    Verdict, append, catalog, certificate, dns, hygiene, lock, membership, session, set, watch, wgl,
};
use crate::history::{Action, Level, Op, Outcome};
use crate::nemesis;
use crate::targets::{Kind, node_name};
use crate::workloads::Workload;

const NANOS_A_MILLI: u64 = 1_000_000;
/// How late the end of a session may be seen.
const SESSION_MARGIN: u64 = 2_000 * NANOS_A_MILLI;
/// How much later at systems where a new leader begins the time anew.
const SESSIONS_ANEW: u64 = 30_000 * NANOS_A_MILLI;
/// How soon after the last change and the last fault all nodes must show the same catalog.
pub(super) const CONVERGES_WITHIN: u64 = 3_000 * NANOS_A_MILLI;
/// How long after a fault was mended bounds of time do not hold: an election, a start.
const RECOVERY: u64 = 5_000 * NANOS_A_MILLI;
/// What the consensus library calls an error and every run provokes: a change of the membership
/// that is refused because another goes on or the leader has changed, and calls to a server that
/// is stopping in order.
const ERRORS_ALLOWED: &[&str] =
    &["first step error:", "second step error:", "raft stopped", "failed to receive from RaftCore"];
/// A stretch without any answer of a leader counts as one without a leader.
const STANDSTILL: u64 = 500 * NANOS_A_MILLI;

/// What the system of a run promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Which system.
    pub system: Kind,
    /// Levels whose reads are to be linearizable.
    pub linearizable: Vec<Level>,
    /// From when to when something was broken, by the clock of the history: bounds of time do not
    /// hold then.
    pub broken: Vec<Broken>,
}

/// A fault as far as the judges need to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// When it began, in nanoseconds.
    pub began: u64,
    /// When it was mended.
    pub mended: u64,
    /// The node that was taken out of the cluster by it, and then in again.
    pub removed: Option<usize>,
}

impl Promise {
    /// What `system` says of itself, and besides that reads at `level` are linearizable: that is
    /// what a run at a level asks.
    pub fn new(system: Kind, level: Level) -> Self {
        let mut linearizable = match system {
            Kind::Ours | Kind::Etcd => vec![Level::Default, Level::Strong],
            Kind::Consul => vec![Level::Strong],
        };
        if !linearizable.contains(&level) {
            linearizable.push(level);
        }
        Self { system, linearizable, broken: Vec::new() }
    }
}

/// What one checker said.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    /// The checker.
    pub checker: &'static str,
    /// What it said.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Judges a history of a workload by every checker that knows its words.
pub fn judge(ops: &[Op], workload: Workload, promise: &Promise) -> Vec<Judgement> {
    let said = |checker, verdict| Judgement { checker, verdict };
    match workload {
        Workload::Register => {
            vec![said("certificate", keys(ops, promise)), said("wgl", search(ops, promise))]
        }
        Workload::Kv => vec![said("certificate", keys(ops, promise))],
        Workload::Set => vec![said("set", set_of(ops, promise))],
        Workload::Append => vec![said("append", appends(ops, promise))],
        Workload::Lock | Workload::LockUnfenced => vec![
            said("lock", lock::check(ops, &lock::Options::default())),
            said("session", sessions(ops, promise)),
        ],
        Workload::Session => vec![said("session", sessions(ops, promise))],
        Workload::Watch => {
            vec![said("watch", watches(ops, promise)), said("certificate", keys(ops, promise))]
        }
        Workload::Catalog => vec![said("catalog", lookups(ops, promise))],
        Workload::Dns => vec![
            said("dns", dns::check(ops, &dns::Options::default())),
            said("catalog", lookups(ops, promise)),
        ],
        Workload::Membership => {
            vec![said("membership", members(ops, promise)), said("certificate", keys(ops, promise))]
        }
    }
}

/// Judges the logs of our nodes, of which those of others' we know no rules.
///
/// # Errors
///
/// If a log cannot be read.
pub(super) fn judge_logs(
    logs: &[PathBuf],
    faults: &[nemesis::Kind],
) -> anyhow::Result<Vec<Judgement>> {
    let mut allowed: Vec<String> = ERRORS_ALLOWED.iter().map(|part| (*part).to_owned()).collect();
    // Whose disk fails, or who may open no more files, should say so. It should not panic.
    if faults.iter().any(|kind| matches!(kind, nemesis::Kind::Disk | nemesis::Kind::Pressure)) {
        allowed.push("ERROR".to_owned());
    }
    let options = hygiene::LogOptions { allowed, ..hygiene::LogOptions::default() };
    let log = |file: &PathBuf| {
        let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
        let name = file.display().to_string();
        let verdict = hygiene::check_log(&name, &String::from_utf8_lossy(&bytes), &options);
        Ok(Judgement { checker: "hygiene", verdict })
    };
    logs.iter().map(log).collect()
}

fn keys(ops: &[Op], promise: &Promise) -> Verdict {
    let options = certificate::Options {
        linearizable: promise.linearizable.clone(),
        store_is_global: promise.system == Kind::Etcd,
        monotone: false,
    };
    certificate::check(ops, &options)
}

fn search(ops: &[Op], promise: &Promise) -> Verdict {
    let linearizable = promise.linearizable.clone();
    wgl::check(ops, &wgl::Options { linearizable, ..wgl::Options::default() })
}

fn set_of(ops: &[Op], promise: &Promise) -> Verdict {
    set::check(ops, &set::Options { linearizable: promise.linearizable.clone() })
}

fn appends(ops: &[Op], promise: &Promise) -> Verdict {
    let linearizable = promise.linearizable.clone();
    append::check(ops, &append::Options { realtime: true, linearizable })
}

fn watches(ops: &[Op], promise: &Promise) -> Verdict {
    let faults = promise.broken.iter();
    let faults = faults.map(|fault| (fault.began, fault.mended.saturating_add(RECOVERY))).collect();
    watch::check(ops, &watch::Options { faults, ..watch::Options::default() })
}

fn sessions(ops: &[Op], promise: &Promise) -> Verdict {
    session::check(ops, &session::Options { bound: session_bound(ops, promise.system) })
}

/// How long a session may outlive its time to live: as long again, since Consul and we double
/// it; two seconds until that is seen; and as long as there was no leader, since cluster time
/// stands still then. The real peers begin the time anew with each leader.
fn session_bound(ops: &[Op], system: Kind) -> u64 {
    let longest = ops.iter().map(|op| match op.action {
        Action::Open { ttl } => ttl * NANOS_A_MILLI,
        _ => 0,
    });
    let anew = if system == Kind::Ours { 0 } else { SESSIONS_ANEW };
    longest.max().unwrap_or_default() + SESSION_MARGIN + standstill(ops) + anew
}

/// The sum of all stretches longer than half a second in which nothing was acknowledged that
/// needs a leader.
fn standstill(ops: &[Op]) -> u64 {
    let led = ops.iter().filter(|op| matches!(op.outcome, Outcome::Done(_)));
    let led =
        led.filter(|op| !matches!(op.action, Action::Use { .. } | Action::UseUnfenced { .. }));
    let mut times: Vec<u64> = led.map(|op| op.returned).collect();
    times.sort_unstable();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.filter(|gap| *gap > STANDSTILL).sum()
}

fn lookups(ops: &[Op], promise: &Promise) -> Verdict {
    let options = catalog::Options {
        linearizable: promise.linearizable.clone(),
        bound: CONVERGES_WITHIN,
        quiet: promise.broken.iter().map(|fault| fault.mended).max().unwrap_or_default(),
        nodes: nodes(ops),
    };
    catalog::check(ops, &options)
}

fn members(ops: &[Op], promise: &Promise) -> Verdict {
    let changes = promise.broken.iter().filter_map(|fault| Some((fault, fault.removed?)));
    let changes = changes.flat_map(|(fault, node)| {
        let change = |added, returned| membership::Change {
            name: node_name(node),
            added,
            called: fault.began,
            returned,
        };
        // It is asked in again by the leader, as soon as that finds it among the living.
        [change(false, Some(fault.mended)), change(true, None)]
    });
    let options = membership::Options {
        initial: (0..nodes(ops)).map(node_name).collect(),
        changes: changes.collect(),
        ..membership::Options::default()
    };
    membership::check(ops, &options)
}

/// How many nodes a history is of: each is read from at the end.
fn nodes(ops: &[Op]) -> usize {
    let highest = ops.iter().map(|op| op.node).max();
    highest.map_or(0, |node| usize::try_from(node).unwrap_or(usize::MAX).saturating_add(1))
}
