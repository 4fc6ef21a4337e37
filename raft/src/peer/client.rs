//! The way out: where the peers are, and what openraft calls to reach them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use openraft::OptionalSend;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::control::{self, Ask, Manners};
use super::duplex::Duplex;
use super::frame::Kind;
use super::line::Wire;
use super::promise::Promise;
use super::stream::Session;
use super::wire::{self, Appended, Hello, Lane, PROTOCOL, Transferred, Voted};
use super::{frame, snapshot};
use crate::codec;
use crate::error::CallError;
use crate::limits::{CONTROL_PENDING, CONTROL_QUEUE, ENTRY_BYTES_MAX, SNAPSHOT_CATCH_UP};
use crate::options::{NodeId, Peer};
use crate::snapshot::SnapshotFolder;
use crate::tasks::Tasks;
use crate::types::{self, LeaderId, Types, Vote};

/// Pauses between two tries to reach a peer that cannot be reached; the last one goes on.
const BACKOFF_MS: [u64; 4] = [50, 100, 200, 400];

type Rpc<T> = Result<T, RPCError<Types>>;
type Snapshot = openraft::type_config::alias::SnapshotOf<Types, Arc<SnapshotFolder>>;

/// Who this node is to its peers, and the figures of the connections.
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    pub(crate) cluster: String,
    /// What is around the connections.
    pub(crate) wire: Option<Arc<dyn Wire>>,
    /// Replication requests under way to one peer.
    pub(crate) window: usize,
    /// A connection on which nothing comes back for this long is given up.
    pub(crate) patience: Duration,
    /// To whom this node said yes in a pre-vote; it may have been itself.
    pub(crate) promise: Arc<Promise>,
}

/// The peers, and the control connections to them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    identity: Identity,
    tasks: Tasks,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// Addresses out of the membership.
    known: BTreeMap<NodeId, String>,
    /// Addresses that the application knows better.
    redirects: BTreeMap<NodeId, String>,
    controls: BTreeMap<NodeId, mpsc::Sender<Ask>>,
    /// Snapshots on their way to peers, and when the last one ended.
    sending: usize,
    sent_at: Option<Instant>,
}

/// A snapshot on its way to a peer, until this is dropped.
struct Sending(Peers);

impl Sending {
    fn begin(peers: &Peers) -> Sending {
        peers.inner.book.lock().sending += 1;
        Sending(peers.clone())
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let mut book = self.0.inner.book.lock();
        book.sending -= 1;
        book.sent_at = Some(Instant::now());
    }
}

impl Peers {
    pub(crate) fn new(identity: Identity, tasks: Tasks) -> Peers {
        let book = Mutex::new(Book::default());
        Peers { inner: Arc::new(Inner { identity, tasks, book }) }
    }

