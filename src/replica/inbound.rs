//! What servers ask of the leader, and the leader's answers; and the door for agents.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use raft::{Inbound, NodeId};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::agents::{self, Told};
use super::handle::Inner;
use super::{autopilot, renewals};
use crate::codec;
use crate::model::{Command, Renewal, ServerHealth, Session, SessionId, Unavailable, Written};

/// What a server asks of the leader.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// An encoded command.
    Write(Bytes),
    /// A renewal.
    Renew(SessionId),
    /// Out with a server, by its UUID.
    RemoveServer(String),
    /// Leadership to a server, by its UUID, or to anyone.
    Transfer(Option<String>),
    /// How the servers are.
    Health,
    /// A server asks to be let go, by its number; whether it is a member still.
    Leave(NodeId),
    /// Whether one would begin a new cluster with these. Not of the leader: there is none yet.
    Found(BTreeSet<NodeId>),
}

/// What the leader answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Response {
    /// The command was applied.
    Written(Written),
    /// The session, renewed; or there is none.
    Renewed(Option<Arc<Session>>),
    /// Whether it took effect.
    Flag(bool),
    /// This server does not lead (any more); it surely did not happen.
    NotLeader,
    /// It could not be done.
    Unavailable(Unavailable),
    /// How the servers are, by name.
    Health(Vec<ServerHealth>),
}

/// An answer of another kind than the request's: the peer is of another version.
pub(super) fn unexpected(response: &Response) -> Unavailable {
    Unavailable::Unknown(format!("the leader answered {response:?}"))
}

/// Answers other servers, and agents. The replica is set once it stands; before that nobody leads here.
pub(super) struct Answers {
    inner: OnceLock<Arc<Inner>>,
    /// Where agents are answered: apart from Raft's own tasks, as the doors are.
    doors: Handle,
}

impl Answers {
    /// Agents are answered on the runtime of whoever calls this.
    pub(super) fn new() -> Self {
        Self { inner: OnceLock::new(), doors: Handle::current() }
    }

    pub(super) fn open(&self, inner: &Arc<Inner>) {
        assert!(self.inner.set(Arc::clone(inner)).is_ok(), "a replica starts once");
    }
}

impl Inbound for Answers {
    fn call(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Bytes> {
        let inner = self.inner.get().map(Arc::clone);
        async move {
            let response = match (inner, codec::decode::<Request>(&request)) {
                (Some(inner), Ok(request)) => inner.answer(request).await,
                (None, _) => Response::NotLeader,
                (_, Err(error)) => {
                    tracing::warn!(from, %error, "a request of another server cannot be read");
                    Response::Unavailable(Unavailable::NotApplied(error.to_string()))
                }
            };
            Bytes::from(codec::encode(&response))
        }
        .boxed()
    }

    fn agent(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Bytes> {
        let inner = self.inner.get().map(Arc::clone);
        let doors = self.doors.clone();
        async move {
            let work = doors.spawn(agents::answer(inner, from, request));
            let _end = EndsWithIt(work.abort_handle());
            work.await.unwrap_or_else(|error| {
                tracing::error!(from, %error, "a request of an agent was not answered");
                let why = Unavailable::Unknown("the server failed at it".to_owned());
                Bytes::from(codec::encode(&Told::Unavailable(why)))
            })
        }
        .boxed()
    }
}

/// Ends a task when it is dropped.
struct EndsWithIt(AbortHandle);

impl Drop for EndsWithIt {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Inner {
    /// Answers as the leader; what is asked of every server, as any.
    pub(super) async fn answer(&self, request: Request) -> Response {
        match request {
            Request::Found(servers) => Response::Flag(self.agrees_to_found(&servers)),
            _ if !self.raft.leader().1 => Response::NotLeader,
            Request::Write(command) => self.propose(command).await,
            Request::Renew(id) => self.renew_here(id).await,
            Request::RemoveServer(id) => self.remove_here(&id).await,
            Request::Transfer(to) => self.transfer_here(to).await,
            Request::Health => Response::Health(autopilot::shown(self)),
            Request::Leave(node) => {
                self.leavers.ask(node);
                Response::Flag(self.raft.now().peers.contains_key(&node))
            }
        }
    }

    /// Takes a renewal, once this server is sure that it still leads.
    ///
    /// One that comes before the TTL has passed may be lost with this leader: the session lives
    /// for two TTLs, so for one more at least. A later one is replicated before it is answered,
    /// and so is whatever its race with the expiry comes to.
    async fn renew_here(&self, id: SessionId) -> Response {
        failpoint!("renewal.take.before");
        let term = self.raft.now().term;
        let passed = self.raft.read_barrier(self.options.leader_hold).await;
        let status = self.raft.now();
        // The barrier also passes under another leader, who would know nothing of the renewal.
        if passed.is_err() || !status.is_leader || status.term != term {
            return Response::NotLeader;
        }
        let Some(session) = self.view.session(id) else { return Response::Renewed(None) };
        let now = self.clock.now(self.view.clock());
        if !renewals::is_late(&session, now) {
            self.renewals.take(&session, now);
            failpoint!("renewal.taken.before_reply");
            return Response::Renewed(Some(session));
        }
        let renewals = vec![Renewal { id, at: now }];
        let tick = Bytes::from(codec::encode(&Command::Tick));
        match self.propose_with(renewals, tick).await {
            Response::Written(_) => Response::Renewed(self.view.session(id)),
            other => other,
        }
    }

    async fn remove_here(&self, id: &str) -> Response {
        let Some(node) = self.server(id) else { return Response::Flag(false) };
        let not_applied = |why| Response::Unavailable(Unavailable::NotApplied(why));
        if let Err(why) = autopilot::may_be_removed(self, node) {
            return not_applied(format!("server {id} is not removed: {why}"));
        }
        if node == self.node {
            // Whoever leads next takes this one out: who asks is sent there.
            return match self.raft.transfer_leadership(autopilot::heir(self)).await {
                Ok(()) => Response::NotLeader,
                Err(error) => not_applied(error.to_string()),
            };
        }
        match autopilot::bounded(self.raft.remove(node)).await {
            Ok(()) => {
                tracing::info!(id, raft = node, "server removed, as an operator asked");
                Response::Flag(true)
            }
            Err(error) => Response::Unavailable(Unavailable::Unknown(error.to_string())),
        }
    }

    async fn transfer_here(&self, to: Option<String>) -> Response {
        let node = to.as_deref().and_then(|id| self.server(id));
        if let (Some(id), None) = (to, node) {
            let why = format!("no server has the id {id:?}");
            return Response::Unavailable(Unavailable::NotApplied(why));
        }
        match self.raft.transfer_leadership(node.or_else(|| autopilot::heir(self))).await {
            Ok(()) => Response::Flag(true),
            Err(error) => Response::Unavailable(Unavailable::NotApplied(error.to_string())),
        }
    }
}
