//! The control connection to one server: requests of many callers, answered in any order.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::duplex::{Duplex, send, text};
use super::frame::{self, Frame, Kind, malformed};
use crate::error::CallError;
use crate::limits::ANSWER_BYTES_MAX;

/// A request and who waits for its answer.
pub(super) struct Ask {
    kind: Kind,
    body: Bytes,
    reply: oneshot::Sender<Result<Bytes, CallError>>,
    /// Ends when the caller has left; `None`: nobody tells, and nobody is told.
    gone: Option<oneshot::Receiver<()>>,
}

/// Where the answer to an [`Ask`] comes.
pub(super) type Reply = oneshot::Receiver<Result<Bytes, CallError>>;

impl Ask {
    pub(super) fn new(kind: Kind, body: Bytes) -> (Ask, Reply) {
        let (reply, answer) = oneshot::channel();
        (Ask { kind, body, reply, gone: None }, answer)
    }

    /// As [`Ask::new`], for as long as the third value lives: the server is told when it is
    /// dropped, and drops the work.
    pub(super) fn while_wanted(kind: Kind, body: Bytes) -> (Ask, Reply, oneshot::Sender<()>) {
        let (ask, answer) = Ask::new(kind, body);
        let (wanted, gone) = oneshot::channel();
        (Ask { gone: Some(gone), ..ask }, answer, wanted)
    }
}

/// How a control connection is kept.
#[derive(Clone)]
pub(super) struct Manners {
    /// After this long without a word on what was asked it is pinged, then given up.
    pub(super) patience: Duration,
    /// Requests under way.
    pub(super) pending: usize,
    /// Without any request it is closed after this long.
    pub(super) idle: Option<Duration>,
    /// When the server was last heard from.
    pub(super) heard: Arc<Mutex<Option<Instant>>>,
}

type Pending = BTreeMap<u64, oneshot::Sender<Result<Bytes, CallError>>>;

/// Serves the queue of one server: connects when something is asked, and again after an error.
pub(super) async fn run<C, F>(connect: C, manners: Manners, mut asks: mpsc::Receiver<Ask>)
where
    C: Fn() -> F + Send,
    F: Future<Output = io::Result<Duplex>> + Send,
{
    while let Some(first) = asks.recv().await {
        if first.reply.is_closed() {
            continue;
        }
        match connect().await {
            Ok(duplex) => {
                let mut link = Link::new(duplex, manners.clone());
                link.hear();
                link.put(first);
                let error = link.serve(&mut asks).await;
                link.give_up(&error);
            }
            Err(error) => {
                tracing::debug!(%error, "no control connection");
                let what = error.to_string();
                answer(first.reply, Err(CallError::NotSent(what.clone())));
                while let Ok(ask) = asks.try_recv() {
                    answer(ask.reply, Err(CallError::NotSent(what.clone())));
                }
            }
        }
    }
}

/// One connection, while it lasts.
struct Link {
    duplex: Duplex,
    pending: Pending,
    /// What has come of answers that come in parts.
    parts: BTreeMap<u64, BytesMut>,
    /// Each ends with the sequence whose caller has left.
    left: FuturesUnordered<BoxFuture<'static, u64>>,
    /// Since when nothing was heard although something is due, or nothing was asked.
    silent_since: Instant,
    pinged: bool,
    manners: Manners,
}

impl Link {
    fn new(duplex: Duplex, manners: Manners) -> Link {
        Link {
            duplex,
            pending: BTreeMap::new(),
            parts: BTreeMap::new(),
            left: FuturesUnordered::new(),
            silent_since: Instant::now(),
            pinged: false,
            manners,
        }
    }

