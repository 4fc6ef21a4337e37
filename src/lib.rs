#![doc = include_str!("ARCHITECTURE.md")]

pub mod codec;
pub mod lifecycle;
pub mod limits;
pub mod model;
pub mod time;
