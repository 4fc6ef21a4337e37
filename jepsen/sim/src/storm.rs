//! The faults of a run, one after another and one within another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use portolan::model::{MemberList, MemberStatus};
use raft::sim::{DiskFaults, Lane, World};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

use crate::arena::Arena;
use crate::plan::{Fault, Plan};
use crate::server::{End, Server};

/// What has to be done later, to undo a fault.
#[derive(Clone, Debug)]
enum Mend {
    Cuts,
    Start(u64),
    Disk(u64),
}

/// All servers, and what breaks them.
pub(crate) struct Storm {
    world: &'static World,
    plan: Plan,
    arena: Arena,
    rng: StdRng,
    servers: BTreeMap<u64, Server>,
    mends: Vec<(Instant, Mend)>,
    /// How often each kind of fault was there.
    pub(crate) counts: BTreeMap<String, u64>,
}

impl Storm {
    pub(crate) fn new(
        world: &'static World,
        plan: &Plan,
        arena: Arena,
        root: &std::path::Path,
    ) -> Self {
        let all = plan.servers + plan.joiners;
        let expect = u32::try_from(plan.servers).expect("few servers");
        let server = |number| {
            let expect = if number <= plan.servers { expect } else { 0 };
            (number, Server::new(number, expect, root.join(format!("n{number}"))))
        };
        Self {
            world,
            plan: plan.clone(),
            arena,
            rng: StdRng::seed_from_u64(plan.seed ^ 0x5702),
            servers: (1..=all).map(server).collect(),
            mends: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Starts the servers that begin the cluster.
    pub(crate) async fn begin(&mut self) -> Result<(), String> {
        for number in 1..=self.plan.servers {
            self.usual_disk(number);
            self.start(number).await?;
        }
        let joins: Vec<(Instant, Mend)> = (self.plan.servers + 1..)
            .take(usize::try_from(self.plan.joiners).expect("few"))
            .map(|number| (self.within(self.plan.storm), Mend::Start(number)))
            .collect();
        self.mends.extend(joins);
        Ok(())
    }

    /// Breaks things until the storm's time is over.
    pub(crate) async fn rage(&mut self) -> Result<(), String> {
        let (latency, stalls) = (self.plan.latency, self.plan.stalls);
        self.world.net.set_lane(Lane { latency, jitter: latency * 2, stalls });
        let over = portolan::time::now() + self.plan.storm;
        let mut next = self.within(self.plan.pause);
        while portolan::time::now() < over {
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.restart_the_faulty().await?;
            self.mend_what_is_due().await?;
            if portolan::time::now() >= next {
                let fault = self.plan.faults[self.rng.random_range(0..self.plan.faults.len())];
                self.strike(fault).await?;
                next = self.within(self.plan.pause);
            }
        }
        Ok(())
    }

    /// Mends everything, and has every server run.
    pub(crate) async fn clear(&mut self) -> Result<(), String> {
        self.mends.clear();
        self.world.net.set_cuts(BTreeSet::new());
        self.world.net.set_lane(Lane {
            latency: Duration::from_micros(200),
            jitter: Duration::from_micros(200),
            stalls: 0,
        });
        let numbers: Vec<u64> = self.servers.keys().copied().collect();
        for number in &numbers {
            self.set_disk(*number, DiskFaults::default());
        }
        self.restart_the_faulty().await?;
        for number in numbers {
            if !self.servers[&number].is_running() {
                self.start(number).await?;
            }
        }
        Ok(())
    }

    /// Ends all servers, so that nothing is left behind.
    pub(crate) async fn end(&mut self) {
        let numbers: Vec<u64> = self.servers.keys().copied().collect();
        for number in numbers {
            self.stop(number, End::Kill, 1000).await;
        }
    }

    async fn strike(&mut self, fault: Fault) -> Result<(), String> {
        let kind = serde_json::to_value(fault).ok().and_then(|v| v.as_str().map(str::to_owned));
        *self.counts.entry(kind.unwrap_or_default()).or_default() += 1;
        tracing::info!(?fault, "strikes");
        let someone = self.anyone();
        match fault {
            Fault::Cut => {
                let cuts = self.cuts();
                self.world.net.set_cuts(cuts);
                let at = self.within(Duration::from_secs(8));
                self.mends.push((at, Mend::Cuts));
            }
            Fault::Kill => self.down(someone, End::Kill).await,
            Fault::Power => {
                let sectors = [0, 300, 700, 1000][self.rng.random_range(0..4)];
                self.down(someone, End::Power(sectors)).await;
            }
            Fault::Blackout => {
                let numbers: Vec<u64> = self.servers.keys().copied().collect();
                let sectors = [0, 500][self.rng.random_range(0..2)];
                for number in numbers {
                    self.down(number, End::Power(sectors)).await;
                }
            }
            Fault::SlowDisk => {
                let slowness = Duration::from_millis(self.rng.random_range(50..=600));
                self.set_disk(someone, DiskFaults { slowness, ..DiskFaults::default() });
                let at = self.within(Duration::from_secs(6));
                self.mends.push((at, Mend::Disk(someone)));
            }
            Fault::BadDisk => {
                let faults = match self.rng.random_range(0..2) {
                    0 => DiskFaults { sync_errors: 300, ..DiskFaults::default() },
                    _ => DiskFaults { write_errors: 300, ..DiskFaults::default() },
                };
                self.set_disk(someone, faults);
                let at = self.within(Duration::from_secs(3));
                self.mends.push((at, Mend::Disk(someone)));
            }
            Fault::Transfer | Fault::Remove => self.operate(fault, someone),
            Fault::Usurp => self.usurp().await?,
        }
        Ok(())
    }

    /// One server hears of the leader no more and would like to lead. Then the leader is cut off
    /// from all, and all others start again at once.
    async fn usurp(&mut self) -> Result<(), String> {
        let doors = self.arena.doors();
        let leads = doors.iter().find(|(_, (replica, _))| replica.status().is_leader);
        let Some((leader, _)) = leads else { return Ok(()) };
        let mut others: Vec<u64> =
            self.servers.keys().copied().filter(|number| number != leader).collect();
        if others.is_empty() {
            return Ok(());
        }
        let cut =
            |from: &[u64]| from.iter().flat_map(|it| [(*leader, *it), (*it, *leader)]).collect();
        let isolated: BTreeSet<(u64, u64)> = cut(&others);
        let heir = others.swap_remove(self.rng.random_range(0..others.len()));
        self.world.net.set_cuts(cut(&[heir]));
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(1_000..3_000))).await;
        self.world.net.set_cuts(isolated);
        let at = self.within(Duration::from_secs(8));
        self.mends.push((at, Mend::Cuts));
        for number in others {
            if self.servers[&number].is_running() {
                self.stop(number, End::Kill, 1000).await;
                self.usual_disk(number);
                self.start(number).await?;
            }
        }
        Ok(())
    }

