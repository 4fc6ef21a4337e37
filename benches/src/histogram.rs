//! Latencies in logarithmic buckets: at most 0.8 % off, fixed memory, cheap to record and merge.

use std::time::Duration;

/// Buckets of one power of two, and the last value, plus one, that has a bucket of its own.
const STEPS: u64 = 128;
/// Powers of two in [`STEPS`].
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Longest latency told apart, in nanoseconds: 2^36 - 1, 68 seconds.
const NANOS_MAX: u64 = (1 << 36) - 1;
/// Buckets in all.
const SLOTS: usize = slot(NANOS_MAX) + 1;

/// Counts of latencies.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; SLOTS], total: 0 }
    }
}

impl Histogram {
    /// Counts one latency; what is longer than 68 seconds counts as 68 seconds.
    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(NANOS_MAX).min(NANOS_MAX);
        self.counts[slot(nanos)] += 1;
        self.total += 1;
    }

    /// Adds all that another one counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    /// How many were recorded.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The latency that `per_mille` of all did not exceed (nearest rank); zero of none.
    pub(crate) fn quantile(&self, per_mille: u64) -> Duration {
        let rank = (self.total * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(middle(at));
            }
        }
        Duration::ZERO
    }
}

/// The bucket of a value: its own below 128, then 128 to each power of two.
#[expect(clippy::cast_possible_truncation, reason = "a slot is below 4,096")]
const fn slot(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - STEP_BITS;
    (((shift as u64 + 1) * STEPS) + (nanos >> shift) - STEPS) as usize
}

/// The middle of a bucket, in nanoseconds.
fn middle(slot: usize) -> u64 {
    let slot = slot as u64;
    if slot < STEPS {
        return slot;
    }
    let shift = slot / STEPS - 1;
    let floor = (slot % STEPS + STEPS) << shift;
    floor + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_found_within_a_hundredth() {
        for nanos in (0..=36).flat_map(|bit| {
            let power = 1_u64 << bit;
            [power - 1, power, power + power / 3, power + power / 2]
        }) {
            let nanos = nanos.min(NANOS_MAX);
            let found = middle(slot(nanos));
            assert!(found.abs_diff(nanos) * 100 <= nanos, "{nanos} became {found}");
        }
    }

    #[test]
    fn slots_follow_each_other_without_a_gap() {
        let slots: Vec<_> = (0..100_000).map(slot).collect();
        assert!(slots.windows(2).all(|two| two[1] == two[0] || two[1] == two[0] + 1));
    }

    #[test]
    fn quantiles_of_a_thousand_and_of_none() {
        let mut half = Histogram::default();
        let mut all = Histogram::default();
        for micros in 1..=500 {
            all.record(Duration::from_micros(micros));
            half.record(Duration::from_micros(micros + 500));
        }
        all.merge(&half);
        assert_eq!(all.total(), 1000);
        for (per_mille, micros) in [(500, 500), (990, 990), (1000, 1000)] {
            let found = all.quantile(per_mille).as_nanos().abs_diff(micros * 1000);
            assert!(found <= micros * 10, "{per_mille} per mille is {found} ns off");
        }
        assert_eq!(Histogram::default().quantile(990), Duration::ZERO);
    }

    #[test]
    fn hours_count_as_the_longest() {
        let mut one = Histogram::default();
        one.record(Duration::from_hours(2));
        assert!(one.quantile(500) > Duration::from_secs(67));
    }
}
