//! Locks with fencing tokens, and without.
//!
//! Rule: the token of each new holder is higher than that of every holder who had his before it
//! was asked for, and no two sessions get the same. The resource takes no token after it took a
//! higher one, and refuses none without having been shown a higher one. A token that is used was
//! handed out before.
//!
//! Uses without a token are the negative control: two of different sessions that the resource
//! took and that overlap are reported. A lock service cannot prevent them where a holder may be
//! paused; a run that pauses holders and does not see them has not tested anything.
//!
//! Sources: Kleppmann, How to do distributed locking (2016); Jepsen's etcd 3.4.3 analysis.

use std::collections::BTreeMap;

use super::report::Findings;
use super::verdict::Verdict;
use crate::history::{Action, Answer, Op, Outcome};

/// What is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether uses without a token are judged too.
    pub unfenced: bool,
}

impl Default for Options {
    /// All uses.
    fn default() -> Self {
        Self { unfenced: true }
    }
}

/// One answer that carries a token.
#[derive(Clone, Copy)]
struct Shown {
    at: usize,
    token: u64,
}

#[derive(Default)]
struct Lock<'a> {
    holders: Vec<(Shown, &'a str)>,
    accepted: Vec<Shown>,
    rejected: Vec<Shown>,
    /// Uses that may have reached the resource.
    tried: Vec<Shown>,
    unfenced: Vec<(usize, &'a str)>,
    /// Whether somebody may have got a token that no answer shows.
    unknown: bool,
}

/// Judges [`Action::Acquire`], [`Action::Use`] and [`Action::UseUnfenced`]. Without any use of
/// the resource that was answered the verdict is [`Verdict::Unknown`].
pub fn check(ops: &[Op], options: &Options) -> Verdict {
    let mut findings = Findings::new(ops);
    let mut judged = 0;
    for lock in gather(ops, options).values() {
        judged += lock.accepted.len() + lock.rejected.len() + lock.unfenced.len();
        lock.tokens_grow(ops, &mut findings);
        lock.handed_out(ops, &mut findings);
        lock.resource_keeps_order(ops, &mut findings);
        lock.refused_for_a_reason(ops, &mut findings);
        lock.no_overlap(ops, &mut findings);
    }
    findings.verdict(judged)
}

fn gather<'a>(ops: &'a [Op], options: &Options) -> BTreeMap<&'a str, Lock<'a>> {
    let mut locks: BTreeMap<&str, Lock<'_>> = BTreeMap::new();
    for (at, op) in ops.iter().enumerate() {
        match (&op.action, &op.outcome) {
            (
                Action::Acquire { key, session },
                Outcome::Done(Answer::Held { token: Some(token) }),
            ) => {
                let holder = (Shown { at, token: *token }, session.as_str());
                locks.entry(key).or_default().holders.push(holder);
            }
            (Action::Acquire { key, .. }, Outcome::Unknown { .. }) => {
                locks.entry(key).or_default().unknown = true;
            }
            (Action::Use { key, token }, outcome) => {
                let lock = locks.entry(key).or_default();
                let shown = Shown { at, token: *token };
                match outcome {
                    Outcome::Done(Answer::Taken { accepted: true }) => lock.accepted.push(shown),
                    Outcome::Done(_) => lock.rejected.push(shown),
                    Outcome::NotDone { .. } => continue,
                    Outcome::Unknown { .. } => {}
                }
                lock.tried.push(shown);
            }
            (
                Action::UseUnfenced { key, session },
                Outcome::Done(Answer::Taken { accepted: true }),
            ) if options.unfenced => locks.entry(key).or_default().unfenced.push((at, session)),
            _ => {}
        }
    }
    locks
}

