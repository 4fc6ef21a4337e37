//! Namespaces of the kernel, held by a file descriptor and nothing else: none of them outlives
//! this process and what runs inside.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::LabError;
use super::tools::run_with;

/// What a namespace keeps apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Network,
    Mounts,
}

/// A namespace, which lives as long as this, or something that runs in it.
#[derive(Debug)]
pub(crate) struct Space {
    file: File,
    what: What,
}

impl Space {
    /// A new network, with nothing in it but a loopback device that is down.
    pub(crate) fn network() -> Result<Self, LabError> {
        Self::new(What::Network)
    }

    /// All mounts as they are now; what is mounted inside is not seen outside.
    pub(crate) fn mounts() -> Result<Self, LabError> {
        Self::new(What::Mounts)
    }

    /// A child makes it, and ends once this process holds it too.
    fn new(what: What) -> Result<Self, LabError> {
        let failed = |error| LabError::new("a namespace", error);
        let (flag, file) = match what {
            What::Network => ("--net", "net"),
            What::Mounts => ("--mount", "mnt"),
        };
        let child = Command::new("unshare")
            .args([flag, "sh", "-c", "echo made && read held"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(failed)?;
        let mut made = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut made).map_err(failed)?;
        }
        let held = File::open(format!("/proc/{}/ns/{file}", child.id()));
        // Its end of the pipe closes with this wait, which ends the child.
        let ended = child.wait_with_output().map_err(failed)?;
        if made.trim() == "made" {
            return held.map(|file| Self { file, what }).map_err(failed);
        }
        let said = String::from_utf8_lossy(&ended.stderr);
        Err(LabError::new("a namespace", said.trim()))
    }

    /// A name for this namespace that other programs can open.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()))
    }

    /// A command that runs this program inside. The child becomes the program.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let flag = match self.what {
            What::Network => "net",
            What::Mounts => "mount",
        };
        let mut command = Command::new("nsenter");
        command.arg(format!("--{flag}={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// Moves the calling thread, and what it starts from now on, into this network.
    pub(crate) fn enter(&self) -> Result<(), LabError> {
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(self.file.as_fd(), kind)
            .map_err(|error| LabError::new("entering a namespace", error))
    }

    /// Runs commands of `ip` in this namespace, one a line, at one go.
    pub(crate) fn ip(&self, lines: &[String]) -> Result<(), LabError> {
        let script = lines.join("\n") + "\n";
        run_with(self.command("ip").args(["-batch", "-"]), &script).map(drop)
    }
}
