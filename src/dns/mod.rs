//! The DNS door: answers for what the catalog holds, over UDP and TCP, as Consul does.
//!
//! A question goes through `name` (what is asked), `resolve` (the reads it takes), `answer`
//! (records), `reply` (what fits) and `wire` (bytes); other names go to `recurse`. A service's
//! answer stays in `cache` as `parts`, bytes but for order and cut. `server` has the sockets,
//! `frame` the messages on a stream, `catalog` the reads.
//!
//! *Never*: writes; knows another door, the store or the replica; asks a clock for a decision.
//!
//! *Why* there is no server framework here: `hickory-server` spawns outside our lifecycle, has
//! no bound on connections, and encodes by its own size rules. Of hickory the records and the
//! decoder are used.

mod answer;
mod cache;
mod catalog;
mod frame;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod name;
mod options;
mod parts;
mod recurse;
mod reply;
mod resolve;
mod server;
#[cfg(any(test, feature = "fuzz"))]
mod table;
mod wire;

#[cfg(test)]
mod live;
#[cfg(test)]
mod live_pieces;
#[cfg(test)]
mod live_recursors;

pub use options::{Observed, Observer, Options, RecursorOrder, Soa};
pub use server::{Dns, serve};
