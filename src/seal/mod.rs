//! Encryption under keys that a cluster shares: packets of gossip, and connections over TCP.
//!
//! *Never*: knows what it encrypts, or shows a key in a log or an error.
//!
//! *Why*: the keys are Consul's, for migration, and the bytes are not, since nobody but Portolan
//! speaks to Portolan. A packet is AES-256-GCM under a random nonce. A connection is Noise
//! (`NNpsk0`: who knows a key may speak, and each connection has secrets of its own, so a key that
//! is stolen later opens nothing that was captured before), then records of at most 64 KiB. A
//! short mark of the key goes in front, so that each is tried with the right key at once, and a
//! wrong key can be told from damage.

mod error;
mod file;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod key;
mod keyring;
mod notes;
mod packet;
mod primitives;
mod records;
mod streams;

pub use error::{KeyringError, Unsealed};
pub use keyring::{Keyring, Verify};
pub use raft::{Halves, ReadHalf, WriteHalf};
pub use streams::Streams;
