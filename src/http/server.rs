//! The listener: connections and their bounds, and a drain at the end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::lifecycle::{Shutdown, Tasks};
use crate::limits::{HTTP_CONNECTIONS_A_CLIENT, HTTP_CONNECTIONS_MAX, HTTP_HEAD_BYTES_MAX};

/// How long a connection may take for a head, and stay idle between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_mins(5);
/// Most headers of a request.
const HEADERS_MAX: usize = 100;
/// How long a connection may finish what it began once the word to stop is given.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// How long the listener rests after the system refused it a connection.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// How long a refused connection may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(200);
/// What a client with too many connections reads. Source: Consul's own refusal.
const REFUSAL: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections of one client address.
    pub connections_a_client: usize,
    /// Connections altogether; more wait in the system's queue.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections_a_client: HTTP_CONNECTIONS_A_CLIENT, connections: HTTP_CONNECTIONS_MAX }
    }
}

/// Accepts connections until the word to stop.
///
/// `answer` is dropped midway when its caller hangs up.
pub(super) async fn run<A, F>(listener: TcpListener, limits: Limits, answer: A, tasks: &Tasks)
where
    A: Fn(Request<Body>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut shutdown = tasks.shutdown();
    let places = Arc::new(Semaphore::new(limits.connections));
    let clients = Arc::new(Clients::default());
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place.expect("never closed"),
            () = shutdown.wait() => return,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.wait() => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        match clients.enter(from.ip(), limits.connections_a_client) {
            Some(seat) => {
                let held = Held { _place: place, _seat: seat };
                let answer = answer.clone();
                let answer = move |mut request: Request<Body>| {
                    request.extensions_mut().insert(Caller(from.ip().to_canonical()));
                    answer(request)
                };
                tasks.spawn(connection(stream, answer, tasks.shutdown(), held));
            }
            None => tasks.spawn(refuse(stream, place)),
        }
    }
}

/// The other end of a request's connection, among the request's extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller(pub(super) IpAddr);

/// What a connection holds as long as it lives.
struct Held {
    _place: OwnedSemaphorePermit,
    _seat: Seat,
}

/// How many connections each client address has.
#[derive(Default)]
struct Clients(Mutex<HashMap<IpAddr, usize>>);

/// One connection of a client address; gives its place back when it is dropped.
struct Seat {
    clients: Arc<Clients>,
    address: IpAddr,
}

impl Clients {
    /// A place for one more connection of this address, unless it has `max` already.
    fn enter(self: &Arc<Self>, address: IpAddr, max: usize) -> Option<Seat> {
        let mut counts = self.0.lock();
        let count = counts.entry(address).or_insert(0);
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Seat { clients: Arc::clone(self), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.clients.0.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

async fn refuse(mut stream: TcpStream, place: OwnedSemaphorePermit) {
    let said = async {
        stream.write_all(REFUSAL).await?;
        stream.shutdown().await
    };
    // A caller that does not read its refusal misses it, which harms nobody else.
    drop(tokio::time::timeout(REFUSAL_TIMEOUT, said).await);
    drop(place);
}

async fn connection<A, F>(stream: TcpStream, answer: A, mut shutdown: Shutdown, held: Held)
where
    A: Fn(Request<Body>) -> F + Send,
    F: Future<Output = Response<Body>> + Send,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set no-delay");
    }
    let service = service_fn(move |request: Request<Incoming>| {
        let answered = answer(request.map(Body::new));
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .title_case_headers(true);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => Some(ended),
        () = shutdown.wait() => {
            served.as_mut().graceful_shutdown();
            tokio::time::timeout(DRAIN_MAX, served).await.ok()
        }
    };
    if let Some(Err(error)) = ended {
        tracing::trace!(%error, "connection ended");
    }
    drop(held);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;
    use tokio::sync::mpsc;

    /// Starts a listener and returns its address.
    async fn start<A, F>(limits: Limits, answer: A) -> (Tasks, std::net::SocketAddr)
    where
        A: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let inner = tasks.clone();
        tasks.spawn(async move { run(listener, limits, answer, &inner).await });
        (tasks, address)
    }

    async fn ask(stream: &mut TcpStream, path: &str) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
    }

    async fn read_until(stream: &mut TcpStream, end: &str) -> String {
        let mut text = String::new();
        let mut part = [0; 512];
        while !text.ends_with(end) {
            let count = stream.read(&mut part).await.unwrap();
            assert!(count > 0, "closed behind {text:?}");
            text.push_str(std::str::from_utf8(&part[..count]).unwrap());
        }
        text
    }

    async fn hello(_: Request<Body>) -> Response<Body> {
        Response::builder().header("x-consul-knownleader", "true").body("hello".into()).unwrap()
    }

    #[tokio::test]
    async fn connections_are_kept_and_headers_are_spelt_as_go_spells_them() {
        let (tasks, address) = start(Limits::default(), hello).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        for _ in 0..2 {
            ask(&mut stream, "/").await;
            let text = read_until(&mut stream, "hello").await;
            assert!(text.contains("\r\nX-Consul-Knownleader: true\r\n"), "{text}");
        }
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
    }

    struct Gone(mpsc::Sender<()>);

    impl Drop for Gone {
        fn drop(&mut self) {
            let _told = self.0.try_send(());
        }
    }

    #[tokio::test]
    async fn a_caller_that_hangs_up_drops_its_answer() {
        let (told, mut dropped) = mpsc::channel(1);
        let (begun, mut begins) = mpsc::channel(1);
        let answer = move |_: Request<Body>| {
            let (told, begun) = (told.clone(), begun.clone());
            async move {
                let _gone = Gone(told);
                begun.send(()).await.unwrap();
                std::future::pending().await
            }
        };
        let (tasks, address) = start(Limits::default(), answer).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream, "/parked").await;
        begins.recv().await.unwrap();
        drop(stream);
        dropped.recv().await.unwrap();
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
    }

    #[tokio::test]
    async fn one_client_has_only_so_many_connections() {
        let limits = Limits { connections_a_client: 1, ..Limits::default() };
        let (tasks, address) = start(limits, hello).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        ask(&mut first, "/").await;
        read_until(&mut first, "hello").await;
        let mut second = TcpStream::connect(address).await.unwrap();
        let text = read_until(&mut second, "\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{text}");
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
    }

    #[tokio::test]
    async fn a_head_above_its_bound_is_refused() {
        let (tasks, address) = start(Limits::default(), hello).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let path = format!("/{}", "x".repeat(HTTP_HEAD_BYTES_MAX));
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        // The server may close before it has read all: then the rest cannot be written.
        drop(stream.write_all(head.as_bytes()).await);
        let mut text = Vec::new();
        drop(stream.read_to_end(&mut text).await);
        let text = String::from_utf8_lossy(&text);
        assert!(text.is_empty() || text.contains(" 414 ") || text.contains(" 431 "), "{text}");
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
    }

    #[tokio::test]
    async fn the_word_to_stop_ends_idle_connections() {
        let (tasks, address) = start(Limits::default(), hello).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream, "/").await;
        read_until(&mut stream, "hello").await;
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }
}
