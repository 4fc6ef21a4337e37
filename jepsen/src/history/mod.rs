//! What the clients saw: one record for each operation, and its forms on disk.
//!
//! Never: an opinion about what is right. That is the checkers' matter.

mod op;

pub use op::{Action, Answer, Condition, Instance, Level, Op, Outcome, Write};
