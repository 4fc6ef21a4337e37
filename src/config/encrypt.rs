//! `encrypt` and what goes with it: the key that a cluster's agents share.

use std::fmt;

use super::layer::Layer;

/// How traffic between agents is encrypted.
///
/// Source: Consul agent configuration, `encrypt`.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptOptions {
    /// The first key, in base64, as it stood there; whoever loads it says whether it is one.
    pub key: Option<String>,
    /// False to let plain text in, while encryption is being turned on.
    pub verify_incoming: bool,
    /// False to send plain text, likewise.
    pub verify_outgoing: bool,
    /// True if keys are kept nowhere but in memory.
    pub disable_keyring_file: bool,
}

impl fmt::Debug for EncryptOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptOptions")
            .field("key", &self.key.as_ref().map(|_| "hidden"))
            .field("verify_incoming", &self.verify_incoming)
            .field("verify_outgoing", &self.verify_outgoing)
            .field("disable_keyring_file", &self.disable_keyring_file)
            .finish()
    }
}

/// Reads the options.
pub(super) fn encrypt_of(layer: &Layer) -> EncryptOptions {
    let key = layer.text("encrypt");
    EncryptOptions {
        key: (!key.is_empty()).then(|| key.to_owned()),
        verify_incoming: layer.switch("encrypt_verify_incoming"),
        verify_outgoing: layer.switch("encrypt_verify_outgoing"),
        disable_keyring_file: layer.switch("disable_keyring_file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_shown() {
        let mut layer = Layer::defaults();
        assert_eq!(encrypt_of(&layer).key, None);
        layer.put(super::super::options::find("encrypt").unwrap(), "c2VjcmV0").unwrap();
        let options = encrypt_of(&layer);
        assert_eq!(options.key.as_deref(), Some("c2VjcmV0"));
        assert!(options.verify_incoming && options.verify_outgoing);
        assert!(!format!("{options:?}").contains("c2Vj"), "{options:?}");
    }
}