    /// Works until the connection fails, and returns why. Every branch may be dropped: a frame
    /// stays in the reader's buffer, unsent bytes in `out`, a request in the queue, and who has
    /// left in `left`.
    async fn serve(&mut self, asks: &mut mpsc::Receiver<Ask>) -> io::Error {
        loop {
            let room = self.pending.len() < self.manners.pending && self.duplex.has_room();
            let due = !self.pending.is_empty();
            let watched = !self.left.is_empty();
            let Duplex { reader, writer, out, .. } = &mut self.duplex;
            let unsent = !out.is_empty();
            let most = if due { Some(self.manners.patience) } else { self.manners.idle };
            let wait = self.silent_since + most.unwrap_or_default();
            let done = tokio::select! {
                biased;
                frame = reader.next() => frame.and_then(|frame| self.take(frame)),
                ask = asks.recv(), if room => match ask {
                    Some(ask) => {
                        self.put(ask);
                        Ok(())
                    }
                    None => Err(io::Error::other("this node is stopping")),
                },
                sent = send(writer, out), if unsent => sent,
                Some(seq) = self.left.next(), if watched => {
                    self.cancel(seq);
                    Ok(())
                }
                () = tokio::time::sleep_until(wait), if most.is_some() => self.silence(),
            };
            if let Err(error) = done {
                return error;
            }
        }
    }

    fn put(&mut self, ask: Ask) {
        if self.pending.is_empty() {
            self.silent_since = Instant::now();
            self.pinged = false;
        }
        if self.pending.len() >= self.manners.pending / 2 {
            self.pending.retain(|_, reply| !reply.is_closed());
        }
        let seq = self.duplex.take_seq();
        frame::put(&mut self.duplex.out, ask.kind, seq, &ask.body);
        self.pending.insert(seq, ask.reply);
        if let Some(gone) = ask.gone {
            self.left.push(gone.map(move |_gone| seq).boxed());
        }
    }

    /// The caller has left: unless it was answered, the server is told.
    fn cancel(&mut self, seq: u64) {
        if self.pending.remove(&seq).is_some() {
            self.parts.remove(&seq);
            frame::put(&mut self.duplex.out, Kind::Cancel, seq, &[]);
        }
    }

    fn hear(&mut self) {
        self.silent_since = Instant::now();
        self.pinged = false;
        *self.manners.heard.lock() = Some(self.silent_since);
    }

    fn take(&mut self, frame: Frame) -> io::Result<()> {
        self.hear();
        if !self.pending.contains_key(&frame.seq) {
            return Ok(());
        }
        if frame.kind == Kind::Part {
            let so_far = self.parts.entry(frame.seq).or_default();
            if so_far.len() + frame.body.len() > ANSWER_BYTES_MAX {
                return Err(malformed(format!("answer of more than {ANSWER_BYTES_MAX} bytes")));
            }
            so_far.extend_from_slice(&frame.body);
            return Ok(());
        }
        let Some(reply) = self.pending.remove(&frame.seq) else { return Ok(()) };
        let parts = self.parts.remove(&frame.seq);
        let result = match frame.kind {
            Kind::Answer => Ok(whole(parts, frame.body)),
            Kind::Busy => Err(CallError::NotSent(text(&frame))),
            _ => Err(CallError::Unknown(text(&frame))),
        };
        answer(reply, result);
        Ok(())
    }

    /// Nothing was heard for a while: first a ping, then the end. Nothing was asked for a while:
    /// the end.
    fn silence(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Err(io::Error::other("nothing is asked"));
        }
        if self.pinged {
            return Err(super::duplex::timed_out());
        }
        self.pinged = true;
        self.silent_since = Instant::now();
        let seq = self.duplex.take_seq();
        frame::put(&mut self.duplex.out, Kind::Ping, seq, &[]);
        Ok(())
    }

    fn give_up(&mut self, error: &io::Error) {
        for (_, reply) in std::mem::take(&mut self.pending) {
            answer(reply, Err(CallError::Unknown(format!("the connection failed: {error}"))));
        }
    }
}

/// An answer out of its parts and the last of them.
fn whole(parts: Option<BytesMut>, last: Bytes) -> Bytes {
    match parts {
        Some(mut parts) => {
            parts.extend_from_slice(&last);
            parts.freeze()
        }
        None => last,
    }
}

fn answer(reply: oneshot::Sender<Result<Bytes, CallError>>, result: Result<Bytes, CallError>) {
    if reply.send(result).is_err() {
        tracing::trace!("nobody waits for an answer any more");
    }
}
