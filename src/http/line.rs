//! A caller's connection: its bytes, the patience with them, and whether the caller is still there.
//!
//! While an answer is made, hyper would look for the end of the connection by reading into eight
//! fresh kilobytes. The caller is watched here instead, at no cost.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Sleep;

use crate::limits::{HTTP_EARLY_BYTES_MAX, HTTP_HEAD_TIME_MAX, HTTP_WRITE_SILENCE_MAX};

/// Bytes that one look at the connection takes while the caller waits.
const LOOK_BYTES: usize = 512;

/// The bytes of a connection, for hyper. It fails with `TimedOut` when a head that began is not
/// there within [`HTTP_HEAD_TIME_MAX`], and when the caller takes nothing of its answer for
/// [`HTTP_WRITE_SILENCE_MAX`].
pub(super) struct Line {
    caller: Caller,
    /// Runs from the moment that a head began.
    head: Patience,
    /// Runs while the caller takes nothing of its answer.
    silence: Patience,
}

/// Armed only while it is needed, which is rare: a timer is larger than all else here.
#[derive(Default)]
struct Patience(Option<Pin<Box<Sleep>>>);

/// The other end of a connection, for whoever makes its answers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Caller(Arc<Inner>);

struct Inner {
    read: OwnedReadHalf,
    write: Mutex<OwnedWriteHalf>,
    state: Mutex<State>,
}

/// The locks are never contended: one task serves a connection.
#[derive(Default)]
struct State {
    phase: Phase,
    /// What comes before all that is still in the connection.
    early: Vec<u8>,
}

/// What the connection is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing: the next head has not begun.
    #[default]
    Idle,
    /// A part of a head is there.
    Head,
    /// A request is being answered.
    Answer,
}

impl Line {
    /// The line to a caller.
    pub(super) fn new(caller: Caller) -> Self {
        Self { caller, head: Patience::default(), silence: Patience::default() }
    }

    fn wrote(
        &mut self,
        context: &mut Context<'_>,
        wrote: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if wrote.is_pending() {
            return self.silence.poll(context, HTTP_WRITE_SILENCE_MAX).map(Err);
        }
        self.silence.0 = None;
        wrote
    }
}

impl Patience {
    /// Ends `after` the first call since it was taken away.
    fn poll(&mut self, context: &mut Context<'_>, after: Duration) -> Poll<io::Error> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        sleep.as_mut().poll(context).map(|()| io::ErrorKind::TimedOut.into())
    }
}

impl Caller {
    /// Whoever is at the other end.
    pub(super) fn new(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        Self(Arc::new(Inner { read, write: Mutex::new(write), state: Mutex::default() }))
    }

    /// Has the next line begin with these bytes, as if the caller had sent them first.
    pub(super) fn say_first(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let mut state = self.0.state.lock();
            let behind = std::mem::take(&mut state.early);
            state.early = [bytes, &behind].concat();
        }
    }

    /// Says that a request is being answered, until what it returns is dropped.
    pub(super) fn answering(&self) -> Answering {
        self.0.state.lock().phase = Phase::Answer;
        Answering(self.clone())
    }

    /// Returns once the caller has hung up. For requests whose body was read; may be dropped.
    ///
    /// A caller that has only closed its own direction has hung up too: there is no telling the
    /// two apart before an answer is sent.
    pub(super) async fn gone(&self) {
        poll_fn(|context| self.poll_gone(context)).await;
    }

    fn poll_gone(&self, context: &mut Context<'_>) -> Poll<()> {
        let stream = self.0.read.as_ref();
        let mut state = self.0.state.lock();
        let mut part = [0; LOOK_BYTES];
        // One that sends so much ahead is alive, and is looked at again after its answer.
        while state.early.len() < HTTP_EARLY_BYTES_MAX {
            if ready!(stream.poll_read_ready(context)).is_err() {
                return Poll::Ready(());
            }
            match stream.try_read(&mut part) {
                Ok(0) => return Poll::Ready(()),
                Ok(count) => state.early.extend_from_slice(&part[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    /// The phase, once it is known whether bytes came, and whether a head began with them.
    fn phase_after(&self, bytes_came: bool) -> (Phase, bool) {
        let mut state = self.0.state.lock();
        let begins = bytes_came && state.phase == Phase::Idle;
        if begins {
            state.phase = Phase::Head;
        }
        (state.phase, begins)
    }

    fn poll_bytes(
        &self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.state.lock();
        if !state.early.is_empty() {
            let count = state.early.len().min(into.remaining());
            into.put_slice(&state.early[..count]);
            state.early.drain(..count);
            if state.early.is_empty() {
                state.early = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let stream = self.0.read.as_ref();
        loop {
            ready!(stream.poll_read_ready(context))?;
            match stream.try_read_buf(into) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// A request that is being answered.
pub(super) struct Answering(Caller);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.state.lock().phase = Phase::Idle;
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.caller.poll_bytes(context, into);
        let (phase, begins) = self.caller.phase_after(read.is_ready());
        if begins {
            self.head.0 = None; // an earlier head's time is not this one's
        }
        match phase {
            Phase::Head if read.is_pending() => {
                self.head.poll(context, HTTP_HEAD_TIME_MAX).map(Err)
            }
            Phase::Head => read,
            Phase::Idle | Phase::Answer => {
                self.head.0 = None;
                read
            }
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut *self.caller.0.write.lock()).poll_write(context, bytes);
        self.wrote(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut *self.caller.0.write.lock()).poll_write_vectored(context, parts);
        self.wrote(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.caller.0.write.lock().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.caller.0.write.lock()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.caller.0.write.lock()).poll_shutdown(context)
    }
}
