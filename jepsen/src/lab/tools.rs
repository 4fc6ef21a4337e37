//! Runs the system's own programs, and keeps what they said when they failed.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::LabError;

/// Runs a program to its end and returns what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String, LabError> {
    run_with(command, "")
}

/// Runs a program to its end with this on its standard input, and returns what it printed.
pub(crate) fn run_with(command: &mut Command, input: &str) -> Result<String, LabError> {
    let name = format!("{command:?}");
    let failed = |error: std::io::Error| LabError::new(&name, error);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let told = match child.stdin.take() {
        Some(mut stdin) => stdin.write_all(input.as_bytes()),
        None => Ok(()),
    };
    let ended = child.wait_with_output().map_err(failed)?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        return Err(LabError::new(&name, format!("{}: {}", ended.status, said.trim())));
    }
    told.map_err(failed)?;
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}
