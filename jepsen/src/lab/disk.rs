//! A disk that loses its power, lies, fails, is slow or full: an ext4 on a loop device whose file
//! is served by this process.
//!
//! All its mounts are in a namespace of their own, which a program must be started in to see it
//! (see [`Program::mounts`](super::process::Program::mounts)). So they are gone with this process,
//! and so is the content, which is nowhere but in memory.

use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use fuser::{Config, Session, SessionACL};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::LabError;
use super::disk_file::{Content, DiskFile, Faults, NAME};
use super::space::Space;
use super::tools::run;

/// What of the writes that no flush had followed is gone after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// All of them.
    Drop,
    /// Some of them, each as a whole.
    Subset,
    /// Some sectors of each.
    Torn,
    /// None.
    Nothing,
}

/// How a disk fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskFault {
    /// Its power is cut.
    Power(Loss),
    /// Every write fails.
    FailedWrite,
    /// Every flush fails.
    FailedFlush,
    /// It answers flushes and does not flush. Shows only at the next power cut.
    Lies,
    /// Every write and flush takes this much longer.
    Slow {
        /// In microseconds.
        delay_us: u64,
    },
    /// Every flush takes this much longer, as on a disk that turns. A power cut is then likely to
    /// find writes that are not flushed.
    SlowFlush {
        /// In microseconds.
        delay_us: u64,
    },
    /// No space is left, but for some hundred kilobytes that ext4 keeps for its own trees.
    Full,
}

/// What was on its way when the power went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Writes that no flush had followed.
    pub writes: u64,
    /// Their sectors, of 512 bytes.
    pub sectors: u64,
    /// Those of them that are on the disk all the same.
    pub sectors_kept: u64,
}

/// What a disk was asked so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Writes and flushes that failed.
    pub failed: u64,
}

/// A disk with an ext4 on it, mounted at a folder inside its own namespace of mounts.
#[derive(Debug)]
pub struct Disk {
    /// Where it is mounted.
    folder: PathBuf,
    /// Where the file behind it is.
    behind: PathBuf,
    mounts: Space,
    content: Arc<Mutex<Content>>,
    server: Option<JoinHandle<std::io::Result<()>>>,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Content").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Disk {
    /// Makes a disk of this many mebibytes, and mounts it at this folder, which is made if it is
    /// not there. What a power cut leaves follows from the seed and from what was written.
    ///
    /// # Errors
    ///
    /// If this process may not mount, or FUSE, loop devices or `mkfs.ext4` are missing.
    pub fn new(folder: &Path, mebibytes: usize, seed: u64) -> Result<Self, LabError> {
        let failed = |error: std::io::Error| LabError::new(folder.display(), error);
        let behind = folder.with_extension("behind");
        fs::create_dir_all(folder).map_err(failed)?;
        fs::create_dir_all(&behind).map_err(failed)?;
        let mounts = Space::mounts()?;
        let content = Arc::new(Mutex::new(Content::new(mebibytes << 20, seed)));
        let server = serve(&mounts, &behind, Arc::clone(&content))?;
        let folder = folder.to_owned();
        let disk = Self { folder, behind, mounts, content, server: Some(server) };
        let options = "nodiscard,lazy_itable_init=1,lazy_journal_init=1";
        let file = disk.file();
        run(disk.mounts.command("mkfs.ext4").args(["-q", "-F", "-m0", "-E", options]).arg(file))?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted, for who is inside its namespace.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file by which its namespace of mounts is entered, for as long as this value lives.
    pub fn mounts(&self) -> PathBuf {
        self.mounts.path()
    }

    /// A command that runs this program where the disk is seen.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.mounts.command(program)
    }

    /// Cuts the power: all that was not flushed is lost, or as much of it as `loss` says, and from
    /// now on the disk answers errors. What runs on it should be killed, then [`Disk::repair`].
    pub fn cut_power(&self, loss: Loss) -> Lost {
        self.content.lock().cut_power(loss)
    }

