//! Recovery from a lost quorum: the folder of a stopped node is rewritten, so that the cluster
//! goes on with the members that are left.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::StorageHelper;
use tokio::sync::watch;

use crate::codec;
use crate::error::Fault;
use crate::limits::{BATCH_BYTES, RECOVERY_ENTRIES, RECOVERY_TERMS};
use crate::log::{self, LogStore};
use crate::machine::{Adapter, Machine, StateMachine};
use crate::options::{NodeId, Options, Peer};
use crate::snapshot::SnapshotStore;
use crate::start::open_log;
use crate::tasks::Tasks;
use crate::types::{self, MembershipRecord, Position, StoredMembership};
use crate::wal::{Kind, LogPosition, VoteRecord, Wal};

/// The folder of a stopped node, locked as a running one's is. Ends with [`Recovery::close`].
///
/// # How the others accept it
///
/// The survivors that merely start again must take what this node has, whatever they have. So the
/// whole log is applied, as if all of it were committed, and becomes a snapshot with the new
/// membership, whose term and index are far beyond anything that a survivor may have: by the term
/// this node wins the election, and by the index the survivors take the snapshot over as a whole.
/// Entries in its place would overwrite what a survivor has applied already, unnoticed.
pub struct Recovery {
    dir: PathBuf,
    tasks: Tasks,
    wal: Wal,
    snapshots: Arc<SnapshotStore>,
    fault: watch::Sender<Option<String>>,
}

/// What a node's folder holds. Indexes are 0 where there is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The members, learners too, as the newest membership in the folder has them.
    pub members: BTreeMap<NodeId, Peer>,
    /// Who votes; two sets if a change of membership was under way.
    pub voters: Vec<BTreeSet<NodeId>>,
    /// The newest term that this node took part in.
    pub term: u64,
    /// Index of the last entry.
    pub last: u64,
    /// Term of the last entry. Of two nodes the one with the higher term, and with the same the
    /// one with the higher index, has more.
    pub last_term: u64,
    /// Index of the last entry that this node knew to be committed. Those behind it may have been
    /// acknowledged or not; a recovery makes them count.
    pub committed: u64,
}

/// What a folder holds, and where its newest membership stands.
struct Found {
    account: Account,
    last: LogPosition,
}

impl Recovery {
    /// Opens and locks the folder that [`Options::dir`] names for a running node. A torn tail of
    /// the log is cut, as at any start. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// A node is running on it, it holds no log, or the log or a snapshot is damaged.
    pub async fn open(dir: &Path) -> Result<Recovery, Fault> {
        let log = dir.join("log");
        if !log.is_dir() {
            return Err(Fault::at(&log, "no server has kept its log here"));
        }
        let fault = watch::Sender::new(None);
        let tasks = Tasks::new();
        let wal = open_log(&Options::new(0, "", dir), &tasks, fault.clone()).await?;
        match SnapshotStore::open(&dir.join("snapshots")) {
            Ok(snapshots) => {
                let (dir, snapshots) = (dir.to_owned(), Arc::new(snapshots));
                Ok(Recovery { dir, tasks, wal, snapshots, fault })
            }
            Err(fault) => {
                wal.stop().await;
                tasks.join_threads().await;
                Err(fault)
            }
        }
    }

    /// What the folder holds; `position` is what the machine has kept.
    ///
    /// # Errors
    ///
    /// Damage, or there is nothing: this node never belonged to a cluster.
    pub async fn account(&self, position: Option<&[u8]>) -> Result<Account, Fault> {
        Ok(self.found(position).await?.account)
    }

    /// Makes `survivors` the members of the cluster, all of them with a vote, and everything that
    /// this node has the cluster's state. Returns what the folder held before.
    ///
    /// When it is stopped midway, the folder is whole: as before, or rewritten already. May be
    /// run again in either case.
    ///
    /// # Errors
    ///
    /// `node` is no survivor or was no member, a number is 0, or the disk fails.
    pub async fn rewrite(
        &self,
        node: NodeId,
        survivors: BTreeMap<NodeId, Peer>,
        machine: impl StateMachine,
    ) -> Result<Account, Fault> {
        let Found { account, last } = self.found(machine.position().as_deref()).await?;
        judge(&account, node, &survivors)?;
        let position = machine.position();
        let machine = Machine::start(machine, &self.tasks, self.fault.clone())?;
        let adapter = Adapter::new(
            machine.clone(),
            Arc::clone(&self.snapshots),
            position,
            watch::Sender::new(None),
        );
        let done = match adapter {
            Ok(adapter) => self.replace(node, survivors, last, adapter).await,
            Err(fault) => Err(fault),
        };
        self.snapshots.close().await;
        machine.stop().await;
        done.map(|()| account)
    }

    /// Gives the folder free.
    pub async fn close(self) {
        self.wal.stop().await;
        self.tasks.join_threads().await;
    }

