//! One client at work: it does an action, and what it learned goes into the history.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep, sleep_until};

use crate::clients::Client;
use crate::history::{Action, Answer, Level, Op, Outcome};

use super::resource::Resource;

/// A pause after something was not done, or perhaps, so that a node that is away is not hammered.
const REST: Duration = Duration::from_millis(50);
/// How long reading everything at the end may take before it counts as an outage.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all clients of a run share.
#[derive(Debug)]
pub struct Common {
    began: Instant,
    seed: u64,
    /// How fresh the reads of a workload are that has a choice.
    pub(crate) level: Level,
    pub(crate) resource: Resource,
    stopped: AtomicBool,
    numbers: AtomicU32,
    values: AtomicU64,
    ports: AtomicU16,
}

impl Common {
    /// A run that begins now.
    pub fn new(seed: u64, level: Level) -> Self {
        Self {
            began: Instant::now(),
            seed,
            level,
            resource: Resource::default(),
            stopped: AtomicBool::new(false),
            numbers: AtomicU32::new(0),
            values: AtomicU64::new(0),
            ports: AtomicU16::new(0),
        }
    }

    /// Nanoseconds since the run began.
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The clients finish what they do, and stop.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    pub(crate) fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    /// A value that was not written before, from 1.
    pub(crate) fn value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A port that no registration had before, from 1; none once all are used.
    pub(crate) fn port(&self) -> Option<u16> {
        let step = |last: u16| last.checked_add(1);
        let taken = self.ports.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
        taken.ok().map(|last| last + 1)
    }

    fn number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }
}

/// A client with its number, its randomness and its part of the history.
pub struct Driver {
    client: Box<dyn Client>,
    node: u32,
    number: u32,
    pub(crate) common: Arc<Common>,
    pub(crate) rng: StdRng,
    ops: Vec<Op>,
    /// The time between two of its operations; none: as fast as it can.
    pace: Option<Duration>,
    next: Instant,
}

impl Driver {
    /// A client of node `node`, the `place`-th of the run; `pace` is the time between two of its
    /// operations.
    pub fn new(
        client: Box<dyn Client>,
        node: u32,
        place: u64,
        common: &Arc<Common>,
        pace: Option<Duration>,
    ) -> Self {
        // Which number it is makes another stream of the run's one seed.
        let rng = StdRng::seed_from_u64(common.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place);
        Self {
            client,
            node,
            number: common.number(),
            common: Arc::clone(common),
            rng,
            ops: Vec::new(),
            pace,
            next: Instant::now(),
        }
    }

    /// Does this, and notes what was learned.
    pub(crate) async fn act(&mut self, action: Action) -> Outcome {
        self.keep_pace().await;
        let called = self.common.now();
        let outcome = self.client.act(&action).await;
        self.note((called, self.common.now()), action, outcome.clone());
        match &outcome {
            Outcome::Done(_) => {}
            Outcome::NotDone { .. } => sleep(REST).await,
            // What was asked for may yet happen, so this client is never heard of again.
            Outcome::Unknown { .. } => {
                self.number = self.common.number();
                sleep(REST).await;
            }
        }
        outcome
    }

    /// Does this, and gives the answer if it was done.
    pub(crate) async fn answer(&mut self, action: Action) -> Option<Answer> {
        match self.act(action).await {
            Outcome::Done(answer) => Some(answer),
            Outcome::NotDone { .. } | Outcome::Unknown { .. } => None,
        }
    }

    /// Does this until it is done, for what reads only; none if the node does not serve for half
    /// a minute.
    pub(crate) async fn insist(&mut self, action: &Action) -> Option<Answer> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(answer) = self.answer(action.clone()).await {
                return Some(answer);
            }
        }
        None
    }

    /// Uses what is behind a lock, with a token: the test's own resource, which is no part of the
    /// system, takes it or not.
    pub(crate) fn use_once(&mut self, action: Action) {
        let common = Arc::clone(&self.common);
        let (called, accepted, returned) = common.resource.used(&action, || common.now());
        self.note((called, returned), action, Outcome::Done(Answer::Taken { accepted }));
    }

    /// Notes a use that began then and ends now, and that nobody looked at.
    pub(crate) fn use_since(&mut self, began: u64, action: Action) {
        let times = (began, self.common.now());
        self.note(times, action, Outcome::Done(Answer::Taken { accepted: true }));
    }

    /// How fresh reads are to be.
    pub(crate) fn level(&self) -> Level {
        self.common.level
    }

    /// Whether something happens that does in so many of a hundred cases.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// A number below this.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.rng.random_range(0..bound)
    }

    /// Its part of the history.
    pub fn into_ops(self) -> Vec<Op> {
        self.ops
    }

    fn note(&mut self, (called, returned): (u64, u64), action: Action, outcome: Outcome) {
        let (client, node) = (self.number, self.node);
        self.ops.push(Op { client, node, called, returned, action, outcome });
    }

    /// Waits until the next operation is due. What was late is not made up for in a burst.
    async fn keep_pace(&mut self) {
        let Some(pace) = self.pace else { return };
        sleep_until(self.next).await;
        let share = self.rng.random_range(50..150);
        self.next = self.next.max(Instant::now()) + pace * share / 100;
    }
}
