//! The workloads by name: their clients, their pace, and what is read at their end.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::history::{Action, Answer, Level, Op, Outcome};

use super::driver::{Common, Driver};
use super::lock::Fence;
use super::{append, catalog, kv, lock, membership, register, session, set, watch};

/// Sessions that are looked at once more when all is over.
const SESSIONS_LOOKED_AT: usize = 100;

/// What the clients of a run do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
#[clap(rename_all = "kebab-case")]
pub enum Workload {
    /// Reads, writes and compare-and-set on few keys at a time.
    Register,
    /// Many keys: writes, deletions, transactions, scans.
    Kv,
    /// Elements are added and never go.
    Set,
    /// Lists grow by conditional writes.
    Append,
    /// Locks whose tokens the resource asks for.
    Lock,
    /// Locks without tokens: a run under pauses must be found invalid.
    LockUnfenced,
    /// Sessions live and end.
    Session,
    /// Keys are watched.
    Watch,
    /// Instances of services come and go.
    Catalog,
    /// The same, and they are asked for over DNS.
    Dns,
    /// Raft's membership is read while servers come and go.
    Membership,
}

/// How many clients a run has, and how fast they are together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Clients, spread over all nodes.
    pub clients: usize,
    /// Operations a second of all of them; 0: as fast as they can.
    pub rate: u32,
}

impl Workload {
    /// All that must be found valid.
    pub const ALL: &[Self] = &[
        Self::Register,
        Self::Kv,
        Self::Set,
        Self::Append,
        Self::Lock,
        Self::Session,
        Self::Watch,
        Self::Catalog,
        Self::Dns,
        Self::Membership,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Kv => "kv",
            Self::Set => "set",
            Self::Append => "append",
            Self::Lock => "lock",
            Self::LockUnfenced => "lock-unfenced",
            Self::Session => "session",
            Self::Watch => "watch",
            Self::Catalog => "catalog",
            Self::Dns => "dns",
            Self::Membership => "membership",
        }
    }

    /// What it does by default.
    pub fn plan(self) -> Plan {
        let (clients, rate) = match self {
            Self::Register => (8 * register::CLIENTS_A_KEY, 0),
            Self::Kv | Self::Set => (48, 0),
            Self::Append => (24, 0),
            Self::Lock | Self::LockUnfenced => (12, 0),
            Self::Session => (60, 0),
            Self::Watch => (36, 600),
            // A registration needs a port of its own, of which there are 65,535.
            Self::Catalog | Self::Dns => (30, 1_500),
            Self::Membership => (20, 500),
        };
        Plan { clients, rate }
    }

    /// Its clients, before their first step.
    pub fn players(self, clients: usize) -> Vec<Player> {
        let groups = clients.div_ceil(register::CLIENTS_A_KEY);
        let groups: Vec<_> =
            (0..groups).map(|number| Arc::new(register::Group::new(number))).collect();
        let (lists, sets) = (Arc::new(append::Lists::default()), Arc::new(set::Sets::default()));
        let player = |place: usize| match self {
            Self::Register => {
                let group = Arc::clone(&groups[place / register::CLIENTS_A_KEY]);
                Player(Part::Register(group, register::Memory::default()))
            }
            Self::Kv => Player(Part::Kv(kv::Memory::default())),
            Self::Set => Player(Part::Set(Arc::clone(&sets))),
            Self::Append => Player(Part::Append(Arc::clone(&lists))),
            Self::Lock => Player(Part::Lock(lock::Holder::new(Fence::Tokens))),
            Self::LockUnfenced => Player(Part::Lock(lock::Holder::new(Fence::None))),
            Self::Session => Player(Part::Session),
            Self::Watch => Player(Part::Watch(watch::Watcher::new(place))),
            Self::Catalog => Player(Part::Catalog(catalog::Door::Http)),
            Self::Dns => Player(Part::Catalog(catalog::Door::Dns)),
            Self::Membership => Player(Part::Membership),
        };
        (0..clients).map(player).collect()
    }

    /// What is read at every node once all faults are healed and the clients have stopped.
    pub fn last_reads(self, common: &Common, ops: &[Op]) -> Vec<Action> {
        let level = if common.level == Level::Stale { Level::Default } else { common.level };
        match self {
            Self::Register => {
                let read = |key| Action::Read { key, level };
                keys(ops).into_iter().map(read).collect()
            }
            Self::Append | Self::Set => {
                let list = |key| Action::List { key, level };
                keys(ops).into_iter().map(list).collect()
            }
            Self::Kv => kv::everything(level),
            Self::Watch => watch::everything(level),
            Self::Catalog => catalog::everything(catalog::Door::Http),
            Self::Dns => catalog::everything(catalog::Door::Dns),
            Self::Membership => membership::everything(level),
            Self::Lock | Self::LockUnfenced | Self::Session => sessions(ops),
        }
    }
}

/// One client's part in a workload: what it remembers from step to step.
#[derive(Debug)]
pub struct Player(Part);

#[derive(Debug)]
enum Part {
    Register(Arc<register::Group>, register::Memory),
    Kv(kv::Memory),
    Set(Arc<set::Sets>),
    Append(Arc<append::Lists>),
    Lock(lock::Holder),
    Session,
    Watch(watch::Watcher),
    Catalog(catalog::Door),
    Membership,
}

impl Player {
    /// Does steps until the run stops.
    pub async fn play(mut self, driver: &mut Driver) {
        while driver.common.goes_on() {
            match &mut self.0 {
                Part::Register(group, memory) => memory.step(group, driver).await,
                Part::Kv(memory) => memory.step(driver).await,
                Part::Set(sets) => sets.step(driver).await,
                Part::Append(lists) => lists.step(driver).await,
                Part::Lock(holder) => holder.step(driver).await,
                Part::Session => session::step(driver).await,
                Part::Watch(watcher) => watcher.step(driver).await,
                Part::Catalog(door) => catalog::step(*door, driver).await,
                Part::Membership => membership::step(driver).await,
            }
        }
    }
}

/// Every key that was written or read.
fn keys(ops: &[Op]) -> BTreeSet<String> {
    let key = |op: &Op| match &op.action {
        Action::Write(write) => Some(write.key.clone()),
        Action::Read { key, .. } | Action::Append { key, .. } | Action::List { key, .. } => {
            Some(key.clone())
        }
        _ => None,
    };
    // Transactions use the keys that others use as well.
    ops.iter().filter_map(key).collect()
}

/// A last look at the sessions that were opened last: some hundred are enough.
fn sessions(ops: &[Op]) -> Vec<Action> {
    let opened = ops.iter().rev().filter_map(|op| match &op.outcome {
        Outcome::Done(Answer::Opened { session }) => Some(session.clone()),
        _ => None,
    });
    opened.take(SESSIONS_LOOKED_AT).map(|session| Action::Look { session }).collect()
}
