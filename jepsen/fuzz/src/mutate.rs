//! Inputs made of inputs: the same each time, so that a test that fails fails again.

/// Bytes that are often a bound.
const BOUNDS: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, 0xc0, b'"', b'('];

/// A source of inputs that are like one, and like others of its target.
#[derive(Debug)]
pub struct Mutations<'a> {
    seed: &'a [u8],
    others: &'a [Vec<u8>],
    state: u64,
}

impl<'a> Mutations<'a> {
    /// Made of `seed`, with parts of the `others`.
    pub fn new(seed: &'a [u8], others: &'a [Vec<u8>]) -> Self {
        let mixed = seed.iter().fold(0x9e37_79b9, |state, byte| step(state ^ u64::from(*byte)));
        Self { seed, others, state: mixed }
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.state = step(self.state);
        usize::try_from(self.state >> 33).unwrap_or_default() % sides.max(1)
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.roll(bytes.len() + 1);
        let length = 1 + self.roll(8);
        match self.roll(8) {
            0 | 1 => {
                let bit = self.roll(8);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
            2 => {
                let bound = BOUNDS[self.roll(BOUNDS.len())];
                bytes.iter_mut().skip(at).take(length).for_each(|byte| *byte = bound);
            }
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..bytes.len().min(at + length))),
            5 => {
                let part: Vec<u8> = bytes.iter().skip(at).take(length * 4).copied().collect();
                let times = 1 + self.roll(40);
                drop(bytes.splice(at..at, part.repeat(times)));
            }
            6 => {
                let bound = BOUNDS[self.roll(BOUNDS.len())];
                drop(bytes.splice(at..at, std::iter::repeat_n(bound, length)));
            }
            _ => {
                let Some(other) = self.others.get(self.roll(self.others.len())) else { return };
                let from = self.roll(other.len() + 1);
                bytes.truncate(at);
                bytes.extend(other.iter().skip(from));
            }
        }
    }
}

impl Iterator for Mutations<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut bytes = self.seed.to_vec();
        for _ in 0..=self.roll(4) {
            self.change(&mut bytes);
        }
        Some(bytes)
    }
}

/// The next number of a linear congruential generator. Source: Knuth, MMIX.
fn step(state: u64) -> u64 {
    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}
