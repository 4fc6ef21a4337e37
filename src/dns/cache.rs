//! Services' answers as bytes, kept until the service changes.
//!
//! Each stands under the index of the read that it was made of. Whoever asks says what the index
//! is now, so nothing is ever given that a read would not give.

use std::collections::HashMap;
use std::sync::Arc;

use hickory_proto::rr::{Name, RecordType};
use parking_lot::Mutex;

use super::parts::Parts;
use crate::limits::{DNS_CACHE_ANSWER_BYTES_MAX, DNS_CACHE_BYTES_MAX, DNS_CACHE_ENTRIES_MAX};
use crate::model::Index;

/// A question about a service, in all that its answer depends on. How it came does not count:
/// order and cut are made anew for each asker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The service, in lower case.
    pub(super) name: String,
    /// The tag, in lower case.
    pub(super) tag: Option<String>,
    /// The kind of records.
    pub(super) kind: RecordType,
    /// The domain that the answer stays under.
    pub(super) zone: Name,
}

impl Key {
    fn bytes(&self) -> usize {
        self.name.len() + self.tag.as_ref().map_or(0, String::len) + size_of::<(Self, Kept)>()
    }
}

/// Bounded by [`DNS_CACHE_ENTRIES_MAX`] and [`DNS_CACHE_BYTES_MAX`].
#[derive(Debug, Default)]
pub(super) struct Cache {
    generations: Mutex<Generations>,
}

/// What was asked for lately, and before that. A full young generation becomes the old one, and
/// the old one is forgotten but for what was asked for again: nothing has to be put in order.
#[derive(Debug, Default)]
struct Generations {
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    kept: HashMap<Key, Kept>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Kept {
    at: Index,
    parts: Arc<Parts>,
}

impl Kept {
    fn holds(&self, at: Index) -> bool {
        self.at == at || planted!("planted_b22") // B22: until it is forgotten for want of room
    }
}

impl Cache {
    /// The answer to `key`, where there is one of the index `at`.
    pub(super) fn get(&self, key: &Key, at: Index) -> Option<Arc<Parts>> {
        let mut generations = self.generations.lock();
        if let Some(kept) = generations.young.kept.get(key) {
            return kept.holds(at).then(|| Arc::clone(&kept.parts));
        }
        let kept = generations.old.remove(key)?;
        let parts = kept.holds(at).then(|| Arc::clone(&kept.parts))?;
        generations.put(key.clone(), kept);
        Some(parts)
    }

    /// Keeps an answer of the index `at`, unless it is too long or a newer one is there.
    pub(super) fn put(&self, key: Key, at: Index, parts: &Arc<Parts>) {
        if parts.bytes() > DNS_CACHE_ANSWER_BYTES_MAX {
            return;
        }
        let mut generations = self.generations.lock();
        if generations.young.kept.get(&key).is_none_or(|kept| kept.at < at) {
            generations.put(key, Kept { at, parts: Arc::clone(parts) });
        }
    }
}

impl Generations {
    fn put(&mut self, key: Key, kept: Kept) {
        self.young.remove(&key);
        let bytes = key.bytes() + kept.parts.bytes();
        let is_full = self.young.kept.len() >= DNS_CACHE_ENTRIES_MAX / 2
            || self.young.bytes + bytes > DNS_CACHE_BYTES_MAX / 2;
        if is_full {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.bytes += bytes;
        self.young.kept.insert(key, kept);
    }
}

impl Generation {
    fn remove(&mut self, key: &Key) -> Option<Kept> {
        let kept = self.kept.remove(key)?;
        self.bytes -= key.bytes() + kept.parts.bytes();
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { name: name.to_owned(), tag: None, kind: RecordType::A, zone: Name::root() }
    }

    fn parts(bytes: usize) -> Arc<Parts> {
        Arc::new(Parts::of_bytes(bytes))
    }

    #[test]
    fn only_an_answer_of_the_index_is_given() {
        let cache = Cache::default();
        assert!(cache.get(&key("a"), Index(1)).is_none());
        cache.put(key("a"), Index(5), &parts(1));
        assert!(cache.get(&key("a"), Index(5)).is_some());
        assert!(cache.get(&key("a"), Index(6)).is_none(), "it changed since");
        assert!(cache.get(&key("A"), Index(5)).is_none());
        cache.put(key("a"), Index(4), &parts(1));
        assert!(cache.get(&key("a"), Index(5)).is_some(), "an older one does not take its place");
        cache.put(key("a"), Index(7), &parts(1));
        assert!(cache.get(&key("a"), Index(7)).is_some());
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_asked_for() {
        let cache = Cache::default();
        for at in 0..3 * DNS_CACHE_ENTRIES_MAX {
            cache.put(key(&at.to_string()), Index(1), &parts(1));
            assert!(cache.get(&key("0"), Index(1)).is_some(), "asked for again and again: {at}");
        }
        let count =
            |generations: &Generations| generations.young.kept.len() + generations.old.kept.len();
        assert!(count(&cache.generations.lock()) <= DNS_CACHE_ENTRIES_MAX);
        for at in 0..300 {
            cache.put(key(&at.to_string()), Index(2), &parts(DNS_CACHE_ANSWER_BYTES_MAX));
            let generations = cache.generations.lock();
            let bytes = generations.young.bytes + generations.old.bytes;
            assert!(bytes <= DNS_CACHE_BYTES_MAX, "{bytes}");
        }
        cache.put(key("long"), Index(1), &parts(DNS_CACHE_ANSWER_BYTES_MAX + 1));
        assert!(cache.get(&key("long"), Index(1)).is_none());
    }
}
