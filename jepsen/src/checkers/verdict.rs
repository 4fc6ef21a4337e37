//! What a checker says.

use serde::Serialize;

use crate::history::Op;

/// What a checker says of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The history keeps what was promised.
    Valid,
    /// It does not: at least one finding, the earliest first, and not more than a hundred.
    Invalid {
        /// What is wrong.
        findings: Vec<Finding>,
    },
    /// It could not be told, or there was too little to judge. A run with this verdict has failed.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// One thing that is wrong, with the operations that show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was promised and is not so, in a sentence.
    pub what: String,
    /// The operations that contradict each other, in the order in which they were called.
    pub ops: Vec<Op>,
}
