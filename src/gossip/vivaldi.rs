//! Where this member lies in the space of round trips, from the probes that were answered (pure).
//!
//! Source: Dabek and others, "Vivaldi: A Decentralized Network Coordinate System", figure 3, with
//! heights (section 5.4); Ledlie and others, "Network Coordinates in the Wild": the filter, the
//! adjustment and the pull to the origin. Figures: Serf, `coordinate.DefaultConfig`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use uuid::Uuid;

use crate::limits::ROUND_TRIPS_KEPT_MAX;
use crate::model::{Coordinate, DIMENSIONS, Real};

/// The error of who knows nothing yet, and the largest.
const ERROR_MAX: f64 = 1.5;
/// How far one measurement moves the error.
const ERROR_STEP: f64 = 0.25;
/// How far one measurement moves the place.
const PLACE_STEP: f64 = 0.25;
/// The smallest height, in seconds.
const HEIGHT_MIN: f64 = 10.0e-6;
/// Measurements that the adjustment looks back on.
const ADJUSTMENT_WINDOW: usize = 20;
/// Measurements of one member of which the middle one counts.
const FILTER: usize = 3;
/// How gentle the pull to the origin is, in seconds.
const GRAVITY: f64 = 150.0;
/// Distances below this are none, in seconds.
const NOTHING: f64 = 1.0e-6;
/// A round trip above this is a stopped process and no distance.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);

type Vector = [f64; DIMENSIONS];

/// The place of this member, and what it rests on.
pub(super) struct Vivaldi {
    place: Vector,
    error: f64,
    adjustment: f64,
    height: f64,
    differences: VecDeque<f64>,
    round_trips: BTreeMap<Uuid, VecDeque<f64>>,
    rng: StdRng,
}

impl Vivaldi {
    /// At the origin, sure of nothing. `seed` decides the way out of there.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            place: [0.0; DIMENSIONS],
            error: ERROR_MAX,
            adjustment: 0.0,
            height: HEIGHT_MIN,
            differences: VecDeque::new(),
            round_trips: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// The place as others are told.
    pub(super) fn coordinate(&self) -> Coordinate {
        let real = |number| Real::of(number).unwrap_or_default();
        Coordinate {
            vec: self.place.map(real),
            error: real(self.error),
            adjustment: real(self.adjustment),
            height: real(self.height),
        }
    }

    /// Takes in a round trip to a member that lies at `there`.
    pub(super) fn measured(&mut self, whom: Uuid, there: &Coordinate, took: Duration) {
        if took > ROUND_TRIP_MAX {
            return;
        }
        let took = self.filtered(whom, took.as_secs_f64()).max(NOTHING);
        let distance = self.distance(there, true);
        let wrong = (distance - took).abs() / took;
        let both = (self.error + there.error.get()).max(NOTHING);
        let weight = self.error / both;
        let step = ERROR_STEP * weight;
        self.error = (step * wrong + self.error * (1.0 - step)).min(ERROR_MAX);
        let force = PLACE_STEP * weight * (took - distance);
        self.push(&there.vec.map(Real::get), there.height.get(), force);
        self.adjust(there, took);
        self.fall();
        if !self.is_sound() {
            let seed = self.rng.random();
            *self = Self::new(seed); // a stranger's nonsense: begin anew
        }
    }

    /// The middle one of the member's last measurements: one late packet moves nobody.
    fn filtered(&mut self, whom: Uuid, took: f64) -> f64 {
        if self.round_trips.len() >= ROUND_TRIPS_KEPT_MAX && !self.round_trips.contains_key(&whom) {
            self.round_trips.pop_first();
        }
        let last = self.round_trips.entry(whom).or_default();
        last.push_back(took);
        if last.len() > FILTER {
            last.pop_front();
        }
        let mut sorted: Vec<f64> = last.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(took)
    }

    fn distance(&self, there: &Coordinate, adjusted: bool) -> f64 {
        let squares = self.place.iter().zip(&there.vec).map(|(a, b)| (a - b.get()).powi(2));
        let plain = squares.sum::<f64>().sqrt() + self.height + there.height.get();
        let corrected = plain + self.adjustment + there.adjustment.get();
        if adjusted && corrected > 0.0 { corrected } else { plain }
    }

