//! What a connection runs over: plain TCP, or whatever the application puts around it.

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Puts something around every connection between peers: encryption.
///
/// Both futures may be dropped midway, which ends the connection. What they need of the peer has
/// to come within their own patience; a node gives a connection 1.5 seconds until its first frames
/// are exchanged.
pub trait Wire: Debug + Send + Sync + 'static {
    /// Prepares a connection that this node opened.
    fn connect(&self, stream: TcpStream) -> BoxFuture<'static, io::Result<Halves>>;

    /// Prepares a connection that this node accepted.
    fn accept(&self, stream: TcpStream) -> BoxFuture<'static, io::Result<Halves>>;
}

/// The two halves of a connection that is ready for use.
#[derive(Debug)]
pub struct Halves {
    /// What comes in.
    pub reader: ReadHalf,
    /// What goes out.
    pub writer: WriteHalf,
}

impl Halves {
    /// A connection as it is.
    pub fn plain(stream: TcpStream) -> Halves {
        let (reader, writer) = stream.into_split();
        Halves { reader: ReadHalf::Plain(reader), writer: WriteHalf::Plain(writer) }
    }
}

/// What comes in. A read that is dropped midway has taken nothing.
pub enum ReadHalf {
    /// Plain TCP.
    Plain(OwnedReadHalf),
    /// Something around it.
    Wrapped(Box<dyn AsyncRead + Send + Sync + Unpin>),
}

/// What goes out.
///
/// A write that is dropped midway may have been begun: the next one has to start with the same
/// bytes, as it does where they wait in a buffer until a write has taken them.
pub enum WriteHalf {
    /// Plain TCP.
    Plain(OwnedWriteHalf),
    /// Something around it.
    Wrapped(Box<dyn AsyncWrite + Send + Sync + Unpin>),
}

impl Debug for ReadHalf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ReadHalf::Plain(_) => "ReadHalf::Plain",
            ReadHalf::Wrapped(_) => "ReadHalf::Wrapped",
        })
    }
}

impl Debug for WriteHalf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            WriteHalf::Plain(_) => "WriteHalf::Plain",
            WriteHalf::Wrapped(_) => "WriteHalf::Wrapped",
        })
    }
}

impl AsyncRead for ReadHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            ReadHalf::Plain(half) => Pin::new(half).poll_read(cx, buffer),
            ReadHalf::Wrapped(half) => Pin::new(half).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for WriteHalf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            WriteHalf::Plain(half) => Pin::new(half).poll_write(cx, bytes),
            WriteHalf::Wrapped(half) => Pin::new(half).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            WriteHalf::Plain(half) => Pin::new(half).poll_flush(cx),
            WriteHalf::Wrapped(half) => Pin::new(half).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            WriteHalf::Plain(half) => Pin::new(half).poll_shutdown(cx),
            WriteHalf::Wrapped(half) => Pin::new(half).poll_shutdown(cx),
        }
    }
}
