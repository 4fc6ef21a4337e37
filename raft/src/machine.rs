//! The replicated state machine: its door, its thread, and what openraft sees of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::{mpsc, oneshot, watch};

use crate::codec;
use crate::error::Fault;
use crate::limits::{
    BATCH_BYTES, BATCH_ENTRIES, MACHINE_QUEUE, SNAPSHOT_RETRY_FIRST, SNAPSHOT_RETRY_LONGEST,
};
use crate::snapshot::{SnapshotFolder, SnapshotStore};
use crate::tasks::Tasks;
use crate::types::{self, LogId, Payload, Position, StoredMembership, Types};
use crate::wal::LogPosition;

type Snapshot = openraft::type_config::alias::SnapshotOf<Types, Arc<SnapshotFolder>>;
type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;

/// One committed entry for the machine. Blank and membership entries never reach it, so
/// indexes may skip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Index in the Raft log.
    pub index: u64,
    /// Term in which it was proposed.
    pub term: u64,
    /// What was proposed.
    pub payload: Bytes,
}

/// Writes a checkpoint into the (not yet existing) folder; returns the position inside it, or
/// no bytes if nothing was ever applied.
pub type CheckpointJob = Box<dyn FnOnce(&Path) -> Result<Bytes, Fault> + Send>;

/// The replicated state machine. It lives on a thread of its own; calls never overlap.
pub trait StateMachine: Send + 'static {
    /// The `position` that was last kept by [`StateMachine::apply`] or
    /// [`StateMachine::restore`]; `None` on a fresh disk. After a crash it may be older than
    /// what had been applied: the log is replayed from there.
    fn position(&self) -> Option<Bytes>;

    /// Applies a batch. `position` must be kept atomically with its effects, which may be
    /// written behind. Gives one reply for each entry. `entries` may be empty (a change of
    /// membership): then only the position moves.
    ///
    /// # Errors
    ///
    /// A [`Fault`] stops the node; none of the batch is answered.
    fn apply(&mut self, entries: Vec<Entry>, position: Bytes) -> Result<Vec<Bytes>, Fault>;

    /// Gives a job that writes a consistent checkpoint of what has been applied up to now. The
    /// job runs on another thread, while `apply` goes on.
    ///
    /// # Errors
    ///
    /// A [`Fault`] stops the node. One of the job costs this checkpoint alone: another is asked for
    /// later; only while a node starts, takes over a snapshot or is recovered, it ends that.
    fn checkpoint(&mut self) -> Result<CheckpointJob, Fault>;

    /// Replaces the whole state by the checkpoint in `dir`, whose files may be moved away. When
    /// it returns, the new state and `position` are durable.
    ///
    /// # Errors
    ///
    /// A [`Fault`] stops the node.
    fn restore(&mut self, dir: &Path, position: Bytes) -> Result<(), Fault>;
}

type Reply<T> = oneshot::Sender<Result<T, Fault>>;

enum Command {
    Apply { entries: Vec<Entry>, position: Bytes, reply: Reply<Vec<Bytes>> },
    Checkpoint { reply: Reply<CheckpointJob> },
    Restore { dir: PathBuf, position: Bytes, reply: Reply<()> },
    Stop,
}

/// The way to the machine's thread. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Machine {
    commands: mpsc::Sender<Command>,
    fault: watch::Sender<Option<String>>,
}

impl Machine {
    /// Starts the thread; it ends on [`Machine::stop`].
    pub(crate) fn start(
        machine: impl StateMachine,
        tasks: &Tasks,
        fault: watch::Sender<Option<String>>,
    ) -> Result<Machine, Fault> {
        let (commands, queue) = mpsc::channel(MACHINE_QUEUE);
        tasks.thread("raft-apply", run(machine, queue))?;
        Ok(Machine { commands, fault })
    }

