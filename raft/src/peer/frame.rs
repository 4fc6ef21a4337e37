//! Frames: body length (4 bytes), kind (1), sequence (8), body, CRC32C of kind to body (4);
//! little-endian.
#![deny(clippy::indexing_slicing, clippy::expect_used, clippy::arithmetic_side_effects)]

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::limits::FRAME_BYTES_MAX;

/// Bytes in front of a body.
const HEAD_BYTES: usize = 13;

/// Bytes behind a body.
const TAIL_BYTES: usize = 4;

/// Bytes asked of a connection at once, at first: thousands of connections carry little.
const READ_BYTES_FIRST: usize = 4 * 1024;

/// The same for a connection that has filled its room before.
const READ_BYTES_MAX: usize = 64 * 1024;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// First frame of a connection: a `Hello`.
    Hello = 1,
    /// Entries, or none of them: a heartbeat.
    Append = 2,
    /// Asks for a vote.
    Vote = 3,
    /// Asks whether a vote would be given.
    PreVote = 4,
    /// Tells a node to stand for election at once.
    Transfer = 5,
    /// Asks the leader for its read index.
    ReadIndex = 6,
    /// A request of the application.
    Call = 7,
    /// Is anybody there?
    Ping = 8,
    /// A snapshot begins: a `SnapshotHead`.
    SnapshotBegin = 9,
    /// The next bytes of a snapshot's files.
    SnapshotChunk = 10,
    /// All bytes of a snapshot were sent.
    SnapshotEnd = 11,
    /// Nobody waits any more for the answer to the request of this sequence.
    Cancel = 12,
    /// The answer to the request of this sequence.
    Answer = 32,
    /// The request could not be carried out, as the text says.
    Failed = 33,
    /// The request was not looked at: too many are under way.
    Busy = 34,
    /// The next bytes of an answer that is longer than a frame; an `Answer` has the last.
    Part = 35,
}

impl Kind {
    fn from_code(code: u8) -> Option<Kind> {
        Some(match code {
            1 => Kind::Hello,
            2 => Kind::Append,
            3 => Kind::Vote,
            4 => Kind::PreVote,
            5 => Kind::Transfer,
            6 => Kind::ReadIndex,
            7 => Kind::Call,
            8 => Kind::Ping,
            9 => Kind::SnapshotBegin,
            10 => Kind::SnapshotChunk,
            11 => Kind::SnapshotEnd,
            12 => Kind::Cancel,
            32 => Kind::Answer,
            33 => Kind::Failed,
            34 => Kind::Busy,
            35 => Kind::Part,
            _ => return None,
        })
    }
}

/// One frame.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) seq: u64,
    pub(super) body: Bytes,
}

/// Appends a frame to `out`.
pub(super) fn put(out: &mut BytesMut, kind: Kind, seq: u64, body: &[u8]) {
    put_with(out, kind, seq, |out| out.put_slice(body));
}

/// Appends a frame whose body is what `fill` appends.
pub(super) fn put_with(out: &mut BytesMut, kind: Kind, seq: u64, fill: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32_le(0);
    out.put_u8(kind as u8);
    out.put_u64_le(seq);
    fill(out);
    let Some(frame) = out.get_mut(start..) else { return };
    let length = frame.len().saturating_sub(HEAD_BYTES);
    assert!(length <= FRAME_BYTES_MAX, "a frame's body is bounded by its maker");
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    if let Some(place) = frame.first_chunk_mut::<4>() {
        *place = length.to_le_bytes();
    }
    let crc = crc32c::crc32c(frame.get(4..).unwrap_or_default());
    out.put_u32_le(crc);
}

/// Reads frames. [`Reader::next`] may be dropped midway without losing bytes.
pub(super) struct Reader<R> {
    io: R,
    buffer: BytesMut,
    /// Bytes to ask for next.
    room: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(io: R) -> Reader<R> {
        Reader { io, buffer: BytesMut::new(), room: READ_BYTES_FIRST }
    }

    /// The next frame; an error of kind `UnexpectedEof` when the peer has closed.
    pub(super) async fn next(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(frame);
            }
            self.buffer.reserve(self.room);
            match self.io.read_buf(&mut self.buffer).await? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                read if read >= self.room => self.room = READ_BYTES_MAX,
                _ => {}
            }
        }
    }

    /// A frame out of what was read already.
    fn take(&mut self) -> io::Result<Option<Frame>> {
        let Some(length) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > FRAME_BYTES_MAX {
            return Err(malformed(format!("frame of {length} bytes, more than {FRAME_BYTES_MAX}")));
        }
        let covered = length.saturating_add(HEAD_BYTES);
        let whole = covered.saturating_add(TAIL_BYTES);
        if self.buffer.len() < whole {
            // What is announced is not taken on trust: the room grows with what arrives.
            let missing = whole.saturating_sub(self.buffer.len());
            self.buffer.reserve(missing.min(self.buffer.len().max(READ_BYTES_MAX)));
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(whole).freeze();
        let crc = crc32c::crc32c(frame.get(4..covered).unwrap_or_default());
        frame.advance(4);
        let (code, seq) = (frame.get_u8(), frame.get_u64_le());
        let body = frame.split_to(length);
        if frame.get_u32_le() != crc {
            return Err(malformed("frame with a bad checksum".to_owned()));
        }
        let kind = Kind::from_code(code);
        let kind = kind.ok_or_else(|| malformed(format!("frame of unknown kind {code}")))?;
        Ok(Some(Frame { kind, seq, body }))
    }
}

/// An error that closes a connection.
pub(super) fn malformed(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> io::Result<Frame> {
        Reader::new(bytes).next().await
    }

    #[tokio::test]
    async fn frames_come_back_and_damage_is_seen() {
        let mut out = BytesMut::new();
        put(&mut out, Kind::Call, 7, b"hello");
        put(&mut out, Kind::Answer, 8, b"");
        let mut reader = Reader::new(&out[..]);
        let first = reader.next().await.unwrap();
        assert_eq!((first.kind, first.seq, &first.body[..]), (Kind::Call, 7, &b"hello"[..]));
        assert_eq!(reader.next().await.unwrap().seq, 8);
        assert_eq!(reader.next().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        for at in 0..22 {
            let mut damaged = out.clone();
            damaged[at] ^= 0x40;
            let result = read(&damaged[..22]).await;
            assert!(result.is_err(), "a flip at {at} is seen");
        }
    }
}
