//! The main judge of key-value histories: the revisions of the answers are a certificate of the
//! order in which things happened, and the certificate is verified.
//!
//! Rule: the writes, put in the order of their revisions, are the log. Each answer must be what a
//! replay of the log shows at some point, and that point must lie where real time allows it: at
//! or after the highest revision that any operation knew which had returned before this one was
//! called, and before every write that was called only after this one had returned. That is
//! linearizability (Herlihy & Wing, 1990), strict serializability where transactions and scans
//! take part. An order is exhibited, so nothing is searched and a million operations take about a
//! second.
//!
//! Unknown writes are settled by any read that shows their value; values are unique. One that
//! was never seen may have happened or not, at any time after its call.
//!
//! Stale reads must show a state that existed before they returned; how old it is is free.
//!
//! Where a done write has no revision and no read shows it, only what real time says surely of
//! its place is used: a finding is then still a proof, but its absence is none. `wgl` fills that
//! gap.
//!
//! Sources: the response revisions of etcd's robustness tests; Jepsen's etcd 3.4.3 analysis;
//! Adya's and Elle's use of known version orders (2020).

mod judge;
mod log;
mod loose;
mod span;
mod sweep;

pub use judge::{Options, check};
