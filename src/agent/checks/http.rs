//! A check that asks over HTTP and judges the status of the answer.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Method, Response, StatusCode, Url};
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout_at};

use crate::model::{CheckDefinition, CheckStatus};
use crate::time;

use super::super::bounds;
use super::super::disk::Verdict;
use super::super::spec::CheckSpec;
use super::tail::Tail;
use super::tls::Tls;
use super::words::{dial_failed, reason};

/// Asks. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    tls: Tls,
    /// By whether redirects are followed (first) and certificates judged (first).
    clients: [[Client; 2]; 2],
}

impl Asker {
    /// Builds the clients.
    ///
    /// # Errors
    ///
    /// Says why there can be none.
    pub(super) fn new(tls: Tls) -> Result<Self, String> {
        let build = |follow: bool, skip_verify: bool| {
            builder(&tls, follow, skip_verify).build().map_err(|error| root(&error))
        };
        let clients = [
            [build(true, false)?, build(true, true)?],
            [build(false, false)?, build(false, true)?],
        ];
        Ok(Self { tls, clients })
    }

    /// Asks once, within `patience`; keeps the last `output_max` bytes of the body.
    ///
    /// A 2xx passes, a 429 warns, all else is critical. A body that breaks off is judged by its
    /// status all the same. Source: Consul, "HTTP checks".
    pub(super) async fn run(
        &self,
        spec: &CheckSpec,
        patience: Duration,
        output_max: usize,
    ) -> Verdict {
        let definition = &spec.check.definition;
        let url = &definition.http;
        let method = if definition.method.is_empty() { "GET" } else { definition.method.as_str() };
        let deadline = time::now() + patience;
        let failed = |why: String| {
            let output = format!("{} \"{url}\": {why}", capitalised(method));
            Verdict { status: CheckStatus::Critical, output }
        };
        match timeout_at(deadline, self.ask(method, spec)).await {
            Ok(Ok(response)) => {
                let status = response.status();
                let body = tail(response, deadline, output_max).await;
                let reason = status.canonical_reason().unwrap_or_default();
                let code = status.as_u16();
                let output = format!("HTTP {method} {url}: {code} {reason} Output: {body}");
                Verdict { status: judge(status), output }
            }
            Ok(Err(why)) => failed(why),
            Err(_elapsed) => failed(
                "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
                    .to_owned(),
            ),
        }
    }

    async fn ask(&self, method: &str, spec: &CheckSpec) -> Result<Response, String> {
        let definition = &spec.check.definition;
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
        let request = if spec.how.tls_server_name.is_empty() {
            let [strict, lenient] = &self.clients[usize::from(spec.how.disable_redirects)];
            let client = if definition.tls_skip_verify { lenient } else { strict };
            client.request(method, &definition.http)
        } else {
            let (client, url, host) = self.under_another_name(spec).await?;
            client.request(method, url).header(HOST, host)
        };
        let request = request.headers(headers(definition)?).body(definition.body.clone());
        request.send().await.map_err(|error| root(&error))
    }

    /// A client that reaches the host of the check's URL under the name that its certificate must
    /// be of, the URL with that name, and what the request says that the host is.
    async fn under_another_name(&self, spec: &CheckSpec) -> Result<(Client, Url, String), String> {
        let (definition, name) = (&spec.check.definition, &spec.how.tls_server_name);
        let mut url = Url::parse(&definition.http).map_err(|error| error.to_string())?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or_default();
        let address = format!("{host}:{port}");
        let found = lookup_host(address.as_str()).await;
        let found = found.map_err(|error| dial_failed("tcp", &address, &error))?;
        let found: Vec<_> = found.collect();
        url.set_host(Some(name)).map_err(|error| error.to_string())?;
        let builder = builder(&self.tls, !spec.how.disable_redirects, definition.tls_skip_verify);
        let client = builder.resolve_to_addrs(name, &found).build();
        let shown = if url.port().is_some() { address } else { host };
        Ok((client.map_err(|error| root(&error))?, url, shown))
    }
}

fn builder(tls: &Tls, follow: bool, skip_verify: bool) -> ClientBuilder {
    let redirects =
        if follow { Policy::limited(bounds::CHECK_REDIRECTS_MAX) } else { Policy::none() };
    Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0) // a connection that is kept says nothing about new ones
        .redirect(redirects)
        .use_preconfigured_tls(rustls::ClientConfig::clone(tls.config(skip_verify)))
}

