//! Elements that were acknowledged are there, and no others: the order does not matter.
//!
//! Rule: a list at a linearizable level shows each element whose append was acknowledged before
//! the list was called, and each that any list had shown which returned before. No list, not
//! even a stale one, shows an element twice, one that nobody appended, one whose append surely
//! did not happen, or one whose append was called only after the list returned.
//!
//! Source: the `set` workload of the Jepsen analyses (etcd, Consul, CockroachDB).

use std::collections::{BTreeMap, HashMap, HashSet};

use super::report::Findings;
use super::verdict::Verdict;
use crate::history::{Action, Answer, Level, Op, Outcome};

/// What is promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Levels whose lists must show everything that was acknowledged.
    pub linearizable: Vec<Level>,
}

impl Default for Options {
    /// Default and strong reads.
    fn default() -> Self {
        Self { linearizable: vec![Level::Default, Level::Strong] }
    }
}

/// Judges [`Action::Append`] and [`Action::List`]. Without any list that must be complete the
/// verdict is [`Verdict::Unknown`].
pub fn check(ops: &[Op], options: &Options) -> Verdict {
    let mut findings = Findings::new(ops);
    let mut appends: HashMap<u64, usize> = HashMap::new();
    let mut keys: BTreeMap<&str, Key> = BTreeMap::new();
    for (at, op) in ops.iter().enumerate() {
        match (&op.action, &op.outcome) {
            (Action::Append { key, element }, outcome) => {
                if let Some(other) = appends.insert(*element, at) {
                    let what = format!("the history is not usable: {element} is appended twice");
                    findings.say(what, &[other, at]);
                }
                if let Outcome::Done(Answer::Written { .. }) = outcome {
                    keys.entry(key).or_default().known.push((op.returned, *element, at));
                }
            }
            (Action::List { key, .. }, Outcome::Done(Answer::Elements { .. })) => {
                keys.entry(key).or_default().lists.push(at);
            }
            _ => {}
        }
    }
    let mut judged = 0;
    for (name, mut key) in keys {
        for &at in &key.lists {
            no_phantom(ops, name, at, &appends, &mut findings);
        }
        key.learn(ops);
        for &at in &key.lists {
            let Action::List { level, .. } = &ops[at].action else { continue };
            if options.linearizable.contains(level) {
                judged += 1;
                key.complete(ops, at, &mut findings);
            }
        }
    }
    findings.verdict(judged)
}

#[derive(Default)]
struct Key {
    /// Since when an element was known, and who shows that; by time.
    known: Vec<(u64, u64, usize)>,
    lists: Vec<usize>,
}

impl Key {
    /// What a list shows is known when it returns. The first that shows an element counts.
    fn learn(&mut self, ops: &[Op]) {
        let mut by_return = self.lists.clone();
        by_return.sort_by_key(|&at| ops[at].returned);
        let mut shown = HashSet::new();
        for at in by_return {
            for element in elements(&ops[at]) {
                if shown.insert(*element) {
                    self.known.push((ops[at].returned, *element, at));
                }
            }
        }
        self.known.sort_unstable();
    }

    fn complete(&self, ops: &[Op], at: usize, findings: &mut Findings<'_>) {
        let shown: HashSet<u64> = elements(&ops[at]).iter().copied().collect();
        let before = self.known.partition_point(|(time, ..)| *time < ops[at].called);
        let mut missing = self.known[..before].iter().filter(|(_, it, _)| !shown.contains(it));
        if let Some((_, element, by)) = missing.next() {
            let more = missing.count();
            let what = format!("a list lacks {element}, which was there before, and {more} more");
            findings.say(what, &[*by, at]);
        }
    }
}

fn elements(op: &Op) -> &[u64] {
    match &op.outcome {
        Outcome::Done(Answer::Elements { elements, .. }) => elements,
        _ => &[],
    }
}

fn no_phantom(
    ops: &[Op],
    name: &str,
    at: usize,
    appends: &HashMap<u64, usize>,
    findings: &mut Findings<'_>,
) {
    let mut shown = HashSet::new();
    for element in elements(&ops[at]) {
        let Some(&by) = appends.get(element) else {
            findings.say(format!("a list shows {element}, which nobody appended"), &[at]);
            continue;
        };
        let wrong = match (&ops[by].action, &ops[by].outcome) {
            (Action::Append { key, .. }, _) if key != name => "was appended to another key",
            (_, Outcome::NotDone { .. } | Outcome::Done(Answer::Refused { .. })) => {
                "surely was not appended"
            }
            _ if ops[by].called > ops[at].returned => "was appended only later",
            _ if !shown.insert(*element) => "is there twice",
            _ => continue,
        };
        findings.say(format!("a list shows {element}, which {wrong}"), &[by, at]);
    }
}
