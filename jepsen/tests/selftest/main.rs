//! The judges judged: what keeps its promises is accepted, what breaks one is rejected.

mod dice;
mod forms;
mod kv;
mod kv_breaks;
mod kv_tests;
mod lists;
mod plan;
mod services;

use portolan_jepsen::checkers::Verdict;

/// Panics with the first finding where a history that keeps its promises is not accepted.
fn accepted(verdict: &Verdict, of: &str) {
    assert!(*verdict == Verdict::Valid, "{of}: {}", told(verdict));
}

/// Panics where a history that breaks a promise is not rejected.
fn rejected(verdict: &Verdict, of: &str) {
    assert!(matches!(verdict, Verdict::Invalid { .. }), "{of}: {}", told(verdict));
}

fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Invalid { findings } => format!("{:#?}", findings.first()),
        other => format!("{other:?}"),
    }
}
