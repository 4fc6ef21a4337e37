//! Disks that forget what was not synced. The files are real ones (in memory, best); what is kept
//! here is how to take back what a loss of power would take.
//!
//! A sync that failed is as on Linux: what was to be synced can be read until the power goes, and
//! no later sync brings it to the disk, because its pages count as clean. Source: Rebello et al.,
//! "Can Applications Recover from fsync Failures?", USENIX ATC 2020.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// How a disk misbehaves.
#[derive(Clone, Debug, Default)]
pub struct DiskFaults {
    /// The longest that a group of writes takes; each takes a random part of it.
    pub slowness: Duration,
    /// Of a thousand syncs so many fail.
    pub sync_errors: u32,
    /// Of a thousand writes so many fail.
    pub write_errors: u32,
}

/// All disks of the world.
#[derive(Debug)]
pub struct Disk {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: StdRng,
    files: Vec<(PathBuf, Arc<Journal>)>,
    faults: BTreeMap<PathBuf, DiskFaults>,
}

/// What was written to one open file and would not all be there after a loss of power.
#[derive(Debug)]
struct Journal {
    file: File,
    /// What the file is known by, under whatever name.
    inode: u64,
    writes: Mutex<Vec<Write>>,
    /// The process ended: whoever still holds the file belongs to the past.
    dead: AtomicBool,
}

#[derive(Debug)]
struct Write {
    offset: u64,
    before: Vec<u8>,
    after: Vec<u8>,
    fate: Fate,
}

/// What a loss of power does to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Some of its sectors are there.
    Open,
    /// Nothing of it is there: its sync failed.
    Lost,
    /// All of it is there, and it is only known because it came after one that is lost.
    Kept,
}

/// One open file on a simulated disk.
#[derive(Debug)]
pub(crate) struct DiskFile {
    path: PathBuf,
    journal: Arc<Journal>,
}

impl Disk {
    pub(super) fn new(seed: u64) -> Disk {
        let (files, faults) = (Vec::new(), BTreeMap::new());
        let rng = StdRng::seed_from_u64(seed ^ 0xd15c);
        Disk { state: Mutex::new(State { rng, files, faults }) }
    }

    /// Has the disk below `dir` behave so from now on.
    pub fn set_faults(&self, dir: &Path, faults: DiskFaults) {
        self.state.lock().faults.insert(dir.to_owned(), faults);
    }

    /// Ends the process that works below `dir`: it can do nothing more with its files, and the
    /// system still has what it wrote.
    pub fn kill(&self, dir: &Path) {
        let state = self.state.lock();
        let here = state.files.iter().filter(|(path, _)| path.starts_with(dir));
        here.for_each(|(_, journal)| journal.dead.store(true, Ordering::SeqCst));
    }

    /// Cuts the power of everything below `dir`: as [`Disk::kill`], and of what was not synced each
    /// sector is kept with a chance of `kept` in a thousand.
    pub fn cut(&self, dir: &Path, kept: u32) {
        self.kill(dir);
        let mut state = self.state.lock();
        let State { rng, files, .. } = &mut *state;
        files.retain(|(path, journal)| {
            let here = path.starts_with(dir);
            if here {
                journal.forget(rng, kept);
            }
            !here
        });
    }

    pub(super) fn file(&self, file: File, path: &Path) -> io::Result<DiskFile> {
        let inode = file.metadata()?.ino();
        let mut state = self.state.lock();
        let writes = Mutex::new(state.left_behind(inode));
        let journal = Arc::new(Journal { file, inode, writes, dead: AtomicBool::new(false) });
        state.files.retain(|(_, journal)| journal.matters());
        state.files.push((path.to_owned(), Arc::clone(&journal)));
        Ok(DiskFile { path: path.to_owned(), journal })
    }

