//! An entry of the key-value space.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ids::{Index, SessionId};

/// One key with its value. Source: Consul HTTP API, "KV Store".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvEntry {
    /// The key, at most [`crate::limits::KEY_BYTES_MAX`] bytes; no leading slash is implied.
    pub key: String,
    /// The value; may be empty.
    pub value: Bytes,
    /// The caller's own number.
    pub flags: u64,
    /// Who holds the lock.
    pub session: Option<SessionId>,
    /// How often the lock was acquired by a new holder.
    pub lock_index: u64,
    /// The index that created the key.
    pub create: Index,
    /// The index that last changed it.
    pub modify: Index,
}
