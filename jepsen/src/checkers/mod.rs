//! Judges of histories. Each is a plain function of what the clients saw.
//!
//! Never: ask a clock, a process or the network; the same history gets the same verdict for ever.

pub mod certificate;
pub mod wgl;

mod report;
mod verdict;

pub use verdict::{Finding, Verdict};
