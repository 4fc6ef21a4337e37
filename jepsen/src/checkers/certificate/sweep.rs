//! What real time says: the highest revision that was known before each call, and the lowest
//! revision that was asked for only after each return.

use crate::history::Op;

/// A revision, and the operation that shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) revision: u64,
    pub(super) op: usize,
}

/// Bounds of one history.
pub(super) struct Sweep {
    /// For each operation: the highest revision known to any that had returned before its call.
    floors: Vec<Mark>,
    /// Lowest revision of the writes called at or after a time, by that time.
    ceilings: Vec<(u64, Mark)>,
}

impl Sweep {
    /// `known`: what each operation knew when it returned; 0: nothing. `written`: the revision
    /// of each write that has one, with its operation.
    pub(super) fn new(ops: &[Op], known: &[u64], written: &[Mark]) -> Self {
        let mut by_call: Vec<usize> = (0..ops.len()).collect();
        by_call.sort_unstable_by_key(|&at| ops[at].called);
        let mut by_return: Vec<usize> = (0..ops.len()).filter(|&at| known[at] > 0).collect();
        by_return.sort_unstable_by_key(|&at| ops[at].returned);
        let mut floors = vec![Mark { revision: 0, op: usize::MAX }; ops.len()];
        let mut highest = Mark { revision: 0, op: usize::MAX };
        let mut past = by_return.into_iter().peekable();
        for at in by_call {
            while let Some(done) = past.next_if(|&done| ops[done].returned < ops[at].called) {
                if known[done] > highest.revision {
                    highest = Mark { revision: known[done], op: done };
                }
            }
            floors[at] = highest;
        }
        Self { floors, ceilings: ceilings(ops, written) }
    }

    /// The highest revision known before an operation was called.
    pub(super) fn floor(&self, at: usize) -> Mark {
        self.floors[at]
    }

    /// The lowest revision of a write that was called after `time`; `u64::MAX`: there is none.
    pub(super) fn ceiling(&self, time: u64) -> Mark {
        let place = self.ceilings.partition_point(|(called, _)| *called <= time);
        let none = Mark { revision: u64::MAX, op: usize::MAX };
        self.ceilings.get(place).map_or(none, |(_, mark)| *mark)
    }
}

fn ceilings(ops: &[Op], written: &[Mark]) -> Vec<(u64, Mark)> {
    let mut all: Vec<(u64, Mark)> =
        written.iter().map(|mark| (ops[mark.op].called, *mark)).collect();
    all.sort_unstable_by_key(|(called, _)| *called);
    let mut lowest = Mark { revision: u64::MAX, op: usize::MAX };
    for (_, mark) in all.iter_mut().rev() {
        if mark.revision < lowest.revision {
            lowest = *mark;
        }
        *mark = lowest;
    }
    all
}
