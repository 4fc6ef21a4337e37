//! Shortage of memory, processor time, threads and file descriptors, for one process at a time.
//!
//! The first three are limits of a control group of its own (version 1 or 2, as the machine has
//! it), the last one is a limit of the process.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde::{Deserialize, Serialize};

use super::LabError;

/// What a process is short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pressure {
    /// It may take this much memory from now on, in bytes; beyond that the kernel kills it.
    Memory(u64),
    /// It gets this much of one processor, in percent.
    Processor(u32),
    /// It may have this many threads and children.
    Threads(u32),
    /// It may open no file descriptor of this number or a higher one.
    Files(u64),
}

const ROOT: &str = "/sys/fs/cgroup";
/// What the names of all groups of all runs begin with.
const PREFIX: &str = "portolan-lab-";
/// Period of the limit of processor time, in microseconds.
const PERIOD_US: u64 = 100_000;

/// Limits that one process at a time is put under. Dropping it takes the limits away.
#[derive(Debug)]
pub struct Group {
    name: String,
    layout: Layout,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// A tree for each kind of limit.
    Apart,
    /// One tree.
    United,
}

/// One limit: its tree where each has its own, its file there, and its file in the one tree; then
/// what means that there is none, in either.
struct Limit {
    tree: &'static str,
    apart: &'static str,
    united: &'static str,
    none: [&'static str; 2],
}

const MEMORY: Limit = Limit {
    tree: "memory",
    apart: "memory.limit_in_bytes",
    united: "memory.max",
    none: ["-1", "max"],
};
const PROCESSOR: Limit =
    Limit { tree: "cpu", apart: "cpu.cfs_quota_us", united: "cpu.max", none: ["-1", "max 100000"] };
const THREADS: Limit =
    Limit { tree: "pids", apart: "pids.max", united: "pids.max", none: ["max", "max"] };
const LIMITS: [Limit; 3] = [MEMORY, PROCESSOR, THREADS];

impl Group {
    /// A group without limits and processes. What dead runs left behind goes.
    ///
    /// # Errors
    ///
    /// If this machine has no control groups, or does not let this process make any.
    pub fn new(name: &str) -> Result<Self, LabError> {
        let united = Path::new(ROOT).join("cgroup.controllers").exists();
        let layout = if united { Layout::United } else { Layout::Apart };
        let name = format!("{PREFIX}{}-{name}", std::process::id());
        let group = Self { name, layout };
        for limit in &LIMITS {
            sweep(&group.tree(limit));
            let folder = group.folder(limit);
            fs::create_dir_all(&folder).map_err(|error| {
                LabError::new(format!("control group {}", folder.display()), error)
            })?;
        }
        if layout == Layout::United {
            write(&Path::new(ROOT).join("cgroup.subtree_control"), "+memory +cpu +pids")?;
        }
        Ok(group)
    }

    /// Puts a process under the limits of this group.
    ///
    /// # Errors
    ///
    /// If the process is gone.
    pub fn admit(&self, pid: u32) -> Result<(), LabError> {
        for limit in &LIMITS {
            write(&self.folder(limit).join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// Makes a process short of something; it stays short of what it was short of before.
    ///
    /// # Errors
    ///
    /// If the process is gone.
    pub fn press(&self, pid: u32, pressure: Pressure) -> Result<(), LabError> {
        self.admit(pid)?;
        match pressure {
            Pressure::Memory(bytes) => self.limit(&MEMORY, &bytes.to_string()),
            Pressure::Threads(most) => self.limit(&THREADS, &most.to_string()),
            Pressure::Files(most) => limit_files(pid, Some(most)),
            Pressure::Processor(percent) => {
                let quota = u64::from(percent) * PERIOD_US / 100;
                match self.layout {
                    Layout::Apart => self.limit(&PROCESSOR, &quota.to_string()),
                    Layout::United => self.limit(&PROCESSOR, &format!("{quota} {PERIOD_US}")),
                }
            }
        }
    }

    /// Takes all limits away, also those of this process if it still runs.
    ///
    /// # Errors
    ///
    /// If the kernel refuses.
    pub fn relieve(&self, pid: Option<u32>) -> Result<(), LabError> {
        for limit in &LIMITS {
            let [apart, united] = limit.none;
            self.limit(limit, if self.layout == Layout::Apart { apart } else { united })?;
        }
        match pid {
            Some(pid) => limit_files(pid, None),
            None => Ok(()),
        }
    }

    fn limit(&self, limit: &Limit, value: &str) -> Result<(), LabError> {
        let file = if self.layout == Layout::Apart { limit.apart } else { limit.united };
        write(&self.folder(limit).join(file), value)
    }

    fn tree(&self, limit: &Limit) -> PathBuf {
        match self.layout {
            Layout::Apart => Path::new(ROOT).join(limit.tree),
            Layout::United => PathBuf::from(ROOT),
        }
    }

    fn folder(&self, limit: &Limit) -> PathBuf {
        self.tree(limit).join(&self.name)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for limit in &LIMITS {
            // Who is still inside goes up again, or the group could not go.
            let inside = fs::read_to_string(self.folder(limit).join("cgroup.procs"));
            for pid in inside.unwrap_or_default().lines() {
                drop(write(&self.tree(limit).join("cgroup.procs"), pid));
            }
            drop(fs::remove_dir(self.folder(limit)));
        }
    }
}

/// Removes groups of dead runs; a group with a process in it cannot be removed.
fn sweep(tree: &Path) {
    let entries = fs::read_dir(tree).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            drop(fs::remove_dir(entry.path()));
        }
    }
}

fn limit_files(pid: u32, most: Option<u64>) -> Result<(), LabError> {
    let what = format!("file descriptors of process {pid}");
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let number = number.ok_or_else(|| LabError::new(&what, "no such process"))?;
    // Only the soft limit: the hard one could never be raised again.
    let own = rustix::process::getrlimit(Resource::Nofile);
    let limit = Rlimit { current: most.or(own.current), maximum: own.maximum };
    prlimit(Some(number), Resource::Nofile, limit)
        .map(drop)
        .map_err(|error| LabError::new(what, error))
}

fn write(file: &Path, value: &str) -> Result<(), LabError> {
    fs::write(file, value).map_err(|error| LabError::new(file.display(), error))
}
