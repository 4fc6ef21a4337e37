//! The ordered tables in memory, with every index that a command or a read needs to find its
//! records without a walk.
//!
//! Each table keeps its own secondary indexes true; which index numbers move is not decided here.

mod catalog;
mod kv;
mod last;
mod prepared;
mod rows;
mod sessions;

pub(crate) use catalog::{Catalog, NodeRecord, fold};
pub(crate) use kv::Tombstone;
pub(crate) use last::{Counters, Last, NodeLast, ServiceLast};
pub(crate) use rows::{Part, Record, Row, Tables};
pub(crate) use sessions::SessionTable;
