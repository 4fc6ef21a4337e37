//! Lists, transactions over lists and sets: a store that keeps its promises, and what breaks them.

use std::collections::BTreeMap;

use portolan_jepsen::checkers::{append, set};
use portolan_jepsen::history::{Action, Answer, Level, ListStep, Op, Outcome};

use crate::dice::Dice;
use crate::plan::{Fate, plan};
use crate::{accepted, rejected};

/// `wide`: transactions of up to four steps, else single appends and lists.
fn history(seed: u64, wide: bool) -> Vec<Op> {
    let mut dice = Dice::new(seed);
    let mut lists: BTreeMap<String, (u64, Vec<u64>)> = BTreeMap::new();
    let (mut revision, mut element) = (10, 0);
    let mut ops = Vec::new();
    for slot in plan(&mut dice, 150, 5, (4, 4)) {
        let count = if wide { 1 + dice.below(4) } else { 1 };
        let steps: Vec<ListStep> = (0..count)
            .map(|_| {
                let key = format!("l/{}", dice.below(3));
                element += 1;
                if dice.percent(50) {
                    ListStep::Append { key, element }
                } else {
                    ListStep::Read { key }
                }
            })
            .collect();
        let happens = matches!(slot.fate, Fate::Done | Fate::Late);
        let before = lists.clone();
        let mut reads = Vec::new();
        revision += 1;
        for step in &steps {
            match step {
                ListStep::Append { key, element } => {
                    let list = lists.entry(key.clone()).or_default();
                    list.0 = revision;
                    list.1.push(*element);
                }
                ListStep::Read { key } => reads.push(lists.get(key).cloned().unwrap_or_default()),
            }
        }
        if !happens {
            lists = before;
        }
        let (action, answer) = match (&steps[0], wide) {
            (ListStep::Append { key, element }, false) => (
                Action::Append { key: key.clone(), element: *element },
                Answer::Written { revision: Some(revision) },
            ),
            (ListStep::Read { key }, false) => {
                let (revision, elements) = reads.remove(0);
                let level = Level::Default;
                (Action::List { key: key.clone(), level }, Answer::Elements { elements, revision })
            }
            (_, true) => {
                let reads = reads.into_iter().map(|(_, list)| list).collect();
                (Action::Lists { steps }, Answer::Lists { reads, revision: Some(revision) })
            }
        };
        let outcome = match slot.fate {
            Fate::Done => Outcome::Done(answer),
            Fate::NotDone => Outcome::NotDone { why: "no leader".to_owned() },
            Fate::Late | Fate::Never => Outcome::Unknown { why: "timeout".to_owned() },
        };
        let (client, called, returned) = (slot.client, slot.called, slot.returned);
        ops.push(Op { client, node: 0, called, returned, action, outcome });
    }
    ops
}

/// The places of lists of at least two elements.
fn long(ops: &[Op]) -> Vec<usize> {
    let is_long = |op: &Op| match &op.outcome {
        Outcome::Done(Answer::Elements { elements, .. }) => elements.len() >= 2,
        _ => false,
    };
    (0..ops.len()).filter(|&at| is_long(&ops[at])).collect()
}

fn elements(op: &mut Op) -> &mut Vec<u64> {
    match &mut op.outcome {
        Outcome::Done(Answer::Elements { elements, .. }) => elements,
        other => unreachable!("not a list: {other:?}"),
    }
}

#[test]
fn valid_lists_pass() {
    for seed in 0..300 {
        for wide in [false, true] {
            let ops = history(seed, wide);
            accepted(&append::check(&ops, &append::Options::default()), &format!("{wide} {seed}"));
        }
        let ops = history(seed, false);
        accepted(&set::check(&ops, &set::Options::default()), &format!("set {seed}"));
    }
}

/// An element of a list is doubled, foreign or in another place, or all are lost.
#[test]
fn broken_lists_fail() {
    let mut count = 0;
    for seed in 0..200 {
        for kind in 1..5 {
            let mut ops = history(seed, false);
            let mut dice = Dice::new(seed);
            let Some(&at) = dice.pick(&long(&ops)) else { continue };
            let list = elements(&mut ops[at]);
            let last = list.len() - 1;
            match kind {
                1 => list.push(list[0]),
                2 => list.push(1 << 40),
                3 => list.swap(0, last),
                _ => list.clear(),
            }
            let told = format!("kind {kind}, seed {seed}");
            let called = ops[at].called;
            let Action::List { key, .. } = ops[at].action.clone() else { continue };
            let acked = |op: &Op| {
                let same = matches!(&op.action, Action::Append { key: other, .. } if *other == key);
                same && matches!(op.outcome, Outcome::Done(_)) && op.returned < called
            };
            // A list that is too short only breaks a promise where something was acknowledged.
            if kind == 4 && !ops.iter().any(acked) {
                continue;
            }
            if kind != 3 {
                rejected(&set::check(&ops, &set::Options::default()), &format!("set {told}"));
            }
            rejected(&append::check(&ops, &append::Options::default()), &told);
            count += 1;
        }
    }
    println!("lists: {count} broken histories rejected");
    assert!(count > 400);
}
