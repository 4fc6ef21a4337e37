//! Ways to break a key-value history, each so that a promise is surely broken.

use portolan_jepsen::history::{Action, Answer, Condition, Level, Op, Outcome, Write};

use crate::dice::Dice;

/// An acknowledged write of one value that told its revision.
#[derive(Clone, Debug)]
struct Acked {
    at: usize,
    key: String,
    value: Option<u64>,
    revision: u64,
    called: u64,
    returned: u64,
}

fn acked(ops: &[Op]) -> Vec<Acked> {
    let mut all = Vec::new();
    for (at, op) in ops.iter().enumerate() {
        let Outcome::Done(Answer::Written { revision: Some(revision) }) = &op.outcome else {
            continue;
        };
        let (revision, called, returned) = (*revision, op.called, op.returned);
        let one = |write: &Write| {
            let (key, value) = (write.key.clone(), write.value);
            Acked { at, key, value, revision, called, returned }
        };
        match &op.action {
            Action::Write(write) => all.push(one(write)),
            Action::Transaction { writes } => all.extend(writes.iter().map(one)),
            _ => {}
        }
    }
    all
}

/// A read by a client of its own, put into the history.
fn read(ops: &mut Vec<Op>, called: u64, key: &str, shown: Option<(u64, u64)>) {
    let action = Action::Read { key: key.to_owned(), level: Level::Default };
    let (value, revision) = (shown.map(|(value, _)| value), shown.map_or(0, |(_, at)| at));
    let outcome = Outcome::Done(Answer::Value { value, revision, store: None });
    ops.push(Op { client: 9_999, node: 0, called, returned: called + 1, action, outcome });
}

/// Two acknowledged writes of a key, the first the older one, the second acknowledged.
fn pair(ops: &[Op], dice: &mut Dice) -> Option<(Acked, Acked)> {
    let all = acked(ops);
    let new = dice.pick(&all)?.clone();
    let older = all
        .iter()
        .filter(|old| old.key == new.key && old.value.is_some() && old.revision < new.revision);
    let old = dice.pick(&older.cloned().collect::<Vec<_>>())?.clone();
    Some((old, new))
}

fn stale_read(ops: &mut Vec<Op>, dice: &mut Dice) -> Option<()> {
    let (old, new) = pair(ops, dice)?;
    let time = new.returned + 1 + dice.below(500);
    read(ops, time, &old.key, Some((old.value?, old.revision)));
    Some(())
}

fn future_read(ops: &mut Vec<Op>, dice: &mut Dice) -> Option<()> {
    let all: Vec<Acked> = acked(ops).into_iter().filter(|one| one.called > 3).collect();
    let one = dice.pick(&all)?.clone();
    let time = dice.below(one.called - 2);
    read(ops, time, &one.key, Some((one.value?, one.revision)));
    Some(())
}

fn phantom(ops: &mut Vec<Op>, dice: &mut Dice) -> Option<()> {
    let one = dice.pick(&acked(ops))?.clone();
    read(ops, one.returned + 1, &one.key, Some((1 << 40, one.revision + 1)));
    Some(())
}

/// A key is not there though it was written, and nobody deletes it after.
fn lost_write(ops: &mut Vec<Op>, dice: &mut Dice) -> Option<()> {
    let one = dice.pick(&acked(ops))?.clone();
    one.value?;
    let deletes = |op: &Op| {
        let gone = |write: &Write| write.key == one.key && write.value.is_none();
        match &op.action {
            Action::Write(write) => gone(write),
            Action::Transaction { writes } => writes.iter().any(gone),
            _ => false,
        }
    };
    let later = |op: &Op| match op.outcome {
        Outcome::Done(_) => op.returned > one.called,
        Outcome::Unknown { .. } => true,
        Outcome::NotDone { .. } => false,
    };
    if ops.iter().any(|op| deletes(op) && later(op)) {
        return None;
    }
    read(ops, one.returned + 1 + dice.below(300), &one.key, None);
    Some(())
}

fn swapped_revisions(ops: &mut Vec<Op>, dice: &mut Dice) -> Option<()> {
    let all = acked(ops);
    let one = dice.pick(&all)?.clone();
    let later: Vec<_> = all.iter().filter(|other| other.called > one.returned).cloned().collect();
    let other = dice.pick(&later)?.clone();
    for op in ops {
        rename(op, &|revision| match revision {
            it if it == one.revision => other.revision,
            it if it == other.revision => one.revision,
            it => it,
        });
    }
    Some(())
}

