//! One node of a cluster in the lab: its process, and all of it that can be broken.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::lab::clock::{Clock, Skew, Which};
use crate::lab::disk::{Disk, DiskFault};
use crate::lab::network::Host;
use crate::lab::pressure::{Group, Pressure};
use crate::lab::process::{Daemon, Program};
use crate::nemesis::{Binary, Effect, Kind, NotDone};

/// A node's own disk, in mebibytes: some thousand writes and a snapshot or two. It is in memory.
const DISK_MEBIBYTES: usize = 512;
/// How long a node that was asked to stop may take.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// What nodes get besides a process, so that it can be broken.
#[derive(Clone, Debug, Default)]
pub struct Equipment {
    /// A wall clock that can go wrong.
    pub clock: bool,
    /// A disk that can fail; what the seed of its power cuts is.
    pub disk: Option<u64>,
    /// Limits that can be narrowed.
    pub limits: bool,
    /// Another program of the same system: an earlier release, say.
    pub other: Option<PathBuf>,
}

impl Equipment {
    /// What these kinds of faults ask for.
    pub fn of(kinds: &[Kind], seed: u64, other: Option<PathBuf>) -> Self {
        Self {
            clock: kinds.contains(&Kind::Clock),
            disk: kinds.contains(&Kind::Disk).then_some(seed),
            limits: kinds.contains(&Kind::Pressure),
            other,
        }
    }
}

/// A node. Dropped, its process is killed before its disk goes.
pub(super) struct Node {
    daemon: Daemon,
    clock: Option<Clock>,
    disk: Option<Disk>,
    /// Whether the disk has seen what only a check of its file system mends.
    hurt: bool,
    limits: Option<Group>,
    own: PathBuf,
    other: Option<PathBuf>,
}

impl Node {
    /// Starts a program on a host. Its data goes to the folder, where the node's own disk is
    /// mounted if it has one.
    pub(super) fn start(
        host: &Host,
        mut program: Program,
        data: &Path,
        equipment: &Equipment,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data)?;
        let clock = if equipment.clock {
            let clock = Clock::new(data.with_extension("clock"), Which::Wall)?;
            program.environment.extend(clock.environment());
            Some(clock)
        } else {
            None
        };
        let disk = match equipment.disk {
            Some(seed) => {
                let disk =
                    Disk::new(data, DISK_MEBIBYTES, seed ^ u64::from(host.address.to_bits()))?;
                program.mounts = Some(disk.mounts());
                Some(disk)
            }
            None => None,
        };
        let limits = if equipment.limits { Some(Group::new(&program.name)?) } else { None };
        let (own, other) = (program.program.clone(), equipment.other.clone());
        let daemon = Daemon::start(host, program)?;
        Ok(Self { daemon, clock, disk, hurt: false, limits, own, other })
    }

    pub(super) fn log(&self) -> &Path {
        self.daemon.log()
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.daemon.is_running()
    }

    /// The process, if it runs.
    pub(super) fn pid(&mut self) -> Option<u32> {
        if self.daemon.is_running() { self.daemon.pid() } else { None }
    }

    pub(super) fn go_on(&mut self) -> Effect {
        if self.is_running() { Ok(()) } else { Ok(self.daemon.restart()?) }
    }

    pub(super) fn kill(&mut self) {
        self.daemon.kill();
    }

    pub(super) fn terminate(&mut self) -> Effect {
        self.daemon.terminate();
        if !self.is_running() || self.daemon.ended_within(STOPS_WITHIN).is_some() {
            return Ok(());
        }
        self.daemon.kill();
        Err(NotDone::Refused(format!("it did not stop within {STOPS_WITHIN:?}")))
    }

    pub(super) fn pause(&self) {
        self.daemon.pause();
    }

    pub(super) fn resume(&self) {
        self.daemon.resume();
    }

    /// Sets the clock; refused where the program runs without the library that tells it.
    pub(super) fn set_clock(&mut self, skew: Skew) -> Effect {
        let pid = self.pid();
        let clock = self.clock.as_ref().ok_or(NotDone::Impossible)?;
        clock.set(skew)?;
        match pid {
            Some(pid) if !clock.is_loaded_by(pid) => {
                Err(NotDone::Refused("the program has the machine's own clock".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Makes the disk fail; who loses its power is killed with it.
    pub(super) fn break_disk(&mut self, fault: &DiskFault) -> Effect {
        let disk = self.disk.as_ref().ok_or(NotDone::Impossible)?;
        self.hurt |= !matches!(fault, DiskFault::Slow { .. } | DiskFault::SlowFlush { .. });
        disk.fail(*fault)?;
        if matches!(fault, DiskFault::Power(_)) {
            self.daemon.kill();
        }
        Ok(())
    }

    /// Makes the disk whole and starts the node if it is down. After more than slowness it is
    /// killed first: a file system that has seen an error takes no more writes until it is
    /// checked.
    pub(super) fn mend_disk(&mut self) -> Effect {
        let disk = self.disk.as_ref().ok_or(NotDone::Impossible)?;
        if self.hurt {
            self.daemon.kill();
            disk.repair()?;
            self.hurt = false;
        } else {
            disk.mend()?;
        }
        self.go_on()
    }

    /// Makes the node short of something, or of nothing.
    pub(super) fn press(&mut self, pressure: Option<Pressure>) -> Effect {
        let pid = self.pid();
        let limits = self.limits.as_ref().ok_or(NotDone::Impossible)?;
        match (pressure, pid) {
            (None, pid) => Ok(limits.relieve(pid)?),
            (Some(pressure), Some(pid)) => Ok(limits.press(pid, pressure)?),
            (Some(_), None) => Err(NotDone::Refused("it is down".to_owned())),
        }
    }

    /// Stops in order, and starts with this program.
    pub(super) fn restart_with(&mut self, binary: Binary) -> Effect {
        let other = self.other.clone().ok_or(NotDone::Impossible)?;
        let program = match binary {
            Binary::Own => self.own.clone(),
            Binary::Other => other,
        };
        let stopped = self.terminate();
        self.daemon.program_mut().program = program;
        self.daemon.restart()?;
        stopped
    }
}
