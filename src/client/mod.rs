//! The only door to the cluster's data: the verbs that every protocol door uses.
//!
//! *Never*: names the store or Raft; whoever calls cannot tell whether this process holds a
//! replica or asks one of a server.

mod choice;
mod handle;
mod remote;
mod restore;

pub use handle::{Client, ClusterStatus, Digest};
pub use remote::{Remote, RemoteOptions};
