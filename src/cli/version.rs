//! `version`: what this program is.

use anyhow::Result;
use serde_json::json;

use super::screen::{DONE, Screen};

/// The version of Consul whose command line, HTTP API and DNS this program speaks.
const SPEAKS: &str = "1.8";

/// Prints the version.
#[derive(Debug, clap::Args)]
pub(super) struct Version {
    /// Output format: pretty or json.
    #[arg(long, value_name = "format", default_value = "pretty")]
    format: String,
    #[arg(hide = true)]
    args: Vec<String>,
}

impl Version {
    pub(super) fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        match self.format.as_str() {
            "pretty" => print(screen),
            "json" => {
                let version = json!({"Version": env!("CARGO_PKG_VERSION"), "Speaks": SPEAKS});
                screen.say(serde_json::to_string_pretty(&version)?)?;
                Ok(DONE)
            }
            other => screen.fail(format_args!("-format: {other:?} is neither pretty nor json")),
        }
    }
}

/// Prints the version for people.
pub(super) fn print(screen: &mut Screen<'_>) -> Result<u8> {
    let version = env!("CARGO_PKG_VERSION");
    screen.say(format_args!("Portolan v{version} (speaks Consul {SPEAKS})"))?;
    Ok(DONE)
}