impl Lock<'_> {
    fn tokens_grow(&self, ops: &[Op], findings: &mut Findings<'_>) {
        let mut owners: BTreeMap<u64, (usize, &str)> = BTreeMap::new();
        for (shown, session) in &self.holders {
            let (first, owner) = owners.entry(shown.token).or_insert((shown.at, session));
            if owner != session {
                let what = format!("two sessions hold the token {}", shown.token);
                findings.say(what, &[*first, shown.at]);
            }
        }
        let all: Vec<Shown> = self.holders.iter().map(|(shown, _)| *shown).collect();
        let sessions: BTreeMap<usize, &str> =
            self.holders.iter().map(|(shown, session)| (shown.at, *session)).collect();
        highest_before(ops, &all, &all, |high, shown| {
            let same = sessions[&high.at] == sessions[&shown.at] && high.token == shown.token;
            if high.token >= shown.token && !same {
                let what = format!("token {} came after token {}", shown.token, high.token);
                findings.say(what, &[high.at, shown.at]);
            }
        });
    }

    fn handed_out(&self, ops: &[Op], findings: &mut Findings<'_>) {
        if self.unknown {
            return;
        }
        let mut first: BTreeMap<u64, usize> = BTreeMap::new();
        for (shown, _) in &self.holders {
            let at = first.entry(shown.token).or_insert(shown.at);
            if ops[shown.at].called < ops[*at].called {
                *at = shown.at;
            }
        }
        for shown in &self.accepted {
            match first.get(&shown.token) {
                None => {
                    let what = format!("token {} is used, which nobody got", shown.token);
                    findings.say(what, &[shown.at]);
                }
                Some(&by) if ops[by].called > ops[shown.at].returned => {
                    let what = format!("token {} is used before it was asked for", shown.token);
                    findings.say(what, &[shown.at, by]);
                }
                Some(_) => {}
            }
        }
    }

    fn resource_keeps_order(&self, ops: &[Op], findings: &mut Findings<'_>) {
        highest_before(ops, &self.accepted, &self.accepted, |high, shown| {
            if high.token > shown.token {
                let what = format!(
                    "the resource took the stale token {} after {}",
                    shown.token, high.token
                );
                findings.say(what, &[high.at, shown.at]);
            }
        });
    }

    fn refused_for_a_reason(&self, ops: &[Op], findings: &mut Findings<'_>) {
        let mut tried: Vec<(u64, u64)> =
            self.tried.iter().map(|shown| (ops[shown.at].called, shown.token)).collect();
        tried.sort_unstable();
        let mut highest = 0;
        for (_, token) in &mut tried {
            highest = highest.max(*token);
            *token = highest;
        }
        for shown in &self.rejected {
            let before = tried.partition_point(|(called, _)| *called < ops[shown.at].returned);
            if before == 0 || tried[before - 1].1 <= shown.token {
                let what = format!(
                    "the resource refused the token {}, and had seen no higher one",
                    shown.token
                );
                findings.say(what, &[shown.at]);
            }
        }
    }

    fn no_overlap(&self, ops: &[Op], findings: &mut Findings<'_>) {
        let mut uses = self.unfenced.clone();
        uses.sort_by_key(|(at, _)| ops[*at].called);
        // The two sessions whose uses end last are all that a later use can overlap.
        let mut ends: Vec<(usize, &str)> = Vec::new();
        for (at, session) in uses {
            for (other, owner) in &ends {
                if *owner != session && ops[*other].returned > ops[at].called {
                    let what = "two sessions used the resource at once".to_owned();
                    findings.say(what, &[*other, at]);
                }
            }
            ends.push((at, session));
            ends.sort_by_key(|(at, _)| std::cmp::Reverse(ops[*at].returned));
            let mut seen: Vec<&str> = Vec::new();
            ends.retain(|(_, owner)| {
                !seen.contains(owner) && {
                    seen.push(owner);
                    true
                }
            });
            ends.truncate(2);
        }
    }
}

/// Calls `say` for each of `asked` with the highest token of those of `known` that had returned
/// when it was called.
fn highest_before(ops: &[Op], known: &[Shown], asked: &[Shown], mut say: impl FnMut(Shown, Shown)) {
    let mut known = known.to_vec();
    known.sort_by_key(|shown| ops[shown.at].returned);
    let mut asked = asked.to_vec();
    asked.sort_by_key(|shown| ops[shown.at].called);
    let mut past = known.into_iter().peekable();
    let mut highest: Option<Shown> = None;
    for shown in asked {
        while let Some(done) = past.next_if(|done| ops[done.at].returned < ops[shown.at].called) {
            if highest.is_none_or(|high| done.token > high.token) {
                highest = Some(done);
            }
        }
        if let Some(high) = highest {
            say(high, shown);
        }
    }
}
