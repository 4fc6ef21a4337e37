//! The verbs, over the replica of this process.

use std::sync::Arc;

use crate::model::{
    Backup, Command, Consistency, Index, Query, Read, ReadOptions, ServerHealth, Session,
    SessionId, Unavailable, Written,
};
use crate::replica::Replica;

pub use crate::replica::{ClusterStatus, Digest};

/// Reads and writes the cluster's data. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    replica: Replica,
}

impl Client {
    /// A client of the replica in this process.
    pub fn local(replica: Replica) -> Self {
        Self { replica }
    }

    /// Writes. Returns after a majority has the command on disk and it was applied, on the leader
    /// at least; dropping the future does not take the write back.
    ///
    /// # Errors
    ///
    /// [`Unavailable::NoLeader`] and [`Unavailable::NotApplied`] surely did not happen: retry.
    /// [`Unavailable::Unknown`] may have: retry only what an index or session guards.
    pub async fn write(&self, command: Command) -> Result<Written, Unavailable> {
        self.replica.write(&command).await
    }

    /// Replaces everything by `backup`: first its parts are set aside, then they take effect at
    /// once. One that fails midway leaves the state as it was.
    ///
    /// # Errors
    ///
    /// As [`Client::write`].
    pub async fn restore(&self, backup: &Backup) -> Result<Written, Unavailable> {
        self.replica.restore(backup).await
    }

    /// Reads. With `options.after` it returns when the answer's index is above it, or when
    /// `options.wait` has passed; dropping the future frees its place at once.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when no leader confirms the read in time; a stale read only when this
    /// server never heard of one.
    pub async fn read(&self, query: Query, options: ReadOptions) -> Result<Read, Unavailable> {
        self.replica.read(query, options).await
    }

    /// When the answer of a query last changed: as the index of a read that is this fresh, but of
    /// a service's health without making the answer. For caches: one that holds an answer of this
    /// index holds the answer.
    ///
    /// # Errors
    ///
    /// As [`Client::read`].
    pub async fn changed(
        &self,
        query: &Query,
        consistency: Consistency,
    ) -> Result<Index, Unavailable> {
        self.replica.changed(query, consistency).await
    }

    /// Starts a session's TTL anew; `None` when there is no such session.
    ///
    /// Returns when the leader has taken it. It is replicated with a later command, at most
    /// max(1 s, a tenth of the TTL) later, which the doubled TTL covers.
    ///
    /// # Errors
    ///
    /// As [`Client::write`].
    pub async fn renew(&self, id: SessionId) -> Result<Option<Arc<Session>>, Unavailable> {
        self.replica.renew(id).await
    }

    /// What this server knows of the cluster, without asking anyone.
    pub fn status(&self) -> ClusterStatus {
        self.replica.status()
    }

    /// Removes a server from the cluster; false when it is no member.
    ///
    /// # Errors
    ///
    /// As [`Client::write`]; also when this server does not lead.
    pub async fn remove_server(&self, id: &str) -> Result<bool, Unavailable> {
        self.replica.remove_server(id).await
    }

    /// Hands leadership to the server `to`, or to one that is caught up.
    ///
    /// # Errors
    ///
    /// As [`Client::write`]; also when this server does not lead.
    pub async fn transfer_leader(&self, to: Option<&str>) -> Result<(), Unavailable> {
        self.replica.transfer_leader(to).await
    }

    /// How the servers are, by name, as the leader sees them.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when no leader answers in time.
    pub async fn health(&self) -> Result<Vec<ServerHealth>, Unavailable> {
        self.replica.health().await
    }

    /// A hash of this server's whole state, for comparing replicas. Walks over everything.
    pub async fn digest(&self) -> Digest {
        self.replica.digest().await
    }

    /// Returns when the leader that this server knows has changed, was lost or was found.
    pub async fn leader_changed(&self) {
        self.replica.leader_changed().await;
    }
}
