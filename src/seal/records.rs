//! A connection after its handshake: records of a length (2 bytes, big-endian) and sealed bytes.
#![deny(clippy::expect_used)]

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use snow::StatelessTransportState;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits::SEAL_RECORD_BYTES_MAX;

/// Bytes in front of a record.
const HEAD_BYTES: usize = 2;
/// What sealing adds.
const TAG_BYTES: usize = 16;
/// Longest content of a record.
const PLAIN_BYTES_MAX: usize = SEAL_RECORD_BYTES_MAX - TAG_BYTES;
/// Room for what comes in while all records are short; it grows to one record when one is long.
const FIRST_ROOM: usize = 4 * 1024;

/// What comes in, opened. A read that is dropped midway has taken nothing.
pub(super) struct Opening<R> {
    io: R,
    cipher: Arc<StatelessTransportState>,
    /// Records that were opened: each has its number in its nonce, so none is left out, doubled
    /// or moved.
    number: u64,
    /// Bytes of the connection, the first `filled` of them read.
    raw: Vec<u8>,
    filled: usize,
    /// Content that was opened; what is before `taken` was handed on.
    plain: Vec<u8>,
    length: usize,
    taken: usize,
}

impl<R> Opening<R> {
    pub(super) fn new(io: R, cipher: Arc<StatelessTransportState>) -> Opening<R> {
        let (raw, plain) = (vec![0; FIRST_ROOM], Vec::new());
        Opening { io, cipher, number: 0, raw, filled: 0, plain, length: 0, taken: 0 }
    }

    /// Opens the first record of what was read, if it is there as a whole.
    fn open(&mut self) -> io::Result<bool> {
        let read = self.raw.get(..self.filled).unwrap_or_default();
        let Some((head, behind)) = read.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(false);
        };
        let length = usize::from(u16::from_be_bytes(*head));
        let Some(sealed) = behind.get(..length) else {
            if self.raw.len() < HEAD_BYTES + length {
                self.raw.resize(HEAD_BYTES + SEAL_RECORD_BYTES_MAX, 0);
            }
            return Ok(false);
        };
        if self.plain.len() < length {
            self.plain.resize(length, 0);
        }
        let opened = self.cipher.read_message(self.number, sealed, &mut self.plain);
        self.length = opened.map_err(|error| damaged(&error))?;
        self.taken = 0;
        self.number += 1;
        let end = HEAD_BYTES + length;
        self.raw.copy_within(end..self.filled, 0);
        self.filled -= end;
        Ok(true)
    }
}

fn damaged(error: &snow::Error) -> io::Error {
    let what = format!("an encrypted record was damaged or changed on its way ({error})");
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<R: AsyncRead + Unpin> AsyncRead for Opening<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let ready = this.plain.get(this.taken..this.length).unwrap_or_default();
            if !ready.is_empty() || buffer.remaining() == 0 {
                let count = ready.len().min(buffer.remaining());
                buffer.put_slice(ready.get(..count).unwrap_or_default());
                this.taken += count;
                return Poll::Ready(Ok(()));
            }
            if this.open()? {
                continue;
            }
            let mut room = ReadBuf::new(this.raw.get_mut(this.filled..).unwrap_or_default());
            ready!(Pin::new(&mut this.io).poll_read(cx, &mut room))?;
            match room.filled().len() {
                0 if this.filled == 0 => return Poll::Ready(Ok(())),
                0 => return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof))),
                count => this.filled += count,
            }
        }
    }
}

/// What goes out, sealed.
///
/// A write returns when its record is with the system. One that is dropped midway has been begun:
/// the next one must start with the same bytes, and is told that they were taken.
pub(super) struct Sealing<W> {
    io: W,
    cipher: Arc<StatelessTransportState>,
    number: u64,
    /// The record under way; what is before `sent` has gone.
    record: Vec<u8>,
    sent: usize,
    /// Bytes of content in it; 0 if there is none.
    begun: usize,
}

impl<W: AsyncWrite + Unpin> Sealing<W> {
    pub(super) fn new(io: W, cipher: Arc<StatelessTransportState>) -> Sealing<W> {
        Sealing { io, cipher, number: 0, record: Vec::new(), sent: 0, begun: 0 }
    }

