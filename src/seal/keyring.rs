//! The ring of keys: which seals, which still open, and how they change while all goes on.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::error::{KeyringError, Unsealed};
use super::key::Key;
use super::notes::Notes;
use super::{file, packet};
use crate::limits::SEAL_KEYS_MAX;

/// The keys that this agent shares with its cluster. Cheap to clone; all clones are one ring.
///
/// The first key seals, every key opens. So a key is exchanged without loss in three rounds, each
/// at all agents before the next: [`install`](Self::install) the new one, [`use`](Self::use_key)
/// it, [`remove`](Self::remove) the old one. A connection goes on under the secrets that it began
/// with. A random nonce bounds how much one key should seal: exchange it before 4 billion packets.
#[derive(Clone)]
pub struct Keyring {
    inner: Arc<Inner>,
}

/// What is insisted on while encryption is being turned on in a cluster that runs. Source: Consul
/// agent configuration, `encrypt_verify_incoming` and `encrypt_verify_outgoing`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verify {
    /// Plain text that comes in is refused.
    pub incoming: bool,
    /// What goes out is encrypted.
    pub outgoing: bool,
}

impl Verify {
    /// The usual: nothing plain, either way.
    pub const ALL: Verify = Verify { incoming: true, outgoing: true };
}

struct Inner {
    /// The keys, the one in use first; empty if encryption is off.
    keys: RwLock<Arc<[Key]>>,
    file: Option<PathBuf>,
    /// Held by whoever changes the ring, until it is kept.
    changing: Mutex<()>,
    verify: Verify,
    notes: Notes,
}

impl Keyring {
    /// No encryption: everything passes as it is.
    pub fn off() -> Keyring {
        Keyring::of(Vec::new(), None, Verify::ALL)
    }

    /// The ring of a configuration. `initial` is the configured key: base64 of 16, 24 or 32 bytes.
    /// `file` is where the ring is kept across restarts; what stands there wins over `initial`,
    /// because keys may have been exchanged since that was written. Neither: off.
    ///
    /// # Errors
    ///
    /// `initial` is no key, or the file cannot be read, written, or understood.
    pub fn load(initial: Option<&str>, file: Option<PathBuf>) -> Result<Keyring, KeyringError> {
        let initial = initial.map(Key::read).transpose()?;
        let kept = file.as_deref().map(file::read).transpose()?.flatten();
        let keys = match (kept, initial) {
            (Some(kept), _) => read_all(&kept)?,
            (None, Some(key)) => {
                if let Some(file) = &file {
                    file::keep(file, &[&key.text])?;
                }
                vec![key]
            }
            (None, None) => Vec::new(),
        };
        Ok(Keyring::of(keys, file, Verify::ALL))
    }

    /// The same keys, less strict: while encryption is turned on in a cluster that runs.
    #[must_use]
    pub fn verifying(self, verify: Verify) -> Keyring {
        let keys = Arc::clone(&self.inner.keys.read());
        let file = self.inner.file.clone();
        let inner = Inner {
            keys: RwLock::new(keys),
            file,
            changing: Mutex::new(()),
            verify,
            notes: Notes::default(),
        };
        Keyring { inner: Arc::new(inner) }
    }

    fn of(keys: Vec<Key>, file: Option<PathBuf>, verify: Verify) -> Keyring {
        let (changing, notes) = (Mutex::new(()), Notes::default());
        let keys = RwLock::new(Arc::from(keys));
        Keyring { inner: Arc::new(Inner { keys, file, changing, verify, notes }) }
    }

    /// Whether there are keys.
    pub fn is_on(&self) -> bool {
        !self.inner.keys.read().is_empty()
    }

    /// The keys in base64, the one in use first. They are secrets: for the operator who asks.
    pub fn keys(&self) -> Vec<String> {
        self.snapshot().iter().map(|key| key.text.clone()).collect()
    }

