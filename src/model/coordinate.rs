//! Network coordinates: where a node lies in a space whose distances are round-trip times.
//!
//! Source: Dabek and others, "Vivaldi: A Decentralized Network Coordinate System"; Consul,
//! "Network Coordinates".

use serde::{Deserialize, Serialize};

/// How many dimensions a coordinate has. Source: Consul HTTP API, "Coordinate".
pub const DIMENSIONS: usize = 8;

const NANOS_A_SECOND: f64 = 1_000_000_000.0;

/// A finite number, compared by its bits, so that equal state is equal on every replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct Real(u64);

/// What travels is looked at as what is measured: others send their bits.
impl TryFrom<u64> for Real {
    type Error = &'static str;

    fn try_from(bits: u64) -> Result<Self, Self::Error> {
        Self::of(f64::from_bits(bits)).ok_or("a coordinate is no finite number")
    }
}

impl Real {
    /// The number; `None` if it is no number or not finite.
    pub fn of(number: f64) -> Option<Self> {
        number.is_finite().then(|| Self(number.to_bits()))
    }

    /// The number again.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// A place in the space, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Coordinate {
    /// The Euclidean part.
    pub vec: [Real; DIMENSIONS],
    /// How sure the node is of it; has no unit.
    pub error: Real,
    /// What measurements told beside the model, added to every distance.
    pub adjustment: Real,
    /// The way from the node to the space's plane, part of every distance.
    pub height: Real,
}

impl Coordinate {
    /// The estimated round trip to another place, in nanoseconds.
    ///
    /// Source: Consul, "Network Coordinates", "Working with Coordinates".
    pub fn nanos_to(&self, other: &Self) -> i64 {
        let squares = self.vec.iter().zip(&other.vec).map(|(a, b)| (a.get() - b.get()).powi(2));
        let plain = squares.sum::<f64>().sqrt() + self.height.get() + other.height.get();
        let adjusted = plain + self.adjustment.get() + other.adjustment.get();
        nanos(if adjusted > 0.0 { adjusted } else { plain })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a fraction of a nanosecond is no distance")]
fn nanos(seconds: f64) -> i64 {
    (seconds * NANOS_A_SECOND) as i64
}

/// The coordinate that a node has in one segment of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCoordinate {
    /// The node's name.
    pub node: String,
    /// The segment; empty for the one that all nodes are in.
    pub segment: String,
    /// Where it lies.
    pub coordinate: Coordinate,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(first: f64, height: f64, adjustment: f64) -> Coordinate {
        let real = |number| Real::of(number).unwrap();
        let mut vec = [Real::default(); DIMENSIONS];
        vec[0] = real(first);
        Coordinate { vec, error: real(1.5), adjustment: real(adjustment), height: real(height) }
    }

    #[test]
    fn distances_have_height_and_adjustment() {
        for (a, b, want) in [
            (at(0.0, 0.0, 0.0), at(0.5, 0.0, 0.0), 500_000_000),
            (at(0.0, 0.125, 0.0), at(0.5, 0.25, 0.0), 875_000_000),
            (at(0.0, 0.0, 0.25), at(0.5, 0.0, -0.5), 250_000_000),
            (at(0.0, 0.0, -1.0), at(0.5, 0.0, 0.0), 500_000_000),
        ] {
            assert_eq!((a.nanos_to(&b), b.nanos_to(&a)), (want, want));
        }
    }

    #[test]
    fn only_finite_numbers_are_read() {
        let encoded = |bits: u64| crate::codec::encode(&bits);
        let read = |bits: u64| crate::codec::decode::<Real>(&encoded(bits)).ok().map(Real::get);
        assert_eq!(read(1.5_f64.to_bits()).map(f64::to_bits), Some(1.5_f64.to_bits()));
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(read(number.to_bits()).map(f64::to_bits), None);
        }
    }

    #[test]
    fn only_finite_numbers_are_taken() {
        assert_eq!(Real::of(f64::NAN), None);
        assert_eq!(Real::of(f64::INFINITY), None);
        assert_eq!(Real::of(-0.5).map(|real| real.get().to_bits()), Some((-0.5_f64).to_bits()));
    }
}
