//! What the clients of a run do, and in what order: seeded, and the same for every system.
//!
//! Never: an opinion on an answer, or a door's words.

mod append;
mod catalog;
mod driver;
mod kv;
mod lock;
mod membership;
mod register;
mod resource;
mod session;
mod set;
mod watch;
mod workload;

pub use driver::{Common, Driver};
pub use workload::{Plan, Player, Workload};
