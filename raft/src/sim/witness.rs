//! Who sees what all nodes vote and apply, and what must never be so.
//!
//! Source: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", figure 3:
//! election safety and state machine safety. They are looked at whenever something happens, so
//! that a seed fails at the moment of the fault and not at its late trace.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::error::Fault;
use crate::machine::{CheckpointJob, Entry, StateMachine};
use crate::options::NodeId;
use crate::wal::VoteRecord;

/// An applied entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its term.
    pub term: u64,
    /// A checksum of its bytes.
    pub sum: u32,
}

impl Applied {
    fn of(entry: &Entry) -> Applied {
        Applied { term: entry.term, sum: crc32c::crc32c(&entry.payload) }
    }
}

/// A machine under the eyes of the witness.
pub(crate) struct Seen<M> {
    node: NodeId,
    machine: M,
}

impl<M> Seen<M> {
    pub(crate) fn new(node: NodeId, machine: M) -> Seen<M> {
        Seen { node, machine }
    }
}

impl<M: StateMachine> StateMachine for Seen<M> {
    fn position(&self) -> Option<Bytes> {
        self.machine.position()
    }

    fn apply(&mut self, entries: Vec<Entry>, position: Bytes) -> Result<Vec<Bytes>, Fault> {
        if let Some(world) = super::world() {
            for entry in &entries {
                world.witness.applies(self.node, entry);
            }
        }
        self.machine.apply(entries, position)
    }

    fn checkpoint(&mut self) -> Result<CheckpointJob, Fault> {
        self.machine.checkpoint()
    }

    fn restore(&mut self, dir: &Path, position: Bytes) -> Result<(), Fault> {
        self.machine.restore(dir, position)
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Witness {
    sights: Mutex<Sights>,
}

#[derive(Debug, Default)]
struct Sights {
    /// For whom each node voted in each term.
    votes: BTreeMap<(NodeId, u64), NodeId>,
    /// Who led in each term.
    leaders: BTreeMap<u64, NodeId>,
    /// What was applied at each index, whoever did it first.
    log: BTreeMap<u64, (NodeId, Applied)>,
    broken: Vec<String>,
    entries: u64,
}

impl Witness {
    /// What was broken, in the order in which it was.
    pub fn broken(&self) -> Vec<String> {
        self.sights.lock().broken.clone()
    }

    /// How many entries were applied, on all nodes together.
    pub fn entries(&self) -> u64 {
        self.sights.lock().entries
    }

    /// The highest term in which somebody led, and how many such terms there were.
    pub fn terms(&self) -> (u64, usize) {
        let seen = self.sights.lock();
        (seen.leaders.keys().next_back().copied().unwrap_or_default(), seen.leaders.len())
    }

    /// A node's vote is on its disk, or would have been.
    pub(crate) fn votes(&self, node: NodeId, vote: VoteRecord) {
        let VoteRecord { term, node: elect, committed } = vote;
        let seen = &mut *self.sights.lock();
        // A committed vote says who leads, whomever this node had voted for.
        let (before, what) = if committed {
            (*seen.leaders.entry(term).or_insert(elect), "was told to follow")
        } else {
            (*seen.votes.entry((node, term)).or_insert(elect), "voted for")
        };
        if before != elect {
            let what = format!("node {node} {what} {elect} in term {term}, after {before}");
            seen.broken.push(what);
        }
    }

    /// A node applied an entry.
    fn applies(&self, node: NodeId, entry: &Entry) {
        let mut seen = self.sights.lock();
        seen.entries += 1;
        let (index, applied) = (entry.index, Applied::of(entry));
        let (first, known) = *seen.log.entry(index).or_insert((node, applied));
        if known != applied {
            let what = format!("at {index} node {first} applied {known:?}, {node} {applied:?}");
            seen.broken.push(what);
        }
    }
}
