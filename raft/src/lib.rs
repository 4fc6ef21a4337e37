//! d
pub mod codec;
