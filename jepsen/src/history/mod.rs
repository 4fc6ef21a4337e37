//! What the clients saw: one record for each operation, and its forms on disk.
//!
//! Never: an opinion about what is right. That is the checkers' matter.

mod edn;
mod lines;
mod op;
mod register;

pub use edn::{write_appends, write_registers};
pub use lines::{BadLine, LINE_BYTES_MAX, Lines, write_line};
pub use op::{Action, Answer, Condition, Instance, Level, ListStep, Op, Outcome, Write};
pub use register::{Access, End, Step, accesses};
