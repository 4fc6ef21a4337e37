//! A check that runs a program: its exit code is the verdict, its output is kept. The program has
//! a process group of its own, and whoever is left in it goes with the time-out.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::model::CheckStatus;

use super::super::disk::Verdict;
use super::tail::Tail;
use super::words::{critical, plain, span_text};

/// Bytes that are read of an output at a time.
const READ_BYTES: usize = 8 * 1024;

/// A program and all that it began in its process group. Dropping it kills them.
#[derive(Debug)]
pub(in super::super) struct Group(Child);

impl Group {
    /// The program's input, once, if it has one.
    pub(in super::super) fn input(&mut self) -> Option<ChildStdin> {
        self.0.stdin.take()
    }

    /// Waits for the program's end. All its output must have been read before.
    pub(in super::super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }

    fn kill(&self) {
        // The number is its own as long as nobody waited for the child: then there is none here.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(Err(error)) = id.map(|id| kill_process_group(id, Signal::KILL)) {
            tracing::debug!(%error, "a check's program ended by itself before it was killed");
        }
    }

    /// Returns once the program is gone.
    pub(super) async fn gone(mut self) {
        if let Err(error) = self.0.wait().await {
            tracing::warn!(%error, "a check's program cannot be waited for");
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `args` within `patience` and keeps the last `output_max` bytes that it says.
///
/// Exit code 0 passes, 1 warns, all else is critical. The program has this process's environment
/// and folder. One that was killed may not be gone yet: then it is handed out with the verdict,
/// so that no second one is begun beside it.
///
/// Source: Consul, "Script checks".
pub(super) async fn run(
    args: &[String],
    patience: Duration,
    output_max: usize,
) -> (Verdict, Option<Group>) {
    let (mut group, mut output) = match begin(args) {
        Ok(begun) => begun,
        Err(why) => return (critical(why), None),
    };
    let mut tail = Tail::new(output_max);
    let ended = async {
        // All output first: the group's number cannot go to others before the child is waited for.
        read(&mut output, &mut tail).await?;
        group.0.wait().await
    };
    match timeout(patience, ended).await {
        Ok(Ok(status)) => (judge(status, tail.captured()), None),
        Ok(Err(error)) => (critical(plain(&error)), Some(group)),
        Err(_elapsed) => {
            group.kill();
            let said = tail.captured();
            let parted = if said.is_empty() { "" } else { "\n\n" };
            let text = format!("Timed out ({}) running check{parted}{said}", span_text(patience));
            (critical(text), Some(group))
        }
    }
}

/// Starts the program. Both of its outputs are one pipe, so that their lines stay in order.
fn begin(args: &[String]) -> Result<(Group, Receiver), String> {
    let (program, rest) = args.split_first().ok_or("need an executable to run")?;
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::null());
    start(command, program)
}

/// Starts a command, likewise.
///
/// # Errors
///
/// Why `program` does not start, as Go says it.
pub(in super::super) fn start(
    mut command: Command,
    program: &str,
) -> Result<(Group, Receiver), String> {
    let piped = || -> io::Result<_> {
        let (reader, writer) = io::pipe()?;
        Ok((Receiver::from_owned_fd(reader.into())?, writer.try_clone()?, writer))
    };
    let (output, one, other) = piped().map_err(|error| plain(&error))?;
    command.stdout(one).stderr(other);
    let child = command.process_group(0).kill_on_drop(true).spawn();
    // The command still holds its ends of the pipe: with them, the output would never end.
    drop(command);
    Ok((Group(child.map_err(|error| failed(program, &error))?), output))
}

/// Why a program does not start, as Go says it.
fn failed(program: &str, error: &io::Error) -> String {
    let sought = !program.is_empty() && !program.contains('/');
    if sought && error.kind() == io::ErrorKind::NotFound {
        return format!("exec: \"{program}\": executable file not found in $PATH");
    }
    format!("fork/exec {program}: {}", plain(error))
}

/// Reads an output to its end.
pub(in super::super) async fn read(output: &mut Receiver, tail: &mut Tail) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match output.read(&mut buffer).await? {
            0 => return Ok(()),
            count => tail.push(buffer.split_at(count).0),
        }
    }
}

