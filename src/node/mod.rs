//! The composition root: opens, wires, serves and stops every room in order.
//!
//! *Never*: holds logic of a room. It turns the one `Config` into each room's small options.

mod configured;
mod files;
mod gauges;
mod identity;
mod keys;
mod listen;
mod options;
mod recover;
mod run;
mod settings;
mod side;
mod signals;

pub use recover::{Recover, RecoverAccount, RecoverMode, Server, recover};
pub use run::{NodeError, judge, run};
