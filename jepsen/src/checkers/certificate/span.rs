//! Stretches of revisions at which a key was absent.

use super::log::{KeyLog, Log};

/// From the first revision to the second, which is left out.
pub(super) type Span = (u64, u64);

/// Stretches looked at for one answer: a stale one may be of any time.
const SPANS_MAX: usize = 4_096;

/// Who asks, for what real time says of writes without a revision.
#[derive(Clone, Copy)]
pub(super) struct Asker {
    pub(super) called: u64,
    pub(super) returned: u64,
    /// Whether it must see everything that returned before it was called.
    pub(super) current: bool,
}

/// The stretches within `window` at which a key may have been absent, the latest first, at most
/// `most` of them. More than can be looked at: all of `window` is taken for possible.
pub(super) fn absences(
    log: &Log<'_>,
    key: &KeyLog,
    window: Span,
    asker: Asker,
    most: usize,
) -> Vec<Span> {
    let (from, to) = window;
    let mut spans = Vec::new();
    let last_set = if asker.current { key.loose.last_set(asker.called) } else { 0 };
    let mut end = to;
    let mut place = if to == 0 { None } else { key.at(to - 1) };
    for _ in 0..SPANS_MAX {
        let (start, is_value) = place.map_or((0, false), |place| {
            let (revision, entry) = key.settled[place];
            (revision, log.entries[entry].value.is_some())
        });
        let limit = key.next(start);
        if end.min(limit) <= from || spans.len() >= most {
            return spans;
        }
        let overset = asker.current && key.loose.surely_set(asker.called, start);
        if !is_value && !overset {
            spans.push((start.max(from), end));
        } else if let Some(first) = earliest(key, start, limit, last_set, asker)
            && first.max(from) < end
        {
            spans.push((first.max(from), end));
        }
        end = end.min(start);
        match place {
            None => return spans,
            Some(at) => place = at.checked_sub(1),
        }
    }
    vec![window]
}

/// The lowest revision that a loose delete can have between two settled writes.
fn earliest(key: &KeyLog, start: u64, limit: u64, last_set: u64, asker: Asker) -> Option<u64> {
    let deletes = key.loose.deletes(asker.returned, start);
    deletes
        .filter(|delete| delete.returned > last_set && delete.fits(start, limit))
        .map(|delete| delete.above.max(start) + 1)
        .min()
}

/// What two lists of stretches, both the latest first, share.
pub(super) fn common(one: &[Span], other: &[Span]) -> Vec<Span> {
    let mut shared = Vec::new();
    let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
    while let (Some(&&(from, to)), Some(&&(begin, end))) = (left.peek(), right.peek()) {
        if from.max(begin) < to.min(end) {
            shared.push((from.max(begin), to.min(end)));
        }
        if from >= begin {
            left.next()
        } else {
            right.next()
        };
    }
    shared
}
