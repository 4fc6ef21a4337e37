//! The composition root: opens, wires, serves and stops every room in order.
//!
//! *Never*: holds logic of a room. It turns the one `Config` into each room's small options.

mod configured;
mod gauges;
mod identity;
mod listen;
mod options;
mod run;
mod signals;

pub use run::{NodeError, run};
