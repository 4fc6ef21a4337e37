//! One simulated server: its disk, its address, and its process while it has one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portolan::lifecycle::Tasks;
use portolan::model::{Autopilot, Member, MemberList, MemberStatus};
use portolan::replica::{self, Options, Replica};
use portolan::telemetry::Metrics;
use raft::sim::World;
use tokio::sync::{mpsc, watch};

use crate::plan::Plan;

/// How the process of a server ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// It is killed: the system keeps what it wrote.
    Kill,
    /// The power goes: of what was not synced each sector is kept with this chance in a thousand.
    Power(u32),
}

/// A server, running or not.
pub(crate) struct Server {
    pub(crate) number: u64,
    pub(crate) dir: PathBuf,
    expect: u32,
    members: watch::Sender<MemberList>,
    process: Option<Process>,
    /// Counts the lives; whoever waits for an answer of an earlier one gets none.
    life: watch::Sender<u64>,
}

struct Process {
    replica: Replica,
    tasks: Tasks,
    /// Held, so that dismissals have somewhere to go.
    _dismissed: mpsc::Receiver<String>,
}

impl Server {
    pub(crate) fn new(number: u64, expect: u32, dir: PathBuf) -> Self {
        let members = watch::Sender::new(Arc::from([]));
        Self { number, dir, expect, members, process: None, life: watch::Sender::new(0) }
    }

    /// The replica, while the process runs, and a way to learn of its end.
    pub(crate) fn replica(&self) -> Option<(Replica, watch::Receiver<u64>)> {
        self.process.as_ref().map(|process| (process.replica.clone(), self.life.subscribe()))
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Whether it ever ran.
    pub(crate) fn was(&self) -> bool {
        *self.life.borrow() > 0
    }

    pub(crate) fn member(&self, status: MemberStatus) -> Member {
        Member {
            id: id(self.number),
            name: name(self.number),
            address: host(self.number),
            port: 8301,
            server_port: PORT,
            datacenter: DATACENTER.to_owned(),
            expect: self.expect,
            bootstrapped: false,
            tags: [("role".to_owned(), "consul".to_owned())].into(),
            status,
            generation: *self.life.borrow() + 1,
            raft: self.number,
        }
    }

    /// What the pool says from now on.
    pub(crate) fn tell(&self, members: &MemberList) {
        self.members.send_replace(Arc::clone(members));
    }

    /// Starts the process.
    pub(crate) async fn start(
        &mut self,
        world: &'static World,
        plan: &Plan,
    ) -> Result<(), replica::StartError> {
        let listener = world.net.listen(self.number, &format!("{}:{PORT}", host(self.number)));
        let listener = raft::Listener::Simulated(listener);
        let (dismiss, dismissed) = mpsc::channel(16);
        let tasks = Tasks::new();
        let options = self.options(plan, dismiss);
        let started = replica::start(options, listener, self.members.subscribe(), &tasks).await;
        match started {
            Ok(replica) => {
                self.process = Some(Process { replica, tasks, _dismissed: dismissed });
                Ok(())
            }
            Err(error) => {
                self.end(world, End::Kill, 0).await;
                tasks.stop(Duration::ZERO).await;
                Err(error)
            }
        }
    }

    /// Ends the process: from here on nothing of it reaches a disk or the network. Of the writes
    /// of the database since its last flush the first `kept` in a thousand stay.
    pub(crate) async fn end(&mut self, world: &'static World, end: End, kept: usize) {
        world.net.end(self.number);
        match end {
            End::Kill => world.disk.kill(&self.dir),
            End::Power(sectors) => world.disk.cut(&self.dir, sectors),
        }
        portolan::store::cut(&self.dir, |writes| writes * kept / 1000);
        self.life.send_modify(|life| *life += 1);
        if let Some(process) = self.process.take() {
            process.tasks.stop(Duration::ZERO).await;
            process.replica.halt().await;
        }
    }

    fn options(&self, plan: &Plan, dismiss: mpsc::Sender<String>) -> Options {
        Options {
            dir: self.dir.clone(),
            number: self.number,
            id: id(self.number),
            name: name(self.number),
            address: format!("{}:{PORT}", host(self.number)),
            datacenter: DATACENTER.to_owned(),
            expect: self.expect,
            heartbeat: Duration::from_millis(100),
            election: (Duration::from_millis(900), Duration::from_millis(1400)),
            leader_hold: Duration::from_secs(2),
            wait_default: Duration::from_secs(10),
            wait_max: Duration::from_mins(1),
            snapshot_every: plan.snapshot_every,
            keep_behind: plan.keep_behind,
            autopilot: Autopilot { stabilization_ms: 500, ..Autopilot::default() },
            reconnect_timeout: Duration::from_hours(72),
            dismiss,
            runtime: tokio::runtime::Handle::current(),
            sync: raft::Sync::Always,
            wire: None,
            metrics: Metrics::new(),
        }
    }
}

const PORT: u16 = 8300;
const DATACENTER: &str = "dc1";

pub(crate) fn name(number: u64) -> String {
    format!("n{number}")
}

fn host(number: u64) -> String {
    format!("10.0.0.{number}")
}

fn id(number: u64) -> String {
    uuid::Uuid::from_u64_pair(number, number).to_string()
}
