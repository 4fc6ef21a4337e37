//! What the log holds, in memory: one slot for each entry, the newest with their payload.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::file::LogFile;
use super::record::{Kind, Record};

/// Term and index of an entry.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub(crate) struct LogPosition {
    pub(crate) term: u64,
    pub(crate) index: u64,
}

/// A vote as the log keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct VoteRecord {
    pub(crate) term: u64,
    pub(crate) node: u64,
    pub(crate) committed: bool,
}

/// Where an entry stands on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u32,
}

/// One entry.
pub(super) struct Slot {
    pub(super) kind: Kind,
    pub(super) term: u64,
    /// Bytes of the payload.
    pub(super) length: u32,
    /// `None` until the writer has written it.
    pub(super) place: Option<Place>,
    /// `None` once it fell out of the cache.
    pub(super) payload: Option<Bytes>,
}

/// A file that holds entries.
pub(super) struct Stored {
    pub(super) path: PathBuf,
    pub(super) file: Arc<LogFile>,
    /// Highest entry that was ever written to it.
    pub(super) highest: Option<u64>,
}

/// What the log holds.
#[derive(Default)]
pub(super) struct Index {
    pub(super) vote: Option<VoteRecord>,
    pub(super) committed: Option<LogPosition>,
    pub(super) purged: Option<LogPosition>,
    /// Index of the first slot, or of the next entry if there is none.
    pub(super) first: u64,
    pub(super) slots: VecDeque<Slot>,
    /// Entries before this one have no payload in memory.
    cached_from: u64,
    cached_bytes: usize,
    pub(super) files: BTreeMap<u64, Stored>,
}

impl Index {
    /// Index after the last entry.
    pub(super) fn next(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// The last entry, or the last purged one if the log is empty.
    pub(super) fn last(&self) -> Option<LogPosition> {
        match self.slots.back() {
            Some(slot) => Some(LogPosition { term: slot.term, index: self.next() - 1 }),
            None => self.purged,
        }
    }

    pub(super) fn slot(&self, index: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// Takes in a record that is about to be written (or was read back).
    ///
    /// # Errors
    ///
    /// An entry that does not follow the last one.
    pub(super) fn take(&mut self, record: &Record, place: Option<Place>) -> Result<(), String> {
        let Record { kind, term, index, payload } = record;
        if *index == u64::MAX && *kind != Kind::Vote {
            return Err(format!("no entry can follow entry {index}"));
        }
        match kind {
            Kind::Blank | Kind::Normal | Kind::Membership => {
                if self.slots.is_empty() {
                    self.first = *index;
                    self.cached_from = *index;
                }
                if *index != self.next() {
                    return Err(format!("entry {index} follows entry {}", self.next() - 1));
                }
                self.push(record, place);
            }
            Kind::Vote => {
                let committed = payload.first() == Some(&1);
                self.vote = Some(VoteRecord { term: *term, node: *index, committed });
            }
            Kind::Truncate => self.truncate(*index),
            Kind::Purge => self.purge(LogPosition { term: *term, index: *index }),
            Kind::Committed => {
                let some = payload.first() == Some(&1);
                self.committed = some.then_some(LogPosition { term: *term, index: *index });
            }
        }
        Ok(())
    }

    fn push(&mut self, record: &Record, place: Option<Place>) {
        let length = u32::try_from(record.payload.len()).expect("a payload is bounded");
        self.cached_bytes += cost(length);
        self.slots.push_back(Slot {
            kind: record.kind,
            term: record.term,
            length,
            place,
            payload: Some(record.payload.clone()),
        });
    }

    fn truncate(&mut self, from: u64) {
        while self.next() > from.max(self.first) {
            let slot = self.slots.pop_back().expect("the range holds slots");
            if slot.payload.is_some() {
                self.cached_bytes -= cost(slot.length);
            }
        }
        self.cached_from = self.cached_from.min(self.next());
    }

    fn purge(&mut self, upto: LogPosition) {
        while self.first <= upto.index {
            let Some(slot) = self.slots.pop_front() else { break };
            if slot.payload.is_some() {
                self.cached_bytes -= cost(slot.length);
            }
            self.first += 1;
        }
        if self.slots.is_empty() {
            self.first = self.first.max(upto.index + 1);
        }
        self.cached_from = self.cached_from.max(self.first);
        self.purged = self.purged.max(Some(upto));
    }

    /// Notes where an entry was written, unless it was cut off meanwhile.
    pub(super) fn place(&mut self, position: LogPosition, place: Place) {
        if let Some(stored) = self.files.get_mut(&place.segment) {
            stored.highest = stored.highest.max(Some(position.index));
        }
        if let Some(slot) = self.slot_mut(position.index)
            && slot.term == position.term
        {
            slot.place = Some(place);
        }
    }

    /// Drops payloads from the front until the cache is within `bound` bytes; what is not yet
    /// on disk stays.
    pub(super) fn trim(&mut self, bound: usize) {
        while self.cached_bytes > bound {
            let at = self.cached_from;
            let Some(slot) = self.slot_mut(at) else { break };
            if slot.place.is_none() {
                break;
            }
            let had = slot.payload.take().map_or(0, |_| cost(slot.length));
            self.cached_bytes -= had;
            self.cached_from += 1;
        }
    }
}

/// Memory that a cached entry takes, roughly, in bytes.
fn cost(length: u32) -> usize {
    length as usize + size_of::<Slot>()
}
