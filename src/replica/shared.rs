//! One place and one evaluation for all who wait for the same.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::Query;
use crate::store::{Evaluated, View};
use crate::telemetry::Metrics;
use crate::watch::{Hub, Place, TooManyWaiters, Waiter};

/// The queries that somebody waits for, each with its place in the hub and its last evaluation.
///
/// A query is here as long as one of its readers is, so there are never more than waiters.
pub(super) struct SharedReads {
    hub: Hub,
    view: View,
    metrics: Metrics,
    reads: Mutex<HashMap<Query, Shared>>,
}

struct Shared {
    readers: usize,
    read: Arc<SharedRead>,
}

struct SharedRead {
    place: Place,
    last: Mutex<Option<Last>>,
}

/// An evaluation, and how far it holds.
struct Last {
    /// The place's mark before it was made: it holds until the mark is another one.
    mark: u64,
    /// How many changes there were before it was made: as long as there is none more, it is
    /// exactly what is there.
    at: u64,
    evaluated: Evaluated,
}

impl SharedReads {
    pub(super) fn new(hub: Hub, view: View, metrics: Metrics) -> Self {
        Self { hub, view, metrics, reads: Mutex::default() }
    }

    /// Waits together with all others that ask the same.
    pub(super) fn join(&self, query: Query) -> Result<Reader<'_>, TooManyWaiters> {
        let mut reads = self.reads.lock();
        let shared = reads.entry(query.clone()).or_insert_with(|| {
            let place = self.hub.place(View::topics(&query));
            Shared { readers: 0, read: Arc::new(SharedRead { place, last: Mutex::default() }) }
        });
        let read = Arc::clone(&shared.read);
        let entered = read.place.enter();
        match entered {
            Ok(waiter) => {
                shared.readers += 1;
                drop(reads);
                Ok(Reader { all: self, query, read, waiter })
            }
            Err(full) => {
                if shared.readers == 0 {
                    reads.remove(&query);
                }
                Err(full)
            }
        }
    }
}

/// One who waits. Dropping it gives the wait up, and the query with its last reader.
pub(super) struct Reader<'a> {
    all: &'a SharedReads,
    query: Query,
    read: Arc<SharedRead>,
    waiter: Waiter,
}

