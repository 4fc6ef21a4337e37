//! The way in: takes connections of peers and serves their requests.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, FuturesUnordered};
use futures::{FutureExt, StreamExt};
use openraft::raft::TransferLeaderError;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant, timeout};

use super::agents::Agents;
use super::duplex::{Duplex, send, timed_out};
use super::frame::{self, Frame, Kind, malformed};
use super::line::Wire;
use super::listener::{Incoming, Listener};
use super::promise::Promise;
use super::wire::{self, Appended, Hello, Lane, ReadIndex, SnapshotHead, Transferred};
use crate::barrier::policy;
use crate::codec;
use crate::handle::Inbound;
use crate::limits::{
    CONNECTIONS_MAX, CONTROL_PENDING, ENTRY_BYTES_MAX, SNAPSHOT_STALL, STREAM_PENDING,
};
use crate::options::NodeId;
use crate::snapshot::SnapshotStore;
use crate::tasks::{Tasks, blocking};
use crate::types::{self, Core, LeaderId, Types};

/// Pause after a failed `accept` (no file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Snapshot =
    openraft::type_config::alias::SnapshotOf<Types, Arc<crate::snapshot::SnapshotFolder>>;
type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;

/// What the connections are served with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) node: NodeId,
    pub(crate) cluster: Arc<str>,
    /// What is around the connections.
    pub(crate) wire: Option<Arc<dyn Wire>>,
    pub(crate) core: Core,
    pub(crate) inbound: Arc<dyn Inbound>,
    pub(crate) snapshots: Arc<SnapshotStore>,
    pub(crate) agents: Agents,
    /// To whom this node said yes in a pre-vote.
    pub(crate) promise: Arc<Promise>,
    /// When a leader was last heard from.
    pub(crate) contact: Arc<Mutex<Option<Instant>>>,
}

impl Server {
    /// Accepts connections until the node stops.
    pub(crate) async fn run(self, mut listener: Listener, tasks: Tasks) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((incoming, address)) => {
                    let served = self.clone().connection(incoming, permit).map(move |ended| {
                        tracing::debug!(%address, ?ended, "peer connection ended");
                    });
                    tasks.spawn(served);
                }
                Err(error) => {
                    tracing::warn!(%error, "a peer's connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self, incoming: Incoming, permit: OwnedSemaphorePermit) -> io::Result<()> {
        let wire = self.wire.as_deref();
        let mut place = None;
        let check = |hello: &Hello| {
            self.check(hello)?;
            if hello.lane == Lane::Agent {
                place = Some(self.agents.enter()?);
            }
            Ok(())
        };
        let (duplex, hello) = Duplex::accept(wire, incoming, check).await?;
        let _place = place;
        match hello.lane {
            Lane::Agent => {
                drop(permit); // the place of a peer was only lent
                self.agents.serve(duplex, hello.from, self.inbound).await
            }
            Lane::Replication => self.replication(duplex).await,
            Lane::Control => self.control(duplex, hello.from).await,
            Lane::Snapshot => self.snapshot(duplex).await,
        }
    }

    fn check(&self, hello: &Hello) -> Result<(), String> {
        if hello.cluster != *self.cluster {
            return Err(format!("this is cluster {:?}, not {:?}", self.cluster, hello.cluster));
        }
        if hello.to != self.node {
            return Err(format!("this is node {}, not {}", self.node, hello.to));
        }
        if hello.from == 0 || hello.from == self.node {
            return Err(format!("{} cannot be the number of a peer here", hello.from));
        }
        Ok(())
    }

    /// Answers appends in their order. They are polled in that order too, so openraft gets them
    /// as they came; and each stands for itself, so that a session of the leader that ended
    /// early needs no word about it here.
    async fn replication(self, mut duplex: Duplex) -> io::Result<()> {
        let mut under_way = FuturesOrdered::new();
        loop {
            let room = under_way.len() < STREAM_PENDING && duplex.has_room();
            let busy = !under_way.is_empty();
            let Duplex { reader, writer, out, .. } = &mut duplex;
            let unsent = !out.is_empty();
            // Every branch may be dropped: see `Session::event`.
            tokio::select! {
                biased;
                Some((seq, answer)) = under_way.next(), if busy => respond(out, seq, answer),
                sent = send(writer, out), if unsent => sent?,
                frame = reader.next(), if room => {
                    let frame = frame?;
                    if frame.kind != Kind::Append {
                        return Err(malformed(format!("{:?} on a replication stream", frame.kind)));
                    }
                    let seq = frame.seq;
                    let work = self.clone().append(frame.body);
                    under_way.push_back(work.map(move |answer| (seq, answer)));
                }
            }
        }
    }

    async fn control(self, mut duplex: Duplex, from: NodeId) -> io::Result<()> {
        let mut under_way = FuturesUnordered::new();
        loop {
            // Calls are turned away at half of it, so that openraft's own requests have room.
            let room = duplex.has_room() && under_way.len() < CONTROL_PENDING * 2;
            let busy = !under_way.is_empty();
            let Duplex { reader, writer, out, .. } = &mut duplex;
            let unsent = !out.is_empty();
            // Every branch may be dropped: see `Session::event`.
            tokio::select! {
                biased;
                Some((seq, answer)) = under_way.next(), if busy => respond(out, seq, answer),
                sent = send(writer, out), if unsent => sent?,
                frame = reader.next(), if room => {
                    let frame = frame?;
                    if frame.kind == Kind::Call && under_way.len() >= CONTROL_PENDING {
                        frame::put(out, Kind::Busy, frame.seq, b"too many requests");
                        continue;
                    }
                    let seq = frame.seq;
                    let work = self.clone().request(frame, from);
                    under_way.push(work.map(move |answer| (seq, answer)));
                }
            }
        }
    }

    fn request(self, frame: Frame, from: NodeId) -> BoxFuture<'static, Result<Bytes, String>> {
        let body = frame.body;
        match frame.kind {
            Kind::Append => self.append(body).boxed(),
            Kind::Vote => self.vote(body).boxed(),
            Kind::PreVote => self.pre_vote(body).boxed(),
            Kind::Transfer => self.transfer(body).boxed(),
            Kind::ReadIndex => self.read_index().boxed(),
            Kind::Call => self.inbound.call(from, body).map(Ok).boxed(),
            Kind::Ping => futures::future::ready(Ok(Bytes::new())).boxed(),
            other => futures::future::ready(Err(format!("{other:?} is no request"))).boxed(),
        }
    }