    /// Whether a snapshot is on its way to a peer, or came to it so lately that the peer still
    /// needs the log behind it.
    pub(crate) fn need_the_log(&self) -> bool {
        let book = self.inner.book.lock();
        book.sending > 0 || book.sent_at.is_some_and(|at| at.elapsed() < SNAPSHOT_CATCH_UP)
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// To whom this node said yes in a pre-vote.
    pub(crate) fn promise(&self) -> Arc<Promise> {
        Arc::clone(&self.identity().promise)
    }

    /// Notes the address that the membership gives.
    pub(crate) fn know(&self, node: NodeId, address: &str) {
        let mut book = self.inner.book.lock();
        if book.known.get(&node).is_none_or(|known| known != address) {
            book.known.insert(node, address.to_owned());
        }
    }

    /// Overrules the membership's address of a node, or stops doing so.
    pub(crate) fn redirect(&self, node: NodeId, address: Option<String>) {
        let mut book = self.inner.book.lock();
        match address {
            Some(address) => drop(book.redirects.insert(node, address)),
            None => drop(book.redirects.remove(&node)),
        }
    }

    /// Opens a connection to a peer.
    pub(super) async fn connect(&self, to: NodeId, lane: Lane) -> io::Result<Duplex> {
        let address = {
            let book = self.inner.book.lock();
            book.redirects.get(&to).or_else(|| book.known.get(&to)).cloned()
        };
        let unknown = || io::Error::other(format!("the address of node {to} is not known"));
        let address = address.ok_or_else(unknown)?;
        let Identity { node, cluster, wire, .. } = self.identity();
        let hello = Hello { protocol: PROTOCOL, cluster: cluster.clone(), from: *node, to, lane };
        Duplex::connect(wire.as_deref(), &address, &hello).await
    }

    /// Sends a request over the control connection and waits for the answer.
    pub(super) async fn ask(
        &self,
        to: NodeId,
        kind: Kind,
        body: Bytes,
        limit: Duration,
    ) -> Result<Bytes, CallError> {
        let (ask, answer) = Ask::new(kind, body);
        let queue = self.control(to);
        let full = |_| CallError::NotSent(format!("too many requests wait for node {to}"));
        queue.try_send(ask).map_err(full)?;
        match timeout(limit, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_closed)) => Err(CallError::Unknown("this node is stopping".to_owned())),
            Err(_elapsed) => Err(CallError::Unknown(format!("no answer within {limit:?}"))),
        }
    }

    /// A request of the application.
    pub(crate) async fn call(
        &self,
        to: NodeId,
        request: Bytes,
        limit: Duration,
    ) -> Result<Bytes, CallError> {
        if request.len() > ENTRY_BYTES_MAX {
            let what = format!("{} bytes, more than {ENTRY_BYTES_MAX}", request.len());
            return Err(CallError::NotSent(what));
        }
        self.ask(to, Kind::Call, request, limit).await
    }

    /// The read index of `leader`; `None` if that node does not lead with a majority.
    pub(crate) async fn read_index(
        &self,
        leader: NodeId,
        limit: Duration,
    ) -> Result<Option<u64>, CallError> {
        let answer = self.ask(leader, Kind::ReadIndex, Bytes::new(), limit).await?;
        match wire::decode(&answer).map_err(|e| CallError::Unknown(e.to_string()))? {
            wire::ReadIndex::At(index) => Ok(Some(index)),
            wire::ReadIndex::NotLeader => Ok(None),
        }
    }

    fn control(&self, to: NodeId) -> mpsc::Sender<Ask> {
        let mut book = self.inner.book.lock();
        if let Some(queue) = book.controls.get(&to) {
            return queue.clone();
        }
        let (queue, asks) = mpsc::channel(CONTROL_QUEUE);
        book.controls.insert(to, queue.clone());
        drop(book);
        let (patience, heard) = (self.identity().patience, Arc::default());
        let manners = Manners { patience, pending: CONTROL_PENDING, idle: None, heard };
        let peers = self.clone();
        let connect = move || {
            let peers = peers.clone();
            async move { peers.connect(to, Lane::Control).await }
        };
        self.inner.tasks.spawn(control::run(connect, manners, asks));
        queue
    }
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Network;

    async fn new_client(&mut self, target: NodeId, node: &Peer) -> Network {
        self.know(target, &node.address);
        Network { peers: self.clone(), target, stream: None, control_only: false }
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &Peer) -> Network {
        self.know(target, &node.address);
        Network { peers: self.clone(), target, stream: None, control_only: true }
    }
}

/// openraft's way to one peer.
pub(crate) struct Network {
    peers: Peers,
    target: NodeId,
    /// The replication stream, kept from session to session.
    stream: Option<Duplex>,
    /// Appends (heartbeats) go over the control connection.
    control_only: bool,
}

impl Network {
    async fn ask(&self, kind: Kind, body: Bytes, option: &RPCOption) -> Rpc<Bytes> {
        let answer = self.peers.ask(self.target, kind, body, option.soft_ttl()).await;
        answer.map_err(|error| match error {
            CallError::NotSent(what) => RPCError::Unreachable(Unreachable::from_string(what)),
            CallError::Unknown(what) => RPCError::Network(NetworkError::from_string(what)),
        })
    }

    fn timeout(&self, after: Duration) -> RPCError<Types> {
        RPCError::Timeout(Timeout {
            action: openraft::RPCTypes::AppendEntries,
            id: self.peers.identity().node,
            target: self.target,
            timeout: after,
        })
    }

    /// Appends one after another over the control connection: a heartbeat is a single one.
    async fn append_alone(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: &RPCOption,
    ) -> Rpc<AppendEntriesResponse<Types>> {
        let mut body = bytes::BytesMut::new();
        wire::put_append(request, &mut body);
        let answer = self.ask(Kind::Append, body.freeze(), option).await?;
        let appended: Appended = decode(&answer)?;
        Ok(wire::append_response(appended))
    }

