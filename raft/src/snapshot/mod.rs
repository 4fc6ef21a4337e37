//! Snapshots on disk: checkpoint folders that are complete or do not exist.
//!
//! Never: hold a snapshot in memory, or know what is inside one.
//!
//! Why: a folder is written under another name, synced, and renamed; so whatever a crash leaves
//! half-written is known by its name and removed on the next start.

mod folder;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod receive;
mod store;

pub(crate) use folder::SnapshotFolder;
pub(crate) use store::SnapshotStore;
