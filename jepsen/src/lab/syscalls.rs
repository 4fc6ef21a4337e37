//! System calls of one process that fail or are slow, by strace: for programs of any language,
//! on any disk.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::LabError;
use super::process::{Daemon, Program};

/// What becomes of every `fsync` and `fdatasync` of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncFault {
    /// It fails with EIO, and nothing is synced.
    Fails,
    /// It takes this much longer.
    Slow {
        /// In microseconds.
        delay_us: u64,
    },
}

impl SyncFault {
    /// As strace wants it.
    fn text(self) -> String {
        match self {
            Self::Fails => "inject=fsync,fdatasync:error=EIO".to_owned(),
            Self::Slow { delay_us } => format!("inject=fsync,fdatasync:delay_enter={delay_us}"),
        }
    }
}

/// A tracer that breaks the calls of a process, until it is dropped.
#[derive(Debug)]
pub struct Tracer {
    _strace: Daemon,
}

impl Tracer {
    /// Breaks the syncs of a process that runs, all its threads, from about now on. What strace
    /// says goes to the log, which is empty while all is well.
    ///
    /// # Errors
    ///
    /// If strace cannot be started.
    pub fn attach(pid: u32, fault: SyncFault, log: impl Into<PathBuf>) -> Result<Self, LabError> {
        let program = Program::new("strace", "strace", log)
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e"])
            .args([fault.text(), "-p".to_owned(), pid.to_string()]);
        Daemon::start_outside(program).map(|strace| Self { _strace: strace })
    }
}
