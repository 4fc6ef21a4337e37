//! The store over Raft: reads, writes, blocking reads, and what runs only while leading.
//!
//! *Never*: names a door, a wire format of a protocol, or the configuration.
//!
//! *Why*: a follower forwards encoded commands over the peer protocol, so that a door never
//! redirects a client; the leader alone stamps cluster time.

mod age;
mod agents;
mod autopilot;
mod clock;
mod handle;
mod inbound;
mod leader;
mod line;
mod machine;
mod read;
mod renewals;
mod shared;
mod start;
#[cfg(test)]
mod tests;
mod write;

pub use agents::{Ask, Told};
pub use handle::{ClusterStatus, Digest, Replica};
pub use line::{Line, LineOptions, Lost};
pub use start::{Options, StartError, machine, start};
