//! Sessions and leases: they live as long as they are renewed, and not much longer.
//!
//! Rule: a session that its owner did not end is not found dead before its time to live has
//! passed since the call of each renewal that was acknowledged. It is not found alive later than
//! its time to live and a bound after anybody could last have renewed it. Who is dead stays
//! dead: no renewal, look or lock succeeds that was called after the end was known. And when
//! each session that can hold a lock is known to be gone for the bound, the lock is free.
//!
//! An unknown renewal counts as one at the time at which its client gave up; the bound has to
//! cover requests that take effect later than that.
//!
//! Sources: Gray & Cheriton, Leases (1989); Consul's page on sessions; Jepsen's etcd 3.4.3
//! analysis.

use std::collections::BTreeMap;

use super::report::Findings;
use super::verdict::Verdict;
use crate::history::{Action, Answer, Op, Outcome};

/// What is promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a session may outlive its time to live, and a lock its session (lock delay), in
    /// nanoseconds.
    pub bound: u64,
}

impl Default for Options {
    /// Two seconds.
    fn default() -> Self {
        Self { bound: 2_000_000_000 }
    }
}

#[derive(Default)]
struct Session {
    /// In nanoseconds; 0: its opening was not seen.
    ttl: u64,
    /// The opening and each acknowledged renewal.
    renewed: Vec<usize>,
    /// When it could last be renewed by what was called before a time: call, return.
    attempts: Vec<(u64, u64)>,
    alive: Vec<usize>,
    dead: Vec<usize>,
    ends: Vec<usize>,
    /// From when on it was surely gone, and who shows that.
    gone: Option<(u64, usize)>,
}

/// Judges sessions and the locks that they hold. Without any answer that shows whether a session
/// lives, the verdict is [`Verdict::Unknown`].
pub fn check(ops: &[Op], options: &Options) -> Verdict {
    let mut findings = Findings::new(ops);
    let mut sessions: BTreeMap<&str, Session> = BTreeMap::new();
    for (at, op) in ops.iter().enumerate() {
        enter(&mut sessions, at, op);
    }
    let mut judged = 0;
    for session in sessions.values_mut() {
        judged += session.alive.len() + session.dead.len();
        session.attempts.sort_unstable();
        let known = session.dead.iter().chain(session.ends.iter().filter(|&&at| done(&ops[at])));
        session.gone = known.map(|&at| (ops[at].returned, at)).min();
        session.not_early(ops, &mut findings);
        session.not_late(ops, options, &mut findings);
        session.stays_dead(ops, &mut findings);
    }
    locks(ops, &sessions, options, &mut findings);
    findings.verdict(judged)
}

fn done(op: &Op) -> bool {
    matches!(op.outcome, Outcome::Done(_))
}

fn enter<'a>(sessions: &mut BTreeMap<&'a str, Session>, at: usize, op: &'a Op) {
    match (&op.action, &op.outcome) {
        (Action::Open { ttl }, Outcome::Done(Answer::Opened { session })) => {
            let session = sessions.entry(session).or_default();
            session.ttl = ttl.saturating_mul(1_000_000);
            session.renewed.push(at);
            session.attempts.push((op.called, op.returned));
        }
        (Action::Renew { session }, outcome) => {
            let session = sessions.entry(session).or_default();
            match outcome {
                Outcome::Done(Answer::Alive { alive: true }) => {
                    session.renewed.push(at);
                    session.alive.push(at);
                    session.attempts.push((op.called, op.returned));
                }
                Outcome::Done(Answer::Alive { alive: false }) => session.dead.push(at),
                Outcome::Unknown { .. } => session.attempts.push((op.called, op.returned)),
                _ => {}
            }
        }
        (Action::Look { session }, Outcome::Done(Answer::Alive { alive })) => {
            let session = sessions.entry(session).or_default();
            if *alive { session.alive.push(at) } else { session.dead.push(at) }
        }
        (Action::End { session }, Outcome::Done(_) | Outcome::Unknown { .. }) => {
            sessions.entry(session).or_default().ends.push(at);
        }
        _ => {}
    }
}

