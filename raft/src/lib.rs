//! Replication for Portolan: consensus behind one door, opaque bytes in and out.
//!
//! A node is started with [`Raft::start`], given a [`StateMachine`] and an [`Inbound`], and from
//! then on held as a [`Raft`]. [`Raft::propose`] puts an entry into the log that all nodes share
//! and returns what the machine answered to it; [`Raft::read_barrier`] makes what is read from
//! the machine on this node linearizable. [`Recovery`] works on the folder of a stopped node whose
//! cluster has lost its quorum.
//!
//! A process that is no node asks the nodes with a [`Caller`].
//!
//! # What is promised
//!
//! - **An answered proposal stays.** It was on the disks of a majority (`fdatasync`) and applied
//!   here before the answer. The machine may write behind: after a crash the log is replayed
//!   from where it says that it is.
//! - **Every replica applies the same entries in the same order**, each once for each state that
//!   it reports as its position.
//! - **An error says what is known.** A proposal without an answer was surely not applied, or
//!   may have been: see [`ProposeError`]. The same for a request to a peer: [`CallError`].
//! - **A read barrier costs one round for all that wait**, on any node, and never trusts a
//!   lease: a follower that restarts fast forgets that it granted one.
//! - **Damage is not repaired by guessing.** A start cuts a torn tail, which was never
//!   acknowledged. Any other damage of the log is a [`Fault`] that names file and offset. After
//!   a failed write or sync nothing succeeds any more, and [`Raft::fault`] says so.
//! - **Snapshots do not stop writes**: the machine's checkpoint is written by a job of its own,
//!   streamed to a lagging node in checked chunks, completed aside and renamed.
//! - **Nothing is unbounded**: queues, frames, batches, requests under way have their figures in
//!   one file, `limits.rs`.
//!
//! # What is not here
//!
//! No encryption of the peer protocol: without a [`Wire`], which the application may put around
//! every connection, the network between the nodes has to be trusted. No meaning of any payload. No forwarding of proposals: a caller who is told that this node does
//! not lead forwards with [`Raft::call`], because only the caller knows what is safe to do
//! twice.
//!
//! # Why it is built so
//!
//! openraft is imported by this crate alone, pinned exactly, and none of its types passes the
//! door or reaches a disk or a wire: its 0.10 line still changes. The log is our own because one
//! writer with pre-written segments and one sync for each group was measured at 1.6 to 3.6
//! times the throughput of an embedded database in its place. Votes and entries go through that
//! one writer, so that they cannot overtake each other.

#[macro_use]
pub mod failpoint;
#[macro_use]
pub mod planted;

mod barrier;
pub mod codec;
mod error;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod handle;
mod limits;
mod log;
mod machine;
mod options;
mod peer;
mod propose;
mod recover;
#[cfg(feature = "sim")]
pub mod sim;
mod snapshot;
mod start;
mod status;
#[cfg(test)]
mod storage_suite;
mod tasks;
mod types;
mod wal;

pub use error::{BarrierError, CallError, Fault, MembershipError, ProposeError};
pub use handle::{Inbound, Raft};
pub use machine::{CheckpointJob, Entry, StateMachine, position_index};
pub use options::{NodeId, Options, Peer, Sync};
pub use peer::{Caller, CallerOptions, Halves, Listener, ReadHalf, Wire, WriteHalf};
pub use recover::{Account, Recovery};
pub use status::Status;