/// Two writes of different operations under one revision, told so by all.
fn duplicated_revision(ops: &mut Vec<Op>, dice: &mut Dice) -> Option<()> {
    let all = acked(ops);
    let (one, other) = (dice.pick(&all)?.clone(), dice.pick(&all)?.clone());
    if one.at == other.at {
        return None;
    }
    for op in ops {
        rename(op, &|it| if it == one.revision { other.revision } else { it });
    }
    Some(())
}

fn rename(op: &mut Op, to: &dyn Fn(u64) -> u64) {
    match &mut op.outcome {
        Outcome::Done(
            Answer::Written { revision: Some(revision) }
            | Answer::Value { value: Some(_), revision, .. },
        ) => *revision = to(*revision),
        Outcome::Done(Answer::Values { values, .. }) => {
            for (_, revision) in values.values_mut() {
                *revision = to(*revision);
            }
        }
        _ => {}
    }
}

fn second_revision(ops: &mut Vec<Op>, dice: &mut Dice) -> Option<()> {
    let one = dice.pick(&acked(ops))?.clone();
    read(ops, one.returned + 1, &one.key, Some((one.value?, one.revision + 1)));
    Some(())
}

/// A write that a read shows surely did not happen.
fn aborted_read(ops: &mut Vec<Op>, dice: &mut Dice) -> Option<()> {
    let one = dice.pick(&acked(ops))?.clone();
    let outcome = if dice.percent(50) {
        Outcome::NotDone { why: "no leader".to_owned() }
    } else {
        Outcome::Done(Answer::Refused { store: None })
    };
    ops[one.at].outcome = outcome;
    read(ops, one.returned + 1, &one.key, Some((one.value?, one.revision)));
    Some(())
}

/// Two conditional writes found the same revision.
fn lost_update(ops: &mut Vec<Op>, dice: &mut Dice) -> Option<()> {
    let done: Vec<Op> = ops
        .iter()
        .filter(|op| {
            let Action::Write(write) = &op.action else { return false };
            let condition = matches!(write.condition, Condition::Unchanged(1..));
            condition && matches!(op.outcome, Outcome::Done(Answer::Written { .. }))
        })
        .cloned()
        .collect();
    let mut twin = dice.pick(&done)?.clone();
    let Action::Write(write) = &mut twin.action else { return None };
    write.value = Some(1 << 41);
    twin.client = 9_998;
    twin.outcome = Outcome::Done(Answer::Written { revision: None });
    ops.push(twin);
    Some(())
}

/// A write for a key that nobody ever wrote is refused since the key is there.
fn refused_for_nothing(ops: &mut Vec<Op>, dice: &mut Dice) -> Option<()> {
    let mut twin = dice.pick(ops)?.clone();
    let condition = if dice.percent(50) { Condition::Absent } else { Condition::Always };
    let key = "k/untouched".to_owned();
    twin.action = Action::Write(Write { key, value: Some(1 << 42), condition });
    twin.client = 9_997;
    twin.outcome = Outcome::Done(Answer::Refused { store: None });
    ops.push(twin);
    Some(())
}

/// A scan shows one half of a transaction.
fn torn_transaction(ops: &mut Vec<Op>, dice: &mut Dice) -> Option<()> {
    let all = acked(ops);
    let one = dice.pick(&all)?.clone();
    let half = all.iter().find(|other| other.at == one.at && other.key != one.key)?.clone();
    let older = all
        .iter()
        .filter(|old| old.key == half.key && old.value.is_some() && old.revision < one.revision);
    let old = older.max_by_key(|old| old.revision)?.clone();
    let shown =
        [(one.key.clone(), (one.value?, one.revision)), (old.key, (old.value?, old.revision))];
    let action = Action::Scan { prefix: "k/".to_owned(), level: Level::Strong };
    let outcome = Outcome::Done(Answer::Values { values: shown.into(), store: None });
    let (called, returned) = (one.called + 1, one.returned + 5);
    ops.push(Op { client: 9_996, node: 1, called, returned, action, outcome });
    Some(())
}

/// Breaks a history; `None`: it has not what this needs.
pub(crate) type Break = fn(&mut Vec<Op>, &mut Dice) -> Option<()>;

/// All of them. The first ones can be seen without revisions.
pub(crate) const BREAKS: [(&str, Break); 11] = [
    ("stale read", stale_read),
    ("future read", future_read),
    ("phantom", phantom),
    ("lost write", lost_write),
    ("aborted read", aborted_read),
    ("lost update", lost_update),
    ("refused for nothing", refused_for_nothing),
    ("swapped revisions", swapped_revisions),
    ("duplicated revision", duplicated_revision),
    ("second revision", second_revision),
    ("torn transaction", torn_transaction),
];
