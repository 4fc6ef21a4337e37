//! A small HTTP client: no redirects, no unpacking, and every reply kept whole.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Method, redirect};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Longer than any blocking read that the tests start.
const ANSWER_LIMIT: Duration = Duration::from_mins(1);

/// A client of one server's HTTP door.
#[derive(Clone)]
pub(crate) struct Http {
    at: SocketAddr,
    client: reqwest::Client,
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The status code.
    pub(crate) status: u16,
    /// Headers with names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// The body as it came.
    pub(crate) body: Vec<u8>,
    /// From sending the request to having read the whole body.
    pub(crate) took: Duration,
}

impl Http {
    /// A client that keeps its connections open between requests.
    pub(crate) fn new(at: SocketAddr) -> Self {
        Self::with_limit(at, ANSWER_LIMIT)
    }

    /// A client that gives up after `limit`.
    pub(crate) fn with_limit(at: SocketAddr, limit: Duration) -> Self {
        let client = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(limit)
            .build()
            .expect("a client without TLS can be built");
        Self { at, client }
    }

    /// The address behind this client.
    pub(crate) fn address(&self) -> SocketAddr {
        self.at
    }

    /// Sends a request and reads the whole reply.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Reply, reqwest::Error> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method's name");
        let mut request = self.client.request(method, format!("http://{}{path}", self.at));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Self::received(request.body(body.to_owned())).await
    }

    async fn received(request: reqwest::RequestBuilder) -> Result<Reply, reqwest::Error> {
        let began = Instant::now();
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = |value: &reqwest::header::HeaderValue| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), text(value))).collect();
        let body = response.bytes().await?.to_vec();
        Ok(Reply { status, headers, body, took: began.elapsed() })
    }

    /// GET, where the server may be away.
    pub(crate) async fn try_get(&self, path: &str) -> Result<Reply, reqwest::Error> {
        self.send("GET", path, &[], "").await
    }

    /// PUT, where the server may be away.
    pub(crate) async fn try_put(&self, path: &str, body: &str) -> Result<Reply, reqwest::Error> {
        self.send("PUT", path, &[], body).await
    }

    /// GET that must come back, with whatever status.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        let reply = self.try_get(path).await;
        reply.unwrap_or_else(|error| panic!("GET {path} at {}: {error}", self.at))
    }

    /// PUT that must come back, with whatever status.
    pub(crate) async fn put(&self, path: &str, body: &str) -> Reply {
        let reply = self.try_put(path, body).await;
        reply.unwrap_or_else(|error| panic!("PUT {path} at {}: {error}", self.at))
    }

    /// PUT that must be answered with 200; gives the JSON of the answer, or null.
    pub(crate) async fn done(&self, path: &str, body: &str) -> Value {
        let reply = self.put(path, body).await;
        assert_eq!(reply.status, 200, "PUT {path} at {}: {}", self.at, reply.text());
        if reply.body.is_empty() { Value::Null } else { reply.json() }
    }

    /// Sends bytes, which must be answered, with whatever status.
    pub(crate) async fn send_bytes(&self, method: &str, path: &str, body: Vec<u8>) -> Reply {
        let method = Method::from_bytes(method.as_bytes()).expect("a method's name");
        let request = self.client.request(method, format!("http://{}{path}", self.at));
        let reply = Self::received(request.body(body)).await;
        reply.unwrap_or_else(|error| panic!("{path} at {}: {error}", self.at))
    }

    /// Sends a body in one chunk, without its length in the head, on a connection of its own.
    pub(crate) async fn send_chunked(&self, method: &str, path: &str, body: &str) -> Reply {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
        let began = Instant::now();
        let answer = self.raw(request.as_bytes()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let headers = lines.filter_map(|line| line.split_once(": "));
        Reply {
            status: status.and_then(|text| text.parse().ok()).expect("a status line"),
            headers: headers.map(|(name, value)| (name.to_lowercase(), value.into())).collect(),
            body: body.as_bytes().to_vec(),
            took: began.elapsed(),
        }
    }

    /// Sends bytes as they are on a connection of their own and reads until it is closed.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.at).await?;
        stream.write_all(bytes).await?;
        let mut answer = Vec::new();
        timeout(ANSWER_LIMIT, stream.read_to_end(&mut answer)).await??;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

impl Reply {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim_end_matches('\n').to_owned()
    }

    /// The body as JSON; panics if it is not.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}), {}: {}", self.status, self.text()))
    }

    /// A header by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The index that the reply carries; panics without one.
    pub(crate) fn index(&self) -> u64 {
        let index = self.header("x-consul-index").and_then(|text| text.parse().ok());
        index.unwrap_or_else(|| panic!("no X-Consul-Index: {} {:?}", self.status, self.headers))
    }
}
