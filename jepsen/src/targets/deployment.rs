//! One cluster in the lab: its hosts, its processes, its folder.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::history::{Action, Condition, Outcome, Write};
use crate::lab::clock::Skew;
use crate::lab::cuts::Cut;
use crate::lab::disk::DiskFault;
use crate::lab::network::Network;
use crate::lab::pressure::Pressure;
use crate::lab::process::Program;
use crate::lab::switch::Weather;
use crate::nemesis::{Admin, Binary, Cluster, Effect, NotDone};

use super::node::{Equipment, Node};
use super::system::{System, node_name};

/// How long a cluster may take from its start, or from the end of all faults, until it serves.
const SERVES_WITHIN: Duration = Duration::from_mins(1);
/// Pause between two looks at what is not ready.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a write of that look may take.
const WRITE_LIMIT: Duration = Duration::from_secs(2);
/// How long a pause waits for a node that is down.
const RUNS_AGAIN_WITHIN: Duration = Duration::from_secs(4);

/// A cluster of one system in network namespaces. Dropped, its processes are killed.
pub struct Deployment {
    system: System,
    network: Network,
    addresses: Vec<Ipv4Addr>,
    members: Vec<Mutex<Node>>,
    /// Runs what the nemesis asks, inside the clients' host.
    handle: Handle,
}

impl Deployment {
    /// Starts `nodes` nodes with data and logs below `folder`. To be called on a thread inside
    /// the network's client host, with the runtime of the clients.
    ///
    /// # Errors
    ///
    /// If a process cannot be started, or something of the equipment cannot be had here.
    pub fn start(
        system: System,
        network: Network,
        (folder, equipment): (&Path, &Equipment),
        handle: Handle,
    ) -> anyhow::Result<Self> {
        let addresses: Vec<Ipv4Addr> = network.hosts().iter().map(|host| host.address).collect();
        let mut members = Vec::new();
        for (node, host) in network.hosts().iter().enumerate() {
            let name = node_name(node);
            let data = folder.join(&name);
            let program = Program::new(&name, &system.program, folder.join(format!("{name}.log")))
                .args(system.arguments(node, &addresses, &data));
            let node = Node::start(host, program, &data, equipment).context(name)?;
            members.push(Mutex::new(node));
        }
        Ok(Self { system, network, addresses, members, handle })
    }

    /// The system that runs.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// The addresses of its nodes, in order.
    pub fn addresses(&self) -> &[Ipv4Addr] {
        &self.addresses
    }

    /// The logs of its nodes, in order.
    pub fn logs(&self) -> Vec<PathBuf> {
        self.members.iter().map(|node| node.lock().log().to_owned()).collect()
    }

    /// Waits until all nodes take part: each takes a write, and all vote. How long that took.
    ///
    /// # Errors
    ///
    /// If it does not within a minute, with what is missing.
    pub async fn serves(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        loop {
            let missing = self.missing().await;
            let Some(missing) = missing else { return Ok(began.elapsed()) };
            if began.elapsed() > SERVES_WITHIN {
                anyhow::bail!("not served by all nodes within {SERVES_WITHIN:?}: {missing}");
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// What keeps this from being a whole cluster, if anything does.
    async fn missing(&self) -> Option<String> {
        for (node, address) in self.addresses.iter().enumerate() {
            let name = node_name(node);
            let voters = self.system.voters(*address).await;
            if voters != Some(self.addresses.len()) {
                return Some(format!("{name} knows {voters:?} voters"));
            }
            let key = "ready".to_owned();
            let write = Write { key, value: Some(0), condition: Condition::Always };
            let mut client = self.system.client(*address, WRITE_LIMIT);
            match client.act(&Action::Write(write)).await {
                Outcome::Done(_) => {}
                other => return Some(format!("{name} answers a write with {other:?}")),
            }
        }
        None
    }

    async fn find_leader(&self) -> Option<usize> {
        let mut asked = JoinSet::new();
        for address in self.addresses.clone() {
            let (system, all) = (self.system.clone(), self.addresses.clone());
            asked.spawn(async move { system.leader_known_to(address, &all).await });
        }
        let mut votes: BTreeMap<usize, usize> = BTreeMap::new();
        for leader in asked.join_all().await.into_iter().flatten() {
            *votes.entry(leader).or_default() += 1;
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(leader, _)| leader)
    }

    fn member(&self, node: usize) -> Result<MutexGuard<'_, Node>, NotDone> {
        let there = self.members.get(node).map(Mutex::lock);
        there.ok_or_else(|| NotDone::Refused(format!("there is no node {node}")))
    }

    /// A node that runs.
    fn running(&self, node: usize) -> Result<MutexGuard<'_, Node>, NotDone> {
        let mut member = self.member(node)?;
        let runs = member.is_running();
        runs.then_some(member).ok_or_else(|| NotDone::Refused(format!("node {node} is down")))
    }
}

impl Cluster for Deployment {
    fn nodes(&self) -> usize {
        self.members.len()
    }

