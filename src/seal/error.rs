//! Why a key is not taken, and why bytes are not read. The first speak as Serf does.

use std::path::PathBuf;

use crate::limits::SEAL_KEYS_MAX;

/// Why a keyring is not loaded or not changed. No text holds a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// There is no keyring.
    #[error("No keyring to modify (encryption not enabled)")]
    Off,
    /// No base64, at this byte of the text.
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    /// Not the length of a key.
    #[error("key size must be 16, 24 or 32 bytes")]
    Size,
    /// A key cannot become the first that is not there.
    #[error("requested key is not in the keyring")]
    Absent,
    /// The key in use stays.
    #[error("removing the primary key is not allowed")]
    Primary,
    /// One key more would be too many.
    #[error("the keyring holds {SEAL_KEYS_MAX} keys already, and takes no more")]
    Full,
    /// A file without a key.
    #[error("no keys present in keyring: {}", .0.display())]
    Empty(PathBuf),
    /// The file cannot be read or written, or holds no list of keys.
    #[error("keyring {path}: {1}", path = .0.display())]
    File(PathBuf, String),
}

/// Why a packet or a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Unsealed {
    /// Sealed with a key that this keyring does not hold.
    #[error("it is encrypted with a key that is not in this keyring")]
    WrongKey,
    /// Not sealed, and this keyring wants it sealed.
    #[error("it is plain text, and this agent has an encryption key")]
    Plain,
    /// Sealed, and this keyring is off.
    #[error("it is encrypted, and this agent has no encryption key")]
    NoKey,
    /// Sealed by another version of this program.
    #[error("it is encrypted by format {0}, and this version reads format 1 alone")]
    Version(u8),
    /// Cut short, or changed on its way.
    #[error("it was damaged or changed on its way")]
    Damaged,
    /// The other side of a connection went away before both had agreed.
    #[error(
        "the other side ended the handshake: it stops, or has no encryption key, or another one"
    )]
    Ended,
}