    async fn append(self, body: Bytes) -> Result<Bytes, String> {
        failpoint!("append.receive.before");
        let request = wire::append_request(body).map_err(text)?;
        let response = self.core.append_entries(request).await.map_err(text)?;
        let appended = wire::appended(&response);
        if !matches!(appended, Appended::HigherVote(_)) {
            *self.contact.lock() = Some(Instant::now());
        }
        failpoint!("append.answer.before");
        Ok(encoded(&appended))
    }

    async fn vote(self, body: Bytes) -> Result<Bytes, String> {
        let ask = wire::decode(&body).map_err(text)?;
        let response = self.core.vote(wire::vote_request(&ask)).await.map_err(text)?;
        failpoint!("vote.answer.before");
        Ok(encoded(&wire::voted(&response)))
    }

    async fn pre_vote(self, body: Bytes) -> Result<Bytes, String> {
        let ask = wire::decode(&body).map_err(text)?;
        let request = wire::vote_request(&ask);
        let LeaderId { term, voted_for } = request.vote.leader_id;
        let mut response = self.core.pre_vote(request).await.map_err(text)?;
        response.vote_granted = response.vote_granted && self.promise.give(voted_for, term);
        Ok(encoded(&wire::voted(&response)))
    }

    async fn transfer(self, body: Bytes) -> Result<Bytes, String> {
        let ask = wire::decode(&body).map_err(text)?;
        let request = wire::transfer_request(&ask);
        let response = self.core.handle_transfer_leader(request).await.map_err(text)?;
        let transferred = match response {
            Ok(()) => Transferred::Done,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                let (expected, actual) =
                    (types::vote_record(&expected), types::vote_record(&actual));
                Transferred::VoteChanged { expected, actual }
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                let (expected, actual) =
                    (expected.map(types::position), actual.map(types::position));
                Transferred::LogNotFlushed { expected, actual }
            }
        };
        Ok(encoded(&transferred))
    }

    async fn read_index(self) -> Result<Bytes, String> {
        let index = match self.core.get_read_linearizer(policy()).await {
            Ok(linearizer) => ReadIndex::At(linearizer.read_log_id().index()),
            Err(error) => {
                tracing::debug!(%error, "no read index");
                ReadIndex::NotLeader
            }
        };
        Ok(encoded(&index))
    }

    /// Receives one snapshot aside, then lets openraft take it over.
    async fn snapshot(self, mut duplex: Duplex) -> io::Result<()> {
        let head = next(&mut duplex).await?;
        if head.kind != Kind::SnapshotBegin {
            return Err(malformed(format!("{:?} begins no snapshot", head.kind)));
        }
        let SnapshotHead { vote, position, files } = wire::decode(&head.body)?;
        tracing::info!(applied = ?position.applied, files = files.len(), "snapshot arrives");
        let parts = position.clone().into_parts().map_err(malformed)?;
        let (last_log_id, last_membership) = parts;
        failpoint!("snapshot.receive.begin", io::Error::other);
        let mut receiving = self.snapshots.receive(position, files)?;
        loop {
            let frame = next(&mut duplex).await?;
            match frame.kind {
                Kind::SnapshotChunk => {
                    failpoint!("snapshot.receive.chunk", io::Error::other);
                    let write = move || receiving.write(&frame.body).map(|()| receiving);
                    receiving = blocking(write).await??;
                }
                Kind::SnapshotEnd => break,
                other => return Err(malformed(format!("{other:?} within a snapshot"))),
            }
        }
        failpoint!("snapshot.receive.before_finish", io::Error::other);
        let snapshot = blocking(move || receiving.finish()).await??;
        let meta = SnapshotMeta { last_log_id, last_membership };
        let snapshot = Snapshot { meta, snapshot };
        let installed = self.core.install_full_snapshot(types::vote(vote), snapshot).await;
        let answer =
            installed.map(|response| encoded(&types::vote_record(&response.vote))).map_err(text);
        respond(&mut duplex.out, 0, answer);
        duplex.flush().await
    }
}

async fn next(duplex: &mut Duplex) -> io::Result<Frame> {
    timeout(SNAPSHOT_STALL, duplex.reader.next()).await.map_err(|_elapsed| timed_out())?
}

fn respond(out: &mut BytesMut, seq: u64, answer: Result<Bytes, String>) {
    match answer {
        Ok(body) if body.len() <= ENTRY_BYTES_MAX => frame::put(out, Kind::Answer, seq, &body),
        Ok(body) => {
            let what = format!("answer of {} bytes, more than {ENTRY_BYTES_MAX}", body.len());
            frame::put(out, Kind::Failed, seq, what.as_bytes());
        }
        Err(what) => frame::put(out, Kind::Failed, seq, what.as_bytes()),
    }
}

fn encoded<T: serde::Serialize>(value: &T) -> Bytes {
    Bytes::from(codec::encode(value))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
