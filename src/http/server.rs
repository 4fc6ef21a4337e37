//! The listener: connections and their bounds, and a drain at the end.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection;
use crate::lifecycle::Tasks;
use crate::limits::{HTTP_CONNECTIONS_A_CLIENT, HTTP_CONNECTIONS_MAX, HTTP_REFUSALS_MAX};
use crate::telemetry::{HttpConnection, Metrics};

/// How long the listener rests after the system refused it a connection.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// How long a refused connection may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(200);
/// Bytes of a refused request that are read at once, and thrown away.
const REFUSED_BYTES: usize = 1024;
/// What a client with too many connections reads. Source: Consul since 1.9; 1.8.7 hangs up.
const REFUSAL: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\n\
    Content-Length: 81\r\nRetry-After: 1\r\nConnection: close\r\n\r\n\
    Your IP is issuing too many concurrent connections, please rate limit your calls\n";

/// Bounds of a listener.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Connections of one client address; 0 for no bound, as in Consul. May change at any time.
    pub connections_a_client: Arc<AtomicUsize>,
    /// Connections altogether.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_a_client: Arc::new(HTTP_CONNECTIONS_A_CLIENT.into()),
            connections: HTTP_CONNECTIONS_MAX,
        }
    }
}

/// Accepts connections until the word to stop. One above the bounds is told so and closed.
///
/// `answer` is dropped midway when its caller hangs up.
pub(super) async fn run<A, F>(
    listener: TcpListener,
    limits: Limits,
    metrics: Metrics,
    answer: A,
    tasks: &Tasks,
) where
    A: Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let mut shutdown = tasks.shutdown();
    let places = Arc::new(Semaphore::new(limits.connections));
    let refusals = Arc::new(Semaphore::new(HTTP_REFUSALS_MAX));
    let clients = Arc::new(Clients::default());
    loop {
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
        let most = limits.connections_a_client.load(Ordering::Relaxed);
        let place = Arc::clone(&places).try_acquire_owned().ok();
        let seat = clients.enter(from.ip(), most);
        if let (Some(place), Some(seat)) = (place, seat) {
            let held = Held { _place: place, _seat: seat, _counted: metrics.http_connection() };
            let (answer, shutdown) = (answer.clone(), tasks.shutdown());
            let answer = move |mut request: Request<Body>| {
                request.extensions_mut().insert(Caller(from.ip().to_canonical()));
                answer(request)
            };
            tasks.spawn(async move {
                connection::serve(stream, answer, shutdown).await;
                drop(held);
            });
            continue;
        }
        metrics.http_refused("connections");
        if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
            tasks.spawn(refuse(stream, place));
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
    _counted: HttpConnection,
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
    /// A place for one more connection of this address, unless it has `max` already; 0 is no
    /// bound.
    fn enter(self: &Arc<Self>, address: IpAddr, max: usize) -> Option<Seat> {
        let mut counts = self.0.lock();
        let count = counts.entry(address).or_insert(0);
        if max > 0 && *count >= max {
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
        stream.shutdown().await?;
        // What it has sent is read: closed before that, the system would take the answer back.
        let mut part = [0; REFUSED_BYTES];
        while stream.read(&mut part).await? > 0 {}
        std::io::Result::Ok(())
    };
    // A caller that does not read its refusal misses it, which harms nobody else.
    drop(tokio::time::timeout(REFUSAL_TIMEOUT, said).await);
    drop(place);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{
        HTTP_HEAD_BYTES_MAX, HTTP_HEAD_TIME_MAX, HTTP_IDLE_MAX, HTTP_WRITE_SILENCE_MAX,
    };
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
        tasks.spawn(async move { run(listener, limits, Metrics::new(), answer, &inner).await });
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

    /// Tells of the begin and of the end of an answer that never comes.
    #[derive(Clone)]
    struct Parked {
        begun: mpsc::Sender<()>,
        gone: mpsc::Sender<()>,
    }

    impl Parked {
        fn new() -> (Self, mpsc::Receiver<()>, mpsc::Receiver<()>) {
            let (begun, begins) = mpsc::channel(1);
            let (gone, ends) = mpsc::channel(1);
            (Self { begun, gone }, begins, ends)
        }

        async fn answer(self) -> Response<Body> {
            let _gone = Gone(self.gone);
            self.begun.send(()).await.unwrap();
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_caller_that_hangs_up_drops_its_answer() {
        let (parked, mut begins, mut dropped) = Parked::new();
        let answer = move |_: Request<Body>| parked.clone().answer();
        let (tasks, address) = start(Limits::default(), answer).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream, "/parked").await;
        begins.recv().await.unwrap();
        drop(stream);
        dropped.recv().await.unwrap();
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
    }

    /// A body is of no use to a read, and keeps no answer alive.
    #[tokio::test]
    async fn so_does_one_that_waits_and_sent_a_body() {
        for body in ["abc", "a"] {
            let (parked, mut begins, mut dropped) = Parked::new();
            let answer = move |_: Request<Body>| parked.clone().answer();
            let (tasks, address) = start(Limits::default(), answer).await;
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = "GET /parked?index=5 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n";
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            begins.recv().await.unwrap();
            drop(stream);
            let told = tokio::time::timeout(Duration::from_secs(5), dropped.recv()).await;
            assert!(told.is_ok(), "the answer outlives its caller");
            assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
        }
    }

    /// What is left of such a body is never taken for a request.
    #[tokio::test]
    async fn a_read_that_waits_is_answered_whatever_its_body() {
        let answer = |request: Request<Body>| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            hello(request).await
        };
        let (tasks, address) = start(Limits::default(), answer).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = "GET /a?index=5 HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n";
        stream.write_all(format!("{head}G").as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.write_all(b"ET /smuggled HTTP/1.1\r\n\r\n").await.unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 1, "{text}");
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
    }

    #[tokio::test]
    async fn a_parked_caller_that_wants_an_end_gets_it_wherever_it_says_so() {
        let answer = |request: Request<Body>| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            hello(request).await
        };
        let (tasks, address) = start(Limits::default(), answer).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = "GET /a?index=5 HTTP/1.1\r\nConnection: x\r\nConnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut text = String::new();
        let read = stream.read_to_string(&mut text);
        let ended = tokio::time::timeout(Duration::from_secs(5), read).await;
        assert!(ended.is_ok(), "the connection stays open");
        assert!(text.ends_with("hello"), "{text}");
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
    }

    #[tokio::test]
    async fn so_does_one_that_has_asked_for_more_already() {
        let (parked, mut begins, mut dropped) = Parked::new();
        let answer = move |_: Request<Body>| parked.clone().answer();
        let (tasks, address) = start(Limits::default(), answer).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream, "/parked").await;
        begins.recv().await.unwrap();
        ask(&mut stream, "/next").await;
        drop(stream);
        dropped.recv().await.unwrap();
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
    }

    #[tokio::test]
    async fn what_is_asked_ahead_is_answered_in_its_turn() {
        let answer = |request: Request<Body>| async move {
            if request.uri().path() == "/slow" {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            hello(request).await
        };
        let (tasks, address) = start(Limits::default(), answer).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream, "/slow").await;
        ask(&mut stream, "/next").await;
        stream.write_all(b"GET /last HTTP/1.1\r\nHost: x\r\n").await.unwrap();
        let mut text = read_until(&mut stream, "hello").await;
        while text.matches("hello").count() < 2 {
            text.push_str(&read_until(&mut stream, "hello").await);
        }
        stream.write_all(b"\r\n").await.unwrap();
        read_until(&mut stream, "hello").await;
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
    }

    #[tokio::test]
    async fn a_caller_that_says_it_has_no_more_to_ask_is_still_answered() {
        let (tasks, address) = start(Limits::default(), hello).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream, "/").await;
        stream.shutdown().await.unwrap();
        read_until(&mut stream, "hello").await;
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
    }

    /// Both bounds: 429 with a word on when to come back, also for one who has asked already.
    #[tokio::test]
    async fn only_so_many_connections_are_taken() {
        let one_each = Limits { connections_a_client: Arc::new(1.into()), ..Limits::default() };
        let one = Limits { connections: 1, ..Limits::default() };
        for limits in [one_each, one] {
            let (tasks, address) = start(limits, hello).await;
            let mut first = TcpStream::connect(address).await.unwrap();
            ask(&mut first, "/").await;
            read_until(&mut first, "hello").await;
            let mut second = TcpStream::connect(address).await.unwrap();
            ask(&mut second, "/").await;
            let text = read_until(&mut second, "rate limit your calls\n").await;
            assert!(text.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{text}");
            assert!(text.contains("\r\nRetry-After: 1\r\n"), "{text}");
            let (_, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(text.contains(&format!("Content-Length: {}\r\n", body.len())), "{text}");
            assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
        }
    }

    #[tokio::test]
    async fn the_bound_of_a_client_may_be_raised_while_it_is_served() {
        let most = Arc::new(AtomicUsize::new(1));
        let limits = Limits { connections_a_client: Arc::clone(&most), ..Limits::default() };
        let (tasks, address) = start(limits, hello).await;
        let mut streams = Vec::new();
        for connections in [1, 2, 0, 0] {
            most.store(connections, Ordering::Relaxed);
            let mut stream = TcpStream::connect(address).await.unwrap();
            ask(&mut stream, "/").await;
            read_until(&mut stream, "hello").await;
            streams.push(stream);
        }
        assert_eq!(tasks.stop(Duration::from_secs(5)).await, 0);
    }

    /// The clock stands and jumps to the next deadline whenever nothing else can happen.
    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_ends_the_connection_in_time() {
        let (_tasks, address) = start(Limits::default(), hello).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let began = tokio::time::Instant::now();
        for byte in b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: aaaaaaaaaaaaaaaaaaaaaa" {
            // Once the server has had enough, the rest cannot be written.
            drop(stream.write_all(&[*byte]).await);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await);
        assert!(rest.is_empty(), "{rest:?}");
        assert!(began.elapsed() < HTTP_IDLE_MAX, "{:?}", began.elapsed());
    }

    /// A head's time begins with that head, not with an earlier one of the connection.
    #[tokio::test(start_paused = true)]
    async fn each_head_has_its_own_time() {
        let long = HTTP_HEAD_TIME_MAX + Duration::from_secs(5);
        let answer = move |request: Request<Body>| async move {
            tokio::time::sleep(long).await;
            hello(request).await
        };
        let (_tasks, address) = start(Limits::default(), answer).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        let pause = || tokio::time::sleep(Duration::from_secs(1));
        stream.write_all(b"GET /one HTTP/1.1\r\n").await.unwrap();
        pause().await;
        stream.write_all(b"Host: x\r\n\r\n").await.unwrap();
        pause().await;
        stream.write_all(b"GET /two HTTP/1.1\r\n").await.unwrap();
        read_until(&mut stream, "hello").await;
        pause().await;
        stream.write_all(b"Host: x\r\n\r\n").await.unwrap();
        read_until(&mut stream, "hello").await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_takes_nothing_of_its_answer_is_not_kept() {
        const LONG: usize = 64 * 1024 * 1024;
        let answer = |_: Request<Body>| async { Response::new(Body::from(vec![b'x'; LONG])) };
        let (_tasks, address) = start(Limits::default(), answer).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        ask(&mut stream, "/").await;
        // Longer than the silence that is borne, in which nothing is read.
        tokio::time::sleep(HTTP_WRITE_SILENCE_MAX * 2).await;
        let mut read = Vec::new();
        drop(stream.read_to_end(&mut read).await);
        assert!(read.len() < LONG, "{} bytes", read.len());
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
