//! A key as a door shows it, whichever door that is, and what it answers.

use std::collections::BTreeMap;

use crate::history::Answer;

use super::client::{list_of, number_of};
use super::lists::Found;

/// A key.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) text: String,
    /// The revision that last changed it.
    pub(super) modified: u64,
}

/// The number in the first of these, if there is one.
pub(super) fn value(entries: &[Entry], store: Option<u64>) -> Answer {
    match entries.first() {
        Some(Entry { text, modified, .. }) => {
            Answer::Value { value: Some(number_of(text)), revision: *modified, store }
        }
        None => Answer::Value { value: None, revision: 0, store },
    }
}

/// The numbers in all of these.
pub(super) fn values(entries: Vec<Entry>, store: Option<u64>) -> Answer {
    let values: BTreeMap<String, (u64, u64)> = entries
        .into_iter()
        .map(|entry| (entry.key, (number_of(&entry.text), entry.modified)))
        .collect();
    Answer::Values { values, store }
}

/// The list in the first of these; empty where there is none.
pub(super) fn list(entries: &[Entry]) -> Found {
    entries.first().map(|entry| (list_of(&entry.text), entry.modified)).unwrap_or_default()
}

/// The same as an answer.
pub(super) fn elements(entries: &[Entry]) -> Answer {
    let (elements, revision) = list(entries);
    Answer::Elements { elements, revision }
}
