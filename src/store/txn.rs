//! Operations together: all results, or all that stood against them and nothing done.
//!
//! Writes to keys wait in an overlay until the end, so that a key which ends as it was moves
//! nothing. Operations on the catalog run as single commands do, on trial.
//!
//! Source: Consul HTTP API, "Transactions".

use super::kv;
use super::overlay::{Overlay, Pending};
use super::records;
use super::step::Step;
use super::tables::Tables;
use crate::model::{Refusal, Reply, TxnError, TxnOp, TxnResult};

type Brought = Result<Vec<TxnResult>, Refusal>;

/// Runs a transaction.
pub(crate) fn apply(step: &mut Step<'_>, ops: Vec<TxnOp>) -> Reply {
    let mut found = Found::default();
    let mut pending = Pending::default();
    for op in ops {
        let brought = match op {
            TxnOp::Kv(op) => {
                let mut overlay =
                    Overlay::over(step.tables, step.index, std::mem::take(&mut pending));
                let brought = kv::run(&mut overlay, &op);
                pending = overlay.into_pending();
                brought
            }
            TxnOp::Nonsense(text) => Err(Refusal::Nonsense(text)),
            op @ (TxnOp::Node { .. } | TxnOp::Service { .. } | TxnOp::Check { .. }) => {
                step.try_out();
                // The end of a session changes keys: it has to see those that wait.
                std::mem::take(&mut pending).commit(step);
                records::run(step, op)
            }
        };
        found.add(brought);
    }
    let outcome = found.outcome();
    if outcome.is_ok() {
        pending.commit(step);
        step.keep();
    } else {
        step.take_back();
    }
    Reply::Txn(outcome)
}

/// Operations that only read, answered from the tables.
pub(crate) fn read(tables: &Tables, ops: &[TxnOp]) -> Result<Vec<TxnResult>, Vec<TxnError>> {
    let mut found = Found::default();
    let mut overlay = Overlay::new(tables, tables.counters.index);
    for op in ops {
        found.add(match op {
            TxnOp::Kv(op) => kv::run(&mut overlay, op),
            TxnOp::Nonsense(text) => Err(Refusal::Nonsense(text.clone())),
            op @ (TxnOp::Node { .. } | TxnOp::Service { .. } | TxnOp::Check { .. }) => {
                records::get(tables, op)
            }
        });
    }
    found.outcome()
}

#[derive(Default)]
struct Found {
    results: Vec<TxnResult>,
    errors: Vec<TxnError>,
    ops: usize,
}

impl Found {
    fn add(&mut self, brought: Brought) {
        match brought {
            Ok(brought) => self.results.extend(brought),
            Err(what) => self.errors.push(TxnError { op: self.ops, what }),
        }
        self.ops += 1;
    }

    fn outcome(self) -> Result<Vec<TxnResult>, Vec<TxnError>> {
        if self.errors.is_empty() { Ok(self.results) } else { Err(self.errors) }
    }
}
