//! Who is there: joining, failure detection, leaving; and events, from one member to all.
//!
//! *Never*: decides anything. It tells what it sees; the leader turns that into the catalog and
//! into voters.
//!
//! *Why*: servers are few, so each one asks every other once a second over TCP and believes only
//! what it saw itself about life and death. A pool of thousands needs gossip proper, which takes
//! this room's place behind the same door: [`Gossip`] and the channel of members.

mod events;
mod exchange;
mod handle;
mod members;
mod run;

pub use handle::{Gossip, Options};