    /// Adds a key, which opens from now on; no change if it is there. Returns when that is kept:
    /// it writes and syncs a small file.
    ///
    /// # Errors
    ///
    /// It is no key, the ring is off or full, or the file's; nothing has changed, then.
    pub fn install(&self, key: &str) -> Result<(), KeyringError> {
        let key = Key::read(key)?;
        self.change(|keys| {
            if keys.contains(&key.text) {
                return Ok(());
            }
            if keys.len() >= SEAL_KEYS_MAX {
                return Err(KeyringError::Full);
            }
            keys.push(key.text.clone());
            Ok(())
        })
    }

    /// Makes a key of the ring the one that seals; as [`Keyring::install`] otherwise.
    ///
    /// # Errors
    ///
    /// It is no key or not in the ring, the ring is off, or the file's.
    pub fn use_key(&self, key: &str) -> Result<(), KeyringError> {
        let key = Key::read(key)?;
        self.change(|keys| {
            let at = keys.iter().position(|text| *text == key.text);
            let at = at.ok_or(KeyringError::Absent)?;
            let text = keys.remove(at);
            keys.insert(0, text);
            Ok(())
        })
    }

    /// Takes a key out, which opens nothing any more; no change if it is not there. As
    /// [`Keyring::install`] otherwise.
    ///
    /// # Errors
    ///
    /// It is no key, or the one that seals; the ring is off, or the file's.
    pub fn remove(&self, key: &str) -> Result<(), KeyringError> {
        let key = Key::read(key)?;
        self.change(|keys| {
            if keys.first() == Some(&key.text) {
                return Err(KeyringError::Primary);
            }
            keys.retain(|text| *text != key.text);
            Ok(())
        })
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Vec<String>) -> Result<(), KeyringError>,
    ) -> Result<(), KeyringError> {
        let _changing = self.inner.changing.lock();
        let before = self.keys();
        if before.is_empty() {
            return Err(KeyringError::Off);
        }
        let mut after = before.clone();
        change(&mut after)?;
        if after == before {
            return Ok(());
        }
        let keys = read_all(&after)?;
        if let Some(file) = &self.inner.file {
            let texts: Vec<&str> = after.iter().map(String::as_str).collect();
            file::keep(file, &texts)?;
        }
        *self.inner.keys.write() = Arc::from(keys);
        tracing::info!(keys = after.len(), "the keyring has changed");
        Ok(())
    }

    /// Seals a packet; `label` says what it is, and opening it needs the same. Off: a copy.
    ///
    /// It grows by 35 bytes.
    pub fn seal(&self, plain: &[u8], label: &[u8]) -> Vec<u8> {
        match self.outgoing().first() {
            Some(key) => packet::seal(key, plain, label),
            None => plain.to_vec(),
        }
    }

    /// Opens a packet with whichever key of the ring it was sealed with. Off: a copy.
    ///
    /// # Errors
    ///
    /// [`Unsealed`] says why it is to be dropped; see [`Keyring::note`].
    pub fn unseal(&self, sealed: &[u8], label: &[u8]) -> Result<Vec<u8>, Unsealed> {
        let keys = self.snapshot();
        if keys.is_empty() {
            let is_sealed = packet::is_sealed(sealed);
            return if is_sealed { Err(Unsealed::NoKey) } else { Ok(sealed.to_vec()) };
        }
        match packet::open(&keys, sealed, label) {
            Err(Unsealed::Plain) if !self.inner.verify.incoming => Ok(sealed.to_vec()),
            opened => opened,
        }
    }

    /// Logs that something of `from` was refused: the first time, and then once an hour at most.
    pub fn note(&self, from: impl fmt::Display, cause: Unsealed) {
        let from = from.to_string();
        if self.inner.notes.is_new(&from, cause) {
            tracing::warn!(%from, "traffic refused: {cause}");
        }
    }

    /// The keys as they are now.
    pub(super) fn snapshot(&self) -> Arc<[Key]> {
        Arc::clone(&self.inner.keys.read())
    }

    /// The keys as they are now, or none if what goes out stays plain.
    pub(super) fn outgoing(&self) -> Arc<[Key]> {
        if self.inner.verify.outgoing { self.snapshot() } else { Arc::from([]) }
    }

    pub(super) fn verify(&self) -> Verify {
        self.inner.verify
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring of {} keys", self.snapshot().len())
    }
}

