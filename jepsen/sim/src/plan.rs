//! What a seed does: which faults, which limits, how many servers and clients. Each seed turns on
//! a part of all that there is (swarm testing: Groce et al., "Swarm Testing", 2012), because what
//! is always on hides what would show without it.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;

/// One run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Servers that begin the cluster.
    pub(crate) servers: u64,
    /// Servers that join later, one after another.
    pub(crate) joiners: u64,
    pub(crate) clients: u32,
    /// Time with faults.
    pub(crate) storm: Duration,
    /// Entries between two snapshots, and entries kept behind one.
    pub(crate) snapshot_every: u64,
    pub(crate) keep_behind: u64,
    /// The longest that a disk takes for a group.
    pub(crate) slow_disk: Duration,
    /// Of a thousand pieces on the network so many are late.
    pub(crate) stalls: u32,
    pub(crate) latency: Duration,
    /// Between two faults, at most.
    pub(crate) pause: Duration,
    pub(crate) faults: Vec<Fault>,
    pub(crate) work: Vec<Work>,
    pub(crate) session_ttl: Duration,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// Links between servers are cut, in one or both directions.
    Cut,
    /// A server's process ends; what it wrote stays.
    Kill,
    /// A server loses its power: what it had not synced may be gone.
    Power,
    /// All servers lose their power at once.
    Blackout,
    /// A disk is slow for a while.
    SlowDisk,
    /// A disk fails at a sync or a write: the server stops, and is started again.
    BadDisk,
    /// Leadership is handed over.
    Transfer,
    /// A server is taken out of the membership by an operator, and comes back by itself.
    Remove,
    /// One server hears of the leader no more; then the leader is cut off, and all but that one are
    /// killed and start again at once: what they had promised the leader they have forgotten,
    /// unless they keep it on their disks.
    Usurp,
}

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    Keys,
    Locks,
    Watches,
    Lists,
}

const FAULTS: [Fault; 8] = [
    Fault::Cut,
    Fault::Kill,
    Fault::Power,
    Fault::Blackout,
    Fault::SlowDisk,
    Fault::BadDisk,
    Fault::Transfer,
    Fault::Remove,
];
const WORK: [Work; 4] = [Work::Keys, Work::Locks, Work::Watches, Work::Lists];

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed);
        let millis =
            |rng: &mut StdRng, most: u64| Duration::from_millis(rng.random_range(0..=most));
        let mut faults = some(rng, &FAULTS);
        if faults.is_empty() {
            faults.push(FAULTS[rng.random_range(0..FAULTS.len())]);
        }
        let mut work = some(rng, &WORK);
        if work.is_empty() {
            work.push(Work::Keys);
        }
        let mut plan = Self {
            seed,
            servers: [1, 3, 3, 3, 3, 5, 5][rng.random_range(0..7)],
            joiners: [0, 0, 0, 1, 2][rng.random_range(0..5)],
            clients: rng.random_range(2..=8),
            storm: Duration::from_secs(rng.random_range(10..=40)),
            snapshot_every: [10, 20, 50, 200, 100_000][rng.random_range(0..5)],
            keep_behind: [0, 1, 10, 100][rng.random_range(0..4)],
            slow_disk: [Duration::ZERO, millis(rng, 5), millis(rng, 60)][rng.random_range(0..3)],
            stalls: [0, 0, 5, 50][rng.random_range(0..4)],
            latency: [Duration::from_micros(100), millis(rng, 3), millis(rng, 25)]
                [rng.random_range(0..3)],
            pause: Duration::from_millis(rng.random_range(200..=6_000)),
            faults,
            work,
            session_ttl: Duration::from_secs(rng.random_range(2..=10)),
        };
        // Chosen last, because whatever is chosen earlier moves all that comes after it.
        plan.faults.extend(some(rng, &[Fault::Usurp]));
        plan
    }
}

/// Each of them with even odds.
fn some<T: Copy>(rng: &mut StdRng, all: &[T]) -> Vec<T> {
    all.iter().copied().filter(|_| rng.random_range(0..2) == 0).collect()
}
