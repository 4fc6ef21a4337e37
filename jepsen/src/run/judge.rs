//! Which checkers judge which workload, and what they make of a history together.

use serde::Serialize;

use crate::checkers::{Verdict, append, certificate, set, wgl};
use crate::history::{Level, Op};
use crate::targets::Kind;
use crate::workloads::Workload;

/// What the system of a run promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Which system.
    pub system: Kind,
    /// Levels whose reads are to be linearizable.
    pub linearizable: Vec<Level>,
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
        Self { system, linearizable }
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
