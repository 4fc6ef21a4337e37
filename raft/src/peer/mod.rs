//! The peer protocol: framed TCP between the nodes of one cluster.
//!
//! Each peer is reached over three connections: a replication stream (pipelined, a small
//! window), a control connection (votes, heartbeats, read index, requests of the application;
//! many under way), and one for each snapshot. The first frame says who speaks to whom. A process
//! that is no node asks over a connection of a fourth kind, which carries requests of the
//! application alone and has bounds of its own.
//!
//! Never: hold an answer back for another connection, or know what a payload means.
//!
//! Why: a full pipe of entries or a snapshot must not delay a heartbeat, so they do not share
//! a connection; more than a window of two costs CPU and gains nothing.

mod agents;
mod caller;
mod client;
mod control;
mod duplex;
mod frame;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod line;
mod listener;
mod promise;
mod server;
mod snapshot;
mod stream;
mod wire;

pub(crate) use agents::Agents;
pub use caller::{Caller, CallerOptions};
pub(crate) use client::{Identity, Peers};
pub use line::{Halves, ReadHalf, Wire, WriteHalf};
pub use listener::Listener;
pub(crate) use promise::Promise;
pub(crate) use server::Server;
