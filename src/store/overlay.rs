//! Writes to keys that are not yet made: they read their own, and are made together or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::step::Step;
use super::tables::Tables;
use crate::model::{Index, KvEntry, Topic};

/// Pending writes over the tables.
#[derive(Debug)]
pub(crate) struct Overlay<'a> {
    /// The state below, without the pending writes.
    pub(crate) tables: &'a Tables,
    /// The index that the writes will have.
    pub(crate) index: Index,
    pending: Pending,
}

/// Pending writes apart from what they were made over.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    writes: BTreeMap<String, Option<Arc<KvEntry>>>,
    trees: Vec<String>,
}

impl<'a> Overlay<'a> {
    /// No writes yet.
    pub(crate) fn new(tables: &'a Tables, index: Index) -> Self {
        Self::over(tables, index, Pending::default())
    }

    /// With the writes that are pending already.
    pub(crate) fn over(tables: &'a Tables, index: Index, pending: Pending) -> Self {
        Self { tables, index, pending }
    }

    /// The entry of a key, as the writes so far leave it.
    pub(crate) fn get(&self, key: &str) -> Option<&Arc<KvEntry>> {
        match self.pending.writes.get(key) {
            Some(pending) => pending.as_ref(),
            None => self.tables.kv.get(key),
        }
    }

    /// The entries whose keys begin with `prefix`, in order, as the writes so far leave them.
    pub(crate) fn under(&self, prefix: &str) -> Vec<Arc<KvEntry>> {
        let mut found: BTreeMap<&str, &Arc<KvEntry>> =
            self.tables.kv.under(prefix).map(|entry| (entry.key.as_str(), entry)).collect();
        let pending = self.pending.writes.range(prefix.to_owned()..);
        for (key, write) in pending.take_while(|(key, _)| key.starts_with(prefix)) {
            match write {
                Some(entry) => found.insert(key, entry),
                None => found.remove(key.as_str()),
            };
        }
        found.into_values().map(Arc::clone).collect()
    }

    /// Writes an entry.
    pub(crate) fn put(&mut self, entry: KvEntry) -> Arc<KvEntry> {
        let entry = Arc::new(entry);
        self.pending.writes.insert(entry.key.clone(), Some(Arc::clone(&entry)));
        entry
    }

    /// Removes a key.
    pub(crate) fn remove(&mut self, key: &str) {
        self.pending.writes.insert(key.to_owned(), None);
    }

    /// Removes every key that begins with `prefix`.
    pub(crate) fn remove_tree(&mut self, prefix: &str) {
        for entry in self.under(prefix) {
            self.remove(&entry.key);
        }
        self.pending.trees.push(prefix.to_owned());
    }

    /// The writes, to be made.
    pub(crate) fn into_pending(self) -> Pending {
        self.pending
    }
}

impl Pending {
    /// Makes the writes. A key that ends as it was is not touched.
    pub(crate) fn commit(self, step: &mut Step<'_>) {
        for (key, write) in self.writes {
            let before = step.tables.kv.get(&key);
            match write {
                Some(entry) if before.is_none_or(|before| *before != entry) => step.put_key(entry),
                None if before.is_some() => {
                    let tree = self.trees.iter().find(|tree| key.starts_with(tree.as_str()));
                    let topic = match tree {
                        Some(tree) => Topic::Prefix(tree.clone()),
                        None => Topic::Key(key.clone()),
                    };
                    step.remove_key(&key, topic);
                }
                Some(_) | None => {}
            }
        }
    }
}
