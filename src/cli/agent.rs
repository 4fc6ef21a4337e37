//! `agent`: reads the configuration and hands over to a node.

use std::process::ExitCode;

use anyhow::Result;

use super::screen::{FAILED, Screen};
use crate::config::Config;

/// The configuration, or the exit code where there is none to run with.
///
/// Warnings stay in the configuration: the node logs them once its log is open.
pub(super) fn load(args: &[String], screen: &mut Screen<'_>) -> Result<Config, ExitCode> {
    Config::load(args).map_err(|error| {
        // Where even standard error is gone, the exit code still tells.
        drop(screen.warn(format_args!("==> {error}")));
        ExitCode::from(FAILED)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_configuration_is_told_as_consul_does() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut screen = Screen { out: &mut out, err: &mut err };
        assert!(load(&["-node=n".to_owned()], &mut screen).is_err());
        assert_eq!(String::from_utf8(err).unwrap(), "==> data_dir cannot be empty\n");
    }
}