/// A client with this host's trust, which keeps no connection.
///
/// # Errors
///
/// Says why there can be none.
pub(in super::super) fn client(skip_verify: bool) -> Result<Client, String> {
    builder(&Tls::new()?, true, skip_verify).build().map_err(|error| root(&error))
}

fn judge(status: StatusCode) -> CheckStatus {
    match status {
        status if status.is_success() => CheckStatus::Passing,
        StatusCode::TOO_MANY_REQUESTS => CheckStatus::Warning,
        _ => CheckStatus::Critical,
    }
}

/// The check's own headers over those that Consul sends.
fn headers(definition: &CheckDefinition) -> Result<HeaderMap, String> {
    let mut all = HeaderMap::new();
    all.insert(USER_AGENT, HeaderValue::from_static("Consul Health Check"));
    all.insert(ACCEPT, HeaderValue::from_static("text/plain, text/*, */*"));
    all.insert(CONNECTION, HeaderValue::from_static("close"));
    for (name, values) in &definition.header {
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        all.remove(&key);
        for value in values {
            let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            all.append(key.clone(), value);
        }
    }
    Ok(all)
}

/// The last `max` bytes of what can be read of a body until `deadline`.
async fn tail(mut response: Response, deadline: Instant, max: usize) -> String {
    let mut tail = Tail::new(max);
    while tail.seen() < bounds::CHECK_BODY_BYTES_MAX as u64 {
        let Ok(Ok(Some(chunk))) = timeout_at(deadline, response.chunk()).await else { break };
        tail.push(&chunk);
    }
    tail.text()
}

/// What lies at the ground of an error; the layers above it only repeat the request.
pub(in super::super) fn root(error: &reqwest::Error) -> String {
    let mut deepest: &dyn Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    let Some(io) = deepest.downcast_ref::<std::io::Error>() else { return deepest.to_string() };
    let place = error.url().filter(|_| error.is_connect());
    let place = place.and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    match place {
        Some((host, port)) => dial_failed("tcp", &format!("{host}:{port}"), io),
        None => reason(io),
    }
}

