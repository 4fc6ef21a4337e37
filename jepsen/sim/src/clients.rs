//! The clients: each does one thing after another until the storm is over.

use std::time::Duration;

use portolan_jepsen::history::{Action, Answer, Condition, Level, Op, Outcome, Write};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::act;
use crate::arena::{Arena, Door};
use crate::plan::{Plan, Work};

/// Keys that the clients share; few, so that they meet.
const KEYS: u64 = 5;
const LOCKS: u64 = 2;
/// Between two operations, at most.
const THINKING: Duration = Duration::from_millis(80);
/// After one that was not done.
const REST: Duration = Duration::from_millis(200);

/// One client.
pub(crate) struct Client {
    arena: Arena,
    plan: Plan,
    rng: StdRng,
    number: u32,
    /// The session that this client renews, and the lock that it holds.
    session: Option<String>,
    held: Option<(String, u64)>,
    /// Revisions that were seen of keys, to write under a condition and to watch from.
    seen: Vec<u64>,
}

impl Client {
    pub(crate) fn new(arena: Arena, plan: &Plan, place: u32) -> Self {
        let rng = StdRng::seed_from_u64(plan.seed ^ (u64::from(place) + 1) << 32);
        let seen = vec![0; usize::try_from(KEYS).expect("few")];
        let number = arena.client();
        Self { arena, plan: plan.clone(), rng, number, session: None, held: None, seen }
    }

    /// Works until the storm is over.
    pub(crate) async fn run(mut self) {
        while !self.arena.is_calm() {
            let pause = THINKING.mul_f64(self.rng.random_range(0.0..1.0));
            tokio::time::sleep(pause).await;
            let action = self.next();
            let outcome = self.ask(action.clone()).await;
            self.learn(&action, &outcome);
            if !matches!(outcome, Outcome::Done(_)) {
                tokio::time::sleep(REST).await;
            }
        }
    }

    /// Asks a server that runs, whichever, and keeps what came of it.
    async fn ask(&mut self, action: Action) -> Outcome {
        let doors = self.arena.doors();
        if doors.is_empty() {
            return Outcome::NotDone { why: "no server runs".to_owned() };
        }
        let (node, door) = doors[self.rng.random_range(0..doors.len())].clone();
        ask(&self.arena, (node, door), &mut self.number, action).await
    }

    fn next(&mut self) -> Action {
        let work = self.plan.work[self.rng.random_range(0..self.plan.work.len())];
        match work {
            Work::Keys => self.keys(),
            Work::Locks => self.locks(),
            Work::Watches => {
                let key = self.rng.random_range(0..KEYS);
                let after = self.seen[usize::try_from(key).expect("few")];
                Action::Watch { key: name(key), after }
            }
            Work::Lists => {
                let key = format!("list/{}", self.rng.random_range(0..2_u64));
                match self.rng.random_range(0..2) {
                    0 => Action::Append { key, element: self.arena.value() },
                    _ => Action::List { key, level: Level::Default },
                }
            }
        }
    }

    fn keys(&mut self) -> Action {
        let number = self.rng.random_range(0..KEYS);
        let (key, value) = (name(number), Some(self.arena.value()));
        let seen = self.seen[usize::try_from(number).expect("few")];
        let write = |value, condition| Action::Write(Write { key: key.clone(), value, condition });
        match self.rng.random_range(0..10) {
            0..3 => write(value, Condition::Always),
            3 => write(value, Condition::Absent),
            4 if seen > 0 => write(value, Condition::Unchanged(seen)),
            5 => write(None, Condition::Always),
            6 => Action::Scan { prefix: "key/".to_owned(), level: Level::Default },
            7 => Action::Read { key, level: Level::Stale },
            _ => Action::Read { key, level: Level::Default },
        }
    }

    fn locks(&mut self) -> Action {
        let Some(session) = self.session.clone() else {
            let ttl = u64::try_from(self.plan.session_ttl.as_millis()).expect("seconds");
            return Action::Open { ttl };
        };
        let roll = self.rng.random_range(0..10);
        match self.held.clone() {
            Some((key, token)) if roll < 6 => Action::Use { key, token },
            Some((key, _)) if roll == 6 => Action::Release { key, session },
            None if roll < 5 => {
                let key = format!("lock/{}", self.rng.random_range(0..LOCKS));
                Action::Acquire { key, session }
            }
            _ if roll == 7 => Action::Look { session },
            _ if roll == 8 && self.rng.random_range(0..5) == 0 => Action::End { session },
            _ => Action::Renew { session },
        }
    }

    fn learn(&mut self, action: &Action, outcome: &Outcome) {
        let Outcome::Done(answer) = outcome else {
            // A lock whose fate is unknown may be held: the session is given up with it.
            if let (Action::Acquire { .. } | Action::Release { .. }, Outcome::Unknown { .. }) =
                (action, outcome)
            {
                (self.session, self.held) = (None, None);
            }
            return;
        };
        match (action, answer) {
            (
                Action::Read { key, .. } | Action::Watch { key, .. },
                Answer::Value { revision, .. },
            ) => {
                self.saw(key, *revision);
            }
            (Action::Write(write), Answer::Written { revision: Some(revision) }) => {
                self.saw(&write.key, *revision);
            }
            (Action::Open { .. }, Answer::Opened { session }) => {
                self.session = Some(session.clone());
            }
            (Action::Renew { .. } | Action::Look { .. }, Answer::Alive { alive: false })
            | (Action::End { .. }, _) => (self.session, self.held) = (None, None),
            (Action::Acquire { key, .. }, Answer::Held { token: Some(token) }) => {
                self.held = Some((key.clone(), *token));
            }
            (Action::Release { .. }, _)
            | (Action::Use { .. }, Answer::Taken { accepted: false }) => {
                self.held = None;
            }
            _ => {}
        }
    }

    fn saw(&mut self, key: &str, revision: u64) {
        let number = key.strip_prefix("key/").and_then(|number| number.parse::<usize>().ok());
        if let Some(seen) = number.and_then(|number| self.seen.get_mut(number)) {
            *seen = revision;
        }
    }
}

/// Asks one server, and keeps the operation. A client whose operation may yet take effect goes on
/// under another number.
pub(crate) async fn ask(
    arena: &Arena,
    (node, (replica, mut life)): (u64, Door),
    client: &mut u32,
    action: Action,
) -> Outcome {
    let called = arena.now();
    let ended = || Outcome::Unknown { why: "the server has ended".to_owned() };
    let outcome = if let Action::Use { key, token } = &action {
        Outcome::Done(Answer::Taken { accepted: arena.use_resource(key, *token) })
    } else {
        tokio::select! {
            biased;
            _ = life.changed() => act::settled(&action, ended()),
            outcome = act::act(&replica, &action) => outcome,
        }
    };
    let (returned, node) = (arena.now(), u32::try_from(node - 1).expect("few servers"));
    let op = Op { client: *client, node, called, returned, action, outcome: outcome.clone() };
    arena.record(op);
    if matches!(outcome, Outcome::Unknown { .. }) {
        *client = arena.client();
    }
    outcome
}

/// The name of a shared key.
pub(crate) fn name(key: u64) -> String {
    format!("key/{key}")
}
