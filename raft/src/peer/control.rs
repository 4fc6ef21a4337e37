//! The control connection to one peer: requests of many callers, answered in any order.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::client::Peers;
use super::duplex::{Duplex, send, text};
use super::frame::{self, Frame, Kind};
use super::wire::Lane;
use crate::error::CallError;
use crate::limits::CONTROL_PENDING;
use crate::options::NodeId;

/// A request and who waits for its answer.
pub(super) struct Ask {
    kind: Kind,
    body: Bytes,
    reply: oneshot::Sender<Result<Bytes, CallError>>,
}

impl Ask {
    pub(super) fn new(
        kind: Kind,
        body: Bytes,
    ) -> (Ask, oneshot::Receiver<Result<Bytes, CallError>>) {
        let (reply, answer) = oneshot::channel();
        (Ask { kind, body, reply }, answer)
    }
}

type Pending = BTreeMap<u64, oneshot::Sender<Result<Bytes, CallError>>>;

/// Serves the queue of one peer: connects when something is asked, and again after an error.
pub(super) async fn run(peers: Peers, to: NodeId, mut asks: mpsc::Receiver<Ask>) {
    while let Some(first) = asks.recv().await {
        if first.reply.is_closed() {
            continue;
        }
        match peers.connect(to, Lane::Control).await {
            Ok(duplex) => {
                let mut link = Link::new(duplex, peers.identity().patience);
                link.put(first);
                let error = link.serve(&mut asks).await;
                link.give_up(&error);
            }
            Err(error) => {
                tracing::debug!(to, %error, "no control connection");
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
    /// Since when nothing was heard although something is due.
    silent_since: Instant,
    pinged: bool,
    patience: Duration,
}

impl Link {
    fn new(duplex: Duplex, patience: Duration) -> Link {
        let silent_since = Instant::now();
        Link { duplex, pending: BTreeMap::new(), silent_since, pinged: false, patience }
    }

    /// Works until the connection fails, and returns why. Every branch may be dropped: a frame
    /// stays in the reader's buffer, unsent bytes in `out`, a request in the queue.
    async fn serve(&mut self, asks: &mut mpsc::Receiver<Ask>) -> io::Error {
        loop {
            let room = self.pending.len() < CONTROL_PENDING && self.duplex.has_room();
            let due = !self.pending.is_empty();
            let Duplex { reader, writer, out, .. } = &mut self.duplex;
            let unsent = !out.is_empty();
            let wait = self.silent_since + self.patience;
            let done = tokio::select! {
                biased;
                frame = reader.next() => frame.map(|frame| self.take(&frame)),
                ask = asks.recv(), if room => match ask {
                    Some(ask) => {
                        self.put(ask);
                        Ok(())
                    }
                    None => Err(io::Error::other("this node is stopping")),
                },
                sent = send(writer, out), if unsent => sent,
                () = tokio::time::sleep_until(wait), if due => self.silence(),
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
        if self.pending.len() >= CONTROL_PENDING / 2 {
            self.pending.retain(|_, reply| !reply.is_closed());
        }
        let seq = self.duplex.take_seq();
        frame::put(&mut self.duplex.out, ask.kind, seq, &ask.body);
        self.pending.insert(seq, ask.reply);
    }

    fn take(&mut self, frame: &Frame) {
        self.silent_since = Instant::now();
        self.pinged = false;
        let Some(reply) = self.pending.remove(&frame.seq) else { return };
        let result = match frame.kind {
            Kind::Answer => Ok(frame.body.clone()),
            Kind::Busy => Err(CallError::NotSent(text(frame))),
            _ => Err(CallError::Unknown(text(frame))),
        };
        answer(reply, result);
    }

    /// Nothing was heard for a while: first a ping, then the end.
    fn silence(&mut self) -> io::Result<()> {
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

fn answer(reply: oneshot::Sender<Result<Bytes, CallError>>, result: Result<Bytes, CallError>) {
    if reply.send(result).is_err() {
        tracing::trace!("nobody waits for an answer any more");
    }
}
