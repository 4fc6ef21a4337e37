//! Versioned bytes of everything that is stored or sent between our own processes.
//!
//! One name for the whole program, so that the format behind it can be exchanged in one place.

pub use raft::codec::{CodecError, decode, decode_answer, encode};
