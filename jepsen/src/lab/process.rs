//! Programs in hosts: started, paused, killed, started again; their words kept in a file.
//!
//! A daemon and its children are one process group, which is killed when the value is dropped,
//! and, by the kernel, when this program dies without a chance to drop anything.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::LabError;
use super::network::Host;

/// What to run: a program, its arguments and environment, where its words go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Name of the daemon in errors.
    pub name: String,
    /// The file to run.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Environment variables that it gets besides those of this process.
    pub environment: Vec<(String, String)>,
    /// The namespace of mounts that it runs in, if not this process's own: that of a
    /// [disk](super::disk::Disk::mounts), which must outlive it. Paths must be absolute then.
    pub mounts: Option<PathBuf>,
    /// The folder that it runs in, if not this process's own.
    pub folder: Option<PathBuf>,
    /// The file that its standard output and error are appended to, over all its starts.
    pub log: PathBuf,
}

impl Program {
    /// A program without arguments that logs to this file.
    pub fn new(name: &str, program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            mounts: None,
            folder: None,
            log: log.into(),
        }
    }

    /// The same with these arguments added.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// The same with an environment variable added.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }
}

/// A program that runs in a host, or did. Dropping it kills it and its children.
#[derive(Debug)]
pub struct Daemon {
    program: Program,
    /// How its namespace is entered; none is this process's own.
    space: Option<PathBuf>,
    child: Option<Child>,
}

impl Daemon {
    /// Starts a program in a host. It returns at once: whether the program serves is not known.
    ///
    /// # Errors
    ///
    /// If the log cannot be opened or the program cannot be started. A program that does not exist
    /// shows only in its log and by [`Daemon::is_running`].
    pub fn start(host: &Host, program: Program) -> Result<Self, LabError> {
        Self::start_at(Some(host.path()), program)
    }

    /// Starts a program outside all hosts.
    ///
    /// # Errors
    ///
    /// As [`Daemon::start`].
    pub fn start_outside(program: Program) -> Result<Self, LabError> {
        Self::start_at(None, program)
    }

    fn start_at(space: Option<PathBuf>, program: Program) -> Result<Self, LabError> {
        let mut daemon = Self { program, space, child: None };
        daemon.restart()?;
        Ok(daemon)
    }

    /// Starts it again with the same arguments; kills it before if it runs.
    ///
    /// # Errors
    ///
    /// As [`Daemon::start`].
    pub fn restart(&mut self) -> Result<(), LabError> {
        self.kill();
        let failed = |error: std::io::Error| LabError::new(&self.program.name, error);
        let log = self.open_log().map_err(failed)?;
        let again = log.try_clone().map_err(failed)?;
        // Killed by the kernel once the thread that started it ends: the starter never does
        // while this process lives.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        let network = self.space.iter().map(|space| format!("--net={}", space.display()));
        let mounts = self.program.mounts.iter();
        let mounts = mounts.map(|space| format!("--mount={}", space.display()));
        let spaces: Vec<String> = network.chain(mounts).collect();
        if !spaces.is_empty() {
            command.arg("nsenter").args(spaces).arg("--");
        }
        command.arg(&self.program.program).args(&self.program.arguments);
        command.envs(self.program.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.program.folder {
            command.current_dir(folder);
        }
        command.stdin(Stdio::null()).stdout(log).stderr(again).process_group(0);
        self.child = Some(spawn(command).map_err(failed)?);
        Ok(())
    }

    /// What runs from the next start on.
    pub fn program_mut(&mut self) -> &mut Program {
        &mut self.program
    }

    /// What runs, or would.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Kills it and its children at once (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal_group(&child, Signal::KILL);
        // It was sent what no process survives, and this is its parent: the wait can only succeed.
        drop(child.wait());
    }

    /// Asks it to stop in order (SIGTERM). Does not wait.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it in its tracks (SIGSTOP): it neither runs nor closes its sockets.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after a pause (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends it and its children a signal, if it runs.
    pub fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            signal_group(child, signal);
        }
    }

    /// Waits until it has ended, at most this long; none if it still runs then, or never ran.
    pub fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        let pid = pid(child)?;
        if let Ok(file) = pidfd_open(pid, PidfdFlags::empty()) {
            let limit = Timespec::try_from(limit).ok();
            // Whether it ended or not is asked below in any case.
            let _ = poll(&mut [PollFd::new(&file, PollFlags::IN)], limit.as_ref());
        }
        let status = child.try_wait().ok()??;
        // What it left behind has no parent any more.
        signal_group(child, Signal::KILL);
        self.child = None;
        Some(status)
    }

    /// Its process id, if it was started and not seen to end.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it runs (a paused one does).
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The file that its words are in.
    pub fn log(&self) -> &Path {
        &self.program.log
    }

    fn open_log(&self) -> std::io::Result<File> {
        OpenOptions::new().create(true).append(true).open(&self.program.log)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Sends a signal to a child and to all that it started. One that is gone cannot be hurt.
fn signal_group(child: &Child, signal: Signal) {
    if let Some(pid) = pid(child) {
        let _ = kill_process_group(pid, signal);
    }
}

type Order = (Command, SyncSender<std::io::Result<Child>>);

/// Starts a child from the one thread that lives as long as this process.
fn spawn(command: Command) -> std::io::Result<Child> {
    static STARTER: OnceLock<SyncSender<Order>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, to_start) = sync_channel::<Order>(0);
        std::thread::spawn(move || {
            while let Ok((mut command, answer)) = to_start.recv() {
                // Who asked and went away drops the child, which is then not waited for.
                drop(answer.send(command.spawn()));
            }
        });
        orders
    });
    let gone = || std::io::Error::other("the thread that starts programs is gone");
    let (answer, started) = sync_channel(1);
    starter.send((command, answer)).map_err(|_order| gone())?;
    started.recv().map_err(|_closed| gone())?
}
