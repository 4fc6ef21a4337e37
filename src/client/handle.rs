//! The verbs, over the replica of this process or over those of the servers.

use std::sync::Arc;
use std::time::Duration;

use super::remote::Remote;
use crate::model::{
    Command, Consistency, Index, Query, Read, ReadOptions, ServerHealth, Session, SessionId,
    Unavailable, Written,
};
use crate::replica::Replica;

pub use crate::replica::{ClusterStatus, Digest};

/// Reads and writes the cluster's data. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    way: Way,
}

#[derive(Clone)]
enum Way {
    Local(Replica),
    Remote(Remote),
}

impl Client {
    /// A client of the replica in this process.
    pub fn local(replica: Replica) -> Self {
        Self { way: Way::Local(replica) }
    }

    /// A client of the servers' replicas.
    pub fn remote(remote: Remote) -> Self {
        Self { way: Way::Remote(remote) }
    }

    /// Writes. Returns after a majority has the command on disk and it was applied, on the leader
    /// at least; dropping the future does not take the write back.
    ///
    /// # Errors
    ///
    /// [`Unavailable::NoLeader`] and [`Unavailable::NotApplied`] surely did not happen: retry.
    /// [`Unavailable::Unknown`] may have: retry only what an index or session guards.
    /// [`Unavailable::NoServers`] on an agent that knows of none.
    pub async fn write(&self, command: Command) -> Result<Written, Unavailable> {
        match &self.way {
            Way::Local(replica) => replica.write(&command).await,
            Way::Remote(remote) => remote.write(&command).await,
        }
    }

    /// Reads. With `options.after` it returns when the answer's index is above it, or when
    /// `options.wait` has passed; dropping the future frees its place at once.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when no leader confirms the read in time; a stale read only when this
    /// server never heard of one. [`Unavailable::NoServers`] on an agent that knows of none.
    pub async fn read(&self, query: Query, options: ReadOptions) -> Result<Read, Unavailable> {
        match &self.way {
            Way::Local(replica) => replica.read(query, options).await,
            Way::Remote(remote) => remote.read(query, options).await,
        }
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
        match &self.way {
            Way::Local(replica) => replica.changed(query, consistency).await,
            Way::Remote(remote) => remote.changed(query, consistency).await,
        }
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
        match &self.way {
            Way::Local(replica) => replica.renew(id).await,
            Way::Remote(remote) => remote.renew(id).await,
        }
    }

    /// What this server knows of the cluster, or the one that this agent asks.
    ///
    /// # Errors
    ///
    /// On an agent without a server only: [`Unavailable`] where no server answers.
    pub async fn status(&self) -> Result<ClusterStatus, Unavailable> {
        match &self.way {
            Way::Local(replica) => Ok(replica.status()),
            Way::Remote(remote) => remote.status().await,
        }
    }

    /// How long ago this server heard of the leader, or this agent of the server that it asks;
    /// without asking anyone.
    pub fn last_contact(&self) -> Duration {
        match &self.way {
            Way::Local(replica) => replica.status().last_contact,
            Way::Remote(remote) => remote.last_contact(),
        }
    }

    /// Removes a server from the cluster; false when it is no member.
    ///
    /// # Errors
    ///
    /// As [`Client::write`].
    pub async fn remove_server(&self, id: &str) -> Result<bool, Unavailable> {
        match &self.way {
            Way::Local(replica) => replica.remove_server(id).await,
            Way::Remote(remote) => remote.remove_server(id).await,
        }
    }

    /// Hands leadership to the server `to`, or to one that is caught up.
    ///
    /// # Errors
    ///
    /// As [`Client::write`].
    pub async fn transfer_leader(&self, to: Option<&str>) -> Result<(), Unavailable> {
        match &self.way {
            Way::Local(replica) => replica.transfer_leader(to).await,
            Way::Remote(remote) => remote.transfer_leader(to).await,
        }
    }

    /// How the servers are, by name, as the leader sees them.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] when no leader answers in time.
    pub async fn health(&self) -> Result<Vec<ServerHealth>, Unavailable> {
        match &self.way {
            Way::Local(replica) => replica.health().await,
            Way::Remote(remote) => remote.health().await,
        }
    }

    /// A hash of a server's whole state, for comparing replicas. Walks over everything.
    ///
    /// # Errors
    ///
    /// As [`Client::status`].
    pub async fn digest(&self) -> Result<Digest, Unavailable> {
        match &self.way {
            Way::Local(replica) => Ok(replica.digest().await),
            Way::Remote(remote) => remote.digest().await,
        }
    }

    /// Returns when the cluster may be another one to talk to: the leader that this server knows
    /// has changed, was lost or was found; or a server came or came back that this agent can ask.
    pub async fn leader_changed(&self) {
        match &self.way {
            Way::Local(replica) => replica.leader_changed().await,
            Way::Remote(remote) => remote.servers_came().await,
        }
    }
}
