//! Who was refused and why, said once and not at each try.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::error::Unsealed;
use crate::limits::{SEAL_NOTE_EVERY, SEAL_NOTES_MAX};
use crate::time;

/// What was said last, and when.
#[derive(Default)]
pub(super) struct Notes {
    said: Mutex<BTreeMap<(String, Unsealed), Instant>>,
}

impl Notes {
    /// Whether this is to be said now: it was not within the last hour. Of more peers than are
    /// remembered nothing is said: an attacker must not fill the log by inventing addresses.
    pub(super) fn is_new(&self, from: &str, cause: Unsealed) -> bool {
        let now = time::now();
        let mut said = self.said.lock();
        let key = (from.to_owned(), cause);
        if let Some(at) = said.get(&key)
            && now.duration_since(*at) < SEAL_NOTE_EVERY
        {
            return false;
        }
        if said.len() >= SEAL_NOTES_MAX {
            said.retain(|_, at| now.duration_since(*at) < SEAL_NOTE_EVERY);
        }
        if said.len() >= SEAL_NOTES_MAX {
            return false;
        }
        said.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_named_once_an_hour_for_each_cause() {
        let notes = Notes::default();
        assert!(notes.is_new("10.0.0.1", Unsealed::WrongKey));
        assert!(!notes.is_new("10.0.0.1", Unsealed::WrongKey));
        assert!(notes.is_new("10.0.0.1", Unsealed::Plain));
        assert!(notes.is_new("10.0.0.2", Unsealed::WrongKey));
        tokio::time::advance(SEAL_NOTE_EVERY).await;
        assert!(notes.is_new("10.0.0.1", Unsealed::WrongKey));
    }

    #[tokio::test(start_paused = true)]
    async fn more_peers_than_are_remembered_are_not_named() {
        let notes = Notes::default();
        let said = (0..2 * SEAL_NOTES_MAX)
            .filter(|at| notes.is_new(&at.to_string(), Unsealed::WrongKey))
            .count();
        assert_eq!(said, SEAL_NOTES_MAX);
        tokio::time::advance(SEAL_NOTE_EVERY).await;
        assert!(notes.is_new("later", Unsealed::WrongKey));
        assert_eq!(notes.said.lock().len(), 1);
    }
}
