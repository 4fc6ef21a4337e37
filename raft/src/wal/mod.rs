//! The segmented write-ahead log: one writer thread, one `fdatasync` for each group of writes.
//!
//! Never: know what an entry means, or anything of openraft.
//!
//! Why: a vote and an entry go through the same queue, so their order on disk is the order in
//! which they were asked for. Each record carries a checksum over its segment and offset, a
//! link to the record before it, and how much of the segment was on disk when it was written;
//! by these a start tells a torn tail, which is cut, from damage, which is a fault.

mod file;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod handle;
mod index;
mod record;
mod recover;
mod segment;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use handle::{Wal, WalOptions};
pub(crate) use index::{LogPosition, VoteRecord};
pub(crate) use record::{Kind, Record};
pub(crate) use segment::{create_dir, sync_dir};
