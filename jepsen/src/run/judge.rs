//! Which checkers judge which workload, and what they make of a history together.

use serde::Serialize;

use crate::checkers::{Verdict, append, certificate, lock, session, set, watch, wgl};
use crate::history::{Action, Level, Op, Outcome};
use crate::targets::Kind;
use crate::workloads::Workload;

const NANOS_A_MILLI: u64 = 1_000_000;
/// How late the end of a session may be seen.
const SESSION_MARGIN: u64 = 2_000 * NANOS_A_MILLI;
/// How much later at systems where a new leader begins the time anew.
const SESSIONS_ANEW: u64 = 30_000 * NANOS_A_MILLI;
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
    pub broken: Vec<(u64, u64)>,
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
        Workload::Append => {
            vec![said("append", appends(ops, promise)), said("set", set_of(ops, promise))]
        }
        Workload::Lock | Workload::LockUnfenced => vec![
            said("lock", lock::check(ops, &lock::Options::default())),
            said("session", sessions(ops, promise)),
        ],
        Workload::Session => vec![said("session", sessions(ops, promise))],
        Workload::Watch => vec![
            said("watch", watches(ops, promise)),
            said("certificate", keys(ops, promise)),
        ],
        _ => vec![],
    }
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
    let faults = promise.broken.clone();
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
    let led = led.filter(|op| !matches!(op.action, Action::Use { .. } | Action::UseUnfenced { .. }));
    let mut times: Vec<u64> = led.map(|op| op.returned).collect();
    times.sort_unstable();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.filter(|gap| *gap > STANDSTILL).sum()
}