    /// What an operator asks of some server; nobody waits for it.
    #[expect(clippy::disallowed_methods, reason = "nobody waits for an operator")]
    fn operate(&self, fault: Fault, whom: u64) {
        let Some((replica, _)) = self.servers[&whom].replica() else { return };
        let victim = self.servers[&whom].member(MemberStatus::Alive).id;
        let alone = self.servers.values().filter(|server| server.is_running()).count() < 3;
        tokio::spawn(async move {
            let done = match fault {
                Fault::Remove if alone => return,
                Fault::Remove => replica.remove_server(&victim).await.map(drop),
                _ => replica.transfer_leader(None).await,
            };
            tracing::info!(?fault, ?done, "an operator asked");
        });
    }

    fn cuts(&mut self) -> BTreeSet<(u64, u64)> {
        let all: Vec<u64> = self.servers.keys().copied().collect();
        let one = all[self.rng.random_range(0..all.len())];
        let side: BTreeSet<u64> =
            all.iter().copied().filter(|_| self.rng.random_range(0..2) == 0).collect();
        let shape = self.rng.random_range(0..5);
        let odds = self.rng.random_range(1..4);
        let mut pairs = BTreeSet::new();
        for from in &all {
            for to in all.iter().filter(|to| *to != from) {
                let cut = match shape {
                    0 => *from == one || *to == one,
                    1 => *from == one,
                    2 => *to == one,
                    3 => side.contains(from) != side.contains(to),
                    _ => self.rng.random_range(0..4) < odds,
                };
                if cut {
                    pairs.insert((*from, *to));
                }
            }
        }
        pairs
    }

