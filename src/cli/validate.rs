//! `validate`, `keygen` and `config reference`: what needs no agent.

use std::path::PathBuf;

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::screen::{DONE, Screen};
use crate::config::{Format, reference, validate};
use crate::node::judge;

/// Bytes of a gossip key.
const KEY_BYTES: usize = 32;

/// Checks configuration files as the agent would.
#[derive(Debug, clap::Args)]
pub(super) struct Validate {
    /// Read every file as this, whatever its name: hcl or json.
    #[arg(long = "config-format", value_name = "format")]
    config_format: Option<String>,
    /// Say nothing if all is well.
    #[arg(long)]
    quiet: bool,
    #[arg(value_name = "FILE_OR_DIRECTORY")]
    args: Vec<String>,
}

/// Generates a new key for gossip encryption.
#[derive(Debug, clap::Args)]
pub(super) struct Keygen {
    #[arg(hide = true)]
    args: Vec<String>,
}

/// What the agent can be told.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Configs {
    /// Prints every option as a page of markdown.
    Reference(Reference),
}

/// Prints every option as a page of markdown.
#[derive(Debug, clap::Args)]
pub(super) struct Reference {
    #[arg(hide = true)]
    args: Vec<String>,
}

impl Validate {
    pub(super) fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let format = match self.config_format.as_deref().map(Format::named).transpose() {
            Ok(format) => format,
            Err(error) => return screen.fail(error),
        };
        if self.args.is_empty() {
            return screen.fail("Must specify at least one config file or directory");
        }
        let paths: Vec<_> = self.args.iter().map(PathBuf::from).collect();
        let judged = validate(&paths, format).map_err(|error| error.to_string());
        let judged = judged.and_then(|config| match judge(&config) {
            Ok(()) => Ok(config),
            Err(error) => Err(error.to_string()),
        });
        match judged {
            Err(error) => screen.fail(format_args!("Config validation failed: {error}")),
            Ok(_) if self.quiet => Ok(DONE),
            Ok(config) => {
                for warning in config.warnings {
                    screen.say(warning)?;
                }
                screen.say("Configuration is valid!")?;
                Ok(DONE)
            }
        }
    }
}

impl Keygen {
    pub(super) fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let Self { args: _ } = self;
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
        screen.say(BASE64_STANDARD.encode(key))?;
        Ok(DONE)
    }
}

impl Configs {
    pub(super) fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let Self::Reference(Reference { args: _ }) = self;
        write!(screen.out, "{}", reference())?;
        Ok(DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::run_words;
    use super::*;

    fn run(line: &[&str]) -> (u8, String) {
        let words: Vec<_> = line.iter().map(|&word| word.to_owned()).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run_words("portolan", &words, &mut Screen { out: &mut out, err: &mut err });
        out.extend(err);
        (code, String::from_utf8(out).unwrap())
    }

    #[test]
    fn files_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.json");
        let name = file.to_str().unwrap();
        std::fs::write(&file, "{}").unwrap();
        let told = "Config validation failed: data_dir cannot be empty\n";
        assert_eq!(run(&["validate", name]), (1, told.to_owned()));
        std::fs::write(&file, r#"{"data_dir": "/x", "node_name": "n"}"#).unwrap();
        assert_eq!(run(&["validate", name]), (0, "Configuration is valid!\n".to_owned()));
        let service = r#"{"data_dir": "/x", "node_name": "n", "service": {"name": "a", "check": {"http": "x"}}}"#;
        std::fs::write(&file, service).unwrap();
        let told = "Config validation failed: definition \"a\": Invalid check: Interval must be \
                    > 0 for Script, HTTP, or TCP checks\n";
        assert_eq!(run(&["validate", name]), (1, told.to_owned()));
        let scripts = r#"{"data_dir": "/x", "node_name": "n", "enable_local_script_checks": true,
            "check": {"name": "a", "args": ["true"], "interval": "1s"}}"#;
        std::fs::write(&file, scripts).unwrap();
        assert_eq!(run(&["validate", name]).0, 0);
        let folder = dir.path().to_str().unwrap();
        assert_eq!(run(&["validate", "-quiet", folder]), (0, String::new()));
        let told = "Must specify at least one config file or directory\n";
        assert_eq!(run(&["validate"]), (1, told.to_owned()));
        assert_eq!(run(&["validate", "-config-format=x", name]).0, 1);
    }

    #[test]
    fn keys_are_random_and_long_enough() {
        let (code, one) = run(&["keygen"]);
        assert_eq!((code, BASE64_STANDARD.decode(one.trim()).unwrap().len()), (0, KEY_BYTES));
        assert_ne!(run(&["keygen"]).1, one);
        assert!(run(&["config", "reference"]).1.starts_with("# Configuration reference"));
    }
}
