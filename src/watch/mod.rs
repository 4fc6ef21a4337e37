//! Who waits for what. The hub wakes and carries no data: a woken reader reads again.
//!
//! *Never*: holds data, or knows why somebody waits.
//!
//! *Why*: a hub that carries events must keep them for its slowest reader. One that only wakes
//! costs a slow reader nothing, and ten changes before the reader runs cost it one read.

mod hub;

pub use hub::{Hub, Place, TooManyWaiters, Waiter, Woken};
