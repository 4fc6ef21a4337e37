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
#[derive(Clone, Debug, Default)]
pub struct Hub {
    inner: Arc<Inner>,
}

/// As many waiters are parked as may be: [`limits::WAITERS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {} blocking reads", limits::WAITERS_MAX)]
pub struct TooManyWaiters;

/// A place in the hub, shared by all who wait for the same. Dropping it gives the place up.
#[derive(Debug)]
pub struct Place {
    hub: Arc<Inner>,
    topics: Vec<Topic>,
    id: u64,
    bell: Arc<Bell>,
}

/// One who waits at a place. Dropping it gives the wait up.
#[derive(Debug)]
pub struct Waiter {
    hub: Arc<Inner>,
    bell: Arc<Bell>,
}

/// How many waiters a publication woke, by the kind of topic that they wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Woken(BTreeMap<&'static str, usize>);

/// What rings at a place.
#[derive(Debug, Default)]
struct Bell {
    /// The last publication that concerned the place.
    rung: AtomicU64,
    waiters: AtomicUsize,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: AtomicUsize,
    next: AtomicU64,
    places: Mutex<Places>,
}

type Bells = BTreeMap<u64, Arc<Bell>>;

#[derive(Debug, Default)]
struct Places {
    topics: BTreeMap<Topic, Bells>,
    /// How many waited-for prefixes there are of each length, so that a changed key is looked up
    /// once for each length in use and not once for each prefix.
    prefix_lengths: BTreeMap<usize, usize>,
    /// How many publications there were.
    publications: u64,
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

    /// Takes a place that any change of `topics` concerns from now on, and [`Topic::All`] too.
    ///
    /// Take the place first, then read, then wait: so no change falls between.
    ///
    /// # Panics
    ///
    /// If `topics` are more than [`limits::TOPICS_MAX`]: no query waits for so many.
    pub fn place(&self, topics: Vec<Topic>) -> Place {
        assert!(topics.len() <= limits::TOPICS_MAX, "a read waits for {} topics", topics.len());
        let id = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let bell = Arc::new(Bell::default());
        let mut places = self.inner.places.lock();
        for topic in &topics {
            places.add(topic, id, &bell);
        }
        drop(places);
        Place { hub: Arc::clone(&self.inner), topics, id, bell }
    }

    /// Wakes every waiter that one of `changes` concerns, once, and says how many those were.
    /// Returns at once; never blocks on a waiter.
    pub fn publish(&self, changes: &[Topic]) -> Woken {
        let mut ringing = Ringing::default();
        if self.inner.waiting.load(Ordering::SeqCst) == 0 {
            return ringing.woken;
        }
        let mut places = self.inner.places.lock();
        places.publications += 1;
        for change in changes {
            places.wake(change, &mut ringing);
        }
        drop(places);
        // B11: what is too many for the queue is dropped, and nobody is told.
        let room = if planted!("planted_b11") { 8 } else { usize::MAX };
        for bell in ringing.bells.into_iter().take(room) {
            bell.notify.notify_waiters();
        }
        ringing.woken
    }
}