    fn begin(&mut self, bytes: &[u8]) -> io::Result<()> {
        let plain = bytes.get(..PLAIN_BYTES_MAX).unwrap_or(bytes);
        let length = plain.len() + TAG_BYTES;
        self.record.resize(HEAD_BYTES + length, 0);
        let (head, room) = self.record.split_at_mut(HEAD_BYTES);
        let length = u16::try_from(length).map_err(io::Error::other)?;
        head.copy_from_slice(&length.to_be_bytes());
        let sealed = self.cipher.write_message(self.number, plain, room);
        sealed.map_err(io::Error::other)?;
        self.number += 1;
        (self.sent, self.begun) = (0, plain.len());
        Ok(())
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left) = self.record.get(self.sent..).filter(|left| !left.is_empty()) {
            match ready!(Pin::new(&mut self.io).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero))),
                count => self.sent += count,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Sealing<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.begun == 0 {
            self.begin(bytes)?;
        } else if bytes.len() < self.begun {
            let what = "a write that was dropped midway is not made again with the same bytes";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidInput, what)));
        }
        ready!(self.poll_sent(cx))?;
        Poll::Ready(Ok(std::mem::take(&mut self.begun)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sent(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sent(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::{Duration, timeout};

    use super::super::primitives::Primitives;
    use super::*;

    fn ciphers() -> [Arc<StatelessTransportState>; 2] {
        let pattern = || "Noise_NN_25519_AESGCM_SHA256".parse().unwrap();
        let build = || snow::Builder::with_resolver(pattern(), Box::new(Primitives));
        let mut one = build().build_initiator().unwrap();
        let mut two = build().build_responder().unwrap();
        let (mut message, mut none) = ([0; 256], [0; 256]);
        let length = one.write_message(&[], &mut message).unwrap();
        two.read_message(&message[..length], &mut none).unwrap();
        let length = two.write_message(&[], &mut message).unwrap();
        one.read_message(&message[..length], &mut none).unwrap();
        [one, two].map(|side| Arc::new(side.into_stateless_transport_mode().unwrap()))
    }

    fn pipe(room: usize) -> (Sealing<DuplexStream>, Opening<DuplexStream>) {
        let [one, two] = ciphers();
        let (near, far) = duplex(room);
        (Sealing::new(near, one), Opening::new(far, two))
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    #[tokio::test]
    async fn what_goes_in_comes_out_whatever_its_length() {
        for length in [1, 100, PLAIN_BYTES_MAX - 1, PLAIN_BYTES_MAX, PLAIN_BYTES_MAX + 1, 1 << 20] {
            let (mut writer, mut reader) = pipe(10_000);
            let sent = content(length);
            let write = async {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            let mut heard = Vec::new();
            let read = reader.read_to_end(&mut heard);
            let ((), count) = tokio::join!(write, read);
            assert_eq!((count.unwrap(), &heard), (length, &sent));
        }
    }

    #[tokio::test]
    async fn a_write_that_is_dropped_midway_is_made_again() {
        let (mut writer, mut reader) = pipe(1_000);
        let sent = content(50_000);
        let mut heard = vec![0; sent.len()];
        let mut at = 0;
        // The pipe is full long before the record is out: each of these is dropped midway.
        for _ in 0..3 {
            let dropped = timeout(Duration::ZERO, writer.write(&sent)).await;
            assert!(dropped.is_err());
            // So is a read, which has nothing of its record yet.
            let mut few = [0; 10];
            assert!(timeout(Duration::ZERO, reader.read(&mut few)).await.is_err());
        }
        assert!(writer.write(&sent[..9]).await.is_err(), "not the same bytes");
        let write = async {
            // What waits has grown meanwhile, as a connection's buffer does.
            let mut waiting = sent.clone();
            waiting.extend_from_slice(b"more");
            let taken = writer.write(&waiting).await.unwrap();
            writer.write_all(&waiting[taken..]).await.unwrap();
        };
        let read = async {
            while at < heard.len() {
                let end = heard.len().min(at + 777);
                at += reader.read(&mut heard[at..end]).await.unwrap();
            }
            let mut more = [0; 4];
            reader.read_exact(&mut more).await.unwrap();
            assert_eq!(&more, b"more");
        };
        tokio::join!(write, read);
        assert_eq!(heard, sent);
    }

    #[tokio::test]
    async fn a_change_of_any_byte_ends_the_connection() {
        let mut sealed = Vec::new();
        let [one, two] = ciphers();
        let mut writer = Sealing::new(&mut sealed, one);
        for word in [&b"one"[..], b"two"] {
            writer.write_all(word).await.unwrap();
        }
        let read = async |bytes: &[u8]| {
            let mut heard = Vec::new();
            let done = Opening::new(bytes, Arc::clone(&two)).read_to_end(&mut heard).await;
            done.map(|_| heard)
        };
        assert_eq!(read(&sealed).await.unwrap(), b"onetwo");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 0x10;
            assert!(read(&changed).await.is_err(), "byte {at}");
        }
        let half = sealed.len() / 2;
        assert_eq!(read(&sealed[..half]).await.unwrap(), b"one", "a cut between two records");
        assert!(read(&sealed[..half + 5]).await.is_err(), "a cut within one");
        assert!(read(&sealed[half..]).await.is_err(), "one left out");
        let twice = [&sealed[..half], &sealed[..half]].concat();
        assert!(read(&twice).await.is_err(), "one twice");
    }
}
