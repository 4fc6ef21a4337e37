//! bincode with limits behind a version byte: the one place that names it.

use serde::Serialize;
use serde::de::DeserializeOwned;

const VERSION: u8 = 1;
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The bytes cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// No bytes at all.
    #[error("empty record")]
    Empty,
    /// Written by another version.
    #[error("record has version {0}, this program reads version {VERSION}")]
    Version(u8),
    /// The bytes do not parse.
    #[error("malformed record: {0}")]
    Malformed(String),
}

/// The versioned bytes of `value`.
///
/// # Panics
///
/// If a type of ours cannot be serialised, which is our own mistake.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .expect("a record of ours serialises");
    bytes
}

/// Reads what [`encode`] wrote.
///
/// # Errors
///
/// [`CodecError`] for bytes of another version, malformed ones, and ones with a rest.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (version, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    if *version != VERSION {
        return Err(CodecError::Version(*version));
    }
    let config = bincode::config::standard().with_limit::<BYTES_MAX>();
    let (value, read) = bincode::serde::decode_from_slice(body, config)
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    if read != body.len() {
        return Err(CodecError::Malformed(format!("{} bytes behind it", body.len() - read)));
    }
    Ok(value)
}
