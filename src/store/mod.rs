//! The deterministic state machine and its persistence: ordered tables in memory, RocksDB behind.
//!
//! *Never*: a clock, randomness, tokio, configuration, Raft, or an order that a hash map gives.
//! The same payloads give the same state on every replica, in whatever batches they come.
//!
//! *Why*: tables in memory, since reading and writing RocksDB on the path of every command was
//! measured at ten times their cost; RocksDB written behind by one thread without its own log,
//! since the Raft log already holds what a crash takes from it.

mod apply;
mod autopilot;
mod backup;
mod catalog;
mod checks;
mod coordinates;
mod database;
mod encoding;
mod engine;
mod expiry;
mod fault;
mod folder;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod kv;
mod machine;
#[cfg(feature = "sim")]
mod memory;
mod overlay;
mod persist;
mod prepared;
mod records;
mod sessions;
mod step;
mod tables;
mod txn;
mod undo;
mod view;

#[cfg(any(test, feature = "fuzz"))]
mod invariants;
#[cfg(test)]
mod tests;

pub use fault::Fault;
pub use machine::{Applied, Checkpoint, Store};
#[cfg(feature = "sim")]
pub use memory::{cut, simulate};
pub use view::{Evaluated, View};
