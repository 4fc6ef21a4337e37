//! Who breaks what and when: a plan that follows from a seed, and the runner that carries it out.
//!
//! A plan is data and says everything but who leads at the moment of a fault. The runner knows no
//! system: it breaks a [`Cluster`], writes down what it did and whether that took effect, and
//! mends everything at the end. A run whose faults did not happen has failed, whatever the
//! checkers say.

mod cluster;
mod fault;
mod journal;
mod plan;
mod run;
mod shape;

pub use cluster::{Cluster, Effect, NotDone};
pub use fault::{Admin, Binary, Fault, Kind, Target};
pub use journal::{Entry, Report, Tally};
pub use plan::{Pace, Plan, Planned};
pub use run::run;
pub use shape::Shape;
