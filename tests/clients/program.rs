//! A foreign program as a child of a test: where it lies, its folder, its output, its end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command as Blocking, Stdio};

use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Where Debian puts programs that are not for every user's path.
const FOLDERS: [&str; 4] =
    ["/usr/local/bin", "/usr/bin", "/usr/sbin", "/usr/lib/postgresql/15/bin"];
/// How many of the last lines of an output are shown when a test fails.
const LINES_SHOWN: usize = 40;
/// Files with the numbers of processes that outlive who started them: PostgreSQL goes on without
/// Patroni, in a session of its own. SIGQUIT ends it at once.
const NUMBERS: [&str; 1] = ["data/postmaster.pid"];

/// Where a program lies, if it is installed.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())
}

/// A running program; killed, with all that it started, when dropped.
pub(super) struct Program {
    name: String,
    child: Child,
    folder: TempDir,
}

impl Program {
    /// Starts it in a process group of its own, in this folder; `make` gets the folder and gives
    /// the command.
    pub(super) fn start_in(
        name: &str,
        folder: TempDir,
        make: impl FnOnce(&Path) -> Command,
    ) -> Self {
        let log = File::options().create(true).append(true).open(folder.path().join("output"));
        let log = log.expect("the output can be opened");
        let mut command = make(folder.path());
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} starts: {error}"));
        Self { name: name.into(), child, folder }
    }

    /// What it has printed so far.
    pub(super) fn output(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }

    /// Kills it and all of its process group at once (SIGKILL); gives back its folder.
    pub(super) async fn kill(mut self) -> TempDir {
        self.kill_group();
        self.child.wait().await.expect("the child can be waited for");
        let empty = TempDir::new().expect("a temporary folder");
        std::mem::replace(&mut self.folder, empty)
    }

    fn kill_group(&self) {
        if let Some(id) = self.child.id() {
            signal("KILL", &format!("-{id}"));
        }
    }

    /// Ends what it started outside of its process group and wrote the number of into a file of
    /// its folder, as the first line. For a program that does not run any more.
    fn end_children(&self) {
        for file in NUMBERS {
            let text = std::fs::read_to_string(self.folder.path().join(file)).unwrap_or_default();
            if let Some(id) = text.lines().next().and_then(|line| line.parse::<u32>().ok()) {
                signal("QUIT", &id.to_string());
            }
        }
    }
}

/// Sends a signal to a process, or to a group of them where its number is negative; who is gone
/// already needs none.
fn signal(name: &str, to: &str) {
    let sent = Blocking::new("sh").args(["-c", &format!("kill -{name} {to}")]).status();
    sent.expect("sh starts");
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill_group();
        self.end_children();
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<&str> = output.lines().collect();
            let from = lines.len().saturating_sub(LINES_SHOWN);
            eprintln!("--- the last lines of {} ---\n{}", self.name, lines[from..].join("\n"));
        }
    }
}