    /// Opens the replication stream if there is none, and a session on it.
    ///
    /// Without a stream the first request is awaited before anybody is called: openraft's pauses
    /// between two tries are in its input, and a peer whose host refuses would else be called
    /// again without any.
    async fn session<S>(
        &mut self,
        mut input: S,
        option: RPCOption,
    ) -> Rpc<BoxStream<'_, Rpc<StreamAppendResult<Types>>>>
    where
        S: futures::Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let mut first = None;
        if self.stream.is_none() {
            first = input.next().await;
            if first.is_none() {
                return Ok(Box::pin(futures::stream::empty()));
            }
            let opened = self.peers.connect(self.target, Lane::Replication).await;
            self.stream = Some(opened.map_err(|e| RPCError::Unreachable(Unreachable::new(&e)))?);
        }
        // openraft's limit is a heartbeat's; a request with entries also waits for a disk.
        let patience = option.soft_ttl().max(self.peers.identity().patience);
        let late = self.timeout(patience);
        let window = self.peers.identity().window;
        let mut session = Session::new(&mut self.stream, input, window, patience, late);
        if let Some(first) = first {
            session.put(first);
        }
        Ok(Box::pin(futures::stream::unfold(session, Session::step)))
    }
}

impl RaftNetworkV2<Types> for Network {
    type SnapshotData = Arc<SnapshotFolder>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<Types>> {
        self.append_alone(rpc, &option).await
    }

    fn stream_append<S>(
        &mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'_, Rpc<BoxStream<'_, Rpc<StreamAppendResult<Types>>>>>
    where
        S: futures::Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        if self.control_only {
            openraft::network::stream_append_sequential(self, input, option)
        } else {
            Box::pin(self.session(input, option))
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<Types>> {
        failpoint!("vote.ask.before");
        let body = Bytes::from(codec::encode(&wire::vote_ask(&rpc)));
        let answer = self.ask(Kind::Vote, body, &option).await?;
        let voted: Voted = decode(&answer)?;
        Ok(wire::vote_response(&voted))
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Rpc<VoteResponse<Types>> {
        let LeaderId { term, voted_for } = rpc.vote.leader_id;
        let promise = &self.peers.identity().promise;
        if !promise.give(voted_for, term) {
            let what = format!("another node was promised the vote of term {term}");
            return Err(RPCError::Unreachable(Unreachable::from_string(what)));
        }
        let body = Bytes::from(codec::encode(&wire::vote_ask(&rpc)));
        let answer = self.ask(Kind::PreVote, body, &option).await?;
        let response = wire::vote_response(&decode(&answer)?);
        // Who has learned that it is behind stands in nobody's way.
        if !response.vote_granted && response.last_log_id > rpc.last_log_id {
            promise.take_back(voted_for);
        }
        Ok(response)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let opened = self.peers.connect(self.target, Lane::Snapshot).await;
        let duplex = opened.map_err(|e| StreamingError::Unreachable(Unreachable::new(&e)))?;
        let _sending = Sending::begin(&self.peers);
        let sent = snapshot::send(duplex, types::vote_record(&vote), snapshot.snapshot);
        // Dropping `sent` closes the connection, and the receiver drops what it got.
        let answer = tokio::select! {
            answer = sent => answer,
            closed = cancel => return Err(StreamingError::Closed(closed)),
        };
        match answer {
            Ok(vote) => Ok(SnapshotResponse::new(types::vote(vote))),
            Err(error) => Err(StreamingError::Unreachable(Unreachable::new(&error))),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<Types>> {
        let body = Bytes::from(codec::encode(&wire::transfer_ask(&req)));
        let answer = self.ask(Kind::Transfer, body, &option).await?;
        Ok(match decode(&answer)? {
            Transferred::Done => Ok(()),
            Transferred::VoteChanged { expected, actual } => {
                let (expected, actual) = (types::vote(expected), types::vote(actual));
                Err(TransferLeaderError::VoteChanged { expected, actual })
            }
            Transferred::LogNotFlushed { expected, actual } => {
                let (expected, actual) = (expected.map(types::log_id), actual.map(types::log_id));
                Err(TransferLeaderError::LogNotFlushed { expected, actual })
            }
        })
    }

    fn backoff(&self) -> Option<Backoff> {
        let last = std::iter::repeat(BACKOFF_MS[BACKOFF_MS.len() - 1]);
        Some(Backoff::new(BACKOFF_MS.into_iter().chain(last).map(Duration::from_millis)))
    }
}

fn decode<T: serde::de::DeserializeOwned>(body: &[u8]) -> Rpc<T> {
    wire::decode(body).map_err(|e| RPCError::Network(NetworkError::new(&e)))
}

/// A failed append session, as openraft wants it.
pub(super) fn broken(error: &io::Error) -> RPCError<Types> {
    RPCError::Network(NetworkError::new(error))
}

/// Appends one request to a connection's waiting bytes.
pub(super) fn put_append(duplex: &mut Duplex, request: AppendEntriesRequest<Types>) -> u64 {
    let seq = duplex.take_seq();
    frame::put_with(&mut duplex.out, Kind::Append, seq, |out| wire::put_append(request, out));
    seq
}
