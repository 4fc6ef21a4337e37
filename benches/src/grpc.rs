//! As little gRPC as a load generator needs: one HTTP/2 connection, one call at a time.
//!
//! Messages are bytes that the caller encoded. The task that calls also drives the connection, so
//! that a call costs no hop between tasks; between calls nothing is read, which a server allows
//! for longer than any pause of ours. Source: gRPC, "gRPC over HTTP2".

use std::future::poll_fn;
use std::io::{self, Error, ErrorKind};
use std::net::SocketAddr;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http_crate::{HeaderMap, Method, Request, StatusCode, Version, header};
use tokio::net::TcpStream;

/// Bytes before a message: whether it is compressed, and its length.
pub(crate) const FRAME_BYTES: usize = 5;
/// Longest answer that is read; ours are of some hundred bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A connection to one server.
#[derive(Debug)]
pub(crate) struct Connection {
    calls: SendRequest<Bytes>,
    wire: h2::client::Connection<TcpStream, Bytes>,
    body: Vec<u8>,
}

/// How a call ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    /// The code of gRPC; zero is good. Source: gRPC, "Status codes".
    pub(crate) status: u16,
    /// The message, without its frame; empty after a failure.
    pub(crate) message: &'a [u8],
}

impl Connection {
    /// Connects to `server` and greets it.
    pub(crate) async fn open(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (calls, wire) = h2::client::handshake(stream).await.map_err(broken)?;
        Ok(Self { calls, wire, body: Vec::new() })
    }

    /// Sends a framed message and returns once the whole answer is here.
    ///
    /// After an error, or when dropped half-way, the connection is of no further use.
    pub(crate) async fn call(&mut self, head: &Head, framed: &[u8]) -> io::Result<Answer<'_>> {
        let message = Bytes::copy_from_slice(framed);
        // Both are dropped together, with the connection: neither can be lost half-way.
        let status = tokio::select! {
            biased;
            status = unary(&mut self.calls, head, message, &mut self.body) => status?,
            ended = &mut self.wire => {
                ended.map_err(broken)?;
                return Err(Error::new(ErrorKind::UnexpectedEof, "closed before the answer"));
            }
        };
        let message = self.body.get(FRAME_BYTES..).unwrap_or_default();
        Ok(Answer { status, message })
    }
}

/// What stands before every call of one method, built once.
#[derive(Clone, Debug)]
pub(crate) struct Head(Request<()>);

impl Head {
    /// The head of calls of `method`, as in `/package.Service/Method`, to `server`.
    ///
    /// # Panics
    /// If `method` is no path: methods come from this program alone.
    pub(crate) fn new(server: SocketAddr, method: &str) -> Self {
        let request = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(format!("http://{server}{method}"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(());
        Self(request.expect("a method is a path"))
    }
}

/// A message behind its frame, uncompressed.
///
/// # Panics
/// If it is longer than 4 GiB: messages come from this program alone.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a message is shorter than 4 GiB");
    let mut out = Vec::with_capacity(FRAME_BYTES + message.len());
    out.push(0);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
    out
}

/// One call; its answer, frame and all, is left in `body`, and its status returned.
async fn unary(
    calls: &mut SendRequest<Bytes>,
    head: &Head,
    message: Bytes,
    body: &mut Vec<u8>,
) -> io::Result<u16> {
    body.clear();
    poll_fn(|context| calls.poll_ready(context)).await.map_err(broken)?;
    let (answer, mut sending) = calls.send_request(head.0.clone(), false).map_err(broken)?;
    sending.send_data(message, true).map_err(broken)?;
    let answer = answer.await.map_err(broken)?;
    if answer.status() != StatusCode::OK {
        return Err(invalid(&format!("HTTP status {}", answer.status().as_u16())));
    }
    if let Some(status) = status(answer.headers()) {
        return Ok(status); // such an answer has no body
    }
    let mut receiving = answer.into_body();
    read(&mut receiving, body).await?;
    let trailers = receiving.trailers().await.map_err(broken)?;
    trailers.as_ref().and_then(status).ok_or_else(|| invalid("an answer without a status"))
}

async fn read(receiving: &mut RecvStream, body: &mut Vec<u8>) -> io::Result<()> {
    while let Some(part) = receiving.data().await {
        let part = part.map_err(broken)?;
        receiving.flow_control().release_capacity(part.len()).map_err(broken)?;
        body.extend_from_slice(&part);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(invalid("answer longer than 4 MiB"));
        }
    }
    Ok(())
}

fn status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn broken(error: h2::Error) -> Error {
    if error.is_io() {
        error.into_io().expect("an error of the socket")
    } else {
        Error::other(error)
    }
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_crate::Response;
    use tokio::net::TcpListener;

    #[test]
    fn a_frame_says_the_length() {
        assert_eq!(framed(b"abc"), *b"\0\0\0\0\x03abc");
        assert_eq!(framed(b""), [0; 5]);
    }

    /// Answers calls one by one: a message with a status behind it, or a status alone.
    async fn serve(listener: TcpListener, answers: [(&'static [u8], &'static str); 3]) {
        let (stream, _) = listener.accept().await.unwrap();
        let mut server = h2::server::handshake(stream).await.unwrap();
        for (message, code) in answers {
            let (request, mut respond) = server.accept().await.unwrap().unwrap();
            assert_eq!(request.uri().path(), "/p.S/M");
            assert_eq!(request.headers()["te"], "trailers");
            if message.is_empty() {
                let answer = Response::builder().header("grpc-status", code).body(()).unwrap();
                respond.send_response(answer, true).unwrap();
                continue;
            }
            let mut sending = respond.send_response(Response::new(()), false).unwrap();
            sending.send_data(Bytes::from(framed(message)), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", code.parse().unwrap());
            sending.send_trailers(trailers).unwrap();
        }
        drop(server.accept().await);
    }

    #[tokio::test]
    async fn one_connection_carries_many_calls() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = serve(listener, [(b"one", "0"), (b"", "14"), (b"three", "0")]);
        let client = async {
            let mut connection = Connection::open(address).await.unwrap();
            let head = Head::new(address, "/p.S/M");
            let mut seen = Vec::new();
            for _ in 0..3 {
                let answer = connection.call(&head, &framed(b"question")).await.unwrap();
                seen.push((answer.status, answer.message.to_vec()));
            }
            seen
        };
        let ((), seen) = tokio::join!(server, client);
        assert_eq!(seen, [(0, b"one".to_vec()), (14, Vec::new()), (0, b"three".to_vec())]);
    }

    #[tokio::test]
    async fn a_server_that_goes_away_is_an_error() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = async { drop(listener.accept().await.unwrap()) };
        let client = async {
            let mut connection = Connection::open(address).await.unwrap();
            connection.call(&Head::new(address, "/p.S/M"), &framed(b"")).await.map(|_| ())
        };
        let ((), answer) = tokio::join!(server, client);
        assert!(answer.is_err());
    }
}
