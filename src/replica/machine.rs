//! The store as Raft's state machine: applies, wakes, then lets the reply go.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use raft::{CheckpointJob, Entry, Fault, StateMachine};

use crate::codec;
use crate::model::Topic;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::watch::Hub;

/// How often the whole state was replaced here, by a backup or a snapshot.
#[derive(Clone, Debug, Default)]
pub(super) struct Replaced(Arc<AtomicU64>);

impl Replaced {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Lives on Raft's machine thread.
pub(super) struct Machine {
    store: Store,
    hub: Hub,
    replaced: Replaced,
    metrics: Metrics,
}

impl Machine {
    pub(super) fn new(store: Store, hub: Hub, replaced: Replaced, metrics: Metrics) -> Self {
        Self { store, hub, replaced, metrics }
    }

    fn publish(&self, changes: &[Topic]) {
        if changes.contains(&Topic::All) {
            self.replaced.0.fetch_add(1, Ordering::SeqCst);
        }
        for (kind, waiters) in self.hub.publish(changes).iter() {
            self.metrics.woken(kind, waiters);
        }
    }
}

impl StateMachine for Machine {
    fn position(&self) -> Option<Bytes> {
        self.store.position()
    }

    fn apply(&mut self, entries: Vec<Entry>, position: Bytes) -> Result<Vec<Bytes>, Fault> {
        let payloads: Vec<Bytes> = entries.into_iter().map(|entry| entry.payload).collect();
        let applied = self.store.apply(&payloads, position).map_err(fault)?;
        assert_eq!(applied.replies.len(), payloads.len(), "one reply for each command");
        failpoint!("store.apply.before_wake");
        // Waiters wake before the writer hears of it: whoever is told may read it at once.
        self.publish(&applied.changes);
        Ok(applied.replies.iter().map(|written| Bytes::from(codec::encode(written))).collect())
    }

    fn checkpoint(&mut self) -> Result<CheckpointJob, Fault> {
        let job = self.store.checkpoint().map_err(fault)?;
        Ok(Box::new(move |dir: &Path| job(dir).map_err(fault)))
    }

    fn restore(&mut self, dir: &Path, position: Bytes) -> Result<(), Fault> {
        self.store.restore(dir, position).map_err(fault)?;
        self.publish(&[Topic::All]);
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err hands over")]
fn fault(fault: crate::store::Fault) -> Fault {
    Fault(fault.to_string())
}
