//! A datagram before it is sealed: version (1), kind (1), a mark of the data center (4), body.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use bytes::{Buf as _, BufMut as _};

use super::questions::Answer;
use crate::codec;
use crate::model::{Coordinate, DIMENSIONS, Real};

/// The version that this program writes and reads.
const VERSION: u8 = 1;
/// A message of the failure detector.
const SWIM: u8 = 0;
/// The same behind its sender's coordinate.
const SWIM_AT: u8 = 1;
/// An answer to a question.
const ANSWER: u8 = 2;

/// What a datagram holds.
#[derive(Debug)]
pub(super) enum Packet<'a> {
    /// A message of the failure detector, and where its sender lies.
    Swim(&'a [u8], Option<Coordinate>),
    /// An answer to a question.
    Answer(Answer),
}

/// A mark of a data center: members of another one are heard as such.
pub(super) fn datacenter(name: &str) -> u32 {
    // FNV-1a, 32 bits.
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// A datagram with a message of the failure detector.
pub(super) fn swim(datacenter: u32, message: &[u8], at: Option<&Coordinate>) -> Vec<u8> {
    let mut bytes = begin(datacenter, if at.is_some() { SWIM_AT } else { SWIM });
    if let Some(at) = at {
        let numbers = at.vec.iter().chain([&at.error, &at.adjustment, &at.height]);
        numbers.for_each(|number| bytes.put_f64(number.get()));
    }
    bytes.put_slice(message);
    bytes
}

/// A datagram with an answer.
pub(super) fn answer(datacenter: u32, answer: &Answer) -> Vec<u8> {
    let mut bytes = begin(datacenter, ANSWER);
    bytes.put_slice(&codec::encode(answer));
    bytes
}

fn begin(datacenter: u32, kind: u8) -> Vec<u8> {
    let mut bytes = vec![VERSION, kind];
    bytes.put_u32(datacenter);
    bytes
}

/// Reads a datagram.
///
/// # Errors
///
/// Why it is none of this pool, for people.
pub(super) fn open(mut bytes: &[u8], ours: u32) -> Result<Packet<'_>, String> {
    let short = |_| "a packet is cut short".to_owned();
    let version = bytes.try_get_u8().map_err(short)?;
    if version != VERSION {
        return Err(format!("a packet of version {version}; this program reads {VERSION}"));
    }
    let kind = bytes.try_get_u8().map_err(short)?;
    if bytes.try_get_u32().map_err(short)? != ours {
        return Err("a packet of another data center".to_owned());
    }
    match kind {
        SWIM => Ok(Packet::Swim(bytes, None)),
        SWIM_AT => {
            let mut number = || {
                let number = bytes.try_get_f64().map_err(short)?;
                Real::of(number).ok_or_else(|| "a coordinate is no number".to_owned())
            };
            let mut at = Coordinate { vec: [Real::default(); DIMENSIONS], ..Coordinate::default() };
            for axis in &mut at.vec {
                *axis = number()?;
            }
            (at.error, at.adjustment, at.height) = (number()?, number()?, number()?);
            Ok(Packet::Swim(bytes, Some(at)))
        }
        ANSWER => codec::decode(bytes).map(Packet::Answer).map_err(|error| error.to_string()),
        other => Err(format!("a packet of the unknown kind {other}")),
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_and_strangers_are_named() {
        let ours = datacenter("dc1");
        let at = Coordinate { error: Real::of(1.5).unwrap(), ..Coordinate::default() };
        for at in [None, Some(at)] {
            let bytes = swim(ours, b"hello", at.as_ref());
            let Packet::Swim(message, found) = open(&bytes, ours).unwrap() else { panic!() };
            assert_eq!((message, found), (&b"hello"[..], at));
        }
        let told = Answer { question: 7, member: "i".into(), outcome: Err("no".into()) };
        let bytes = answer(ours, &told);
        let Packet::Answer(found) = open(&bytes, ours).unwrap() else { panic!() };
        assert_eq!(found, told);
        for (bytes, why) in [
            (vec![], "cut short"),
            (vec![9, 0, 0, 0, 0, 0], "version 9"),
            (swim(datacenter("dc2"), b"", None), "another data center"),
            (swim(ours, b"", Some(&Coordinate::default()))[..40].to_vec(), "cut short"),
            (begin(ours, 77), "unknown kind 77"),
        ] {
            let error = open(&bytes, ours).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_coordinate_that_is_no_number_is_refused() {
        let ours = datacenter("dc1");
        let mut bytes = swim(ours, b"", Some(&Coordinate::default()));
        bytes[6..14].copy_from_slice(&f64::NAN.to_be_bytes());
        assert!(open(&bytes, ours).is_err());
    }
}