    async fn found(&self, position: Option<&[u8]>) -> Result<Found, Fault> {
        let own = position.map(|bytes| {
            let decoded: Result<Position, _> = codec::decode(bytes);
            decoded.map_err(|e| Fault(format!("the machine's position: {e}")))
        });
        let own = own.transpose()?.unwrap_or_default();
        let snapshot = self.snapshots.current().map(|folder| folder.position.clone());
        let snapshot = snapshot.unwrap_or_default();
        let (_, in_log) = self.wal.ends();
        let ends = [in_log, snapshot.applied, own.applied];
        let (Some(last), vote) = (ends.into_iter().flatten().max(), self.wal.vote()) else {
            let what = "nothing was ever written: this node never belonged to a cluster";
            return Err(Fault::at(&self.dir, what));
        };
        let committed = [self.wal.committed(), snapshot.applied, own.applied];
        let committed = committed.into_iter().flatten().max();
        let newest = [
            (snapshot.membership_at, snapshot.membership),
            (own.membership_at, own.membership),
            self.membership_in_log().await?,
        ];
        let newest = newest.into_iter().max_by_key(|(at, _)| *at);
        let membership = newest.map(|(_, membership)| membership).unwrap_or_default();
        let account = Account {
            members: membership.nodes,
            voters: membership.configs,
            term: vote.map_or(0, |vote| vote.term).max(last.term),
            last: last.index,
            last_term: last.term,
            committed: committed.map_or(0, |committed| committed.index.min(last.index)),
        };
        Ok(Found { account, last })
    }

    /// The last membership in the log, committed or not: the one that counts.
    async fn membership_in_log(&self) -> Result<(Option<LogPosition>, MembershipRecord), Fault> {
        let (mut newest, mut from) = ((None, MembershipRecord::default()), 0);
        loop {
            let read = self.wal.read(from..u64::MAX, BATCH_BYTES).await;
            let records = read.map_err(|e| Fault(e.to_string()))?;
            let Some(end) = records.last() else { return Ok(newest) };
            from = end.index + 1;
            for record in records.iter().filter(|record| record.kind == Kind::Membership) {
                let decoded = codec::decode(&record.payload);
                let membership = decoded.map_err(|e| {
                    Fault(format!("entry {} of the log: membership: {e}", record.index))
                })?;
                newest = (Some(LogPosition { term: record.term, index: record.index }), membership);
            }
        }
    }

    /// The order is what makes a stop midway harmless: a vote of a term to come binds nobody; a
    /// machine that is ahead of its log, or a snapshot that is, brings the log with it at the
    /// next start.
    async fn replace(
        &self,
        node: NodeId,
        survivors: BTreeMap<NodeId, Peer>,
        last: LogPosition,
        mut adapter: Adapter,
    ) -> Result<(), Fault> {
        let failed = |error: io::Error| Fault(format!("not recovered: {error}"));
        let term = self.wal.vote().map_or(0, |vote| vote.term).max(last.term);
        let to = beyond(LogPosition { term, index: last.index })?;
        // The log of a term is never ahead of its vote, and this node stands for the next one.
        let vote = VoteRecord { term: to.term + 1, node, committed: false };
        self.wal.save_vote(vote).await.map_err(failed)?;
        failpoint!("recovery.vote.after", Fault);
        // Where the log does not reach as far, the snapshot below does.
        log::fit(&self.wal, adapter.applied()).await?;
        let (_, in_log) = self.wal.ends();
        self.wal.save_committed(in_log).await.map_err(failed)?;
        let mut store = LogStore::new(self.wal.clone(), node);
        let start = StorageHelper::new(&mut store, &mut adapter).with_id(node);
        apply_all(start).await.map_err(failed)?;
        let record = MembershipRecord {
            configs: vec![survivors.keys().copied().collect()],
            nodes: survivors,
        };
        let membership = record.into_membership().map_err(Fault)?;
        let membership = StoredMembership::new(Some(types::log_id(to)), membership);
        adapter.move_to(types::log_id(to), membership).await.map_err(failed)?;
        failpoint!("recovery.snapshot.before", Fault);
        adapter.keep_snapshot().await.map_err(failed)?;
        failpoint!("recovery.purge.before", Fault);
        self.wal.purge(to).await.map_err(failed)?;
        self.wal.save_committed(Some(to)).await.map_err(failed)
    }
}

type Helper<'h> = StorageHelper<'h, types::Types, LogStore, Adapter>;

/// Does what a start does: takes a newer snapshot over, applies all that counts as committed.
async fn apply_all(mut helper: Helper<'_>) -> io::Result<()> {
    helper.get_initial_state().await.map(drop).map_err(io::Error::other)
}

/// Where the new beginning stands: no survivor has anything there or behind it.
fn beyond(last: LogPosition) -> Result<LogPosition, Fault> {
    let term = last.term.checked_add(RECOVERY_TERMS);
    let index = last.index.checked_add(RECOVERY_ENTRIES);
    let full = || Fault("terms or indexes are used up".to_owned());
    Ok(LogPosition { term: term.ok_or_else(full)?, index: index.ok_or_else(full)? })
}

fn judge(account: &Account, node: NodeId, survivors: &BTreeMap<NodeId, Peer>) -> Result<(), Fault> {
    if survivors.contains_key(&0) {
        return Err(Fault("the number of a node is never 0".to_owned()));
    }
    if !survivors.contains_key(&node) {
        return Err(Fault(format!("this node, {node}, must be among the survivors")));
    }
    if !account.members.contains_key(&node) {
        let what = format!("this node, {node}, was no member of the cluster any more");
        return Err(Fault(what));
    }
    Ok(())
}
