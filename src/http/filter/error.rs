//! What is wrong with an expression, and where.

use crate::http::error::Failure;

/// Why an expression filters nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at byte {at}: {what}")]
pub(in crate::http) struct FilterError {
    /// The place in the expression, in bytes from 0.
    pub(super) at: usize,
    /// What is wrong there; Consul's own words where it has some.
    pub(super) what: String,
}

impl FilterError {
    /// An error at this place.
    pub(super) fn new(at: usize, what: impl Into<String>) -> Self {
        Self { at, what: what.into() }
    }
}

/// Consul answers 500 to it, with this prefix.
impl From<FilterError> for Failure {
    fn from(error: FilterError) -> Self {
        Self::internal(format!("Failed to create boolean expression evaluator: {error}"))
    }
}
