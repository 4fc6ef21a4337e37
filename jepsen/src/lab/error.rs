//! What went wrong in the lab itself, as against in what is tested there.

use std::fmt::Display;

/// A mechanism of the lab that did not do what it was asked to. A run in which that happens has
/// failed: it is never a verdict on the system under test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct LabError {
    what: String,
    why: String,
}

impl LabError {
    /// An error that says what was tried, and why it failed.
    pub fn new(what: impl Display, why: impl Display) -> Self {
        Self { what: what.to_string(), why: why.to_string() }
    }
}
