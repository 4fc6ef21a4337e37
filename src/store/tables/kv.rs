//! Keys, who holds them, what was deleted, and which locks rest.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{ClusterTime, Index, KvEntry, SessionId};

/// A deleted key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tombstone {
    /// The index that deleted it.
    pub(crate) index: Index,
    /// When that was.
    pub(crate) at: ClusterTime,
}

/// The key-value space.
#[derive(Debug, Default)]
pub(crate) struct KvTable {
    entries: BTreeMap<String, Arc<KvEntry>>,
    by_session: BTreeMap<SessionId, BTreeSet<String>>,
    tombstones: BTreeMap<String, Tombstone>,
    tombstones_by_age: BTreeSet<(Index, String)>,
    lock_delays: BTreeMap<String, ClusterTime>,
    lock_delays_by_end: BTreeSet<(ClusterTime, String)>,
}

impl KvTable {
    /// The entry of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Arc<KvEntry>> {
        self.entries.get(key)
    }

    /// Every entry in order of keys.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<KvEntry>> {
        self.entries.values()
    }

    /// The entries whose keys begin with `prefix`, in order.
    pub(crate) fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<KvEntry>> {
        self.entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(_, entry)| entry)
    }

    /// Stores an entry; whatever its key was before, it is no longer deleted.
    pub(crate) fn insert(&mut self, entry: Arc<KvEntry>) {
        self.forget_holder(&entry.key);
        if let Some(session) = entry.session {
            self.by_session.entry(session).or_default().insert(entry.key.clone());
        }
        self.entries.insert(entry.key.clone(), entry);
    }

    /// Removes an entry. Its tombstone is the caller's matter.
    pub(crate) fn remove(&mut self, key: &str) -> Option<Arc<KvEntry>> {
        self.forget_holder(key);
        self.entries.remove(key)
    }

    fn forget_holder(&mut self, key: &str) {
        let Some(session) = self.entries.get(key).and_then(|entry| entry.session) else { return };
        let keys = self.by_session.get_mut(&session).expect("a holder has its keys listed");
        assert!(keys.remove(key), "key {key:?} is listed under its holder {session}");
        if keys.is_empty() {
            self.by_session.remove(&session);
        }
    }

    /// The keys that a session holds.
    pub(crate) fn held_by(&self, session: SessionId) -> Vec<String> {
        self.by_session.get(&session).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// All holders with their keys.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn holders(&self) -> &BTreeMap<SessionId, BTreeSet<String>> {
        &self.by_session
    }

    /// The tombstone of a key.
    pub(crate) fn tombstone(&self, key: &str) -> Option<Tombstone> {
        self.tombstones.get(key).copied()
    }

    /// All tombstones in order of keys.
    pub(crate) fn tombstones(&self) -> &BTreeMap<String, Tombstone> {
        &self.tombstones
    }

    /// The newest deletion below a prefix.
    pub(crate) fn tombstone_under(&self, prefix: &str) -> Index {
        self.tombstones
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, tombstone)| tombstone.index)
            .max()
            .unwrap_or_default()
    }

    /// Remembers a deletion.
    pub(crate) fn bury(&mut self, key: String, tombstone: Tombstone) {
        self.unbury(&key);
        self.tombstones_by_age.insert((tombstone.index, key.clone()));
        self.tombstones.insert(key, tombstone);
    }

    /// Forgets a deletion; says whether there was one.
    pub(crate) fn unbury(&mut self, key: &str) -> bool {
        let Some(old) = self.tombstones.remove(key) else { return false };
        let listed = self.tombstones_by_age.remove(&(old.index, key.to_owned()));
        assert!(listed, "tombstone of {key:?} is listed by its age");
        true
    }

    /// The tombstones from the oldest on, each with its key.
    pub(crate) fn oldest_tombstones(&self) -> impl Iterator<Item = (Tombstone, &str)> {
        self.tombstones_by_age.iter().map(|(_, key)| {
            let tombstone = self.tombstones.get(key).expect("a tombstone by age is in its table");
            (*tombstone, key.as_str())
        })
    }

    /// Until when a key's lock rests.
    pub(crate) fn lock_delay(&self, key: &str) -> Option<ClusterTime> {
        self.lock_delays.get(key).copied()
    }

    /// All resting locks in order of keys.
    pub(crate) fn lock_delays(&self) -> &BTreeMap<String, ClusterTime> {
        &self.lock_delays
    }

    /// Lets a key's lock rest.
    pub(crate) fn delay_lock(&mut self, key: String, until: ClusterTime) {
        if let Some(old) = self.lock_delays.insert(key.clone(), until) {
            self.lock_delays_by_end.remove(&(old, key.clone()));
        }
        self.lock_delays_by_end.insert((until, key));
    }

    /// Lets a key's lock rest no longer.
    pub(crate) fn end_lock_delay(&mut self, key: &str) {
        if let Some(until) = self.lock_delays.remove(key) {
            self.lock_delays_by_end.remove(&(until, key.to_owned()));
        }
    }

    /// Takes one key whose rest is over at `now`.
    pub(crate) fn pop_lock_delay(&mut self, now: ClusterTime) -> Option<String> {
        if self.lock_delays_by_end.first().is_none_or(|(until, _)| *until > now) {
            return None;
        }
        let (_, key) = self.lock_delays_by_end.pop_first().expect("the first was just seen");
        self.lock_delays.remove(&key);
        Some(key)
    }
}
