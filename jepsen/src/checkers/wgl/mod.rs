//! The independent oracle of key-value histories: searches an order for each key, and looks at no
//! revision.
//!
//! Rule: the operations on a key can be put in an order that keeps real time and in which each
//! read sees the last write. Keys are judged one by one, which is exact for single keys
//! (locality: Herlihy & Wing, 1990) and necessary for transactions, whose writes are taken apart.
//! Scans and stale reads are passed over.
//!
//! The search is Wing & Gong's (1993) with Lowe's (2017) memory of the configurations that led
//! nowhere. It takes exponential time in the number of operations that overlap, so it has a
//! budget, and short histories of few clients are what it is for.

mod model;
mod search;

pub use model::{Options, check};
