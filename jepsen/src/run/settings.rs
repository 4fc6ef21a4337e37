//! What a run is asked to be, and the command line that asks for the same again.

use std::path::PathBuf;
use std::time::Duration;

use crate::history::Level;
use crate::nemesis;
use crate::targets::{self, Equipment, System, find_binary, find_peer};
use crate::workloads::Workload;

/// One run, whole: the same settings and the same machine make much the same run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which system.
    pub target: targets::Kind,
    /// The program of ours, if it is not found by itself.
    pub binary: Option<PathBuf>,
    /// Another program of ours, that nodes run for a while where `upgrade` is among the faults.
    pub other: Option<PathBuf>,
    /// How many nodes.
    pub nodes: u8,
    /// What the clients do.
    pub workload: Workload,
    /// What is broken; nothing if empty.
    pub nemesis: Vec<nemesis::Kind>,
    /// What all randomness follows from.
    pub seed: u64,
    /// How long the faults go on.
    pub time: Duration,
    /// How fresh reads are to be; none: what the system calls linearizable.
    pub level: Option<Level>,
    /// Operations a second of all clients, if not the workload's own; 0: as fast as they can.
    pub rate: Option<u32>,
    /// How many clients, if not the workload's own number.
    pub clients: Option<usize>,
    /// The folder below which runs are kept.
    pub dir: PathBuf,
}

impl Settings {
    /// The system with its program.
    ///
    /// # Errors
    ///
    /// If the program is not there, with what to do.
    pub fn system(&self) -> anyhow::Result<System> {
        let kind = self.target;
        let program = match kind {
            targets::Kind::Ours => find_binary(self.binary.as_deref())?,
            targets::Kind::Consul | targets::Kind::Etcd => find_peer(kind.name())?,
        };
        // What changes the members of a cluster beside the run itself could not be judged.
        let cleans_up = self.workload != Workload::Membership;
        Ok(System { kind, program, cleans_up })
    }

    /// What the nodes get, so that the wanted faults can be had.
    ///
    /// # Errors
    ///
    /// If the other program is wanted and not there.
    pub fn equipment(&self) -> anyhow::Result<Equipment> {
        let other = match &self.other {
            Some(other) => Some(find_binary(Some(other))?),
            None => None,
        };
        let mut equipment = Equipment::of(&self.nemesis, self.seed, other);
        // Go asks the kernel, past the library that lies.
        equipment.clock &= self.target == targets::Kind::Ours;
        Ok(equipment)
    }

    /// How fresh reads are. Consul's default is not linearizable, by its own documentation.
    pub fn reads(&self) -> Level {
        let own = match self.target {
            targets::Kind::Consul => Level::Strong,
            targets::Kind::Ours | targets::Kind::Etcd => Level::Default,
        };
        self.level.unwrap_or(own)
    }

    /// The folder of this run: whatever was there goes when it begins.
    pub fn folder(&self) -> PathBuf {
        let (target, workload) = (self.target.name(), self.workload.name());
        self.dir.join(format!("{target}-{workload}-{}-{}", level_name(self.reads()), self.seed))
    }

    /// The kinds of its faults as the command line has them.
    pub fn nemesis_text(&self) -> String {
        if self.nemesis.is_empty() {
            return "none".to_owned();
        }
        self.nemesis.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",")
    }

    /// The command line that asks for this run again.
    pub fn replay_line(&self) -> String {
        let mut words = vec![
            "portolan-jepsen run".to_owned(),
            format!("--target {}", self.target.name()),
            format!("--nodes {}", self.nodes),
            format!("--workload {}", self.workload.name()),
            format!("--nemesis {}", self.nemesis_text()),
            format!("--seed {}", self.seed),
            format!("--time {}", self.time.as_secs()),
            format!("--level {}", level_name(self.reads())),
        ];
        words.extend(self.rate.map(|rate| format!("--rate {rate}")));
        words.extend(self.clients.map(|clients| format!("--clients {clients}")));
        words.extend(self.binary.iter().map(|binary| format!("--binary {}", binary.display())));
        words.extend(self.other.iter().map(|other| format!("--other {}", other.display())));
        words.join(" ")
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Default => "default",
        Level::Strong => "strong",
        Level::Stale => "stale",
    }
}