    pub(crate) async fn stop(&self) {
        // An error means that the thread has ended already.
        if self.commands.send(Command::Stop).await.is_err() {}
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> io::Result<T> {
        let (reply, answer) = oneshot::channel();
        let ended = |_| Fault("the machine's thread has ended".to_owned());
        let result = match self.commands.send(command(reply)).await {
            Ok(()) => answer.await.map_err(ended).and_then(|result| result),
            Err(_) => return Err(io::Error::other("the machine's thread has ended")),
        };
        result.map_err(|fault| self.fail(&fault))
    }

    /// Sets the node's fault, once.
    fn fail(&self, fault: &Fault) -> io::Error {
        tracing::error!(%fault, "the state machine failed: this node stops");
        self.fault.send_if_modified(|first| {
            first.is_none() && first.replace(fault.to_string()).is_none()
        });
        io::Error::other(fault.to_string())
    }
}

async fn run(mut machine: impl StateMachine, mut queue: mpsc::Receiver<Command>) {
    while let Some(command) = queue.recv().await {
        let heard = match command {
            Command::Apply { entries, position, reply } => {
                reply.send(machine.apply(entries, position)).is_ok()
            }
            Command::Checkpoint { reply } => reply.send(machine.checkpoint()).is_ok(),
            Command::Restore { dir, position, reply } => {
                reply.send(machine.restore(&dir, position)).is_ok()
            }
            Command::Stop => return,
        };
        if !heard {
            tracing::debug!("nobody waits for the machine's answer any more");
        }
    }
}

/// What openraft holds.
pub(crate) struct Adapter {
    machine: Machine,
    snapshots: Arc<SnapshotStore>,
    applied: Option<LogId>,
    membership: StoredMembership,
    /// Index of the last applied entry, told as soon as it is applied.
    progress: watch::Sender<Option<u64>>,
}

impl Adapter {
    /// `position` is what the machine had kept when its thread was started.
    pub(crate) fn new(
        machine: Machine,
        snapshots: Arc<SnapshotStore>,
        position: Option<Bytes>,
        progress: watch::Sender<Option<u64>>,
    ) -> Result<Adapter, Fault> {
        let position = match position {
            Some(bytes) => decode(&bytes)?,
            None => Position::default(),
        };
        let (applied, membership) = position.into_parts().map_err(Fault)?;
        progress.send_replace(applied.map(|id| id.index));
        Ok(Adapter { machine, snapshots, applied, membership, progress })
    }

    fn position(&self) -> Bytes {
        Bytes::from(codec::encode(&Position::new(self.applied, &self.membership)))
    }