    /// How long a group of writes takes in `dir`.
    pub(super) fn time(&self, dir: &Path) -> Option<Duration> {
        let mut state = self.state.lock();
        let slowness = state.faults(dir).slowness;
        (!slowness.is_zero()).then(|| slowness.mul_f64(state.rng.random_range(0.0..1.0)))
    }

    fn fails(&self, path: &Path, of: impl Fn(&DiskFaults) -> u32) -> io::Result<()> {
        let mut state = self.state.lock();
        let chance = of(&state.faults(path));
        if chance > 0 && state.rng.random_range(0..1000) < chance {
            return Err(io::Error::other("simulated input/output error"));
        }
        Ok(())
    }
}

impl State {
    /// What processes that ended wrote to a file and left in the system's memory.
    fn left_behind(&mut self, inode: u64) -> Vec<Write> {
        let mut left = Vec::new();
        for (_, journal) in &self.files {
            if journal.inode == inode && journal.dead.load(Ordering::SeqCst) {
                left.append(&mut journal.writes.lock());
            }
        }
        left
    }

    fn faults(&self, path: &Path) -> DiskFaults {
        let found = self.faults.iter().find(|(dir, _)| path.starts_with(dir));
        found.map(|(_, faults)| faults.clone()).unwrap_or_default()
    }
}

impl Journal {
    fn alive(&self) -> io::Result<()> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(io::Error::other("the power of this disk was cut"));
        }
        Ok(())
    }

    /// Whether anybody can still write to it, or a loss of power would change it.
    fn matters(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 || !self.writes.lock().is_empty()
    }

    fn synced(&self) {
        let mut writes = self.writes.lock();
        let lost = writes.iter().position(|write| write.fate == Fate::Lost);
        let before = lost.unwrap_or(writes.len());
        writes.drain(..before);
        writes.iter_mut().filter(|write| write.fate == Fate::Open).for_each(|write| {
            write.fate = Fate::Kept;
        });
    }

    fn not_synced(&self) {
        let mut writes = self.writes.lock();
        writes.iter_mut().filter(|write| write.fate == Fate::Open).for_each(|write| {
            write.fate = Fate::Lost;
        });
    }

    /// Puts back what was there before, then again what happened to be written.
    fn forget(&self, rng: &mut StdRng, kept: u32) {
        let writes = std::mem::take(&mut *self.writes.lock());
        let put = |bytes: &[u8], offset| {
            self.file.write_all_at(bytes, offset).expect("a file in memory is written");
        };
        for write in writes.iter().rev() {
            put(&write.before, write.offset);
        }
        for write in &writes {
            let chance = match write.fate {
                Fate::Open => kept,
                Fate::Lost => 0,
                Fate::Kept => 1000,
            };
            for (sector, bytes) in write.after.chunks(SECTOR).enumerate() {
                if rng.random_range(0..1000) < chance {
                    put(bytes, write.offset + (sector * SECTOR) as u64);
                }
            }
        }
    }
}

impl DiskFile {
    /// Notes what a write is going to overwrite.
    pub(crate) fn writes(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.journal.alive()?;
        self.faults(|faults| faults.write_errors)?;
        let mut before = vec![0; bytes.len()];
        let mut read = 0;
        while read < before.len() {
            match self.journal.file.read_at(&mut before[read..], offset + read as u64)? {
                0 => break, // behind the end there are zeros
                more => read += more,
            }
        }
        let after = bytes.to_vec();
        self.journal.writes.lock().push(Write { offset, before, after, fate: Fate::Open });
        Ok(())
    }

    /// From here on what was written stays.
    pub(crate) fn syncs(&self) -> io::Result<()> {
        self.journal.alive()?;
        let synced = self.faults(|faults| faults.sync_errors);
        match synced {
            Ok(()) => self.journal.synced(),
            Err(_) => self.journal.not_synced(),
        }
        synced
    }

    fn faults(&self, of: impl Fn(&DiskFaults) -> u32) -> io::Result<()> {
        super::world().map_or(Ok(()), |world| world.disk.fails(&self.path, of))
    }
}
