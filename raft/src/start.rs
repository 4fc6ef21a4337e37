//! How a node is started, and what follows openraft's core while it runs.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Config, Instant as _, RaftMetrics, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;

use crate::barrier::Barrier;
use crate::error::Fault;
use crate::handle::{Inbound, Inner};
use crate::limits;
use crate::log::{self, LogStore};
use crate::machine::{Adapter, Machine, StateMachine};
use crate::options::Options;
use crate::peer::{Agents, Identity, Listener, Peers, Promise, Server};
use crate::propose;
use crate::snapshot::SnapshotStore;
use crate::status::Status;
use crate::tasks::{Tasks, blocking};
use crate::types::{Core, Types};
use crate::wal::{Wal, WalOptions};

/// Recovers the log, brings the machine up to what is known as committed, then serves peers.
pub(crate) async fn start(
    options: Options,
    listener: Listener,
    machine: impl StateMachine,
    inbound: Arc<dyn Inbound>,
    tasks: &Tasks,
) -> Result<Inner, Fault> {
    let fault = watch::Sender::new(None);
    let node = options.node;
    let position = machine.position();
    tracing::info!(node, dir = %options.dir.display(), "raft starts: reading the log");
    let wal = open_log(&options, tasks, fault.clone()).await?;
    let (purged, last) = wal.ends();
    tracing::info!(node, ?purged, ?last, vote = ?wal.vote(), "the log is read");
    let snapshots = Arc::new(SnapshotStore::open(&options.dir.join("snapshots"))?);
    failpoint!("start.core.before", Fault);
    #[cfg(feature = "sim")]
    let machine = crate::sim::Seen::new(node, machine);
    let machine = Machine::start(machine, tasks, fault.clone())?;
    let progress = watch::Sender::new(None);
    let applied = progress.subscribe();
    let adapter = Adapter::new(machine.clone(), Arc::clone(&snapshots), position, progress);
    let peers = Peers::new(identity(&options), tasks.clone());
    let parts = (machine.clone(), wal.clone());
    let core = match adapter {
        Ok(adapter) => start_core(&options, &peers, &wal, adapter).await,
        Err(fault) => Err(fault),
    };
    let core = match core {
        Ok(core) => core,
        Err(fault) => return Err(give_up(parts, tasks, fault).await),
    };
    tracing::info!(node, applied = ?*applied.borrow(), "the machine is up to what was committed");
    let (proposals, proposed) = mpsc::channel(limits::PROPOSE_QUEUE);
    tasks.spawn(propose::run(core.clone(), proposed, options.election.1 / 2));
    let contact = Arc::new(Mutex::new(None));
    let status = follow(&core, &peers, tasks, fault.clone(), Arc::clone(&contact));
    let (barriers, waiters) = mpsc::channel(limits::BARRIER_QUEUE);
    let round = options.election.0;
    let barrier =
        Barrier { core: core.clone(), peers: peers.clone(), status: status.clone(), round };
    tasks.spawn(barrier.run(waiters));
    let takes = Snapshots { every: options.snapshot_every, peers: peers.clone() };
    tasks.spawn(takes.take(core.clone(), wal.clone(), status.clone()));
    let server = Server {
        node,
        cluster: options.cluster.as_str().into(),
        wire: options.wire.clone(),
        core: core.clone(),
        inbound,
        snapshots: Arc::clone(&snapshots),
        agents: Agents::default(),
        promise: peers.promise(),
        contact: Arc::clone(&contact),
    };
    failpoint!("start.peers.before");
    tasks.spawn(server.run(listener, tasks.clone()));
    tracing::info!(node, "peers are served");
    let (tasks, room) = (tasks.clone(), Semaphore::new(limits::PROPOSE_KIB));
    Ok(Inner {
        options,
        core,
        wal,
        machine,
        snapshots,
        peers,
        tasks,
        proposals,
        room,
        barriers,
        applied,
        status,
        fault,
        contact,
    })
}

async fn give_up((machine, wal): (Machine, Wal), tasks: &Tasks, fault: Fault) -> Fault {
    wal.stop().await;
    machine.stop().await;
    tasks.join_threads().await;
    fault
}

pub(crate) async fn open_log(
    options: &Options,
    tasks: &Tasks,
    fault: watch::Sender<Option<String>>,
) -> Result<Wal, Fault> {
    let wal = WalOptions {
        dir: options.dir.join("log"),
        segment_bytes: options.segment_bytes,
        cache_bytes: options.cache_bytes,
        sync: options.sync,
    };
    let tasks = tasks.clone();
    let opened = blocking(move || Wal::open(wal, &tasks, fault)).await;
    opened.map_err(|e| Fault(format!("the log was not read: {e}")))?
}

fn identity(options: &Options) -> Identity {
    Identity {
        node: options.node,
        cluster: options.cluster.clone(),
        wire: options.wire.clone(),
        window: options.window,
        patience: options.election.0,
        promise: Arc::new(Promise::new(election_timeout(options))),
    }
}

async fn start_core(
    options: &Options,
    peers: &Peers,
    wal: &Wal,
    mut adapter: Adapter,
) -> Result<Core, Fault> {
    let config = config(options)?;
    if !log::fit(wal, adapter.applied()).await? {
        adapter.keep_snapshot().await.map_err(|error| Fault(error.to_string()))?;
    }
    let log = LogStore::new(wal.clone(), options.node);
    let core = Core::new(options.node, Arc::new(config), peers.clone(), log, adapter).await;
    let core = core.map_err(|e| Fault(e.to_string()))?;
    // Until the core has spoken once its metrics show a node without members, vote and log. Where
    // it has ended meanwhile, they say so as well.
    if core.metrics().changed().await.is_err() {
        tracing::debug!("the core ended at once");
    }
    Ok(core)
}