    async fn apply_batch(&mut self, batch: Batch) -> io::Result<()> {
        failpoint!("apply.batch.before", io::Error::other);
        self.applied = batch.last.or(self.applied);
        if let Some(membership) = batch.membership {
            self.membership = membership;
        }
        let (position, entries) = (self.position(), batch.entries);
        let count = entries.len();
        let replies = self.machine.ask(|reply| Command::Apply { entries, position, reply }).await?;
        failpoint!("apply.batch.after");
        assert_eq!(replies.len(), count, "the machine gives one reply for each entry");
        self.progress.send_replace(self.applied.map(|id| id.index));
        let mut replies = replies.into_iter();
        for (normal, responder) in batch.responders {
            let reply = if normal { replies.next().unwrap_or_default() } else { Bytes::new() };
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
        Ok(())
    }

    /// Moves on without an entry, as a snapshot of that position would; nothing else is applied.
    pub(crate) async fn move_to(
        &mut self,
        applied: LogId,
        membership: StoredMembership,
    ) -> io::Result<()> {
        let (last, membership) = (Some(applied), Some(membership));
        self.apply_batch(Batch { last, membership, ..Batch::default() }).await
    }

    /// Place in the log of the last applied entry.
    pub(crate) fn applied(&self) -> Option<LogPosition> {
        self.applied.map(types::position)
    }

    /// Takes a snapshot of what is applied now. There is one try: who calls this waits for it.
    pub(crate) async fn keep_snapshot(&mut self) -> io::Result<()> {
        let built = self.builder().build().await?;
        built.map(drop).map_err(|fault| self.machine.fail(&fault))
    }

    fn builder(&self) -> Builder {
        Builder { machine: self.machine.clone(), snapshots: Arc::clone(&self.snapshots) }
    }
}

/// Consecutive entries that are applied in one call.
#[derive(Default)]
struct Batch {
    entries: Vec<Entry>,
    bytes: usize,
    last: Option<LogId>,
    membership: Option<StoredMembership>,
    /// For each entry: whether the machine saw it, and who waits for the reply.
    responders: Vec<(bool, Option<openraft::storage::ApplyResponder<Types>>)>,
}

impl Batch {
    fn push(&mut self, (entry, responder): EntryResponder<Types>) {
        let id = entry.log_id;
        self.last = Some(id);
        let normal = match entry.payload {
            EntryPayload::Blank => false,
            EntryPayload::Normal(Payload(payload)) => {
                self.bytes += payload.len();
                self.entries.push(Entry { index: id.index, term: id.leader_id.term, payload });
                true
            }
            EntryPayload::Membership(membership) => {
                self.membership = Some(StoredMembership::new(Some(id), membership));
                false
            }
        };
        self.responders.push((normal, responder));
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.responders.len() >= BATCH_ENTRIES
    }
}

impl RaftStateMachine<Types> for Adapter {
    type SnapshotData = Arc<SnapshotFolder>;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batch = Batch::default();
        while let Some(item) = entries.try_next().await? {
            batch.push(item);
            if batch.is_full() {
                self.apply_batch(std::mem::take(&mut batch)).await?;
            }
        }
        match batch.last {
            Some(_) => self.apply_batch(batch).await,
            None => Ok(()),
        }
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(self.builder())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.builder()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Arc<SnapshotFolder>,
    ) -> Result<(), io::Error> {
        let position = Position::new(meta.last_log_id, &meta.last_membership);
        let position = Bytes::from(codec::encode(&position));
        failpoint!("snapshot.install.before", io::Error::other);
        let folder = self.snapshots.for_restore(snapshot).await?;
        let dir = folder.state();
        self.machine.ask(|reply| Command::Restore { dir, position, reply }).await?;
        failpoint!("snapshot.install.after");
        drop(folder);
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.progress.send_replace(self.applied.map(|id| id.index));
        failpoint!("snapshot.install.before_own", io::Error::other);
        // The machine may have moved the files away: our own checkpoint of the same state is
        // what this node can send to others.
        self.keep_snapshot().await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        self.snapshots.current().map(snapshot).transpose()
    }
}

/// Builds one snapshot.
pub(crate) struct Builder {
    machine: Machine,
    snapshots: Arc<SnapshotStore>,
}

impl Builder {
    /// One try. The inner error is of this snapshot alone, the outer one of the node.
    async fn build(&self) -> io::Result<Result<Arc<SnapshotFolder>, Fault>> {
        let closed = || io::Error::other("the node is stopping");
        let _right = self.snapshots.begin().await.ok_or_else(closed)?;
        let job = self.machine.ask(|reply| Command::Checkpoint { reply }).await?;
        Ok(self.snapshots.build(job).await)
    }
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Arc<SnapshotFolder>;

    /// Tries until there is one: without it the log grows and nothing else is wrong, so a lack of
    /// file descriptors or of room is no reason for a node to stop. Other tasks go on meanwhile.
    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let mut pause = SNAPSHOT_RETRY_FIRST;
        loop {
            match self.build().await? {
                Ok(built) => return snapshot(built),
                Err(fault) => tracing::warn!(%fault, again_in = ?pause, "no snapshot was taken"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SNAPSHOT_RETRY_LONGEST);
        }
    }
}

fn snapshot(folder: Arc<SnapshotFolder>) -> io::Result<Snapshot> {
    let parts = folder.position.clone().into_parts().map_err(io::Error::other)?;
    let (last_log_id, last_membership) = parts;
    Ok(Snapshot { meta: SnapshotMeta { last_log_id, last_membership }, snapshot: folder })
}

/// The index in the log that a `position` stands for: of the last entry that was applied.
///
/// # Errors
///
/// The bytes are no position.
pub fn position_index(position: &[u8]) -> Result<u64, Fault> {
    Ok(decode(position)?.applied.map_or(0, |applied| applied.index))
}

fn decode(bytes: &[u8]) -> Result<Position, Fault> {
    codec::decode(bytes).map_err(|e| Fault(format!("the machine's position: {e}")))
}
