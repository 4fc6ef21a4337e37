//! The world of a simulation: one process, one thread, virtual time. What nodes do to disk and
//! network ends here, and what would be threads are tasks.
//!
//! Never: a clock, or randomness that the world's seed did not give.
//!
//! Why: the same code runs as in production; only its ground is another one, and forgets or cuts
//! what a seed says. A world is the process's, because a seed has a process of its own: nothing of
//! one run can reach the next.

mod disk;
mod net;
mod witness;
mod world;

pub(crate) use disk::DiskFile;
pub use disk::{Disk, DiskFaults};
pub use net::{Lane, Listener, Net};
pub(crate) use witness::Seen;
pub use witness::{Applied, Witness};
pub use world::{World, begin, is_on, world};
pub(crate) use world::{dial, disk_file, disk_time};
