//! The only door to the cluster's data: the verbs that every protocol door uses.
//!
//! *Never*: names the store or Raft; whoever calls cannot tell whether this process holds a
//! replica.

mod handle;

pub use handle::{Client, ClusterStatus, Digest};