    /// Moves away from `there` by `force`, or towards it where that is negative.
    fn push(&mut self, there: &Vector, height: f64, force: f64) {
        let (away, length) = self.direction(there);
        for (axis, part) in self.place.iter_mut().zip(away) {
            *axis += part * force;
        }
        if length > NOTHING {
            self.height = ((self.height + height) * force / length + self.height).max(HEIGHT_MIN);
        }
    }

    /// The direction from `there` to here, of length 1, and how far that is; a random direction
    /// where both are at one place.
    fn direction(&mut self, there: &Vector) -> (Vector, f64) {
        let mut away: Vector = std::array::from_fn(|axis| self.place[axis] - there[axis]);
        let length = norm(&away);
        if length > NOTHING {
            return (away.map(|part| part / length), length);
        }
        let rng = &mut self.rng;
        away = std::array::from_fn(|_| rng.random_range(-0.5..0.5));
        let random = norm(&away).max(NOTHING);
        (away.map(|part| part / random), 0.0)
    }

    fn adjust(&mut self, there: &Coordinate, took: f64) {
        self.differences.push_back(took - self.distance(there, false));
        if self.differences.len() > ADJUSTMENT_WINDOW {
            self.differences.pop_front();
        }
        let twice = f64::from(u32::try_from(2 * ADJUSTMENT_WINDOW).unwrap_or(u32::MAX));
        self.adjustment = self.differences.iter().sum::<f64>() / twice;
    }

    /// Pulls a little to the origin, so that the whole pool does not drift.
    fn fall(&mut self) {
        let force = -(norm(&self.place) / GRAVITY).powi(2);
        let origin = [0.0; DIMENSIONS];
        let (away, _) = self.direction(&origin);
        for (axis, part) in self.place.iter_mut().zip(away) {
            *axis += part * force;
        }
    }

    fn is_sound(&self) -> bool {
        let others = [self.error, self.adjustment, self.height];
        self.place.iter().chain(&others).all(|number| number.is_finite())
    }
}

fn norm(vector: &Vector) -> f64 {
    vector.iter().map(|part| part * part).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> Uuid {
        Uuid::from_u128(number as u128)
    }

    /// Members on a line, ten milliseconds apart: after some rounds distances are about right.
    #[test]
    fn members_find_their_places() {
        let count = 8;
        let mut all: Vec<Vivaldi> = (0..count).map(|seed| Vivaldi::new(seed as u64)).collect();
        let between = |a: usize, b: usize| Duration::from_millis(1 + 10 * a.abs_diff(b) as u64);
        for round in 0..600 {
            for here in 0..count {
                let there = (here + 1 + round % (count - 1)) % count;
                let place = all[there].coordinate();
                all[here].measured(id(there), &place, between(here, there));
            }
        }
        for here in 0..count {
            for there in (0..count).filter(|there| *there != here) {
                let found = all[here].coordinate().nanos_to(&all[there].coordinate());
                let wanted = i64::try_from(between(here, there).as_nanos()).unwrap();
                let wrong = (found - wanted).abs();
                assert!(wrong < 3_000_000 + wanted / 5, "{here} {there}: {found} for {wanted}");
            }
        }
    }

    #[test]
    fn one_late_packet_and_a_stopped_process_move_nobody_far() {
        let mut vivaldi = Vivaldi::new(1);
        let there = Coordinate::default();
        for _ in 0..50 {
            vivaldi.measured(id(1), &there, Duration::from_millis(2));
        }
        let before = vivaldi.coordinate();
        vivaldi.measured(id(1), &there, Duration::from_secs(5));
        vivaldi.measured(id(2), &there, Duration::from_secs(11));
        assert!(vivaldi.coordinate().nanos_to(&before) < 2_000_000);
    }

    #[test]
    fn nonsense_begins_anew() {
        let mut vivaldi = Vivaldi::new(1);
        let far = Real::of(1e300).unwrap();
        let there = Coordinate { vec: [far; DIMENSIONS], ..Coordinate::default() };
        vivaldi.measured(id(1), &there, Duration::from_millis(1));
        let found = vivaldi.coordinate();
        assert!(found.vec.iter().all(|axis| axis.get().is_finite()));
    }

    #[test]
    fn what_is_remembered_of_others_is_bounded() {
        let mut vivaldi = Vivaldi::new(1);
        for number in 0..ROUND_TRIPS_KEPT_MAX + 5 {
            vivaldi.measured(id(number), &Coordinate::default(), Duration::from_millis(1));
        }
        assert_eq!(vivaldi.round_trips.len(), ROUND_TRIPS_KEPT_MAX);
    }
}
