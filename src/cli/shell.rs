//! Children of `watch` and `lock`: how they are started, stopped, and spoken of.

use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::process::{Child, Command};

use crate::config::environment;

/// How long a child may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// A command of these words: run by the user's shell, or as they are.
pub(super) fn command(words: &[String], by_shell: bool) -> Option<Command> {
    let (first, rest) = words.split_first()?;
    if !by_shell {
        let mut command = Command::new(first);
        command.args(rest);
        return Some(command);
    }
    let shell = environment().shell.unwrap_or_else(|| "/bin/sh".to_owned());
    let mut command = Command::new(shell);
    command.arg("-c").arg(words.join(" "));
    Some(command)
}

/// Go's words for how a child ended, or `None` if it ended well.
pub(super) fn trouble(status: ExitStatus) -> Option<String> {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("exit status {code}")),
        (None, Some(2)) => Some("signal: interrupt".to_owned()),
        (None, Some(9)) => Some("signal: killed".to_owned()),
        (None, Some(15)) => Some("signal: terminated".to_owned()),
        (None, signal) => Some(format!("signal: {}", signal.unwrap_or_default())),
    }
}

/// Go's words for a child that could not be started.
pub(super) fn unstarted(words: &[String], error: &std::io::Error) -> String {
    let name = words.first().map_or("", String::as_str);
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("exec: {name:?}: executable file not found in $PATH")
        }
        _ => format!("exec: {name:?}: {error}"),
    }
}

/// Asks a child to end, waits a while, then makes it.
pub(super) async fn stop(child: &mut Child) -> Result<ExitStatus> {
    if let Some(id) = child.id() {
        // Without `unsafe` there is no kill(2); every system has the word in its shell.
        let asked = Command::new("/bin/sh").arg("-c").arg(format!("kill -TERM {id}")).status();
        asked.await.context("cannot signal the child")?;
    }
    if let Ok(ended) = tokio::time::timeout(GRACE, child.wait()).await {
        return Ok(ended?);
    }
    child.kill().await?;
    Ok(child.wait().await?)
}

/// Returns when this process is asked to stop.
pub(super) async fn interrupted() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn children_are_spoken_of_as_go_does() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let run = async |line: &str, by_shell: bool| {
            trouble(command(&words(line), by_shell).unwrap().status().await.unwrap())
        };
        assert_eq!(run("true", false).await, None);
        assert_eq!(run("exit 3", true).await.as_deref(), Some("exit status 3"));
        assert_eq!(run("kill -9 $$", true).await.as_deref(), Some("signal: killed"));
        let missing = words("no-such-program x");
        let error = command(&missing, false).unwrap().status().await.unwrap_err();
        let told = "exec: \"no-such-program\": executable file not found in $PATH";
        assert_eq!(unstarted(&missing, &error), told);
        let mut child = command(&words("exec sleep 60"), true).unwrap().spawn().unwrap();
        let ended = stop(&mut child).await.unwrap();
        assert_eq!(trouble(ended).as_deref(), Some("signal: terminated"));
    }
}
