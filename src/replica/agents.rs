//! What processes without a replica ask of this one, and its answers.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::handle::{ClusterStatus, Digest, Inner, Replica};
use crate::model::{
    Consistency, Index, Query, Read, ReadOptions, ServerHealth, Session, SessionId, Unavailable,
    Written,
};
use crate::{codec, limits};

/// Why a replica that is being stopped does nothing: another one would.
pub(super) const STOPPING: &str = "this server is stopping";

/// What is asked. Any server answers, wherever the leader is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ask {
    /// An encoded command: [`Told::Written`].
    Write(Bytes),
    /// A read, which may block: [`Told::Read`].
    Read(Query, ReadOptions),
    /// When an answer last changed: [`Told::Changed`].
    Changed(Query, Consistency),
    /// A session's TTL anew: [`Told::Renewed`].
    Renew(SessionId),
    /// What the server knows of the cluster: [`Told::Status`].
    Status,
    /// Out with a server, by its UUID: [`Told::Flag`].
    RemoveServer(String),
    /// Leadership to a server, by its UUID, or to anyone: [`Told::Flag`].
    Transfer(Option<String>),
    /// How the servers are: [`Told::Health`].
    Health,
    /// A hash of the server's state: [`Told::Digest`].
    Digest,
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Told {
    /// The command was applied.
    Written(Written),
    /// The answer to a read.
    Read(Read),
    /// The index of the last change.
    Changed(Index),
    /// The session, renewed; or there is none.
    Renewed(Option<Arc<Session>>),
    /// What the server knows.
    Status(Box<ClusterStatus>),
    /// Whether it took effect.
    Flag(bool),
    /// How the servers are, by name.
    Health(Vec<ServerHealth>),
    /// The hash.
    Digest(Digest),
    /// The server is being stopped, and did nothing: ask another one.
    Stopping,
    /// It could not be done.
    Unavailable(Unavailable),
}

/// The bounds that all agents of this server share.
pub(super) struct Bounds {
    requests: Semaphore,
    backups: Semaphore,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            requests: Semaphore::new(limits::AGENT_REQUESTS_MAX),
            backups: Semaphore::new(limits::ARCHIVES_MAX),
        }
    }
}

impl Inner {
    /// Answers an agent; whatever waits is dropped with the future.
    pub(super) async fn answer_agent(self: &Arc<Self>, ask: Ask) -> Told {
        let asked = self.asked_by_agent(ask).await;
        asked.unwrap_or_else(|unavailable| match unavailable {
            Unavailable::NotApplied(why) if why == STOPPING => Told::Stopping,
            other => Told::Unavailable(other),
        })
    }

    async fn asked_by_agent(self: &Arc<Self>, ask: Ask) -> Result<Told, Unavailable> {
        // Who waits for a change has a bound of its own, in the hub.
        let waits = matches!(&ask, Ask::Read(_, options) if options.after > Some(Index(0)));
        let full = || Unavailable::TooMany("requests of agents".to_owned());
        let request = || self.agents.requests.try_acquire().map_err(|_full| full());
        let _request = (!waits).then(request).transpose()?;
        let replica = Replica { inner: Arc::clone(self) };
        Ok(match ask {
            Ask::Write(command) => Told::Written(self.write_encoded(command).await?),
            Ask::Read(query, options) => Told::Read(self.read_for_agent(query, options).await?),
            Ask::Changed(query, consistency) => {
                Told::Changed(self.changed(&query, consistency).await?)
            }
            Ask::Renew(id) => Told::Renewed(replica.renew(id).await?),
            Ask::Status => Told::Status(Box::new(replica.status())),
            Ask::RemoveServer(id) => Told::Flag(replica.remove_server(&id).await?),
            Ask::Transfer(to) => {
                replica.transfer_leader(to.as_deref()).await?;
                Told::Flag(true)
            }
            Ask::Health => Told::Health(replica.health().await?),
            Ask::Digest => Told::Digest(replica.digest().await),
        })
    }

    /// Of whole states, only so many are held at once.
    async fn read_for_agent(
        &self,
        query: Query,
        options: ReadOptions,
    ) -> Result<Read, Unavailable> {
        if query != Query::Backup {
            return self.read(query, options).await;
        }
        let full = || Unavailable::TooMany("snapshots".to_owned());
        let place = tokio::time::timeout(limits::ARCHIVE_WAIT_MAX, self.agents.backups.acquire());
        let _place = place.await.map_err(|_elapsed| full())?.map_err(|_closed| full())?;
        self.read(query, options).await
    }
}

/// Reads a request and encodes its answer.
pub(super) async fn answer(inner: Option<Arc<Inner>>, from: raft::NodeId, request: Bytes) -> Bytes {
    let told = match (inner, codec::decode::<Ask>(&request)) {
        (Some(inner), Ok(ask)) => inner.answer_agent(ask).await,
        (None, _) => Told::Stopping, // or not started yet, which is the same to who asks
        (_, Err(error)) => {
            tracing::warn!(from, %error, "a request of an agent cannot be read");
            Told::Unavailable(Unavailable::NotApplied(error.to_string()))
        }
    };
    Bytes::from(codec::encode(&told))
}
