//! Writes of one key that no answer gives a revision: where real time lets them be.

/// A write without a revision. It lies strictly between two revisions.
#[derive(Clone, Copy)]
pub(super) struct Drifting {
    /// Known to somebody before the write was called.
    pub(super) above: u64,
    /// Of a write that was called after this one returned; `u64::MAX`: none was.
    pub(super) below: u64,
    pub(super) called: u64,
    /// `u64::MAX`: its outcome is unknown.
    pub(super) returned: u64,
}

impl Drifting {
    /// Whether there is a revision for it between these two, both left out.
    pub(super) fn fits(&self, from: u64, to: u64) -> bool {
        self.above.max(from).saturating_add(1) < self.below.min(to)
    }
}

/// The loose writes of one key, arranged for the questions of the judge.
#[derive(Default)]
pub(super) struct Loose {
    /// By call, each with the highest `below` of it and all before it.
    deletes: Vec<(Drifting, u64)>,
    /// The same of writes of a value.
    values: Vec<(Drifting, u64)>,
    /// Acknowledged ones by return: when, the highest `above` up to there.
    done: Vec<(u64, u64)>,
    /// Acknowledged values by return: when, the highest `above`, the latest call up to there.
    done_values: Vec<(u64, u64, u64)>,
}

impl Loose {
    /// Arranges `(is a delete, the write)`.
    pub(super) fn new(mut all: Vec<(bool, Drifting)>) -> Self {
        all.sort_by_key(|(_, write)| write.called);
        let mut loose = Self::default();
        for (is_delete, write) in &all {
            let list = if *is_delete { &mut loose.deletes } else { &mut loose.values };
            let most = list.last().map_or(0, |(_, most)| *most).max(write.below);
            list.push((*write, most));
        }
        all.retain(|(_, write)| write.returned != u64::MAX);
        all.sort_by_key(|(_, write)| write.returned);
        let (mut above, mut above_value, mut called) = (0, 0, 0);
        for (is_delete, write) in all {
            above = write.above.max(above);
            loose.done.push((write.returned, above));
            if !is_delete {
                above_value = write.above.max(above_value);
                called = write.called.max(called);
                loose.done_values.push((write.returned, above_value, called));
            }
        }
        loose
    }

    /// Whether an acknowledged write that returned before `time` surely lies above `revision`.
    pub(super) fn surely_changed(&self, time: u64, revision: u64) -> bool {
        let past = self.done.partition_point(|(returned, _)| *returned < time);
        past > 0 && self.done[past - 1].1 >= revision
    }

    /// The same, of writes of a value only.
    pub(super) fn surely_set(&self, time: u64, revision: u64) -> bool {
        let past = self.done_values.partition_point(|(returned, ..)| *returned < time);
        past > 0 && self.done_values[past - 1].1 >= revision
    }

    /// When the last acknowledged write of a value was called that returned before `time`.
    pub(super) fn last_set(&self, time: u64) -> u64 {
        let past = self.done_values.partition_point(|(returned, ..)| *returned < time);
        if past > 0 { self.done_values[past - 1].2 } else { 0 }
    }

    /// Deletes called before `time` that may lie above `revision`, the latest first.
    pub(super) fn deletes(&self, time: u64, revision: u64) -> impl Iterator<Item = &Drifting> {
        recent(&self.deletes, time, revision)
    }

    /// Whether any write of a value called before `time` may lie between two revisions.
    pub(super) fn may_set(&self, time: u64, from: u64, to: u64) -> bool {
        recent(&self.values, time, from).any(|write| write.fits(from, to))
    }

    /// Whether any write called before `time` may lie between two revisions.
    pub(super) fn may_change(&self, time: u64, from: u64, to: u64) -> bool {
        self.may_set(time, from, to) || self.deletes(time, from).any(|write| write.fits(from, to))
    }
}

fn recent(list: &[(Drifting, u64)], time: u64, revision: u64) -> impl Iterator<Item = &Drifting> {
    let past = list.partition_point(|(write, _)| write.called < time);
    let list = list[..past].iter().rev();
    list.take_while(move |(_, most)| *most > revision).map(|(write, _)| write)
}
