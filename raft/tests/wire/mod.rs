//! Something around the connections: the cluster works over it, and nothing goes past it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use portolan_raft::{CallError, Halves, ReadHalf, Wire, WriteHalf};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Cluster, PATIENCE};

/// Turns every byte over; both sides begin with the key, and refuse another one.
#[derive(Clone, Copy, Debug)]
struct Mask(u8);

impl Mask {
    async fn begin(self, mut stream: TcpStream) -> io::Result<Halves> {
        stream.write_all(&[self.0]).await?;
        let theirs = stream.read_u8().await?;
        if theirs != self.0 {
            return Err(io::Error::other("another key"));
        }
        let (reader, writer) = stream.into_split();
        Ok(Halves {
            reader: ReadHalf::Wrapped(Box::new(Unmasking { io: reader, key: self.0 })),
            writer: WriteHalf::Wrapped(Box::new(Masking { io: writer, key: self.0, begun: None })),
        })
    }
}

impl Wire for Mask {
    fn connect(&self, stream: TcpStream) -> BoxFuture<'static, io::Result<Halves>> {
        self.begin(stream).boxed()
    }

    fn accept(&self, stream: TcpStream) -> BoxFuture<'static, io::Result<Halves>> {
        self.begin(stream).boxed()
    }
}

struct Unmasking {
    io: OwnedReadHalf,
    key: u8,
}

impl AsyncRead for Unmasking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        buffer.filled_mut()[before..].iter_mut().for_each(|byte| *byte ^= self.key);
        read
    }
}

/// As encryption does, it makes a record and sends it in pieces: it keeps its caller waiting once
/// for each, and a caller who gave up meanwhile has to come back with the same bytes.
struct Masking {
    io: OwnedWriteHalf,
    key: u8,
    /// What was taken, and how much of it was sent.
    begun: Option<(Vec<u8>, usize)>,
}

impl AsyncWrite for Masking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some((taken, mut sent)) = self.begun.take() else {
            self.begun = Some((bytes[..bytes.len().min(5_000)].to_vec(), 0));
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        assert!(bytes.starts_with(&taken), "a write that was begun is made again as it was");
        let masked: Vec<u8> = taken.iter().map(|byte| byte ^ self.key).collect();
        while sent < masked.len() {
            let end = masked.len().min(sent + 3_000);
            match Pin::new(&mut self.io).poll_write(cx, &masked[sent..end]) {
                Poll::Ready(count) => sent += count?,
                Poll::Pending => {
                    self.begun = Some((taken, sent));
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_runs_over_it_and_by_snapshot_too() {
    let mut cluster = Cluster::new(3, |options| {
        options.wire = Some(Arc::new(Mask(77)));
        options.keep_behind = 5;
    })
    .await;
    let leader = cluster.leader().await;
    let late = (1..=3).find(|id| *id != leader).unwrap();
    cluster.stop(late).await;
    let puts = (0..300).map(|at| {
        let cluster = &cluster;
        async move { cluster.put(&format!("k{at}"), &"v".repeat(3_000)).await }
    });
    futures::future::join_all(puts).await;
    let leader = cluster.leader().await;
    let taken = cluster.node(leader).snapshot().await.unwrap();
    cluster.until(leader, |status| status.purged + 5 >= taken).await;
    cluster.start(late).await;
    for id in 1..=3 {
        cluster.node(id).read_barrier(PATIENCE).await.unwrap();
        assert_eq!(cluster.values(id).len(), 300, "node {id} has it all");
    }
    assert_eq!(cluster.nodes[&late].state.lock().restores, 1);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_is_refused_and_the_others_go_on() {
    let cluster = Cluster::new(3, |options| {
        let key = if options.node == 3 { 78 } else { 77 };
        options.wire = Some(Arc::new(Mask(key)));
    })
    .await;
    cluster.put("a", "1").await;
    for (from, to) in [(3, 1), (1, 3)] {
        let refused = cluster.node(from).call(to, Bytes::new(), PATIENCE).await;
        let Err(CallError::NotSent(reason)) = refused else { panic!("{refused:?}") };
        assert!(reason.contains("another key"), "{reason}");
    }
    for id in 1..=2 {
        cluster.node(id).read_barrier(PATIENCE).await.unwrap();
        assert_eq!(cluster.values(id).len(), 1);
    }
    assert!(cluster.values(3).is_empty());
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_the_cluster_travels_inside() {
    let heard = async |wired: bool| {
        let tune = if wired {
            |options: &mut portolan_raft::Options| options.wire = Some(Arc::new(Mask(77)))
        } else {
            |_: &mut portolan_raft::Options| {}
        };
        let cluster = Cluster::new(1, tune).await;
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        cluster.node(1).redirect(9, Some(door.local_addr().unwrap().to_string()));
        let called = cluster.node(1).call(9, Bytes::new(), PATIENCE);
        let mut heard = Vec::new();
        let listens = async {
            let (mut stream, _) = door.accept().await.unwrap();
            if wired {
                stream.write_all(&[77]).await.unwrap();
            }
            // Until the caller's patience ends, and its connection.
            stream.read_to_end(&mut heard).await.unwrap();
        };
        let (called, ()) = tokio::join!(called, listens);
        assert!(called.is_err());
        cluster.stop_all().await;
        heard
    };
    let says = |bytes: &[u8]| bytes.windows(4).any(|word| word == b"test");
    assert!(says(&heard(false).await), "the test looks at the right bytes");
    let masked = heard(true).await;
    assert!(masked.len() > 20 && !says(&masked), "{masked:?}");
}
