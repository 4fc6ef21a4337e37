//! What Noise computes with, all of it ring's: no second library of ciphers for one handshake.

use parking_lot::Mutex;
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::rand::SystemRandom;
use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, RingResolver};
use snow::types::{Cipher, Dh, Hash, Random};

/// Bytes of a public key, and of what two sides agree on.
const KEY_BYTES: usize = 32;

/// ring's ciphers and digests as snow knows them, and its X25519, which snow leaves to others.
pub(super) struct Primitives;

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        RingResolver.resolve_rng()
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::<Exchange>::default()),
            DHChoice::Curve448 => None,
        }
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        RingResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        RingResolver.resolve_cipher(choice)
    }
}

/// A pair of keys for one connection, used once and then gone.
#[derive(Default)]
struct Exchange {
    private: Mutex<Option<EphemeralPrivateKey>>,
    public: [u8; KEY_BYTES],
}

impl Dh for Exchange {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        KEY_BYTES
    }

    fn priv_len(&self) -> usize {
        KEY_BYTES
    }

    /// Nothing: the pattern has no keys that last, and a key that is not there agrees on nothing.
    fn set(&mut self, _private: &[u8]) {}

    fn generate(&mut self, _random: &mut dyn Random) -> Result<(), Error> {
        let random = SystemRandom::new();
        let private = EphemeralPrivateKey::generate(&X25519, &random).map_err(unspecified)?;
        let public = private.compute_public_key().map_err(unspecified)?;
        self.public = public.as_ref().try_into().map_err(|_length| Error::Dh)?;
        *self.private.lock() = Some(private);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    /// Nothing: ring gives no private key away.
    fn privkey(&self) -> &[u8] {
        &[]
    }

    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let private = self.private.lock().take().ok_or(Error::Dh)?;
        let public = public.get(..KEY_BYTES).ok_or(Error::Dh)?;
        let public = UnparsedPublicKey::new(&X25519, public);
        let agreed = agree_ephemeral(private, &public, |secret| match out.get_mut(..KEY_BYTES) {
            Some(out) if secret.len() == KEY_BYTES => {
                out.copy_from_slice(secret);
                Ok(())
            }
            _ => Err(Error::Dh),
        });
        agreed.map_err(unspecified)?
    }
}

fn unspecified(ring::error::Unspecified: ring::error::Unspecified) -> Error {
    Error::Dh
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> Exchange {
        let mut exchange = Exchange::default();
        exchange.generate(&mut *RingResolver.resolve_rng().unwrap()).unwrap();
        exchange
    }

    #[test]
    fn two_sides_agree_once_and_nobody_agrees_on_nothing() {
        let (one, two) = (pair(), pair());
        let (mut a, mut b) = ([0; 56], [0; 56]);
        one.dh(&two.public, &mut a).unwrap();
        two.dh(&one.public, &mut b).unwrap();
        assert_eq!(a, b);
        assert_ne!(a, [0; 56]);
        assert!(one.dh(&two.public, &mut a).is_err(), "a key is used once");
        // A public key of zeros would make the secret one that everybody knows.
        assert!(pair().dh(&[0; KEY_BYTES], &mut a).is_err());
        assert!(pair().dh(&[1; 5], &mut a).is_err());
    }
}
