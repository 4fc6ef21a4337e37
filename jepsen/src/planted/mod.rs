//! The bugs that are planted in Portolan on purpose, each behind a feature of its own: a test of
//! faults that finds none of them proves nothing.
//!
//! A debug build with the feature `planted` has all of them, and `PORTOLAN_PLANTED=B05` says which
//! one is active. A release build with any of them does not compile.

mod table;

pub use table::{BUGS, Bug, Layer};
