//! Who is there: joining, failure detection, leaving; and what is said to everyone: events, and
//! changes of the keys.
//!
//! *Never*: decides anything. It tells what it sees; the leader turns that into the catalog and
//! into voters.
//!
//! *Why*: [`pool`] is the whole protocol without a socket or a clock, around foca, so that a pool
//! of thousands can run in one test; [`run`] and [`call`] give it both. Who is suspected is asked
//! over TCP before it is called dead, and a member that is held up itself waits longer before it
//! judges. What members say of themselves travels apart from life and death, so that packets stay
//! small.

mod book;
mod call;
mod complaints;
mod events;
mod exchange;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod handle;
mod health;
mod identity;
mod keep;
mod merge;
mod packet;
mod pool;
mod questions;
mod rumors;
mod run;
#[cfg(test)]
mod sim;
mod vivaldi;

pub use handle::{Gossip, Options, Sockets};
pub use questions::{KeyReport, KeyVerb};
