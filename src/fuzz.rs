//! What a fuzzer throws bytes at: each room's list of targets. Only with the feature `fuzz`.

pub use raft::fuzz::{INPUT_BYTES_MAX, Input, Target, Trickle, pieces};