impl Reader<'_> {
    /// As [`Waiter::mark`].
    pub(super) fn mark(&self) -> u64 {
        self.waiter.mark()
    }

    /// As [`Waiter::changed`].
    pub(super) async fn changed(&self, seen: u64) {
        self.waiter.changed(seen).await;
    }

    /// What the query comes to, no older than `mark`: a hundred that are woken by one change, or
    /// that come back behind it, cost one evaluation, however much else is written meanwhile.
    pub(super) fn since(&self, mark: u64) -> Evaluated {
        self.evaluate(|last| last.mark >= mark)
    }

    /// What the query comes to now.
    pub(super) fn now(&self) -> Evaluated {
        let at = self.all.view.changes();
        let mark = self.waiter.mark();
        self.evaluate(|last| last.at == at && last.mark >= mark)
    }

    fn evaluate(&self, holds: impl Fn(&Last) -> bool) -> Evaluated {
        // The lock is kept while it is evaluated: whoever comes meanwhile would do the same work.
        let mut last = self.read.last.lock();
        if let Some(last) = last.as_ref().filter(|last| holds(last)) {
            self.all.metrics.evaluation("shared");
            return last.evaluated.clone();
        }
        let (mark, at) = (self.waiter.mark(), self.all.view.changes());
        let evaluated = self.all.view.query(&self.query);
        self.all.metrics.evaluation("made");
        *last = Some(Last { mark, at, evaluated: evaluated.clone() });
        evaluated
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut reads = self.all.reads.lock();
        let Some(shared) = reads.get_mut(&self.query) else { return };
        shared.readers -= 1;
        if shared.readers == 0 {
            reads.remove(&self.query);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use crate::model::{
        Answer, Check, CheckStatus, CheckUpdate, ClusterTime, Command, Envelope, KvOp, KvWrite,
        Node, Registration,
    };
    use crate::store::Store;
    use bytes::Bytes;
    use tempfile::TempDir;

    /// Waits for one key, and what stores keys, as the machine joins the two.
    fn fixture(dir: &TempDir) -> (SharedReads, impl FnMut(&str)) {
        let (shared, mut apply) = applying(dir);
        let mut flags = 0;
        let put = move |key: &str| {
            flags += 1; // the same once more would be no change
            let verb = KvWrite::Set { value: Bytes::from_static(b"x"), flags };
            apply(Command::Kv(KvOp { key: key.to_owned(), verb }));
        };
        (shared, put)
    }

    /// The same with any command.
    fn applying(dir: &TempDir) -> (SharedReads, impl FnMut(Command)) {
        let (mut store, view) = Store::open(dir.path()).unwrap();
        let hub = Hub::new();
        let shared = SharedReads::new(hub.clone(), view, Metrics::new());
        let apply = move |command: Command| {
            let envelope = Envelope {
                at: ClusterTime::default(),
                renewals: Vec::new(),
                command: codec::encode(&command).into(),
            };
            let payload = Bytes::from(codec::encode(&envelope));
            let applied = store.apply(&[payload], Bytes::from_static(b"p")).unwrap();
            hub.publish(&applied.changes);
        };
        (shared, apply)
    }

    fn query() -> Query {
        Query::Kv("a".to_owned())
    }

    /// Evaluations made, and evaluations shared.
    fn counts(shared: &SharedReads) -> (u64, u64) {
        let text = shared.metrics.text();
        let of = |way: &str| {
            let name = format!("portolan_evaluations_total{{way=\"{way}\"}} ");
            let found = text.lines().find_map(|line| line.strip_prefix(&name));
            found.map_or(0, |count| count.parse().unwrap())
        };
        (of("made"), of("shared"))
    }

    #[test]
    fn who_waits_for_the_same_shares_one_evaluation() {
        let dir = tempfile::tempdir().unwrap();
        let (shared, mut put) = fixture(&dir);
        put("a");
        let readers: Vec<_> = (0..5).map(|_| shared.join(query()).unwrap()).collect();
        for reader in &readers {
            reader.since(reader.mark());
        }
        assert_eq!(counts(&shared), (1, 4));
        drop(readers);
        assert!(shared.reads.lock().is_empty());
        assert_eq!(shared.hub.waiting(), 0);
    }

    #[test]
    fn changes_elsewhere_cost_nothing_and_own_ones_one_evaluation() {
        let dir = tempfile::tempdir().unwrap();
        let (shared, mut put) = fixture(&dir);
        put("a");
        let one = shared.join(query()).unwrap();
        let two = shared.join(query()).unwrap();
        let before = one.since(one.mark());
        put("b");
        assert!(Arc::ptr_eq(&before.answer, &two.since(two.mark()).answer));
        assert!(!Arc::ptr_eq(&before.answer, &two.now().answer), "the store has moved");
        put("a");
        let after = one.since(one.mark());
        assert!(after.changed > before.changed);
        assert!(Arc::ptr_eq(&after.answer, &two.since(two.mark()).answer));
        assert_eq!(counts(&shared), (3, 2));
    }

    /// A new output of a check is kept silently, but who asks for what is there now gets it.
    #[test]
    fn what_changes_without_an_index_is_shown_too() {
        let dir = tempfile::tempdir().unwrap();
        let (shared, mut apply) = applying(&dir);
        let node = Node { name: "n".into(), address: "127.0.0.1".into(), ..Node::default() };
        let check = Check { id: "c".into(), status: CheckStatus::Passing, ..Check::default() };
        let checks = vec![check];
        let registration = Registration { node, skip_node_update: false, service: None, checks };
        apply(Command::Register(Box::new(registration)));
        let one = shared.join(Query::NodeChecks("n".to_owned())).unwrap();
        one.now();
        let status = CheckStatus::Passing;
        let (node, check) = ("n".to_owned(), "c".to_owned());
        let update = CheckUpdate { node, check, status, output: "new".to_owned() };
        apply(Command::CheckUpdate(vec![update]));
        let now = one.now();
        let Answer::Checks(checks) = &*now.answer else { panic!("checks were asked for") };
        assert_eq!(checks[0].output, "new");
    }
}
