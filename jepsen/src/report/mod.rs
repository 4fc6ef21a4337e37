//! What is said of runs: a summary of each, the ledger of many.

mod date;
mod ledger;
mod summary;

pub use ledger::{Entry, Ledger, Row, Sums};
pub use summary::{Figures, Loaded, Summary, Word, word};
