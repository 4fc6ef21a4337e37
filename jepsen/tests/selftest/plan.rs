//! Who does something when: operations of some clients that overlap, each with the point in time
//! at which it takes effect.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::dice::Dice;

/// How an operation will end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Done,
    /// Not done, and the client knows.
    NotDone,
    /// Done at its point, which may be long after the client gave up.
    Late,
    /// The client does not know, and it was not done.
    Never,
}

/// One operation to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) point: u64,
    pub(crate) called: u64,
    pub(crate) returned: u64,
    pub(crate) client: u32,
    pub(crate) fate: Fate,
}

/// `count` operations of `clients` clients in the order of their points, `unknown` and `failed`
/// of a hundred of them with such an end.
pub(crate) fn plan(
    dice: &mut Dice,
    count: usize,
    clients: u32,
    (unknown, failed): (u64, u64),
) -> Vec<Slot> {
    let mut free: BinaryHeap<Reverse<(u64, u32)>> =
        (0..clients).map(|client| Reverse((0, client))).collect();
    let mut fresh = clients;
    let mut slots = Vec::with_capacity(count);
    for _ in 0..count {
        let Reverse((time, client)) = free.pop().expect("each client comes back");
        let called = time + 1 + dice.below(60);
        let returned = called + 2 + dice.below(400);
        let point = called + 1 + dice.below(returned - called - 1);
        let mut slot = Slot { point, called, returned, client, fate: Fate::Done };
        let mut next = client;
        if dice.percent(unknown) {
            next = fresh;
            fresh += 1;
            slot.fate = if dice.percent(50) { Fate::Never } else { Fate::Late };
            slot.point += if dice.percent(50) { dice.below(2_000) } else { 0 };
        } else if dice.percent(failed) {
            slot.fate = Fate::NotDone;
        }
        free.push(Reverse((returned, next)));
        slots.push(slot);
    }
    slots.sort_by_key(|slot| slot.point);
    slots
}
