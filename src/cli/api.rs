//! Calls to an agent's HTTP door, with the errors that Consul's own client gives.

use std::error::Error as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;

/// Longest answer that is held in memory, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// Longest text of an error that is shown, in bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// Patience with the agent's socket; answers themselves may take as long as they like.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What may stand in a path as it is.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b':')
    .remove(b'=')
    .remove(b'@');

/// What may stand in a query's value as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// As whom to connect.
#[derive(Debug, Default)]
pub(super) struct Login {
    pub(super) token: Option<String>,
    pub(super) basic: Option<String>,
    pub(super) ca_file: Option<String>,
    pub(super) ca_path: Option<String>,
    pub(super) client_cert: Option<String>,
    pub(super) client_key: Option<String>,
    pub(super) any_certificate: bool,
}

/// A client of one agent.
#[derive(Debug, Clone)]
pub(super) struct Api {
    client: Client,
    base: String,
    token: Option<String>,
    basic: Option<String>,
    query: Vec<(&'static str, String)>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) index: Option<u64>,
    pub(super) body: Vec<u8>,
}

/// Parameters of a request.
pub(super) type Query<'a> = &'a [(&'a str, &'a str)];

impl Api {
    /// Makes a client; nothing is sent yet.
    pub(super) fn new(
        address: &str,
        login: &Login,
        query: Vec<(&'static str, String)>,
    ) -> Result<Self> {
        let mut builder = Client::builder().connect_timeout(CONNECT_TIMEOUT).no_proxy();
        let base = match address.strip_prefix("unix://") {
            Some(path) => {
                builder = builder.unix_socket(std::path::PathBuf::from(path));
                "http://localhost".to_owned()
            }
            None if address.starts_with("http://") || address.starts_with("https://") => {
                address.trim_end_matches('/').to_owned()
            }
            None if address.contains("://") => bail!("Unknown protocol scheme: {address}"),
            None => format!("http://{address}"),
        };
        for path in authorities(login)? {
            let pem = read(&path)?;
            for certificate in reqwest::Certificate::from_pem_bundle(&pem)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        match (&login.client_cert, &login.client_key) {
            (Some(cert), Some(key)) => {
                let mut pem = read(cert)?;
                pem.extend(read(key)?);
                builder = builder.identity(reqwest::Identity::from_pem(&pem)?);
            }
            (None, None) => {}
            _ => bail!("both client cert and client key must be provided"),
        }
        let client = builder.danger_accept_invalid_certs(login.any_certificate).build()?;
        let (token, basic) = (login.token.clone(), login.basic.clone());
        Ok(Self { client, base, token, basic, query })
    }

    /// Sends a request and holds the whole answer.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        query: Query<'_>,
        body: Vec<u8>,
    ) -> Result<Answer> {
        let response = self.open(method, path, query, body).await?;
        let status = response.status().as_u16();
        let index = response.headers().get("x-consul-index");
        let index = index.and_then(|value| value.to_str().ok()?.parse().ok());
        let body = hold(response, ANSWER_BYTES_MAX).await?;
        Ok(Answer { status, index, body })
    }

    /// Sends a request and gives the answer's head; the caller reads the body.
    pub(super) async fn open(
        &self,
        method: Method,
        path: &str,
        query: Query<'_>,
        body: Vec<u8>,
    ) -> Result<Response> {
        let url = self.url(path, query);
        let request = self.client.request(method.clone(), &url).body(body);
        let sent = self.signed(request).send().await;
        sent.map_err(|error| anyhow::anyhow!(unreachable(&method, &url, &error)))
    }

    /// Reads; anything but 200 is an error with the agent's words.
    pub(super) async fn get(&self, path: &str, query: Query<'_>) -> Result<Answer> {
        self.send(Method::GET, path, query, Vec::new()).await?.expect_ok()
    }

    /// Reads JSON.
    pub(super) async fn get_json<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query<'_>,
    ) -> Result<T> {
        self.get(path, query).await?.json()
    }

    /// Writes; anything but 200 is an error with the agent's words.
    pub(super) async fn put(&self, path: &str, query: Query<'_>, body: Vec<u8>) -> Result<Answer> {
        self.send(Method::PUT, path, query, body).await?.expect_ok()
    }

