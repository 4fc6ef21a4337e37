//! DNS answers against registrations.
//!
//! Rule: an answer shows the passing instances of the service as they were at one moment that is
//! not older than the bound before the query, and not later than the answer. A name is never
//! empty or unknown while some instance passed through all of that time.
//!
//! Sources: Consul's `max_stale` for DNS; RFC 8767 on serving stale data; atomic registers with
//! bounded staleness (Golab, Li & Shah, 2011).

use std::collections::BTreeSet;

use super::presence::{Service, instances, services};
use super::report::Findings;
use super::verdict::Verdict;
use crate::history::{Action, Op};

/// What is promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How old an answer may be, in nanoseconds.
    pub bound: u64,
    /// Whether an answer shows all instances. UDP answers may be cut short.
    pub complete: bool,
}

impl Default for Options {
    /// Five seconds, complete.
    fn default() -> Self {
        Self { bound: 5_000_000_000, complete: true }
    }
}

/// Judges [`Action::Resolve`]; a name that does not exist is an answer without instances.
/// Without any answer the verdict is [`Verdict::Unknown`].
pub fn check(ops: &[Op], options: &Options) -> Verdict {
    let mut findings = Findings::new(ops);
    let services = services(ops);
    let empty = Service::default();
    let mut judged = 0;
    for (at, op) in ops.iter().enumerate() {
        let (Action::Resolve { service: name }, Some(shown)) = (&op.action, instances(op)) else {
            continue;
        };
        judged += 1;
        let service = services.get(name.as_str()).unwrap_or(&empty);
        let window = (op.called.saturating_sub(options.bound), op.returned);
        let ports: BTreeSet<u16> = shown.iter().map(|instance| instance.port).collect();
        let what = if let Some(port) = ports.iter().find(|p| service.registered(**p).is_none()) {
            format!("port {port} is resolved, which nobody registered")
        } else if ports.len() < shown.len() {
            "a port is resolved twice".to_owned()
        } else if shown.is_empty() && service.never_empty(window) {
            format!("{name} resolves to nothing, and had passing instances all the time")
        } else if service.moments(shown, window, options.complete).is_empty() {
            format!("{name} resolves to what the catalog was not within the bound")
        } else {
            continue;
        };
        let mut places = service.writes_before(op.returned);
        places.push(at);
        findings.say(what, &places);
    }
    findings.verdict(judged)
}
