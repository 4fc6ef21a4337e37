//! The error of this room: the disk or the bytes on it are wrong, and the node has to stop.

/// This machine's disk or its bytes are wrong. Whoever gets one stops the node and answers nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(String);

impl Fault {
    /// A fault with its text: what was done to which file or row, and what came of it.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A fault of something done to a path.
    pub(crate) fn at(what: &str, path: &std::path::Path, why: impl std::fmt::Display) -> Self {
        Self(format!("cannot {what} {}: {why}", path.display()))
    }
}