    /// Makes the disk fail. Faults add up until it is [mended](Disk::mend).
    ///
    /// # Errors
    ///
    /// If it cannot be filled.
    pub fn fail(&self, fault: DiskFault) -> Result<(), LabError> {
        match fault {
            DiskFault::Power(loss) => drop(self.cut_power(loss)),
            DiskFault::FailedWrite => self.content.lock().faults.fail_writes = true,
            DiskFault::FailedFlush => self.content.lock().faults.fail_flushes = true,
            DiskFault::Lies => self.content.lock().faults.lie = true,
            DiskFault::Slow { delay_us } => {
                self.content.lock().faults.delay = Duration::from_micros(delay_us);
            }
            DiskFault::SlowFlush { delay_us } => {
                self.content.lock().faults.flush_delay = Duration::from_micros(delay_us);
            }
            DiskFault::Full => self.fill()?,
        }
        Ok(())
    }

    /// Ends all faults, and makes room again. A file system that has seen an error stays as it is,
    /// read-only, until [`Disk::repair`].
    ///
    /// # Errors
    ///
    /// If what fills the disk cannot be removed.
    pub fn mend(&self) -> Result<(), LabError> {
        self.content.lock().faults = Faults::default();
        run(self.mounts.command("rm").arg("-f").arg(self.ballast())).map(drop)
    }

    /// Puts a disk in order on which nothing runs any more: power on, all faults off, the file
    /// system checked and mounted anew, room made.
    ///
    /// # Errors
    ///
    /// If something still runs on it, or its file system is beyond repair.
    pub fn repair(&self) -> Result<(), LabError> {
        run(self.mounts.command("umount").arg(&self.folder))?;
        self.content.lock().faults = Faults::default();
        // Status 1 says that it was mended. By the journal alone it would not be looked over.
        let script = "e2fsck -fy \"$0\" || [ $? -lt 4 ]";
        run(self.mounts.command("sh").args(["-c", script]).arg(self.file()))?;
        self.mount()?;
        self.mend()
    }

    /// How many writes it has taken that no flush has followed yet.
    pub fn unflushed(&self) -> usize {
        self.content.lock().unflushed()
    }

    /// What it was asked so far.
    pub fn counts(&self) -> Counts {
        self.content.lock().counts
    }

    fn mount(&self) -> Result<(), LabError> {
        run(self.mounts.command("mount").args(["-o", "loop"]).arg(self.file()).arg(&self.folder))
            .map(drop)
    }

    fn fill(&self) -> Result<(), LabError> {
        // Each writer takes the last block, and then fails as it should; what the file system held
        // back for the first one's delayed blocks is free for the next.
        let script =
            "for n in 1 2 3; do cat /dev/zero >>\"$0\"; sync -f \"$0\"; done; [ -s \"$0\" ]";
        run(self.mounts.command("sh").args(["-c", script]).arg(self.ballast())).map(drop)
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    fn file(&self) -> PathBuf {
        self.behind.join(NAME)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Errors: that it answers none of the kernel's last writes lets the unmounting end.
        drop(run(self.mounts.command("umount").arg("-l").arg(&self.folder)));
        drop(run(self.mounts.command("umount").arg("-l").arg(&self.behind)));
        if let Some(server) = self.server.take() {
            // It ends once the kernel has let go of the file, which who runs on the disk may delay.
            drop(server);
        }
    }
}

/// Mounts the file behind a disk, and serves it on a thread of its own.
fn serve(
    mounts: &Space,
    behind: &Path,
    content: Arc<Mutex<Content>>,
) -> Result<JoinHandle<std::io::Result<()>>, LabError> {
    let failed = |error: std::io::Error| LabError::new("/dev/fuse", error);
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").map_err(failed)?;
    mount_fuse(mounts, behind, &device)?;
    let session = Session::from_fd(
        DiskFile(content),
        OwnedFd::from(device),
        SessionACL::All,
        Config::default(),
    );
    let session = session.map_err(failed)?;
    std::thread::Builder::new().name("disk".to_owned()).spawn(move || session.run()).map_err(failed)
}

/// The kernel takes the connection to this process by the number of a descriptor of the process
/// that mounts, which is its standard input.
fn mount_fuse(mounts: &Space, behind: &Path, device: &File) -> Result<(), LabError> {
    let input = device.try_clone().map_err(|error| LabError::new("/dev/fuse", error))?;
    let options = "fd=0,rootmode=40000,user_id=0,group_id=0,allow_other";
    let mut command = mounts.command("mount");
    command.args(["-i", "-t", "fuse", "-o", options, "faultdisk"]).arg(behind);
    let ended = command.stdin(Stdio::from(input)).stderr(Stdio::piped()).output();
    let ended = ended.map_err(|error| LabError::new("mount", error))?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    Err(LabError::new("mounting the file behind a disk", said))
}
