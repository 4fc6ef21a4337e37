//! One worker of the load generator: its connections, whatever they speak.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use crate::cluster::{Kind, dns_of};
use crate::dns::{Answer, Asker};
use crate::grpc;
use crate::http;
use crate::source::{Prepared, Source};

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks its servers in turn, one request at a time.
#[derive(Debug)]
pub(crate) struct Worker {
    source: Source,
    lanes: Vec<Lane>,
    next: usize,
}

/// A way to one server: opened before the first request, and again by the one after a failure.
#[derive(Debug)]
enum Lane {
    Http {
        door: SocketAddr,
        prepared: Prepared,
        open: Option<http::Connection>,
    },
    Grpc {
        door: SocketAddr,
        prepared: Prepared,
        head: grpc::Head,
        open: Option<Box<grpc::Connection>>,
    },
    Dns {
        door: SocketAddr,
        open: Option<Asker>,
    },
    /// No server at all: an answer after this time, for tests of the loops.
    #[cfg(test)]
    Slow(Duration),
}

impl Worker {
    /// A worker that puts the questions of `source` to the servers behind `doors`.
    pub(crate) fn new(kind: Kind, mut source: Source, doors: Vec<SocketAddr>) -> Self {
        let lanes = doors.into_iter().map(|door| Lane::new(kind, &mut source, door)).collect();
        Self { source, lanes, next: 0 }
    }

    /// A worker whose every answer takes `time`.
    #[cfg(test)]
    pub(crate) fn slow(time: Duration) -> Self {
        let source = Source::new(crate::rows::Work::Srv, crate::steps::Size::default(), 0);
        Self { source, lanes: vec![Lane::Slow(time)], next: 0 }
    }

    /// Opens all connections. One that fails is tried again, and told, by its first request.
    pub(crate) async fn connect(mut self) -> Self {
        for lane in &mut self.lanes {
            let opened = timeout(PATIENCE, lane.open()).await;
            drop(opened);
        }
        self
    }

    /// Asks the next server once. The error says what was wrong in few words.
    pub(crate) async fn ask(&mut self) -> Result<Answer, String> {
        let lanes = self.lanes.len();
        let lane = &mut self.lanes[self.next];
        self.next = (self.next + 1) % lanes;
        let answer = timeout(PATIENCE, lane.ask(&mut self.source)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer within 10 s".to_owned()));
        if answer.is_err() {
            lane.close(); // its state is unknown
        }
        answer
    }
}

impl Lane {
    fn new(kind: Kind, source: &mut Source, door: SocketAddr) -> Self {
        if source.asks_dns() {
            return Self::Dns { door: dns_of(door), open: None };
        }
        let prepared = source.prepare(kind, door);
        match kind {
            Kind::Consul | Kind::Unbound => Self::Http { door, prepared, open: None },
            Kind::Etcd => {
                let head = grpc::Head::new(door, source.method());
                Self::Grpc { door, prepared, head, open: None }
            }
        }
    }

    /// Opens the connection if it is not.
    async fn open(&mut self) -> std::io::Result<()> {
        match self {
            Self::Http { door, open: open @ None, .. } => {
                *open = Some(http::Connection::open(*door).await?);
            }
            Self::Grpc { door, open: open @ None, .. } => {
                *open = Some(Box::new(grpc::Connection::open(*door).await?));
            }
            Self::Dns { door, open: open @ None } => *open = Some(Asker::open(*door).await?),
            Self::Http { .. } | Self::Grpc { .. } | Self::Dns { .. } => {}
            #[cfg(test)]
            Self::Slow(_) => {}
        }
        Ok(())
    }

    async fn ask(&mut self, source: &mut Source) -> Result<Answer, String> {
        let told = |error: std::io::Error| error.to_string();
        self.open().await.map_err(told)?;
        match self {
            Self::Http { prepared, open, .. } => {
                source.vary(prepared);
                let connection = open.as_mut().expect("just opened");
                let response = connection.exchange(&prepared.bytes).await.map_err(told)?;
                source.judge_http(&response).map(Answer::of)
            }
            Self::Grpc { prepared, head, open, .. } => {
                source.vary(prepared);
                let connection = open.as_mut().expect("just opened");
                let answer = connection.call(head, &prepared.bytes).await.map_err(told)?;
                source.judge_grpc(&answer).map(Answer::of)
            }
            Self::Dns { open, .. } => {
                open.as_mut().expect("just opened").ask(source.service()).await
            }
            #[cfg(test)]
            Self::Slow(time) => {
                tokio::time::sleep(*time).await;
                Ok(Answer::of(4))
            }
        }
    }

    fn close(&mut self) {
        match self {
            Self::Http { open, .. } => *open = None,
            Self::Grpc { open, .. } => *open = None,
            Self::Dns { open, .. } => *open = None,
            #[cfg(test)]
            Self::Slow(_) => {}
        }
    }
}

/// The servers that one worker asks, in turn. Usually one; but a worker that is alone would meet
/// the leader by luck, so with fewer workers than servers each has a connection to all of them.
pub(crate) fn lanes(doors: &[SocketAddr], number: usize, connections: usize) -> Vec<SocketAddr> {
    if connections < doors.len() { doors.to_vec() } else { vec![doors[number % doors.len()]] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_opened_once_and_again_after_a_failure() {
        use crate::rows::{Reads, Work};
        use crate::steps::Size;
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let door = listener.local_addr().unwrap();
        let size = Size { keys: 1, instances: 10 };
        let source = Source::new(Work::Get(Reads::Default), size, 0);
        let mut worker = Worker::new(Kind::Consul, source, vec![door]).connect().await;
        let server = async {
            drop(listener.accept().await.unwrap());
            drop(listener.accept().await.unwrap());
        };
        let client = async {
            assert!(worker.ask().await.is_err(), "the server hangs up");
            assert!(worker.ask().await.is_err(), "and again");
        };
        tokio::join!(server, client);
    }

    #[test]
    fn one_worker_alone_asks_all_servers_in_turn() {
        let doors = [1, 2, 3].map(|last| SocketAddr::from(([127, 0, 0, last], 1)));
        assert_eq!(lanes(&doors, 0, 1), doors);
        assert_eq!(lanes(&doors, 4, 64), [doors[1]]);
    }
}