    fn leader(&self) -> Option<usize> {
        self.handle.block_on(self.find_leader())
    }

    fn pid(&self, node: usize) -> Option<u32> {
        self.running(node).ok()?.pid()
    }

    fn start(&self, node: usize) -> Effect {
        self.member(node)?.go_on()
    }

    fn kill(&self, node: usize) -> Effect {
        self.member(node)?.kill();
        Ok(())
    }

    fn terminate(&self, node: usize) -> Effect {
        self.member(node)?.terminate()
    }

    /// A node that another fault keeps down is waited for, so that the pause is not lost.
    fn pause(&self, node: usize) -> Effect {
        let until = Instant::now() + RUNS_AGAIN_WITHIN;
        while self.pid(node).is_none() && Instant::now() < until {
            self.handle.block_on(async { sleep(LOOK_AGAIN).await });
        }
        self.running(node)?.pause();
        Ok(())
    }

    fn resume(&self, node: usize) -> Effect {
        self.running(node)?.resume();
        Ok(())
    }

    fn cut(&self, cut: &Cut) -> Effect {
        Ok(self.network.set_cut(cut)?)
    }

    fn dropped(&self) -> Option<u64> {
        self.network.dropped().ok()
    }

    fn weather(&self, weather: &Weather) -> Effect {
        Ok(self.network.set_weather(weather)?)
    }

    fn clock(&self, node: usize, skew: Skew) -> Effect {
        self.member(node)?.set_clock(skew)
    }

    fn disk(&self, node: usize, fault: &DiskFault) -> Effect {
        self.member(node)?.break_disk(fault)
    }

    fn mend_disk(&self, node: usize) -> Effect {
        self.member(node)?.mend_disk()
    }

    fn pressure(&self, node: usize, pressure: Option<Pressure>) -> Effect {
        self.member(node)?.press(pressure)
    }

    fn restart_with(&self, node: usize, binary: Binary) -> Effect {
        self.member(node)?.restart_with(binary)
    }

    fn administer(&self, what: Admin) -> Effect {
        let by = self.addresses[self.leader().unwrap_or_default()];
        done(self.handle.block_on(self.system.administer(by, what)))
    }

    fn remove(&self, node: usize) -> Effect {
        let (system, all) = (&self.system, &self.addresses);
        let by = self.leader().unwrap_or_default();
        let asked = async { system.remove(all[by], all[node]).await };
        done(self.handle.block_on(asked))
    }

    /// A server that runs is asked in again by the leader itself.
    fn add(&self, node: usize) -> Effect {
        self.start(node)
    }
}

/// What became of something that a system may not have at all.
fn done(said: Option<Result<(), String>>) -> Effect {
    said.ok_or(NotDone::Impossible)?.map_err(NotDone::Refused)
}
