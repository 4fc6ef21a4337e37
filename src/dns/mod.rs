//! The DNS door: answers for what the catalog holds, over UDP and TCP, as Consul does.
//!
//! A question goes through `name` (what is asked), `resolve` (the reads it takes), `answer`
//! (records), `reply` (what fits) and `wire` (bytes); other names go to `recurse`. `server` has
//! the sockets, `frame` the messages on a stream.
//!
//! *Never*: writes; knows another door, the store or the replica; asks a clock for a decision.
//!
//! *Why* there is no server framework here: `hickory-server` spawns outside our lifecycle, has
//! no bound on connections, and encodes by its own size rules. Of hickory the records and the
//! decoder are used.

mod answer;
mod frame;
mod name;
mod options;
mod recurse;
mod reply;
mod resolve;
mod server;
mod wire;

#[cfg(test)]
mod live;

pub use options::{Observed, Observer, Options, Soa};
pub use server::serve;
