//! One connection, read and written at the same time: neither side waits for the other to read
//! before it reads itself, so two full pipes cannot block each other.

use std::io;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::frame::{self, Frame, Kind, Reader, malformed};
use super::line::{Halves, ReadHalf, Wire, WriteHalf};
use super::listener::{self, Incoming};
use super::wire::{Hello, PROTOCOL};
use crate::codec;
use crate::limits::CONNECT_WAIT;

/// Bytes that may wait to be sent before nothing more is taken on, in bytes.
const OUT_BYTES: usize = 4 * 1024 * 1024;

/// A connection after its first frames.
pub(super) struct Duplex {
    pub(super) reader: Reader<ReadHalf>,
    pub(super) writer: WriteHalf,
    /// Frames that are not sent yet. It belongs to the connection, so that a dropped session
    /// cannot leave half a frame behind, and a write that was dropped is made again as it was.
    pub(super) out: BytesMut,
    pub(super) next_seq: u64,
}

impl Duplex {
    /// Connects and says hello; an error carries the peer's reason if it refuses.
    pub(super) async fn connect(
        wire: Option<&dyn Wire>,
        address: &str,
        hello: &Hello,
    ) -> io::Result<Duplex> {
        let work = async {
            let mut duplex = Duplex::new(listener::dial(wire, address, hello).await?);
            frame::put(&mut duplex.out, Kind::Hello, 0, &codec::encode(hello));
            duplex.flush().await?;
            let answer = duplex.reader.next().await?;
            match answer.kind {
                Kind::Answer => Ok(duplex),
                _ => Err(io::Error::other(text(&answer))),
            }
        };
        timeout(CONNECT_WAIT, work).await.map_err(|_elapsed| timed_out())?
    }

    /// Takes a connection in: reads the hello and lets `check` decide.
    pub(super) async fn accept(
        wire: Option<&dyn Wire>,
        incoming: Incoming,
        check: impl FnOnce(&Hello) -> Result<(), String>,
    ) -> io::Result<(Duplex, Hello)> {
        let work = async {
            let mut duplex = Duplex::new(incoming.ready(wire).await?);
            let first = duplex.reader.next().await?;
            if first.kind != Kind::Hello {
                return Err(malformed("the first frame is no hello".to_owned()));
            }
            // The version is read by the decoder of its own version only: another one may differ
            // in everything behind it, and is refused either way.
            let hello: Hello = super::wire::decode(&first.body)?;
            let verdict = match hello.protocol {
                PROTOCOL => check(&hello),
                other => Err(format!("protocol version {other} is not {PROTOCOL}")),
            };
            match &verdict {
                Ok(()) => frame::put(&mut duplex.out, Kind::Answer, 0, &[]),
                Err(reason) => frame::put(&mut duplex.out, Kind::Failed, 0, reason.as_bytes()),
            }
            duplex.flush().await?;
            verdict.map_err(io::Error::other)?;
            Ok((duplex, hello))
        };
        timeout(CONNECT_WAIT, work).await.map_err(|_elapsed| timed_out())?
    }

    fn new(Halves { reader, writer }: Halves) -> Duplex {
        Duplex { reader: Reader::new(reader), writer, out: BytesMut::new(), next_seq: 1 }
    }

    /// Sends everything that waits.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            send(&mut self.writer, &mut self.out).await?;
        }
        Ok(())
    }

    /// A sequence number for the next request.
    pub(super) fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    /// Whether there is room to take on more.
    pub(super) fn has_room(&self) -> bool {
        self.out.len() < OUT_BYTES
    }
}

/// Sends some of what waits. May be dropped midway: then `out` still holds all that was begun.
pub(super) async fn send(writer: &mut WriteHalf, out: &mut BytesMut) -> io::Result<()> {
    match writer.write_buf(out).await? {
        0 => Err(io::Error::from(io::ErrorKind::WriteZero)),
        _ => Ok(()),
    }
}

/// The text of a frame that refuses.
pub(super) fn text(frame: &Frame) -> String {
    String::from_utf8_lossy(&frame.body).into_owned()
}

pub(super) fn timed_out() -> io::Error {
    io::Error::from(io::ErrorKind::TimedOut)
}
