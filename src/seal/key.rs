//! One key, and what is derived from it for each use.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::digest::{Context, SHA256};

use super::error::KeyringError;

/// Bytes of a key's mark.
pub(super) const MARK_BYTES: usize = 4;

/// A key of the ring. What is used of it is derived, each for one purpose alone, so that all
/// lengths of keys end as 256 bits.
pub(super) struct Key {
    /// The key itself, in base64.
    pub(super) text: String,
    /// Tells which key something is sealed with; says nothing about the key.
    pub(super) mark: [u8; MARK_BYTES],
    /// Seals packets.
    pub(super) cipher: LessSafeKey,
    /// What both sides of a connection know.
    pub(super) secret: [u8; 32],
}

impl Key {
    /// Reads a key from base64.
    ///
    /// # Errors
    ///
    /// No base64, or not of 16, 24 or 32 bytes.
    pub(super) fn read(text: &str) -> Result<Key, KeyringError> {
        let bytes = STANDARD.decode(text).map_err(|error| misread(text, &error))?;
        if ![16, 24, 32].contains(&bytes.len()) {
            return Err(KeyringError::Size);
        }
        let [a, b, c, d, ..] = derived("mark", &bytes);
        let cipher = UnboundKey::new(&AES_256_GCM, &derived("packets", &bytes));
        let cipher = cipher.expect("a digest is as long as the key");
        Ok(Key {
            text: STANDARD.encode(&bytes),
            mark: [a, b, c, d],
            cipher: LessSafeKey::new(cipher),
            secret: derived("streams", &bytes),
        })
    }
}

fn derived(purpose: &str, key: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(b"portolan seal 1 ");
    context.update(purpose.as_bytes());
    context.update(&[0]);
    context.update(key);
    context.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// Where Go's decoder would stop.
fn misread(text: &str, error: &base64::DecodeError) -> KeyringError {
    KeyringError::Base64(match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => {
            *at
        }
        base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => {
            text.len() / 4 * 4
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_size_are_read_and_others_are_not() {
        for size in [16, 24, 32] {
            let text = STANDARD.encode(vec![7; size]);
            assert_eq!(Key::read(&text).unwrap().text, text);
        }
        for size in [0, 1, 15, 17, 31, 33] {
            let read = Key::read(&STANDARD.encode(vec![7; size]));
            assert_eq!(read.err().unwrap(), KeyringError::Size, "{size} bytes");
        }
        let refused = |text: &str| Key::read(text).err().unwrap().to_string();
        assert_eq!(refused("nope!"), "illegal base64 data at input byte 4");
        assert_eq!(refused("abc"), "illegal base64 data at input byte 0");
    }

    #[test]
    fn what_is_derived_differs_by_purpose_and_key() {
        let (one, two) = (derived("mark", b"k"), derived("packets", b"k"));
        assert_ne!(one, two);
        assert_ne!(one, derived("mark", b"l"));
        // A purpose that runs on into the key is another one.
        assert_ne!(derived("ma", b"rk"), derived("mar", b"k"));
    }
}
