//! How values become bytes: a version byte, then bincode. The only file that names bincode.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{ANSWER_DECODED_MAX, CODEC_BYTES_MAX};

/// Version of the encoding; the first byte of everything encoded here.
const VERSION: u8 = 1;

/// Why bytes are not a value.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// There is no byte at all.
    #[error("empty value")]
    Empty,
    /// Written by another version of this program.
    #[error("encoding version {0} is not {VERSION}")]
    Version(u8),
    /// Damaged, cut short, or longer than the bound.
    #[error("malformed value: {0}")]
    Malformed(String),
    /// The value ends before its bytes do.
    #[error("{0} bytes left over after the value")]
    Trailing(usize),
}

/// Encodes `value` with the version byte in front.
///
/// # Panics
///
/// If the type cannot be encoded (a sequence that does not know its length): a mistake of ours.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = vec![VERSION];
    let config = bincode::config::standard();
    let written = bincode::serde::encode_into_std_write(value, &mut out, config);
    assert!(written.is_ok(), "a plain value encodes into memory");
    out
}

/// Decodes what [`encode`] made. Allocates at most 16 MiB, whatever the bytes claim.
///
/// # Errors
///
/// [`CodecError`] if the bytes are of another version, damaged, or too long.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    decode_within::<T, CODEC_BYTES_MAX>(bytes)
}

/// As [`decode`], of an answer that [`crate::Caller::call`] brought, which may be longer: it
/// allocates at most 1 GiB.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_answer<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    decode_within::<T, ANSWER_DECODED_MAX>(bytes)
}

fn decode_within<T: DeserializeOwned, const MOST: usize>(bytes: &[u8]) -> Result<T, CodecError> {
    let (version, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    if *version != VERSION {
        return Err(CodecError::Version(*version));
    }
    let config = bincode::config::standard().with_limit::<MOST>();
    let (value, read) = bincode::serde::decode_from_slice(body, config)
        .map_err(|e| CodecError::Malformed(e.to_string()))?;
    match body.len().saturating_sub(read) {
        0 => Ok(value),
        left => Err(CodecError::Trailing(left)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_refusals() {
        let value = (7u64, "seven".to_owned(), vec![1u8, 2, 3]);
        let bytes = encode(&value);
        assert_eq!(decode::<(u64, String, Vec<u8>)>(&bytes).unwrap(), value);
        assert!(matches!(decode::<u64>(&[]), Err(CodecError::Empty)));
        assert!(matches!(decode::<u64>(&[9, 1]), Err(CodecError::Version(9))));
        assert!(matches!(decode::<u64>(&[1, 1, 1]), Err(CodecError::Trailing(1))));
        assert!(decode::<String>(&[1, 253, 255, 255, 255, 255, 0, 0, 0, 0]).is_err());
    }
}