impl Place {
    /// Waits here.
    ///
    /// # Errors
    ///
    /// [`TooManyWaiters`]: tell the caller to come again later.
    pub fn enter(&self) -> Result<Waiter, TooManyWaiters> {
        if self.hub.waiting.fetch_add(1, Ordering::SeqCst) >= limits::WAITERS_MAX {
            self.hub.waiting.fetch_sub(1, Ordering::SeqCst);
            return Err(TooManyWaiters);
        }
        self.bell.waiters.fetch_add(1, Ordering::Relaxed);
        Ok(Waiter { hub: Arc::clone(&self.hub), bell: Arc::clone(&self.bell) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.hub.places.lock();
        for topic in &self.topics {
            places.remove(topic, self.id);
        }
    }
}

impl Waiter {
    /// A mark that differs once a change concerned this place. Take it before reading.
    pub fn mark(&self) -> u64 {
        self.bell.rung.load(Ordering::SeqCst)
    }

    /// Returns once the mark is another one than `seen`. May be dropped.
    pub async fn changed(&self, seen: u64) {
        loop {
            // Made first: it is told of all that comes later than itself.
            let rung = self.bell.notify.notified();
            if self.mark() != seen {
                return;
            }
            rung.await;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.bell.waiters.fetch_sub(1, Ordering::Relaxed);
        self.hub.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Woken {
    /// Each kind of topic with how many of its waiters were woken.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.0.iter().map(|(kind, waiters)| (*kind, *waiters))
    }
}

/// The bells that one publication rings.
#[derive(Default)]
struct Ringing {
    bells: Vec<Arc<Bell>>,
    woken: Woken,
}

impl Places {
    fn add(&mut self, topic: &Topic, id: u64, bell: &Arc<Bell>) {
        let bells = self.topics.entry(topic.clone()).or_default();
        let first = bells.is_empty();
        bells.insert(id, Arc::clone(bell));
        if let (true, Topic::Prefix(prefix)) = (first, topic) {
            *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
        }
    }

    fn remove(&mut self, topic: &Topic, id: u64) {
        let Some(bells) = self.topics.get_mut(topic) else { return };
        bells.remove(&id);
        if !bells.is_empty() {
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

    fn wake(&self, change: &Topic, ringing: &mut Ringing) {
        match change {
            Topic::All => {
                for (topic, bells) in &self.topics {
                    self.ring(topic, bells, ringing);
                }
            }
            Topic::Key(key) => {
                self.wake_topic(change, ringing);
                self.wake_prefixes_of(key, ringing);
            }
            Topic::Prefix(prefix) => {
                self.wake_prefixes_of(prefix, ringing);
                self.wake_below(prefix, Topic::Key, ringing);
                self.wake_below(prefix, Topic::Prefix, ringing);
            }
            _ => self.wake_topic(change, ringing),
        }
    }

    fn wake_topic(&self, topic: &Topic, ringing: &mut Ringing) {
        if let Some(bells) = self.topics.get(topic) {
            self.ring(topic, bells, ringing);
        }
    }

    fn wake_prefixes_of(&self, key: &str, ringing: &mut Ringing) {
        for length in self.prefix_lengths.keys().take_while(|length| **length <= key.len()) {
            if let Some(prefix) = key.get(..*length) {
                self.wake_topic(&Topic::Prefix(prefix.to_owned()), ringing);
            }
        }
    }

    /// Wakes the waiters on keys (or prefixes) that begin with `prefix`.
    fn wake_below(&self, prefix: &str, kind: fn(String) -> Topic, ringing: &mut Ringing) {
        let from = Bound::Included(kind(prefix.to_owned()));
        for (topic, bells) in self.topics.range((from, Bound::Unbounded)) {
            match topic {
                Topic::Key(name) | Topic::Prefix(name)
                    if name.starts_with(prefix) && *topic == kind(name.clone()) =>
                {
                    self.ring(topic, bells, ringing);
                }
                _ => return,
            }
        }
    }

    /// Marks the bells of a topic and notes them down, unless this publication did so already.
    fn ring(&self, topic: &Topic, bells: &Bells, ringing: &mut Ringing) {
        for bell in bells.values() {
            if bell.rung.swap(self.publications, Ordering::SeqCst) != self.publications {
                ringing.bells.push(Arc::clone(bell));
                let waiters = bell.waiters.load(Ordering::Relaxed);
                *ringing.woken.0.entry(topic.kind()).or_default() += waiters;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn woken(topics: &[Topic], changes: &[Topic]) -> bool {
        let hub = Hub::new();
        let place = hub.place(topics.to_vec());
        let waiter = place.enter().expect("room for one");
        let seen = waiter.mark();
        let told = hub.publish(changes);
        let mut changed = Box::pin(waiter.changed(seen));
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        let ready = Future::poll(changed.as_mut(), &mut context).is_ready();
        assert_eq!(told.iter().map(|(_, waiters)| waiters).sum::<usize>(), usize::from(ready));
        ready
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
    fn all_at_one_place_are_woken_once_by_one_publication() {
        let hub = Hub::new();
        let place = hub.place(vec![prefix("a")]);
        let waiters: Vec<_> = (0..3).map(|_| place.enter().expect("room")).collect();
        let told = hub.publish(&[key("ab"), key("ac"), Topic::Nodes]);
        assert_eq!(told.iter().collect::<Vec<_>>(), [("prefix", 3)]);
        drop(waiters);
        assert_eq!(hub.publish(&[key("ab")]), Woken::default());
    }

    #[tokio::test]
    async fn one_publication_wakes_at_every_place() {
        let hub = Hub::new();
        let names: Vec<String> = (0..100).map(|number| format!("k{number}")).collect();
        let places: Vec<_> = names.iter().map(|name| hub.place(vec![key(name)])).collect();
        let waiters: Vec<_> = places.iter().map(|place| place.enter().expect("room")).collect();
        let seen: Vec<_> = waiters.iter().map(Waiter::mark).collect();
        let waiting = waiters.iter().zip(seen).map(|(waiter, seen)| waiter.changed(seen));
        let mut all = std::pin::pin!(futures::future::join_all(waiting));
        assert!(futures::poll!(all.as_mut()).is_pending(), "nothing has changed yet");
        hub.publish(&names.iter().map(|name| key(name)).collect::<Vec<_>>());
        assert!(futures::poll!(all).is_ready(), "every place hears of its change");
    }

    #[tokio::test]
    async fn a_change_between_mark_and_wait_is_not_lost() {
        let hub = Hub::new();
        let place = hub.place(vec![key("a")]);
        let waiter = place.enter().expect("room");
        let seen = waiter.mark();
        hub.publish(&[key("a")]);
        waiter.changed(seen).await;
        assert_ne!(waiter.mark(), seen);
    }

    #[test]
    fn what_is_dropped_leaves_nothing_behind() {
        let hub = Hub::new();
        let first = hub.place(vec![prefix("a"), key("a")]);
        let second = hub.place(vec![prefix("a")]);
        let waiter = second.enter().expect("room");
        drop(first);
        assert_eq!(hub.waiting(), 1);
        drop(waiter);
        assert_eq!(hub.waiting(), 0);
        drop(second);
        let places = hub.inner.places.lock();
        assert!(places.topics.is_empty() && places.prefix_lengths.is_empty());
    }
}
