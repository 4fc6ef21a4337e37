//! Transactions over lists: what they saw of each other makes a graph, and a cycle in it is an
//! anomaly.
//!
//! Rule: all lists of a key are prefixes of the longest one, which gives the order of its
//! versions; where appends tell their revisions, these have the same order. From that come the
//! dependencies: `ww` from the writer of a version to that of the next, `wr` from the writer of
//! a version to who read it, `rw` from who read a version to the writer of the next, and real
//! time from what returned to what was called after that. Then there is
//!
//! - no G1a: a list shows no element whose append surely did not happen,
//! - no G1b: a list shows all elements that a transaction put at the key in a row, or none,
//! - no G0: no cycle of `ww` only, no G1c: of `ww` and `wr`, no G2: of all of them.
//!
//! A cycle that needs real time is named so (`G2-realtime` is a stale read or a lost update). As
//! the orders of the versions are known, nothing is searched; time and memory are linear.
//!
//! Sources: Adya's thesis (1999); Kingsbury & Alvaro, Elle (2020).

mod cycles;
mod edges;
mod versions;

pub use edges::{Options, check};
