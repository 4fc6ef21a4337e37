//! The order of each list's versions, and what of it contradicts itself.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::report::Findings;
use crate::history::{Action, Answer, ListStep, Op, Outcome};

/// A transaction as its steps.
pub(super) struct Transaction<'a> {
    pub(super) op: usize,
    /// Key and element of each append, in their order.
    pub(super) appends: Vec<(&'a str, u64)>,
    /// Key and list of each read, without what the transaction itself had put there.
    pub(super) reads: Vec<(&'a str, &'a [u64])>,
    pub(super) done: bool,
    pub(super) never: bool,
    pub(super) revision: Option<u64>,
}

/// All operations on lists as transactions; a read of which nothing is known has no steps.
pub(super) fn transactions<'a>(ops: &'a [Op], findings: &mut Findings<'_>) -> Vec<Transaction<'a>> {
    let mut all = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        let mut one = Transaction {
            op: at,
            appends: Vec::new(),
            reads: Vec::new(),
            done: matches!(&op.outcome, Outcome::Done(answer) if !refused(answer)),
            never: match &op.outcome {
                Outcome::Done(answer) => refused(answer),
                Outcome::NotDone { .. } => true,
                Outcome::Unknown { .. } => false,
            },
            revision: None,
        };
        match (&op.action, &op.outcome) {
            (Action::Append { key, element }, outcome) => {
                one.appends.push((key, *element));
                if let Outcome::Done(Answer::Written { revision }) = outcome {
                    one.revision = *revision;
                }
            }
            (Action::List { key, .. }, Outcome::Done(Answer::Elements { elements, .. })) => {
                one.reads.push((key, elements));
            }
            (Action::Lists { steps }, outcome) => {
                let seen = match outcome {
                    Outcome::Done(Answer::Lists { reads, revision }) => {
                        one.revision = *revision;
                        reads.as_slice()
                    }
                    _ => &[],
                };
                if let Err(what) = one.walk(steps, seen) {
                    findings.say(what, &[at]);
                }
            }
            _ => continue,
        }
        all.push(one);
    }
    all
}

fn refused(answer: &Answer) -> bool {
    matches!(answer, Answer::Refused { .. })
}

impl<'a> Transaction<'a> {
    /// Takes the steps apart. A read sees at its end what the transaction itself appended.
    fn walk(&mut self, steps: &'a [ListStep], seen: &'a [Vec<u64>]) -> Result<(), String> {
        let mut seen = seen.iter();
        for step in steps {
            match step {
                ListStep::Append { key, element } => self.appends.push((key, *element)),
                ListStep::Read { key } => {
                    let Some(list) = seen.next() else { continue };
                    let own = self.appends.iter().filter(|(to, _)| to == key);
                    let own: Vec<u64> = own.map(|(_, element)| *element).collect();
                    let Some(list) = list.strip_suffix(own.as_slice()) else {
                        return Err(format!("a transaction does not see its appends to {key}"));
                    };
                    self.reads.push((key, list));
                }
            }
        }
        Ok(())
    }
}

/// Where an element comes from.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) key: &'a str,
    /// Place of its transaction.
    pub(super) by: usize,
    /// The next element that the same transaction put at the same key.
    pub(super) then: Option<u64>,
}

/// The longest list of each key, and where each element comes from.
pub(super) struct Versions<'a> {
    pub(super) longest: BTreeMap<&'a str, &'a [u64]>,
    pub(super) origins: HashMap<u64, Origin<'a>>,
}

impl<'a> Versions<'a> {
    /// Finds the orders, and says where lists contradict each other or what was appended.
    pub(super) fn new(all: &[Transaction<'a>], findings: &mut Findings<'_>) -> Self {
        let origins = origins(all, findings);
        let mut longest: BTreeMap<&str, (&[u64], usize)> = BTreeMap::new();
        for one in all {
            for (key, list) in &one.reads {
                let most = longest.entry(key).or_insert((list, one.op));
                if list.len() > most.0.len() {
                    *most = (list, one.op);
                }
            }
        }
        for one in all {
            for (key, list) in &one.reads {
                let (most, by) = longest[key];
                if !most.starts_with(list) {
                    let what = format!("two lists of {key} have another order");
                    findings.say(what, &[by, one.op]);
                }
            }
        }
        let versions =
            Self { longest: longest.iter().map(|(key, most)| (*key, most.0)).collect(), origins };
        for (key, (list, by)) in &longest {
            versions.elements(all, (key, list), *by, findings);
        }
        for one in all {
            versions.whole(all, one, findings);
        }
        versions
    }

    /// Each element is there once, was appended there, and in the order of the revisions.
    fn elements(
        &self,
        all: &[Transaction<'_>],
        (key, list): (&str, &[u64]),
        at: usize,
        findings: &mut Findings<'_>,
    ) {
        let mut seen = HashSet::new();
        let mut last: Option<(u64, usize)> = None;
        for element in list {
            if !seen.insert(*element) {
                findings.say(format!("{element} is in the list of {key} twice"), &[at]);
            }
            let Some(origin) = self.origins.get(element).filter(|origin| origin.key == key) else {
                let what = format!("the list of {key} shows {element}, which nobody put there");
                findings.say(what, &[at]);
                continue;
            };
            let by = &all[origin.by];
            if by.never {
                let what = format!("G1a: {element} is shown, but surely was not appended");
                findings.say(what, &[by.op, at]);
            }
            let Some(revision) = by.revision else { continue };
            if let Some((before, other)) = last
                && (revision < before || (revision == before && other != by.op))
            {
                let what =
                    format!("the list of {key} shows revision {revision} behind revision {before}");
                findings.say(what, &[other, by.op, at]);
            }
            last = Some((revision, by.op));
        }
    }

    /// G1b: a list does not end between two elements of one transaction.
    fn whole(&self, all: &[Transaction<'_>], one: &Transaction<'_>, findings: &mut Findings<'_>) {
        for (key, list) in &one.reads {
            let Some(origin) = list.last().and_then(|last| self.origins.get(last)) else {
                continue;
            };
            if let Some(then) = origin.then
                && all[origin.by].op != one.op
            {
                let what = format!("G1b: a list of {key} lacks {then}, which came with its last");
                findings.say(what, &[all[origin.by].op, one.op]);
            }
        }
    }
}

fn origins<'a>(all: &[Transaction<'a>], findings: &mut Findings<'_>) -> HashMap<u64, Origin<'a>> {
    let mut origins: HashMap<u64, Origin<'a>> = HashMap::new();
    for (by, one) in all.iter().enumerate() {
        for (place, (key, element)) in one.appends.iter().enumerate() {
            let mut later = one.appends[place + 1..].iter().filter(|(other, _)| other == key);
            let then = later.next().map(|(_, element)| *element);
            if let Some(other) = origins.insert(*element, Origin { key, by, then }) {
                let what = format!("the history is not usable: {element} is appended twice");
                findings.say(what, &[all[other.by].op, one.op]);
            }
        }
    }
    origins
}
