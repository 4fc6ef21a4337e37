//! One kept HTTP/1.1 connection that knows whether a request was sent.
//!
//! Never: a second try of a request that may have left. That would make one operation of the
//! history into two.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Most of a text that is kept in a history.
const WORDS_MAX: usize = 200;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nothing of the request left: it was not done and never will be.
    NotSent(String),
    /// It left, or may have: what became of it is not known.
    Lost(String),
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Response {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
}

impl Response {
    /// The body as text, cut to what a history keeps.
    pub(crate) fn words(&self) -> String {
        let text: String = String::from_utf8_lossy(&self.body).chars().take(WORDS_MAX).collect();
        format!("{}: {}", self.status.as_u16(), text.trim())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.body).map_err(|error| format!("no JSON: {error}"))
    }

    /// A header that holds a number.
    pub(crate) fn number(&self, header: &str) -> Option<u64> {
        self.headers.get(header)?.to_str().ok()?.parse().ok()
    }
}

/// A connection to one server, opened when it is needed and closed after anything went wrong.
#[derive(Debug)]
pub(crate) struct Connection {
    server: SocketAddr,
    limit: Duration,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    sender: SendRequest<Full<Bytes>>,
    /// Moves the bytes; ends with this value.
    _mover: JoinSet<()>,
}

impl Connection {
    /// A connection to `server` whose exchanges take `limit` at most, connecting included.
    pub(crate) fn new(server: SocketAddr, limit: Duration) -> Self {
        Self { server, limit, open: None }
    }

    /// How long one exchange may take.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Sends a request and waits for the whole answer.
    pub(crate) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Response, Failure> {
        let until = Instant::now() + self.limit;
        let answer = self.send(method, path, body, until).await?;
        let (head, body) = answer.into_parts();
        let body = match timeout_at(until, body.collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => return Err(self.lost(&format!("the answer broke off: {error}"))),
            Err(_) => return Err(self.lost("the answer did not end in time")),
        };
        Ok(Response { status: head.status, headers: head.headers, body })
    }

    /// Sends a request whose answer has no end, and collects it until `enough` finds in it what
    /// it looks for, or `wait` has passed, which is no error: `None`. The connection ends.
    pub(crate) async fn ask_until<T>(
        &mut self,
        path: &str,
        body: Vec<u8>,
        wait: Duration,
        enough: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let until = Instant::now() + wait;
        let answer = self.send(Method::POST, path, body, until).await?;
        let mut stream = answer.into_body();
        let mut text = BytesMut::new();
        let found = loop {
            match timeout_at(until, stream.frame()).await {
                Err(_) => break None,
                Ok(None) => return Err(self.lost("the stream ended")),
                Ok(Some(Err(error))) => return Err(self.lost(&format!("the stream: {error}"))),
                Ok(Some(Ok(frame))) => text.extend(frame.into_data().ok()),
            }
            if let Some(found) = enough(&text) {
                break Some(found);
            }
        };
        self.open = None;
        Ok(found)
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        until: Instant,
    ) -> Result<hyper::Response<Incoming>, Failure> {
        let request =
            Request::builder().method(method).uri(path).header(HOST, self.server.to_string());
        let request = request.body(Full::new(Bytes::from(body)));
        let mut request = request.map_err(|error| Failure::NotSent(format!("{path}: {error}")))?;
        // A kept connection may have ended while nobody looked: then once more, on a new one.
        loop {
            let mut open = match self.open.take() {
                Some(open) if !open.sender.is_closed() => open,
                Some(_) | None => self.connect(until).await?,
            };
            match timeout_at(until, open.sender.try_send_request(request)).await {
                Ok(Ok(answer)) => {
                    self.open = Some(open);
                    return Ok(answer);
                }
                Ok(Err(mut error)) => match error.take_message() {
                    Some(unsent) if Instant::now() < until => request = unsent,
                    Some(_) => return Err(Failure::NotSent("closed before it was sent".into())),
                    None => return Err(Failure::Lost(format!("no answer: {}", error.error()))),
                },
                Err(_) => return Err(Failure::Lost("no answer in time".to_owned())),
            }
        }
    }

    async fn connect(&self, until: Instant) -> Result<Open, Failure> {
        let server = self.server;
        let not_sent = |why: String| Failure::NotSent(format!("connecting to {server}: {why}"));
        let stream = match timeout_at(until, TcpStream::connect(server)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(not_sent(error.to_string())),
            Err(_) => return Err(not_sent("no connection in time".to_owned())),
        };
        stream.set_nodelay(true).map_err(|error| not_sent(error.to_string()))?;
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| not_sent(error.to_string()))?;
        let mut mover = JoinSet::new();
        // How it ended is seen by who waits for an answer.
        mover.spawn(async move { drop(connection.await) });
        Ok(Open { sender, _mover: mover })
    }

    fn lost(&mut self, why: &str) -> Failure {
        self.open = None;
        Failure::Lost(why.to_owned())
    }
}
