//! Power cuts under a writing load, one after another: is what was acknowledged still there?
//!
//! Servers run on disks that lose what was not flushed. A cut takes the power of one server or of
//! all in the midst of writes, kills what runs, checks the file systems, starts the servers again,
//! and looks. Writes are of unique keys, so that nothing but what was written can be there.
//!
//! The checks are worth nothing unless they can fail: [`Control`] has the ways to make sure.

mod http;
mod load;
mod options;
mod run;
mod system;

pub use options::{Control, Mode, Options, Report, System};
pub use run::run;
