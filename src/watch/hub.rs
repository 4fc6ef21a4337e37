//! The hub: topics, who waits for them, and waking exactly those.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::limits;
use crate::model::Topic;

/// Wakes waiters by topic. Cheap to clone; all clones are one hub.
#[derive(Clone, Default)]
pub struct Hub {
    inner: Arc<Inner>,
}

/// As many waiters are parked as may be: [`limits::WAITERS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {} blocking reads", limits::WAITERS_MAX)]
pub struct TooManyWaiters;

/// A place in the hub. Dropping it gives the place up.
pub struct Waiter {
    hub: Arc<Inner>,
    topics: Vec<Topic>,
    id: u64,
    wake: Arc<Notify>,
}

#[derive(Default)]
struct Inner {
    waiting: AtomicUsize,
    next: AtomicU64,
    places: Mutex<Places>,
}

type Waiters = BTreeMap<u64, Arc<Notify>>;

#[derive(Default)]
struct Places {
    topics: BTreeMap<Topic, Waiters>,
    /// How many waited-for prefixes there are of each length, so that a changed key is looked up
    /// once for each length in use and not once for each prefix.
    prefix_lengths: BTreeMap<usize, usize>,
}

impl Hub {
    /// A hub without waiters.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many wait now.
    pub fn waiting(&self) -> usize {
        self.inner.waiting.load(Ordering::Relaxed)
    }

    /// Takes a place that any change of `topics` wakes from now on, and [`Topic::All`] too.
    ///
    /// Subscribe first, then read, then wait: so no change falls between.
    ///
    /// # Errors
    ///
    /// [`TooManyWaiters`]: tell the caller to come again later.
    ///
    /// # Panics
    ///
    /// If `topics` are more than [`limits::TOPICS_MAX`]: no query waits for so many.
    pub fn subscribe(&self, topics: Vec<Topic>) -> Result<Waiter, TooManyWaiters> {
        assert!(topics.len() <= limits::TOPICS_MAX, "a read waits for {} topics", topics.len());
        if self.inner.waiting.fetch_add(1, Ordering::SeqCst) >= limits::WAITERS_MAX {
            self.inner.waiting.fetch_sub(1, Ordering::SeqCst);
            return Err(TooManyWaiters);
        }
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let wake = Arc::new(Notify::new());
        let mut places = self.inner.places.lock();
        for topic in &topics {
            places.add(topic, id, &wake);
        }
        drop(places);
        Ok(Waiter { hub: Arc::clone(&self.inner), topics, id, wake })
    }

    /// Wakes every waiter that one of `changes` concerns. Returns at once; never blocks on a waiter.
    pub fn publish(&self, changes: &[Topic]) {
        if self.inner.waiting.load(Ordering::SeqCst) == 0 {
            return;
        }
        let places = self.inner.places.lock();
        for change in changes {
            places.wake(change);
        }
    }
}

impl Waiter {
    /// Returns once a change concerned this waiter since the last return. May be dropped.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut places = self.hub.places.lock();
        for topic in &self.topics {
            places.remove(topic, self.id);
        }
        drop(places);
        self.hub.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Places {
    fn add(&mut self, topic: &Topic, id: u64, wake: &Arc<Notify>) {
        let waiters = self.topics.entry(topic.clone()).or_default();
        let first = waiters.is_empty();
        waiters.insert(id, Arc::clone(wake));
        if let (true, Topic::Prefix(prefix)) = (first, topic) {
            *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
        }
    }

    fn remove(&mut self, topic: &Topic, id: u64) {
        let Some(waiters) = self.topics.get_mut(topic) else { return };
        waiters.remove(&id);
        if !waiters.is_empty() {
            return;
        }
        self.topics.remove(topic);
        if let Topic::Prefix(prefix) = topic
            && let Some(count) = self.prefix_lengths.get_mut(&prefix.len())
        {
            *count -= 1;
            if *count == 0 {
                self.prefix_lengths.remove(&prefix.len());
            }
        }
    }

    fn wake(&self, change: &Topic) {
        match change {
            Topic::All => self.topics.values().for_each(wake_all),
            Topic::Key(key) => {
                self.wake_topic(change);
                self.wake_prefixes_of(key);
            }
            Topic::Prefix(prefix) => {
                self.wake_prefixes_of(prefix);
                self.wake_below(prefix, Topic::Key);
                self.wake_below(prefix, Topic::Prefix);
            }
            _ => self.wake_topic(change),
        }
    }

    fn wake_topic(&self, topic: &Topic) {
        if let Some(waiters) = self.topics.get(topic) {
            wake_all(waiters);
        }
    }

    fn wake_prefixes_of(&self, key: &str) {
        for length in self.prefix_lengths.keys().take_while(|length| **length <= key.len()) {
            if let Some(prefix) = key.get(..*length) {
                self.wake_topic(&Topic::Prefix(prefix.to_owned()));
            }
        }
    }

    /// Wakes the waiters on keys (or prefixes) that begin with `prefix`.
    fn wake_below(&self, prefix: &str, kind: fn(String) -> Topic) {
        let from = Bound::Included(kind(prefix.to_owned()));
        for (topic, waiters) in self.topics.range((from, Bound::Unbounded)) {
            match topic {
                Topic::Key(name) | Topic::Prefix(name)
                    if name.starts_with(prefix) && *topic == kind(name.clone()) =>
                {
                    wake_all(waiters);
                }
                _ => return,
            }
        }
    }
}

fn wake_all(waiters: &Waiters) {
    for wake in waiters.values() {
        wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn woken(topics: &[Topic], changes: &[Topic]) -> bool {
        let hub = Hub::new();
        let waiter = hub.subscribe(topics.to_vec()).expect("a place");
        hub.publish(changes);
        let mut changed = Box::pin(waiter.changed());
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        Future::poll(changed.as_mut(), &mut context).is_ready()
    }

    fn key(name: &str) -> Topic {
        Topic::Key(name.to_owned())
    }

    fn prefix(name: &str) -> Topic {
        Topic::Prefix(name.to_owned())
    }

    #[test]
    fn a_change_wakes_exactly_whom_it_concerns() {
        let service = |name: &str| Topic::Service(name.to_owned());
        for (waits, change, expected) in [
            (key("a"), key("a"), true),
            (key("a"), key("ab"), false),
            (prefix("a"), key("ab"), true),
            (prefix(""), key("ab"), true),
            (prefix("ab"), key("a"), false),
            (prefix("ä"), key("äb"), true),
            (key("a/b"), prefix("a/"), true),
            (key("b"), prefix("a"), false),
            (prefix("a/b/"), prefix("a/"), true),
            (prefix("a/"), prefix("a/b/"), true),
            (prefix("b/"), prefix("a/"), false),
            (service("web"), service("web"), true),
            (service("web"), service("db"), false),
            (service("web"), Topic::All, true),
            (prefix("x"), Topic::Services, false),
        ] {
            assert_eq!(
                woken(std::slice::from_ref(&waits), std::slice::from_ref(&change)),
                expected,
                "{waits:?} at {change:?}"
            );
        }
    }

    #[test]
    fn a_dropped_waiter_leaves_nothing_behind() {
        let hub = Hub::new();
        let first = hub.subscribe(vec![prefix("a"), key("a")]).expect("a place");
        let second = hub.subscribe(vec![prefix("a")]).expect("a place");
        drop(first);
        assert_eq!(hub.waiting(), 1);
        drop(second);
        let places = hub.inner.places.lock();
        assert!(places.topics.is_empty() && places.prefix_lengths.is_empty());
    }
}