/// openraft waits for the leader's lease, which is its longest timeout, and then for a random
/// timeout: so a silence of up to the longest is a lease of half of it and a timeout of up to the
/// same.
fn lease(options: &Options) -> Duration {
    options.election.1 / 2
}

/// The shortest of those timeouts, and between two tries of the same node to be elected. It must
/// outlast the longest pause between two heartbeats, which is one and a half of them and a tick.
fn election_timeout(options: &Options) -> Duration {
    options.election.0.saturating_sub(lease(options)).max(options.heartbeat * 2)
}

fn config(options: &Options) -> Result<Config, Fault> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let heartbeat = millis(options.heartbeat);
    let config = Config {
        cluster_name: options.cluster.clone(),
        heartbeat_interval: heartbeat,
        heartbeat_min_interval: Some(heartbeat / 2),
        election_timeout_min: millis(election_timeout(options)),
        election_timeout_max: millis(lease(options)),
        // B25: who was away deposes the leader when it comes back.
        enable_pre_vote: Some(!planted!("planted_b25")),
        quorum_loss_probe_interval: Some(millis(options.election.1).saturating_mul(2)),
        enable_leader_restore: Some(false),
        max_payload_entries: limits::BATCH_ENTRIES as u64,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: options.keep_behind,
        purge_batch_size: options.keep_behind.clamp(1, 1024),
        install_snapshot_timeout: millis(limits::SNAPSHOT_INSTALL),
        ..Config::default()
    };
    config.validate().map_err(|e| Fault(format!("options: {e}")))
}

/// Keeps the status, the peers' addresses and a leader's contact as openraft's metrics say, and
/// turns the end of its core into a fault.
fn follow(
    core: &Core,
    peers: &Peers,
    tasks: &Tasks,
    fault: watch::Sender<Option<String>>,
    contact: Arc<Mutex<Option<Instant>>>,
) -> watch::Receiver<Status> {
    let mut metrics = core.metrics();
    let first = Status::default().after(&metrics.borrow_watched());
    let sender = watch::Sender::new(first);
    let status = sender.subscribe();
    let (peers, own) = (peers.clone(), tasks.clone());
    tasks.spawn(async move {
        loop {
            let open = metrics.changed().await.is_ok();
            let next = {
                let metrics = metrics.borrow_and_update();
                if let Err(fatal) = &metrics.running_state
                    && !own.is_stopping()
                    && !matches!(fatal, openraft::errors::Fatal::Stopped)
                {
                    set_fault(&fault, fatal.to_string());
                }
                if let Some(led) = led_at(&metrics) {
                    let mut contact = contact.lock();
                    *contact = contact.max(Some(led));
                }
                sender.borrow().after(&metrics)
            };
            next.peers.iter().for_each(|(id, peer)| peers.know(*id, &peer.address));
            sender.send_if_modified(|status| {
                let changed = *status != next;
                *status = next;
                changed
            });
            if !open {
                return;
            }
        }
    });
    status
}

/// When this node was last known to lead with a majority, if it leads.
fn led_at(metrics: &RaftMetrics<Types>) -> Option<Instant> {
    if metrics.state != ServerState::Leader {
        return None;
    }
    let alone = metrics.membership_config.voter_ids().eq([metrics.id]);
    let acked = metrics.last_quorum_acked.as_ref().map(|acked| acked.elapsed());
    let age = if alone { Some(Duration::ZERO) } else { acked };
    age.and_then(|age| Instant::now().checked_sub(age))
}

/// Sets the fault unless one is set already.
fn set_fault(fault: &watch::Sender<Option<String>>, what: String) {
    fault.send_if_modified(|first| {
        let set = first.is_none();
        first.get_or_insert(what);
        set
    });
}

/// When snapshots are taken.
struct Snapshots {
    /// Applied entries between two of them.
    every: u64,
    peers: Peers,
}

impl Snapshots {
    /// Asks for a snapshot each time enough was applied, but not while a peer is on its way with
    /// an older one: under load it would find, each time, that the entries behind it were purged
    /// meanwhile. Or when the log has grown enough, whoever needs it, so that it stays bounded.
    async fn take(self, core: Core, wal: Wal, mut status: watch::Receiver<Status>) {
        let (mut asked_at, mut appended_at) = (status.borrow().snapshot, wal.appended());
        while status.changed().await.is_ok() {
            let (applied, snapshot) = {
                let status = status.borrow_and_update();
                (status.applied, status.snapshot)
            };
            let grown = wal.appended() - appended_at >= limits::LOG_BYTES_BEFORE_SNAPSHOT;
            let due = applied.saturating_sub(asked_at.max(snapshot)) >= self.every.max(1);
            if applied > snapshot && (grown || (due && !self.peers.need_the_log())) {
                (asked_at, appended_at) = (applied, wal.appended());
                if core.trigger().snapshot().await.is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// openraft checks how timeouts and heartbeats relate, and a node that is refused never starts.
    #[test]
    fn the_usual_figures_are_accepted_at_every_scale() {
        for scale in 1..=10 {
            let mut options = Options::new(1, "test", "unused");
            options.heartbeat *= scale;
            options.election = (options.election.0 * scale, options.election.1 * scale);
            let config = config(&options).unwrap();
            let silence = config.election_timeout_max * 2;
            assert_eq!(u128::from(silence), options.election.1.as_millis());
        }
    }
}