    async fn down(&mut self, number: u64, end: End) {
        if self.servers[&number].is_running() {
            let kept = self.rng.random_range(0..=1000);
            self.stop(number, end, kept).await;
            let at = self.within(Duration::from_secs(6));
            self.mends.push((at, Mend::Start(number)));
        }
    }

    async fn restart_the_faulty(&mut self) -> Result<(), String> {
        let faulty: Vec<u64> = self
            .arena
            .doors()
            .into_iter()
            .filter(|(_, (replica, _))| replica.fault().borrow().is_some())
            .map(|(number, _)| number)
            .collect();
        for number in faulty {
            tracing::info!(number, "a server met a fault and is started again");
            self.usual_disk(number);
            self.stop(number, End::Kill, 1000).await;
            self.start(number).await?;
        }
        Ok(())
    }

    async fn mend_what_is_due(&mut self) -> Result<(), String> {
        let now = portolan::time::now();
        let (due, later) = self.mends.drain(..).partition(|(at, _)| *at <= now);
        self.mends = later;
        let due: Vec<(Instant, Mend)> = due;
        for (_, mend) in due {
            match mend {
                Mend::Cuts => self.world.net.set_cuts(BTreeSet::new()),
                Mend::Disk(number) => self.usual_disk(number),
                Mend::Start(number) if !self.servers[&number].is_running() => {
                    self.usual_disk(number);
                    self.start(number).await?;
                }
                Mend::Start(_) => {}
            }
        }
        Ok(())
    }

    async fn start(&mut self, number: u64) -> Result<(), String> {
        tracing::info!(number, "starts");
        let Some(server) = self.servers.get_mut(&number) else { return Ok(()) };
        // What it finds of the pool at once; the others hear of it below.
        let started = server.start(self.world, &self.plan).await;
        started.map_err(|error| format!("server {number} does not start: {error}"))?;
        self.arena.set_door(number, server.replica());
        self.tell();
        Ok(())
    }

    async fn stop(&mut self, number: u64, end: End, kept: usize) {
        tracing::info!(number, ?end, "ends");
        self.arena.set_door(number, None);
        if let Some(server) = self.servers.get_mut(&number) {
            server.end(self.world, end, kept).await;
        }
    }

    /// Tells every server of all that were ever started, as the pool would.
    fn tell(&self) {
        let there = self.servers.values().filter(|server| server.is_running() || server.was());
        let members: Vec<_> =
            there.map(|server| Arc::new(server.member(MemberStatus::Alive))).collect();
        let members: MemberList = members.into();
        self.servers.values().for_each(|server| server.tell(&members));
    }

    fn usual_disk(&self, number: u64) {
        let slowness = self.plan.slow_disk;
        self.set_disk(number, DiskFaults { slowness, ..DiskFaults::default() });
    }

    fn set_disk(&self, number: u64, faults: DiskFaults) {
        self.world.disk.set_faults(&self.servers[&number].dir, faults);
    }

    fn anyone(&mut self) -> u64 {
        let all: Vec<u64> = self.servers.keys().copied().collect();
        all[self.rng.random_range(0..all.len())]
    }

    fn within(&mut self, span: Duration) -> Instant {
        portolan::time::now() + span.mul_f64(self.rng.random_range(0.0..1.0))
    }
}