fn judge(status: ExitStatus, output: String) -> Verdict {
    let status = match status.code() {
        Some(0) => CheckStatus::Passing,
        Some(1) => CheckStatus::Warning,
        _ => CheckStatus::Critical,
    };
    Verdict { status, output }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    const LONG: Duration = Duration::from_secs(20);

    async fn sh(script: &str, patience: Duration, max: usize) -> Verdict {
        let args = ["/bin/sh", "-c", script].map(str::to_owned);
        run(&args, patience, max).await.0
    }

    #[tokio::test]
    async fn the_exit_code_judges_and_the_output_is_kept() {
        for (script, status, output) in [
            ("echo out; echo err >&2", CheckStatus::Passing, "out\nerr\n"),
            ("exit 1", CheckStatus::Warning, ""),
            ("echo no; exit 2", CheckStatus::Critical, "no\n"),
            ("kill -9 $$", CheckStatus::Critical, ""),
            ("read line || echo nothing to read", CheckStatus::Passing, "nothing to read\n"),
            (
                "seq 1 3000",
                CheckStatus::Passing,
                "Captured 20 of 13893 bytes\n...\n2997\n2998\n2999\n3000\n",
            ),
        ] {
            let verdict = sh(script, LONG, 20).await;
            assert_eq!((verdict.status, verdict.output.as_str()), (status, output), "{script}");
        }
    }

    #[tokio::test]
    async fn a_program_that_does_not_start_is_critical() {
        for (program, why) in [
            ("/nope", "fork/exec /nope: no such file or directory"),
            ("nope-at-all", "exec: \"nope-at-all\": executable file not found in $PATH"),
            ("", "fork/exec : no such file or directory"),
            ("/", "fork/exec /: permission denied"),
        ] {
            let (verdict, group) = run(&[program.to_owned()], LONG, 99).await;
            assert_eq!((verdict, group.is_none()), (critical(why), true));
        }
    }

    /// The process that a script wrote the number of, once it is there.
    async fn written(file: &PathBuf) -> PathBuf {
        loop {
            let text = tokio::fs::read_to_string(file).await.unwrap_or_default();
            if let Some(id) = text.strip_suffix('\n') {
                return PathBuf::from(format!("/proc/{id}"));
            }
            tokio::task::yield_now().await;
        }
    }

    /// Whether a process runs; one that nobody waited for does not.
    fn lives(process: &Path) -> bool {
        let state = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
        state
            .rsplit(')')
            .next()
            .is_some_and(|rest| !rest.trim().is_empty() && !rest.contains(" Z "))
    }

    #[tokio::test]
    async fn the_time_out_takes_the_grandchildren_along() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("id");
        let script =
            format!("sh -c 'echo $$ > {0}; exec sleep 600' & echo hi; wait", file.display());
        let patience = Duration::from_millis(1500);
        let args = ["/bin/sh", "-c", &script].map(str::to_owned);
        let (verdict, group) = run(&args, patience, 99).await;
        assert_eq!(verdict, critical("Timed out (1.5s) running check\n\nhi\n"));
        group.unwrap().gone().await;
        let grandchild = written(&file).await;
        while lives(&grandchild) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn who_stays_behind_with_the_output_is_killed_too() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("id");
        let script = format!("sh -c 'echo $$ > {}; exec sleep 600' & exit 0", file.display());
        let verdict = sh(&script, Duration::from_millis(1500), 99).await;
        assert_eq!(verdict.output, "Timed out (1.5s) running check");
        let grandchild = written(&file).await;
        while lives(&grandchild) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn dropping_the_run_kills_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("id");
        let script = format!("echo $$ > {}; exec sleep 600", file.display());
        let process = tokio::select! {
            process = written(&file) => process,
            verdict = sh(&script, LONG, 99) => panic!("it ended: {verdict:?}"),
        };
        while lives(&process) {
            tokio::task::yield_now().await;
        }
    }
}