    /// Deletes; anything but 200 is an error with the agent's words.
    pub(super) async fn delete(&self, path: &str, query: Query<'_>) -> Result<Answer> {
        self.send(Method::DELETE, path, query, Vec::new()).await?.expect_ok()
    }

    fn url(&self, path: &str, query: Query<'_>) -> String {
        let mut url = format!("{}/v1/{}", self.base, utf8_percent_encode(path, PATH));
        let fixed = self.query.iter().map(|(name, value)| (*name, value.as_str()));
        for (at, (name, value)) in query.iter().copied().chain(fixed).enumerate() {
            url.push(if at == 0 { '?' } else { '&' });
            url.push_str(name);
            if !value.is_empty() {
                url.push('=');
                url.extend(utf8_percent_encode(value, QUERY));
            }
        }
        url
    }

    fn signed(&self, request: RequestBuilder) -> RequestBuilder {
        let request = match &self.token {
            Some(token) => request.header("X-Consul-Token", token),
            None => request,
        };
        match self.basic.as_ref().map(|basic| basic.split_once(':').unwrap_or((basic, ""))) {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }
}

impl Answer {
    /// This answer, or the agent's words as an error if it is not 200.
    pub(super) fn expect_ok(self) -> Result<Self> {
        if self.status == 200 {
            return Ok(self);
        }
        bail!(refused(self.status, &self.body))
    }

    /// The body read as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).context("the agent's answer is not what was expected")
    }

    /// True if the body is `true`, as the answers of conditional writes are.
    pub(super) fn is_true(&self) -> bool {
        self.body.trim_ascii() == b"true"
    }
}

/// Consul's words for an answer that is not 200.
pub(super) fn refused(status: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..ERROR_BYTES_MAX).unwrap_or(body));
    if text.is_empty() {
        return format!("Unexpected response code: {status}");
    }
    format!("Unexpected response code: {status} ({text})")
}

/// Reads a whole body, at most `most` bytes.
pub(super) async fn hold(mut response: Response, most: usize) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            bail!("the agent's answer is longer than {most} bytes");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Go's words for an agent that cannot be reached.
fn unreachable(method: &Method, url: &str, error: &reqwest::Error) -> String {
    let name = method.as_str();
    let (first, rest) = name.split_at(1.min(name.len()));
    let host = url.split('/').nth(2).unwrap_or(url);
    let mut source = error.source();
    let mut deepest = error.to_string();
    while let Some(inner) = source {
        deepest = match inner.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::ConnectionRefused) => {
                format!("dial tcp {host}: connect: connection refused")
            }
            _ => inner.to_string(),
        };
        source = inner.source();
    }
    format!("{first}{} \"{url}\": {deepest}", rest.to_lowercase())
}

fn authorities(login: &Login) -> Result<Vec<std::path::PathBuf>> {
    let mut paths: Vec<_> = login.ca_file.iter().map(std::path::PathBuf::from).collect();
    if let Some(folder) = &login.ca_path {
        let entries = std::fs::read_dir(folder);
        for entry in entries.with_context(|| format!("Error loading CA path {folder}"))? {
            paths.push(entry?.path());
        }
    }
    Ok(paths)
}

fn read(path: impl AsRef<std::path::Path>) -> Result<Vec<u8>> {
    let path = path.as_ref();
    std::fs::read(path).with_context(|| format!("Error reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_keys_become_urls() {
        let api =
            |address| Api::new(address, &Login::default(), vec![("dc", "d 1".to_owned())]).unwrap();
        let url = api("127.0.0.1:1").url("kv/a/b c%?é", &[("recurse", ""), ("separator", "/")]);
        let query = "recurse&separator=%2F&dc=d%201";
        assert_eq!(url, format!("http://127.0.0.1:1/v1/kv/a/b%20c%25%3F%C3%A9?{query}"));
        assert_eq!(api("https://h:1/").url("a", &[]), "https://h:1/v1/a?dc=d%201");
        assert_eq!(api("unix:///run/x").url("a", &[]), "http://localhost/v1/a?dc=d%201");
        assert!(Api::new("ftp://x", &Login::default(), Vec::new()).is_err());
    }

    #[test]
    fn refusals_carry_the_agents_words() {
        assert_eq!(refused(500, b""), "Unexpected response code: 500");
        assert_eq!(refused(400, b"no"), "Unexpected response code: 400 (no)");
    }
}
