//! As little HTTP/1.1 as a load generator needs: one kept connection, one request at a time.
//!
//! Requests are bytes that the caller prepared. Of a response only status, length and body are
//! read. Source: RFC 9112, sections 6 and 7.1.

use std::io::{self, Error, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest response that is read, head and body; ours are of some hundred bytes.
const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// First size of the read buffer.
const BUFFER_BYTES: usize = 8 * 1024;

/// A connection to one server.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    body: Vec<u8>,
}

/// A whole response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response<'a> {
    /// The status code.
    pub(crate) status: u16,
    /// The body, without the chunks' framing.
    pub(crate) body: &'a [u8],
}

/// Where a response ends, and its status.
#[derive(Debug, PartialEq, Eq)]
struct Parsed {
    status: u16,
    bytes: usize,
}

impl Connection {
    /// Connects to `server`.
    pub(crate) async fn open(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: Vec::with_capacity(BUFFER_BYTES), body: Vec::new() })
    }

    /// Sends a prepared request and returns once the whole response is here.
    ///
    /// After an error, or when dropped half-way, the connection is of no further use.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Response<'_>> {
        self.stream.write_all(request).await?;
        self.input.clear();
        let parsed = loop {
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(Error::new(ErrorKind::UnexpectedEof, "closed before the response"));
            }
            if let Some(parsed) = parse(&self.input, &mut self.body)? {
                break parsed;
            }
            if self.input.len() > RESPONSE_BYTES_MAX {
                return Err(invalid("response longer than 4 MiB"));
            }
        };
        if parsed.bytes != self.input.len() {
            return Err(invalid("bytes after the response"));
        }
        Ok(Response { status: parsed.status, body: &self.body })
    }
}

/// The bytes of a request; `path` with its query.
pub(crate) fn request(method: &str, path: &str, host: SocketAddr, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut out = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
    if method != "GET" {
        out.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}

/// The response at the start of `input`, its body copied into `body`; none if more must come.
fn parse(input: &[u8], body: &mut Vec<u8>) -> io::Result<Option<Parsed>> {
    let Some(head_bytes) = find(input, b"\r\n\r\n").map(|at| at + 4) else { return Ok(None) };
    let head = std::str::from_utf8(&input[..head_bytes])
        .map_err(|error| invalid(&format!("head of the response: {error}")))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(status).ok_or_else(|| invalid("no HTTP/1.1 status line"))?;
    let mut length = None;
    let mut chunked = false;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            let value = value.trim().parse::<usize>();
            length = Some(value.map_err(|error| invalid(&format!("content-length: {error}")))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.trim().eq_ignore_ascii_case("chunked");
        }
    }
    body.clear();
    let rest = &input[head_bytes..];
    let used = match (chunked, length) {
        (true, _) => unchunk(rest, body)?,
        (false, Some(length)) => rest.get(..length).map(|part| {
            body.extend_from_slice(part);
            length
        }),
        (false, None) if status == 204 || status == 304 => Some(0),
        (false, None) => return Err(invalid("neither content-length nor chunks")),
    };
    Ok(used.map(|used| Parsed { status, bytes: head_bytes + used }))
}

/// Copies the chunks of `input` into `body` and returns how many bytes they took, none if more
/// must come. Trailers are not expected.
fn unchunk(input: &[u8], body: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let mut at = 0;
    loop {
        let Some(line) = find(&input[at..], b"\r\n") else { return Ok(None) };
        let digits = std::str::from_utf8(&input[at..at + line]).unwrap_or("?");
        let digits = digits.split(';').next().unwrap_or(digits).trim();
        let size = usize::from_str_radix(digits, 16)
            .map_err(|error| invalid(&format!("size of a chunk: {error}")))?;
        let start = at + line + 2;
        let Some(end) = start.checked_add(size).filter(|end| end + 2 <= input.len()) else {
            return Ok(None);
        };
        if &input[end..end + 2] != b"\r\n" {
            return Err(invalid("a chunk without its end"));
        }
        at = end + 2;
        if size == 0 {
            return Ok(Some(at));
        }
        body.extend_from_slice(&input[start..end]);
    }
}

fn status(line: &str) -> Option<u16> {
    line.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|part| part == needle)
}

fn invalid(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nX: y\r\ncontent-LENGTH: 4\r\n\r\ntrue";
    const CHUNKS: &[u8] = b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n\
        3;x=y\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n";

    fn whole(input: &[u8]) -> (u16, usize, String) {
        let mut body = Vec::new();
        let parsed = parse(input, &mut body).unwrap().unwrap();
        (parsed.status, parsed.bytes, String::from_utf8(body).unwrap())
    }

    #[test]
    fn both_ways_to_say_the_length() {
        assert_eq!(whole(PLAIN), (200, PLAIN.len(), "true".to_owned()));
        assert_eq!(whole(CHUNKS), (500, CHUNKS.len(), "abc0123456789".to_owned()));
        let empty = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(whole(empty), (204, empty.len(), String::new()));
    }

    #[test]
    fn every_part_of_a_response_asks_for_more() {
        for text in [PLAIN, CHUNKS] {
            for cut in 0..text.len() {
                assert_eq!(parse(&text[..cut], &mut Vec::new()).unwrap(), None, "cut at {cut}");
            }
        }
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in [
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabcd",
        ] {
            assert!(parse(text.as_bytes(), &mut Vec::new()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_chunk_as_long_as_memory_does_not_overflow() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffe\r\n";
        assert!(parse(text.as_bytes(), &mut Vec::new()).is_ok_and(|parsed| parsed.is_none()));
    }

    #[tokio::test]
    async fn one_connection_carries_many_exchanges() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let host = listener.local_addr().unwrap();
        let asked = request("PUT", "/v1/kv/a", host, b"x");
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut input = vec![0; asked.len()];
            for answer in [PLAIN, CHUNKS] {
                stream.read_exact(&mut input).await.unwrap();
                let (first, second) = answer.split_at(20);
                stream.write_all(first).await.unwrap();
                stream.write_all(second).await.unwrap();
            }
            input
        };
        let client = async {
            let mut connection = Connection::open(host).await.unwrap();
            let first = connection.exchange(&asked).await.unwrap();
            assert_eq!(first, Response { status: 200, body: b"true" });
            let second = connection.exchange(&asked).await.unwrap();
            assert_eq!(second, Response { status: 500, body: b"abc0123456789" });
            assert!(connection.exchange(&asked).await.is_err(), "the server is gone");
        };
        let (input, ()) = tokio::join!(server, client);
        assert_eq!(input, asked);
    }
}
