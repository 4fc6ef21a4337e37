//! The keys under which this agent speaks to the others, as the configuration and the kept ring
//! say.

use std::path::Path;

use super::run::NodeError;
use crate::config::Config;
use crate::seal::{Keyring, KeyringError, Verify};

/// Where the ring is kept below the data folder. Consul keeps it in a file of the same name.
const FILE: &str = "serf/local.keyring";

/// Refuses a configured key that is none, in Consul's words.
pub(super) fn judge(config: &Config) -> Result<(), NodeError> {
    Keyring::load(config.encrypt.key.as_deref(), None).map(drop).map_err(|error| said(&error))
}

/// Loads the ring. Keys that are kept win over the configured one, which is then only the first.
pub(super) fn load(config: &Config, dir: &Path) -> Result<Keyring, NodeError> {
    let asked = &config.encrypt;
    let kept = !config.dev && !asked.disable_keyring_file;
    let file = kept.then(|| dir.join(FILE));
    judge(config)?;
    if let Some(file) = file.as_ref().filter(|file| asked.key.is_some() && file.exists()) {
        let file = file.display();
        tracing::warn!(%file, "encrypt is set, but a keyring is kept: its keys are used");
    }
    let keyring = Keyring::load(asked.key.as_deref(), file).map_err(|error| said(&error))?;
    let verify = Verify { incoming: asked.verify_incoming, outgoing: asked.verify_outgoing };
    if keyring.is_on() && verify != Verify::ALL {
        tracing::warn!(?verify, "plain text may pass between agents, although there is a key");
    }
    Ok(keyring.verifying(verify))
}

fn said(error: &KeyringError) -> NodeError {
    NodeError::Config(match error {
        KeyringError::Base64(_) => format!("encrypt has invalid key: {error}"),
        KeyringError::Size => format!("Failed to configure keyring: Invalid key: {error}"),
        _ => format!("Failed to configure keyring: {error}"),
    })
}