fn read_all(texts: &[String]) -> Result<Vec<Key>, KeyringError> {
    if texts.len() > SEAL_KEYS_MAX {
        return Err(KeyringError::Full);
    }
    texts.iter().map(|text| Key::read(text)).collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn key(size: usize, of: u8) -> String {
        STANDARD.encode(vec![of; size])
    }

    fn ring(text: &str) -> Keyring {
        Keyring::load(Some(text), None).unwrap()
    }

    #[test]
    fn packets_come_back_under_keys_of_every_size() {
        for size in [16, 24, 32] {
            let ring = ring(&key(size, 1));
            assert!(ring.is_on());
            for length in [0, 1, 1400, 65_536] {
                let plain = vec![b'n'; length];
                let sealed = ring.seal(&plain, b"gossip");
                assert_eq!(sealed.len(), length + 35);
                assert_ne!(sealed, ring.seal(&plain, b"gossip"), "no nonce twice");
                assert_eq!(ring.unseal(&sealed, b"gossip").unwrap(), plain);
                assert_eq!(ring.unseal(&sealed, b"other"), Err(Unsealed::Damaged));
            }
        }
        let sealed = ring(&key(32, 1)).seal(b"name-of-a-node", b"gossip");
        assert!(!sealed.windows(4).any(|bytes| b"name-of-a-node".windows(4).any(|n| n == bytes)));
    }

    #[test]
    fn a_change_of_any_byte_and_any_cut_is_seen() {
        let ring = ring(&key(16, 1));
        let sealed = ring.seal(b"hello", b"l");
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                assert!(ring.unseal(&changed, b"l").is_err(), "byte {at}, bit {bit}");
            }
            assert!(ring.unseal(&sealed[..at], b"l").is_err(), "cut at {at}");
        }
        assert_eq!(ring.unseal(&sealed[..20], b"l"), Err(Unsealed::Damaged));
        let mut newer = sealed;
        newer[2] = 2;
        assert_eq!(ring.unseal(&newer, b"l"), Err(Unsealed::Version(2)));
    }

    #[test]
    fn wrong_keys_plain_text_and_no_keys_are_told_apart() {
        let (one, two, off) = (ring(&key(16, 1)), ring(&key(16, 2)), Keyring::off());
        let sealed = one.seal(b"hello", b"l");
        assert_eq!(two.unseal(&sealed, b"l"), Err(Unsealed::WrongKey));
        assert_eq!(one.unseal(b"hello", b"l"), Err(Unsealed::Plain));
        assert_eq!(off.unseal(&sealed, b"l"), Err(Unsealed::NoKey));
        assert_eq!(off.unseal(&off.seal(b"hello", b"l"), b"l").unwrap(), b"hello");
        assert!(!off.is_on() && off.keys().is_empty());
        assert_eq!(off.install(&key(16, 1)), Err(KeyringError::Off));
        assert_eq!(format!("{one:?}"), "Keyring of 1 keys");
    }

    #[test]
    fn a_cluster_that_turns_encryption_on_passes_both() {
        let strict = ring(&key(16, 1));
        let step = |verify| ring(&key(16, 1)).verifying(verify);
        let first = step(Verify { incoming: false, outgoing: false });
        let second = step(Verify { incoming: false, outgoing: true });
        assert_eq!(first.seal(b"hello", b"l"), b"hello");
        for lenient in [&first, &second] {
            assert_eq!(lenient.unseal(b"hello", b"l").unwrap(), b"hello");
            assert_eq!(lenient.unseal(&strict.seal(b"a", b"l"), b"l").unwrap(), b"a");
        }
        assert_eq!(strict.unseal(&second.seal(b"a", b"l"), b"l").unwrap(), b"a");
        assert_eq!(strict.unseal(&first.seal(b"a", b"l"), b"l"), Err(Unsealed::Plain));
    }

    #[test]
    fn keys_are_exchanged_without_a_packet_that_nobody_opens() {
        type Round = fn(&Keyring, &str, &str) -> Result<(), KeyringError>;
        let (old, new) = (key(16, 1), key(32, 2));
        let (a, b) = (ring(&old), ring(&old));
        let both_hear = || {
            for (from, to) in [(&a, &b), (&b, &a)] {
                assert_eq!(to.unseal(&from.seal(b"x", b"l"), b"l").unwrap(), b"x");
            }
        };
        let rounds: [Round; 3] = [
            |ring, _, new| ring.install(new),
            |ring, _, new| ring.use_key(new),
            |ring, old, _| ring.remove(old),
        ];
        for round in rounds {
            round(&a, &old, &new).unwrap();
            both_hear();
            round(&b, &old, &new).unwrap();
            both_hear();
        }
        assert_eq!(a.keys(), [new]);
        assert_eq!(a.unseal(&ring(&old).seal(b"x", b"l"), b"l"), Err(Unsealed::WrongKey));
    }

    #[test]
    fn changes_are_refused_in_serfs_words() {
        let ring = ring(&key(16, 1));
        let told = |done: Result<(), KeyringError>| done.unwrap_err().to_string();
        assert_eq!(told(ring.use_key(&key(16, 2))), "requested key is not in the keyring");
        assert_eq!(told(ring.remove(&key(16, 1))), "removing the primary key is not allowed");
        assert_eq!(told(ring.install("AAAA")), "key size must be 16, 24 or 32 bytes");
        assert_eq!(told(ring.install("nope!")), "illegal base64 data at input byte 4");
        assert_eq!(ring.remove(&key(16, 9)), Ok(()));
        for of in 2..=u8::try_from(SEAL_KEYS_MAX).unwrap() {
            ring.install(&key(16, of)).unwrap();
            ring.install(&key(16, of)).unwrap();
        }
        assert_eq!(ring.keys().len(), SEAL_KEYS_MAX);
        assert_eq!(ring.install(&key(16, 99)), Err(KeyringError::Full));
        assert_eq!(ring.keys()[0], key(16, 1));
    }

    #[test]
    fn the_ring_that_is_kept_wins_over_the_configured_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = Some(dir.path().join("serf/local.keyring"));
        assert!(!Keyring::load(None, path.clone()).unwrap().is_on());
        let ring = Keyring::load(Some(&key(16, 1)), path.clone()).unwrap();
        ring.install(&key(32, 2)).unwrap();
        ring.use_key(&key(32, 2)).unwrap();
        for initial in [None, Some(key(16, 3))] {
            let again = Keyring::load(initial.as_deref(), path.clone()).unwrap();
            assert_eq!(again.keys(), [key(32, 2), key(16, 1)]);
        }
        assert!(
            Keyring::load(Some("AAAA"), path.clone()).is_err(),
            "a bad key is one all the same"
        );
        std::fs::write(path.clone().unwrap(), r#"["AAAA"]"#).unwrap();
        assert!(Keyring::load(None, path).is_err());
    }

    #[test]
    fn a_change_that_cannot_be_kept_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("serf");
        let path = folder.join("local.keyring");
        let ring = Keyring::load(Some(&key(16, 1)), Some(path)).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::write(&folder, "in the way").unwrap();
        assert!(matches!(ring.install(&key(16, 2)), Err(KeyringError::File(..))));
        assert_eq!(ring.keys(), [key(16, 1)]);
    }
}
