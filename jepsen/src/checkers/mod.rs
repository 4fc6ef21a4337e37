//! Judges of histories. Each is a plain function of what the clients saw.
//!
//! Never: ask a clock, a process or the network; the same history gets the same verdict for ever.

pub mod append;
pub mod catalog;
pub mod certificate;
pub mod dns;
pub mod hygiene;
pub mod lock;
pub mod membership;
pub mod session;
pub mod set;
pub mod watch;
pub mod wgl;

mod presence;
mod report;
mod verdict;

pub use verdict::{Finding, Verdict};
