//! What clients, faults and judges of one run share: who runs where, and what the clients saw.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use portolan::replica::Replica;
use portolan_jepsen::history::Op;
use tokio::sync::watch;
use tokio::time::Instant;

/// A running server as a client holds it: its replica, and the number of its life.
pub(crate) type Door = (Replica, watch::Receiver<u64>);

/// Shared by all tasks of a run. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Arena {
    inner: Arc<Inner>,
}

struct Inner {
    began: Instant,
    /// What [`Arena::now`] said last.
    last: Mutex<u64>,
    doors: Mutex<BTreeMap<u64, Door>>,
    history: Mutex<Vec<Op>>,
    clients: AtomicU64,
    values: AtomicU64,
    /// The highest token that the resource behind each lock has seen.
    resources: Mutex<BTreeMap<String, u64>>,
    calm: watch::Sender<bool>,
}

impl Arena {
    pub(crate) fn new() -> Self {
        let inner = Inner {
            began: portolan::time::now(),
            last: Mutex::default(),
            doors: Mutex::default(),
            history: Mutex::default(),
            clients: AtomicU64::new(0),
            values: AtomicU64::new(1),
            resources: Mutex::default(),
            calm: watch::Sender::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Nanoseconds since the run began, by virtual time; no two the same. Much happens in one
    /// instant here, one after another, and a history has to say in which order.
    pub(crate) fn now(&self) -> u64 {
        let since = portolan::time::now().duration_since(self.inner.began);
        let since = u64::try_from(since.as_nanos()).expect("a run is short");
        let mut last = self.inner.last.lock();
        *last = since.max(*last + 1);
        *last
    }

    /// Opens or closes a server's door.
    pub(crate) fn set_door(&self, server: u64, door: Option<Door>) {
        let mut doors = self.inner.doors.lock();
        match door {
            Some(door) => drop(doors.insert(server, door)),
            None => drop(doors.remove(&server)),
        }
    }

    /// The doors that are open now, by server.
    pub(crate) fn doors(&self) -> Vec<(u64, Door)> {
        let doors = self.inner.doors.lock();
        doors.iter().map(|(server, door)| (*server, door.clone())).collect()
    }

    pub(crate) fn record(&self, op: Op) {
        self.inner.history.lock().push(op);
    }

    /// What was seen so far, in the order of the calls.
    pub(crate) fn history(&self) -> Vec<Op> {
        let mut history = self.inner.history.lock().clone();
        history.sort_by_key(|op| (op.called, op.client));
        history
    }

    /// A number for a client, never given twice.
    pub(crate) fn client(&self) -> u32 {
        let number = self.inner.clients.fetch_add(1, Ordering::Relaxed);
        u32::try_from(number).expect("a run has few clients")
    }

    /// A value that no other write has.
    pub(crate) fn value(&self) -> u64 {
        self.inner.values.fetch_add(1, Ordering::Relaxed)
    }

    /// Uses the resource behind a lock: it takes the token if it has seen no higher one.
    pub(crate) fn use_resource(&self, lock: &str, token: u64) -> bool {
        let mut resources = self.inner.resources.lock();
        let highest = resources.entry(lock.to_owned()).or_default();
        let accepted = token >= *highest;
        *highest = (*highest).max(token);
        accepted
    }

    /// Says that the storm is over: clients end.
    pub(crate) fn calm_down(&self) {
        self.inner.calm.send_replace(true);
    }

    pub(crate) fn is_calm(&self) -> bool {
        *self.inner.calm.borrow()
    }
}
