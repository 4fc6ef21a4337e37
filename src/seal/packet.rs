//! Packets: a head, the nonce, the sealed bytes, their tag.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use ring::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::error::Unsealed;
use super::key::{Key, MARK_BYTES};

/// What a sealed packet begins with, and no plain one does.
const MAGIC: [u8; 2] = [0xd5, 0x9e];
/// Version of the form, behind the magic.
const VERSION: u8 = 1;
/// Magic, version and the key's mark.
const HEAD_BYTES: usize = MAGIC.len().saturating_add(1).saturating_add(MARK_BYTES);

/// Seals a packet; `label` is what it is for, and is needed to open it.
///
/// # Panics
///
/// If the system has no randomness, which Linux only says before it is up.
pub(super) fn seal(key: &Key, plain: &[u8], label: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    SystemRandom::new().fill(&mut nonce).expect("the system gives random bytes");
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend_from_slice(&MAGIC);
    head.push(VERSION);
    head.extend_from_slice(&key.mark);
    let tail = NONCE_LEN.saturating_add(AES_256_GCM.tag_len());
    let mut out = Vec::with_capacity(HEAD_BYTES.saturating_add(tail).saturating_add(plain.len()));
    out.extend_from_slice(&head);
    out.extend_from_slice(&nonce);
    let mut sealed = plain.to_vec();
    head.extend_from_slice(label);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let done = key.cipher.seal_in_place_append_tag(nonce, Aad::from(head), &mut sealed);
    done.expect("a packet is shorter than 64 GiB");
    out.append(&mut sealed);
    out
}

/// Whether these bytes are, or claim to be, a sealed packet.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Opens a packet with whichever of the keys it was sealed with.
pub(super) fn open(keys: &[Key], bytes: &[u8], label: &[u8]) -> Result<Vec<u8>, Unsealed> {
    let behind = bytes.strip_prefix(&MAGIC).ok_or(Unsealed::Plain)?;
    let (version, behind) = behind.split_first().ok_or(Unsealed::Damaged)?;
    if *version != VERSION {
        return Err(Unsealed::Version(*version));
    }
    let (mark, behind) = behind.split_first_chunk::<MARK_BYTES>().ok_or(Unsealed::Damaged)?;
    let (nonce, sealed) = behind.split_first_chunk::<NONCE_LEN>().ok_or(Unsealed::Damaged)?;
    let mut head = bytes.get(..HEAD_BYTES).ok_or(Unsealed::Damaged)?.to_vec();
    head.extend_from_slice(label);
    let mut failed = Unsealed::WrongKey;
    for key in keys.iter().filter(|key| key.mark == *mark) {
        let mut plain = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        match key.cipher.open_in_place(nonce, Aad::from(&head), &mut plain) {
            Ok(opened) => {
                let length = opened.len();
                plain.truncate(length);
                return Ok(plain);
            }
            Err(ring::error::Unspecified) => failed = Unsealed::Damaged,
        }
    }
    Err(failed)
}
