//! The mechanisms that break things: hosts of their own, processes in them, and every way to hurt
//! one of them from outside.
//!
//! Nothing here knows what runs in a host, nor decides what to break when: that is the nemesis.
//! Everything here needs root on Linux, and is gone once the program ends, however it ends.

pub mod clock;
pub mod cuts;
pub mod disk;
pub mod network;
pub mod pressure;
pub mod process;
pub mod switch;
pub mod syscalls;

mod disk_file;
mod error;
mod space;
mod tools;

pub use error::LabError;
