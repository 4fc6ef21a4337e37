//! Wing & Gong's search over one register, with Lowe's memory.

use std::collections::HashSet;

/// What is done to the register.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    /// It must have this value.
    Read(Option<u64>),
    /// It takes this value.
    Write(Option<u64>),
    /// It has the first value and takes the second.
    Swap(Option<u64>, Option<u64>),
    /// It has not this value.
    Differs(Option<u64>),
    /// It takes the second value if it has the first: nobody knows whether it had.
    MaySwap(Option<u64>, Option<u64>),
}

impl Deed {
    /// The state after it; `Err`: it cannot be done in this one.
    fn apply(self, state: Option<u64>) -> Result<Option<u64>, ()> {
        let (possible, after) = match self {
            Self::Read(value) => (value == state, state),
            Self::Write(value) => (true, value),
            Self::Swap(from, to) => (from == state, to),
            Self::Differs(value) => (value != state, state),
            Self::MaySwap(from, to) => (true, if from == state { to } else { state }),
        };
        if possible { Ok(after) } else { Err(()) }
    }
}

/// One operation on the register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) called: u64,
    /// `None`: it never returned, so it may be left out.
    pub(super) returned: Option<u64>,
    pub(super) deed: Deed,
}

/// What the search says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// There is an order.
    Order,
    /// There is none; the call that could not be placed when most were.
    None(usize),
    /// The budget was used up.
    TooLong,
}

/// A configuration: the first word of the set that is not full, the words from there, the state.
type Seen = (usize, Box<[u64]>, Option<u64>);

/// The events as a ring: `2 * call` is its call, `2 * call + 1` its return, the last the anchor.
struct Ring {
    next: Vec<usize>,
    before: Vec<usize>,
    anchor: usize,
}

impl Ring {
    fn new(calls: &[Call]) -> Self {
        let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(calls.len() * 2);
        for (at, call) in calls.iter().enumerate() {
            events.push((call.called, false, 2 * at));
            events.push((call.returned.unwrap_or(u64::MAX), true, 2 * at + 1));
        }
        events.sort_unstable();
        let anchor = 2 * calls.len();
        let mut ring =
            Self { next: vec![anchor; anchor + 1], before: vec![anchor; anchor + 1], anchor };
        let mut last = anchor;
        for (.., event) in events {
            ring.next[last] = event;
            ring.before[event] = last;
            last = event;
        }
        ring.next[last] = anchor;
        ring.before[anchor] = last;
        ring
    }

    fn take_out(&mut self, event: usize) {
        let (before, next) = (self.before[event], self.next[event]);
        self.next[before] = next;
        self.before[next] = before;
    }

    fn put_back(&mut self, event: usize) {
        let (before, next) = (self.before[event], self.next[event]);
        self.next[before] = event;
        self.before[next] = event;
    }
}

/// Searches an order, in at most `budget` steps.
pub(super) fn search(calls: &[Call], budget: u64) -> Said {
    let mut ring = Ring::new(calls);
    let mut placed = vec![0_u64; calls.len().div_ceil(64)];
    let mut seen: HashSet<Seen> = HashSet::new();
    let mut stack: Vec<(usize, Option<u64>)> = Vec::new();
    let mut left = calls.iter().filter(|call| call.returned.is_some()).count();
    let (mut state, mut most, mut stuck) = (None, 0, 0);
    let mut event = ring.next[ring.anchor];
    let mut steps = 0;
    while left > 0 {
        steps += 1;
        if steps > budget {
            return Said::TooLong;
        }
        let at = event / 2;
        if event.is_multiple_of(2) && event != ring.anchor {
            if let Ok(new) = calls[at].deed.apply(state) {
                placed[at / 64] |= 1 << (at % 64);
                if seen.insert(compact(&placed, new)) {
                    stack.push((at, state));
                    state = new;
                    left -= usize::from(calls[at].returned.is_some());
                    ring.take_out(event);
                    ring.take_out(event + 1);
                    event = ring.next[ring.anchor];
                    continue;
                }
                placed[at / 64] &= !(1 << (at % 64));
            }
            event = ring.next[event];
            continue;
        }
        if stack.len() >= most && event != ring.anchor {
            (most, stuck) = (stack.len(), at);
        }
        let Some((last, old)) = stack.pop() else { return Said::None(stuck) };
        state = old;
        placed[last / 64] &= !(1 << (last % 64));
        left += usize::from(calls[last].returned.is_some());
        ring.put_back(2 * last + 1);
        ring.put_back(2 * last);
        event = ring.next[2 * last];
    }
    Said::Order
}

fn compact(placed: &[u64], state: Option<u64>) -> Seen {
    let full = placed.iter().take_while(|word| **word == u64::MAX).count();
    let used = placed.iter().rposition(|word| *word != 0).map_or(full, |last| last + 1).max(full);
    (full, placed[full..used].into(), state)
}
