//! Lookups in the catalog against registrations.
//!
//! Rule: what a lookup at a linearizable level shows was the state of the service at one moment
//! between its call and its return, as far as real time bounds when each registration took
//! effect. Stale lookups show only what was registered. When all is quiet for the bound, all
//! lookups of all nodes show the same.
//!
//! Sources: Herlihy & Wing (1990); Gibbons & Korach (1997) for registers whose writes can be told
//! apart; the convergence phase of openraft's and TigerBeetle's tests.

use std::collections::{BTreeMap, BTreeSet};

use super::presence::{Service, instances, services};
use super::report::Findings;
use super::verdict::Verdict;
use crate::history::{Action, Instance, Level, Op};

/// What is promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Levels whose lookups must be linearizable.
    pub linearizable: Vec<Level>,
    /// How long after the last change (and `quiet`) all nodes must show the same, in
    /// nanoseconds.
    pub bound: u64,
    /// When the last fault had ended, in nanoseconds.
    pub quiet: u64,
    /// How many nodes must have been looked at after that, else the verdict is unknown.
    pub nodes: usize,
}

impl Default for Options {
    /// Default and strong lookups; five seconds; no faults; no node must have been looked at.
    fn default() -> Self {
        Self {
            linearizable: vec![Level::Default, Level::Strong],
            bound: 5_000_000_000,
            quiet: 0,
            nodes: 0,
        }
    }
}

/// Judges [`Action::Lookup`]. Whether an instance passes its checks is not compared. Without any
/// lookup the verdict is [`Verdict::Unknown`].
pub fn check(ops: &[Op], options: &Options) -> Verdict {
    let mut findings = Findings::new(ops);
    let services = services(ops);
    let empty = Service::default();
    let mut judged = 0;
    let mut nodes = BTreeSet::new();
    let mut last: BTreeMap<&str, (usize, Vec<&Instance>)> = BTreeMap::new();
    for (at, op) in ops.iter().enumerate() {
        let (Action::Lookup { service: name, level }, Some(shown)) = (&op.action, instances(op))
        else {
            continue;
        };
        judged += 1;
        let service = services.get(name.as_str()).unwrap_or(&empty);
        let current = options.linearizable.contains(level);
        moment(op, at, (service, current), shown, &mut findings);
        let quiet = service.last_change.max(options.quiet).saturating_add(options.bound);
        if op.called > quiet {
            nodes.insert(op.node);
            let mut sorted: Vec<&Instance> = shown.iter().collect();
            sorted.sort_unstable();
            let first = last.entry(name).or_insert_with(|| (at, sorted.clone()));
            if first.1 != sorted {
                let what = format!("nodes show {name} differently after all was quiet");
                findings.say(what, &[first.0, at]);
            }
        }
    }
    match findings.verdict(judged) {
        Verdict::Valid if nodes.len() < options.nodes => {
            let why =
                format!("{} nodes were looked at in the end, not {}", nodes.len(), options.nodes);
            Verdict::Unknown { why }
        }
        verdict => verdict,
    }
}

fn moment(
    op: &Op,
    at: usize,
    (service, current): (&Service<'_>, bool),
    shown: &[Instance],
    findings: &mut Findings<'_>,
) {
    let mut ports = BTreeSet::new();
    for instance in shown {
        if service.registered(instance.port).is_none() {
            let what = format!("port {} is shown, which nobody registered", instance.port);
            return findings.say(what, &[at]);
        }
        if !ports.insert(instance.port) {
            return findings.say(format!("port {} is shown twice", instance.port), &[at]);
        }
    }
    let from = if current { op.called } else { 0 };
    if service.moments(shown, (from, op.returned), true).is_empty() {
        let mut places = service.writes_before(op.returned);
        places.push(at);
        let when = if current { "while it was asked for" } else { "before" };
        findings.say(format!("the service was never as it is shown {when}"), &places);
    }
}