impl Session {
    fn not_early(&self, ops: &[Op], findings: &mut Findings<'_>) {
        let Some(&last) = self.renewed.iter().max_by_key(|&&at| ops[at].called) else { return };
        let ended = self.ends.iter().map(|&at| ops[at].called).min().unwrap_or(u64::MAX);
        for &at in &self.dead {
            let lived = ops[at].returned.saturating_sub(ops[last].called);
            if lived < self.ttl && ended > ops[at].returned {
                let what = format!("a session of {} ns was dead after {lived} ns", self.ttl);
                findings.say(what, &[last, at]);
            }
        }
    }

    fn not_late(&self, ops: &[Op], options: &Options, findings: &mut Findings<'_>) {
        if self.ttl == 0 {
            return;
        }
        for &at in &self.alive {
            // A renewal that finds it alive is judged by those before it.
            let before = self.attempts.partition_point(|(called, _)| *called < ops[at].called);
            let last = self.attempts[..before].iter().map(|(_, returned)| *returned).max();
            let Some(last) = last else { continue };
            let lived = ops[at].called.saturating_sub(last);
            if lived > self.ttl.saturating_add(options.bound) {
                let what = format!("a session of {} ns lives {lived} ns later", self.ttl);
                findings.say(what, &[at]);
            }
        }
    }

    fn stays_dead(&self, ops: &[Op], findings: &mut Findings<'_>) {
        let Some((gone, by)) = self.gone else { return };
        for &at in self.alive.iter().filter(|&&at| ops[at].called > gone) {
            findings.say("a session lives that was gone before".to_owned(), &[by, at]);
        }
    }
}

/// Who asked for a lock and may have got it, and what of that surely ended.
#[derive(Default)]
struct Lock<'a> {
    /// Session, when it was asked for, when it was had (`u64::MAX`: unknown).
    takers: Vec<(&'a str, u64, u64)>,
    /// Session, when it was given back.
    given: Vec<(&'a str, u64, u64)>,
    denied: Vec<(&'a str, usize)>,
}

fn locks(
    ops: &[Op],
    sessions: &BTreeMap<&str, Session>,
    options: &Options,
    findings: &mut Findings<'_>,
) {
    let mut locks: BTreeMap<&str, Lock<'_>> = BTreeMap::new();
    for (at, op) in ops.iter().enumerate() {
        match (&op.action, &op.outcome) {
            (Action::Acquire { key, session }, Outcome::Done(Answer::Held { token })) => {
                let lock = locks.entry(key).or_default();
                if token.is_none() {
                    lock.denied.push((session, at));
                    continue;
                }
                lock.takers.push((session, op.called, op.returned));
                let gone = sessions.get(session.as_str()).and_then(|session| session.gone);
                if let Some((_, by)) = gone.filter(|(gone, _)| *gone < op.called) {
                    findings.say("a dead session got a lock".to_owned(), &[by, at]);
                }
            }
            (Action::Acquire { key, session }, Outcome::Unknown { .. }) => {
                locks.entry(key).or_default().takers.push((session, op.called, u64::MAX));
            }
            (Action::Release { key, session }, Outcome::Done(Answer::Written { .. })) => {
                locks.entry(key).or_default().given.push((session, op.called, op.returned));
            }
            _ => {}
        }
    }
    for lock in locks.values() {
        for (session, at) in &lock.denied {
            if !lock.may_be_held(ops, (session, *at), sessions, options) {
                findings.say("a lock was denied that nobody can hold".to_owned(), &[*at]);
            }
        }
    }
}

impl Lock<'_> {
    /// A lock was denied: somebody must have been able to hold it.
    fn may_be_held(
        &self,
        ops: &[Op],
        (session, at): (&str, usize),
        sessions: &BTreeMap<&str, Session>,
        options: &Options,
    ) -> bool {
        let op = &ops[at];
        let past = |time: u64| time.saturating_add(options.bound) < op.called;
        let dead = |name: &str| {
            let gone = sessions.get(name).and_then(|session| session.gone);
            gone.is_some_and(|(gone, _)| past(gone))
        };
        if dead(session) {
            return true;
        }
        let holds = |(taker, called, returned): &(&str, u64, u64)| {
            let given = self
                .given
                .iter()
                .any(|(giver, began, ended)| giver == taker && *began > *returned && past(*ended));
            *called < op.returned && !given && !dead(taker)
        };
        self.takers.iter().any(holds)
    }
}