/// `Get` of `GET`: the first letter stays as it is.
fn capitalised(method: &str) -> String {
    let mut signs = method.chars();
    signs.next().into_iter().chain(signs.as_str().to_ascii_lowercase().chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::spec::CheckRun;
    use super::*;
    use crate::lifecycle::Tasks;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    /// Answers every connection with `answer` and gives back what the first one asked.
    async fn server(tasks: &Tasks, answer: String) -> (String, oneshot::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = oneshot::channel();
        let mut tell = Some(tell);
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = vec![0; 4096];
                let count = stream.read(&mut asked).await.unwrap();
                asked.truncate(count);
                if let Some(tell) = tell.take() {
                    tell.send(String::from_utf8(asked).unwrap()).unwrap_or_default();
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (format!("http://{address}/up"), told)
    }

    fn answer(status: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    async fn ask(definition: &CheckDefinition) -> Verdict {
        ask_as(definition, CheckRun::default()).await
    }

    async fn ask_as(definition: &CheckDefinition, how: CheckRun) -> Verdict {
        asker().run(&spec(definition, how), Duration::from_secs(5), 8).await
    }

    fn asker() -> Asker {
        Asker::new(Tls::new().unwrap()).unwrap()
    }

    fn spec(definition: &CheckDefinition, how: CheckRun) -> CheckSpec {
        let mut spec = CheckSpec { how, ..CheckSpec::default() };
        spec.check.definition = definition.clone();
        spec
    }

    #[tokio::test]
    async fn the_status_is_judged() {
        let tasks = Tasks::new();
        for (status, verdict) in [
            ("200 OK", CheckStatus::Passing),
            ("204 No Content", CheckStatus::Passing),
            ("429 Too Many Requests", CheckStatus::Warning),
            ("404 Not Found", CheckStatus::Critical),
            ("503 Service Unavailable", CheckStatus::Critical),
        ] {
            let body = if status.starts_with("204") { "" } else { "0123456789" };
            let (http, _told) = server(&tasks, answer(status, body)).await;
            let result =
                ask(&CheckDefinition { http: http.clone(), ..CheckDefinition::default() }).await;
            assert_eq!(result.status, verdict, "{status}");
            let tail = if body.is_empty() { "" } else { "23456789" };
            assert_eq!(result.output, format!("HTTP GET {http}: {status} Output: {tail}"));
        }
    }

    #[tokio::test]
    async fn method_headers_and_body_are_sent() {
        let tasks = Tasks::new();
        let (http, told) = server(&tasks, answer("200 OK", "")).await;
        let header = [("X-One".to_owned(), vec!["1".to_owned(), "2".to_owned()])].into();
        let (method, body) = ("POST".to_owned(), "ahoy".to_owned());
        ask(&CheckDefinition { http, method, header, body, ..CheckDefinition::default() }).await;
        let asked = told.await.unwrap().to_lowercase();
        assert!(asked.starts_with("post /up http/1.1"), "{asked}");
        for part in [
            "x-one: 1",
            "x-one: 2",
            "user-agent: consul health check",
            "connection: close",
            "accept: text/plain",
        ] {
            assert!(asked.contains(part), "{part} in {asked}");
        }
        assert!(asked.ends_with("\r\n\r\nahoy"), "{asked}");
    }

    #[tokio::test]
    async fn redirects_are_followed() {
        let tasks = Tasks::new();
        let (there, _told) = server(&tasks, answer("200 OK", "here")).await;
        let answer = answer("302 Found", "");
        let (status, rest) = answer.split_once("\r\n").unwrap();
        let moved = format!("{status}\r\nLocation: {there}\r\n{rest}");
        let (http, _told) = server(&tasks, moved).await;
        let result =
            ask(&CheckDefinition { http: http.clone(), ..CheckDefinition::default() }).await;
        assert_eq!(result.output, format!("HTTP GET {http}: 200 OK Output: here"));
        let how = CheckRun { disable_redirects: true, ..CheckRun::default() };
        let definition = CheckDefinition { http: http.clone(), ..CheckDefinition::default() };
        let result = ask_as(&definition, how).await;
        assert_eq!(result.status, CheckStatus::Critical);
        assert_eq!(result.output, format!("HTTP GET {http}: 302 Found Output: "));
    }

    #[tokio::test]
    async fn another_name_is_for_the_certificate_alone() {
        let tasks = Tasks::new();
        let (http, told) = server(&tasks, answer("200 OK", "")).await;
        let tls_server_name = "cert.example".to_owned();
        let how = CheckRun { tls_server_name, ..CheckRun::default() };
        let definition = CheckDefinition { http: http.clone(), ..CheckDefinition::default() };
        assert_eq!(ask_as(&definition, how).await.status, CheckStatus::Passing);
        let host = http.trim_start_matches("http://").trim_end_matches("/up");
        let asked = told.await.unwrap().to_lowercase();
        assert!(asked.contains(&format!("host: {host}\r\n")), "{asked}");
    }

    #[tokio::test]
    async fn whoever_does_not_answer_is_critical() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let http = format!("http://{address}/up");
        let definition = CheckDefinition { http: http.clone(), ..CheckDefinition::default() };
        let (asker, spec) = (asker(), spec(&definition, CheckRun::default()));
        let silent = asker.run(&spec, Duration::from_millis(20), 8).await;
        assert_eq!(silent.status, CheckStatus::Critical);
        assert!(silent.output.contains("context deadline exceeded"), "{}", silent.output);
        drop(listener);
        let refused = asker.run(&spec, Duration::from_secs(5), 8).await;
        let says = format!("Get \"{http}\": dial tcp {address}: connect: connection refused");
        assert_eq!((refused.status, refused.output), (CheckStatus::Critical, says));
    }

    #[tokio::test]
    async fn nonsense_is_critical_and_says_why() {
        for (http, method) in [("not a url", "GET"), ("http://127.0.0.1:1/", "G E T")] {
            let (http, method) = (http.to_owned(), method.to_owned());
            let result = ask(&CheckDefinition { http, method, ..CheckDefinition::default() }).await;
            assert_eq!(result.status, CheckStatus::Critical);
        }
    }
}
