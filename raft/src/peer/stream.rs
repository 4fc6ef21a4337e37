//! A session on the replication stream: requests go out up to the window, answers come back in
//! order.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use futures::{Stream, StreamExt};
use openraft::errors::RPCError;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use tokio::time::Instant;

use super::client::{broken, put_append};
use super::duplex::{Duplex, send, text};
use super::frame::{Frame, Kind};
use super::wire::{self, Appended};
use crate::types::{LogId, Types};

type Item = Result<StreamAppendResult<Types>, RPCError<Types>>;

/// One session.
///
/// When the input ends, the answers that are still due are taken in and the session ends with
/// `None`: ending it with an error instead would start openraft's back-off after every probe.
pub(super) struct Session<'s, S> {
    stream: &'s mut Option<Duplex>,
    input: Option<S>,
    window: usize,
    patience: Duration,
    /// The error to report when an answer is late.
    late: RPCError<Types>,
    due: VecDeque<Due>,
    ended: bool,
}

/// An answer that is due.
struct Due {
    seq: u64,
    previous: Option<LogId>,
    last: Option<LogId>,
    until: Instant,
}

/// What happened on the connection.
enum Event {
    Read(io::Result<Frame>),
    Sent(io::Result<()>),
    Input(Option<AppendEntriesRequest<Types>>),
    Late,
}

impl<'s, S> Session<'s, S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    pub(super) fn new(
        stream: &'s mut Option<Duplex>,
        input: S,
        window: usize,
        patience: Duration,
        late: RPCError<Types>,
    ) -> Session<'s, S> {
        let window = window.max(1);
        let (input, due, ended) = (Some(input), VecDeque::new(), false);
        Session { stream, input, window, patience, late, due, ended }
    }

    /// The next answer; the step of `futures::stream::unfold`.
    pub(super) async fn step(mut self) -> Option<(Item, Session<'s, S>)> {
        loop {
            if self.ended || (self.input.is_none() && self.due.is_empty()) {
                return None;
            }
            let item = match self.event().await? {
                Event::Input(Some(request)) => {
                    self.put(request);
                    continue;
                }
                Event::Input(None) => {
                    self.input = None;
                    continue;
                }
                Event::Sent(Ok(())) => continue,
                Event::Read(Ok(frame)) => match self.answered(&frame) {
                    Ok(Some(result)) => Ok(result),
                    Ok(None) => continue,
                    Err(error) => Err(self.fail(broken(&error))),
                },
                Event::Sent(Err(error)) | Event::Read(Err(error)) => Err(self.fail(broken(&error))),
                Event::Late => {
                    let late = self.late.clone();
                    Err(self.fail(late))
                }
            };
            return Some((item, self));
        }
    }

    /// Waits for whatever comes first. Every branch may be dropped: a frame stays in the
    /// reader's buffer, unsent bytes in `out`, a request in the input.
    async fn event(&mut self) -> Option<Event> {
        let Duplex { reader, writer, out, .. } = self.stream.as_mut()?;
        let waiting = self.due.len();
        let until = self.due.front().map(|due| due.until);
        let late = tokio::time::sleep_until(until.unwrap_or_else(Instant::now));
        let unsent = !out.is_empty();
        let input = async {
            match &mut self.input {
                Some(input) if waiting < self.window => input.next().await,
                _ => std::future::pending().await,
            }
        };
        Some(tokio::select! {
            biased;
            read = reader.next(), if waiting > 0 => Event::Read(read),
            sent = send(writer, out), if unsent => Event::Sent(sent),
            request = input => Event::Input(request),
            () = late, if waiting > 0 => Event::Late,
        })
    }

    /// Sends a request, with the next step.
    pub(super) fn put(&mut self, request: AppendEntriesRequest<Types>) {
        let previous = request.prev_log_id;
        let last = request.entries.last().map(|entry| entry.log_id).or(previous);
        let Some(duplex) = self.stream.as_mut() else { return };
        let seq = put_append(duplex, request);
        let until = Instant::now() + self.patience;
        self.due.push_back(Due { seq, previous, last, until });
    }

    /// Takes an answer in. `None`: it belongs to a session before this one.
    fn answered(&mut self, frame: &Frame) -> io::Result<Option<StreamAppendResult<Types>>> {
        let front = self.due.front().map_or(0, |due| due.seq);
        if frame.seq < front {
            return Ok(None);
        }
        let due = self.due.pop_front().filter(|due| due.seq == frame.seq);
        let due = due.ok_or_else(|| io::Error::other("an answer without a request"))?;
        if frame.kind != Kind::Answer {
            return Err(io::Error::other(text(frame)));
        }
        let appended: Appended = wire::decode(&frame.body)?;
        let partial = matches!(&appended, Appended::Partial(_));
        let response = wire::append_response(appended);
        if due.previous.is_none() && response.is_conflict() {
            return Err(io::Error::other("conflict with nothing"));
        }
        let result = response.into_stream_result(due.previous, due.last);
        // After a refusal, or when only a part was taken, what follows would be refused too.
        self.ended = match &result {
            Ok(matched) => partial && *matched != due.last,
            Err(_) => true,
        };
        Ok(Some(result))
    }

    /// Gives the connection up.
    fn fail(&mut self, error: RPCError<Types>) -> RPCError<Types> {
        *self.stream = None;
        self.ended = true;
        error
    }
}
