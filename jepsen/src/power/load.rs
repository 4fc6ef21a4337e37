//! Writers at work, and what they remember.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::options::System;
use crate::lab::LabError;
use crate::lab::network::Network;

/// Writers at once: enough that several writes wait for one flush.
const WRITERS: usize = 4;

/// How long a writer rests after a write that was not acknowledged.
const REST: Duration = Duration::from_millis(5);

/// What became of the writes between two cuts: whether each key, with its value, was acknowledged.
pub(super) type Written = BTreeMap<String, (String, bool)>;

/// What the writers are told, and tell.
#[derive(Default)]
pub(super) struct Signals {
    pub(super) stop: AtomicBool,
    pub(super) acknowledged: AtomicU64,
}

/// Writes unique keys below a prefix until told to stop, in the clients' host, while `meanwhile`
/// goes on here. Gives all that was written, and what `meanwhile` gave.
pub(super) fn during<T>(
    (system, servers): (System, &[Ipv4Addr]),
    network: &Network,
    prefix: &str,
    meanwhile: impl FnOnce(&Signals) -> T,
) -> Result<(Written, T), LabError> {
    let signals = Signals::default();
    std::thread::scope(|scope| {
        let signals = &signals;
        let writer = |number: usize| {
            scope.spawn(move || {
                network.client().enter()?;
                Ok(write(system, servers, (prefix, number), signals))
            })
        };
        let writers: Vec<_> = (0..WRITERS).map(writer).collect();
        let gave = meanwhile(signals);
        signals.stop.store(true, Ordering::Relaxed);
        let mut all = Written::new();
        for writer in writers {
            let panicked = |_panic| LabError::new("a writer", "it panicked");
            let written: Result<Written, LabError> = writer.join().map_err(panicked)?;
            all.extend(written?);
        }
        Ok((all, gave))
    })
}

/// Writes one key after another to one server, and to the next one when that fails.
fn write(
    system: System,
    servers: &[Ipv4Addr],
    (prefix, writer): (&str, usize),
    signals: &Signals,
) -> Written {
    let mut written = Written::new();
    let mut at = writer;
    let mut number = 0_u64;
    while !signals.stop.load(Ordering::Relaxed) {
        let key = format!("{prefix}{writer}-{number}");
        let value = format!("{number} of {writer} of {prefix}");
        let acknowledged = system.put(servers[at % servers.len()], &key, &value);
        written.insert(key, (value, acknowledged));
        number += 1;
        if acknowledged {
            signals.acknowledged.fetch_add(1, Ordering::Relaxed);
        } else {
            at += 1;
            std::thread::park_timeout(REST);
        }
    }
    written
}
