//! Watches: each reads a view from this agent's own HTTP door again and again, and tells its
//! handler, a program or a call over HTTP, of every change.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::checks::{Tail, call_failed, http_client, plain, read_all, start_program};
use crate::lifecycle::Tasks;
use crate::limits::{WATCH_ANSWER_BYTES_MAX, WATCH_OUTPUT_BYTES_MAX, WATCH_RUN_MAX};
use crate::time;

/// Longest wait of one read. Source: Consul, "Blocking Queries".
const WAIT: &str = "10m";

/// Patience with one read: the wait, what the door adds to it, and some for the answer.
const READ_MAX: Duration = Duration::from_mins(12);

/// Pause after the first failed read; it grows with the square of their number. Source: Consul,
/// "Watches", observed.
const RETRY: Duration = Duration::from_secs(5);

/// Longest pause after a failed read. Source: likewise.
const RETRY_MAX: Duration = Duration::from_mins(3);

/// Pause after an answer that came at once and brings nothing new.
const CALM: Duration = Duration::from_secs(1);

/// Shows an answer's JSON to who knows of an index; `None` where there is nothing to show. The
/// first number is the answer's status.
pub type WatchShow = Arc<dyn Fn(u16, Option<Value>, u64) -> Option<Value> + Send + Sync>;

/// One watch.
#[derive(Clone)]
pub struct Watch {
    /// What it watches, for the log.
    pub kind: String,
    /// Path below the door's address, not encoded.
    pub path: String,
    /// Parameters, not encoded.
    pub query: Vec<(&'static str, String)>,
    /// True if an index only tells one answer from another and may fall.
    pub events: bool,
    /// Makes of an answer what the handler is given.
    pub show: WatchShow,
    /// Token that reads carry; empty for none.
    pub token: String,
    /// Who is told.
    pub handler: Handler,
}

/// Who is told of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handler {
    /// A program and its arguments. It has the view as JSON at its input, and its index in
    /// `CONSUL_INDEX`.
    Program(Vec<String>),
    /// A call over HTTP with the view as its body.
    Call(Call),
}

/// A call over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The whole URL.
    pub url: String,
    /// Its method.
    pub method: String,
    /// Patience with it.
    pub timeout: Duration,
    /// Names and values of headers.
    pub header: Vec<(String, String)>,
    /// True to take any certificate.
    pub tls_skip_verify: bool,
}

/// The watches that run. Dropping it ends them.
pub struct Watches {
    /// Where the HTTP door listens, such as `http://127.0.0.1:8500`.
    door: String,
    tasks: Tasks,
    /// Held by those that run now: dropping it ends them.
    round: Mutex<watch::Sender<()>>,
}

impl Watches {
    /// Starts none yet; tasks run in `tasks`.
    pub fn new(door: String, tasks: Tasks) -> Self {
        Self { door, tasks, round: Mutex::new(watch::Sender::new(())) }
    }

    /// Ends all that run, their programs too, and starts these. Each tells its handler once at the
    /// start, as Consul's do after a reload.
    pub fn replace(&self, watches: Vec<Watch>) {
        let sender = watch::Sender::new(());
        for watch in watches {
            let (mut ended, mut shutdown) = (sender.subscribe(), self.tasks.shutdown());
            let door = self.door.clone();
            self.tasks.spawn(async move {
                tokio::select! {
                    () = shutdown.wait() => {}
                    _ = ended.changed() => {} // an error: the sender is gone
                    () = Box::pin(follow(&door, &watch)) => {}
                }
            });
        }
        *self.round.lock() = sender;
    }
}

/// Reads and tells, without end.
async fn follow(door: &str, watch: &Watch) {
    let skip_verify = matches!(&watch.handler, Handler::Call(call) if call.tls_skip_verify);
    let clients = http_client(false).and_then(|own| Ok((own, http_client(skip_verify)?)));
    let (own, outer) = match clients {
        Ok(clients) => clients,
        Err(error) => return tracing::error!(kind = watch.kind, %error, "a watch cannot begin"),
    };
    let (mut shown, mut index, mut failures) = (None, 0, 0);
    loop {
        let begun = time::now();
        let (next, at) = match read(door, &own, watch, index).await {
            Ok(read) => read,
            Err(error) => {
                failures = u32::min(failures + 1, 100);
                let pause = RETRY_MAX.min(RETRY * failures * failures);
                let pause = pause + time::jitter(pause, 16, time::random());
                tracing::error!(kind = watch.kind, error, ?pause, "Watch errored");
                sleep(pause).await;
                continue;
            }
        };
        failures = 0;
        let same = if watch.events {
            at == index && shown.is_some()
        } else {
            shown.as_ref() == Some(&next)
        };
        // Any other index that falls means another history: start over.
        index = if at < index && !watch.events { 0 } else { at };
        if same {
            sleep(CALM.saturating_sub(begun.elapsed())).await;
            continue;
        }
        tell(&outer, watch, &next, at).await;
        shown = Some(next);
    }
}

/// What is there now, once its index is not `known`.
async fn read(
    door: &str,
    client: &Client,
    watch: &Watch,
    known: u64,
) -> Result<(Value, u64), String> {
    let mut url = Url::parse(door).map_err(|error| error.to_string())?;
    url.path_segments_mut()
        .map_err(|()| "the door's address has no path".to_owned())?
        .extend(["v1"])
        .extend(watch.path.split('/'));
    {
        let mut query = url.query_pairs_mut();
        query.extend_pairs(watch.query.iter().map(|(name, value)| (*name, value.as_str())));
        if known != 0 {
            query.append_pair("index", &known.to_string()).append_pair("wait", WAIT);
        }
    }
    let mut request = client.get(url).timeout(READ_MAX);
    if !watch.token.is_empty() {
        request = request.header("X-Consul-Token", &watch.token);
    }
    let answer = request.send().await.map_err(|error| call_failed(&error))?;
    let status = answer.status().as_u16();
    let index = answer.headers().get("x-consul-index");
    let index = index.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or_default();
    let body = hold(answer).await?;
    let value = if status == 200 {
        Some(serde_json::from_slice(&body).map_err(|error| error.to_string())?)
    } else {
        None
    };
    let shown = (watch.show)(status, value, known);
    let failed = || format!("Unexpected response code: {status}");
    shown.map(|shown| (shown, index)).ok_or_else(failed)
}

async fn hold(mut answer: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| call_failed(&error))? {
        if body.len() + chunk.len() > WATCH_ANSWER_BYTES_MAX {
            return Err(format!("the answer is longer than {WATCH_ANSWER_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Tells the handler and waits until it has ended. A failure is logged and not tried again, as in
/// Consul; what a program says may hold secrets and is logged for debugging alone.
async fn tell(client: &Client, watch: &Watch, view: &Value, index: u64) {
    let mut text = view.to_string().into_bytes();
    text.push(b'\n');
    match &watch.handler {
        Handler::Program(args) => {
            let name = args.first().map_or("", String::as_str);
            let (ended, output) = match timeout(WATCH_RUN_MAX, run(args, &text, index)).await {
                Ok(ended) => ended,
                Err(_elapsed) => {
                    (Err("it ran for too long and was killed".to_owned()), String::new())
                }
            };
            if let Err(error) = ended {
                tracing::error!(handler = name, error, "Failed to run watch handler");
            }
            tracing::debug!(handler = name, output, "watch handler output");
        }
        Handler::Call(call) => {
            if let Err(error) = send(client, call, text, index).await {
                tracing::error!(handler = call.url, error, "Failed to invoke http watch handler");
            }
        }
    }
}

/// Runs a program in a process group of its own; dropping this kills the group.
async fn run(args: &[String], input: &[u8], index: u64) -> (Result<(), String>, String) {
    let mut tail = Tail::new(WATCH_OUTPUT_BYTES_MAX);
    let ended = run_program(args, input, index, &mut tail).await;
    (ended, tail.captured())
}

async fn run_program(
    args: &[String],
    input: &[u8],
    index: u64,
    tail: &mut Tail,
) -> Result<(), String> {
    let (program, rest) = args.split_first().ok_or("need an executable to run")?;
    let mut command = Command::new(program);
    command.args(rest).env("CONSUL_INDEX", index.to_string());
    command.stdin(std::process::Stdio::piped());
    let (mut group, mut output) = start_program(command, program)?;
    let stdin = group.input();
    let feed = async move {
        let Some(mut stdin) = stdin else { return Ok(()) };
        match stdin.write_all(input).await {
            // A program that does not read its input has not failed.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            fed => fed,
        }
    };
    let (fed, said) = tokio::join!(feed, read_all(&mut output, tail));
    fed.and(said).map_err(|error| plain(&error))?;
    let status = group.wait().await.map_err(|error| plain(&error))?;
    trouble(status).map_or(Ok(()), Err)
}

/// Go's words for how a program ended, or `None` if it ended well.
fn trouble(status: ExitStatus) -> Option<String> {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("exit status {code}")),
        (None, Some(9)) => Some("signal: killed".to_owned()),
        (None, Some(15)) => Some("signal: terminated".to_owned()),
        (None, signal) => Some(format!("signal: {}", signal.unwrap_or_default())),
    }
}

async fn send(client: &Client, call: &Call, body: Vec<u8>, index: u64) -> Result<(), String> {
    let request = request(client, call, index)?.body(body);
    let mut answer = request.send().await.map_err(|error| call_failed(&error))?;
    let status = answer.status();
    let mut tail = Tail::new(WATCH_OUTPUT_BYTES_MAX);
    while tail.seen() < WATCH_OUTPUT_BYTES_MAX as u64 {
        let Ok(Some(chunk)) = answer.chunk().await else { break };
        tail.push(&chunk);
    }
    let output = tail.text();
    tracing::debug!(handler = call.url, %status, output, "http watch handler output");
    if status.is_success() { Ok(()) } else { Err(format!("{status}: {output}")) }
}

fn request(client: &Client, call: &Call, index: u64) -> Result<RequestBuilder, String> {
    let method = Method::from_bytes(call.method.as_bytes()).map_err(|error| error.to_string())?;
    let mut headers = HeaderMap::new();
    for (name, value) in &call.header {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        headers.append(name, HeaderValue::from_str(value).map_err(|error| error.to_string())?);
    }
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    headers.insert("x-consul-index", HeaderValue::from(index));
    Ok(client.request(method, &call.url).headers(headers).timeout(call.timeout))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    async fn request_of(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = stream.read(&mut buffer).await.unwrap();
            text.extend_from_slice(buffer.get(..count).unwrap());
            let all = String::from_utf8_lossy(&text).into_owned();
            if count == 0 || all.ends_with("\r\n\r\n") || all.ends_with("}\n") {
                return all;
            }
        }
    }

    async fn answer(stream: &mut TcpStream, index: u64, body: &str) {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nX-Consul-Index: {index}\r\n");
        let rest = format!("Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        stream.write_all(format!("{head}{rest}").as_bytes()).await.unwrap();
    }

    fn watch(handler: Handler) -> Watch {
        Watch {
            kind: "key".to_owned(),
            path: "kv/a b".to_owned(),
            query: vec![("dc", "x y".to_owned())],
            events: false,
            show: Arc::new(|_, value, _| value),
            token: String::new(),
            handler,
        }
    }

    #[tokio::test]
    async fn every_change_is_told_and_nothing_else() {
        let (door, ear) = (
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
        );
        let call = Call {
            url: format!("http://{}/h", ear.local_addr().unwrap()),
            method: "PUT".to_owned(),
            timeout: Duration::from_secs(20),
            header: vec![("X-A".to_owned(), "1".to_owned()), ("X-A".to_owned(), "2".to_owned())],
            tls_skip_verify: false,
        };
        let tasks = Tasks::new();
        let watches = Watches::new(format!("http://{}", door.local_addr().unwrap()), tasks.clone());
        watches.replace(vec![watch(Handler::Call(call))]);
        let asked = async |index: u64, body: &str| {
            let (mut stream, _) = door.accept().await.unwrap();
            let text = request_of(&mut stream).await;
            answer(&mut stream, index, body).await;
            text.lines().next().unwrap_or_default().to_owned()
        };
        let heard = async || {
            let (mut stream, _) = ear.accept().await.unwrap();
            let text = request_of(&mut stream).await;
            answer(&mut stream, 0, "").await;
            text
        };
        assert_eq!(asked(7, "{\"v\":1}").await, "GET /v1/kv/a%20b?dc=x+y HTTP/1.1");
        let told = heard().await;
        assert!(told.starts_with("PUT /h HTTP/1.1\r\n"), "{told}");
        for part in
            ["x-consul-index: 7", "x-a: 1", "x-a: 2", "application/json", "\n\r\n{\"v\":1}\n"]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
        let next = "GET /v1/kv/a%20b?dc=x+y&index=7&wait=10m HTTP/1.1";
        assert_eq!(asked(8, "{\"v\":1}").await, next);
        assert_eq!(asked(9, "{\"v\":2}").await, next.replace('7', "8"));
        assert!(heard().await.ends_with("{\"v\":2}\n"));
        assert_eq!(tasks.stop(Duration::from_secs(20)).await, 0);
    }

    #[tokio::test]
    async fn a_program_has_the_view_and_its_index_and_its_end_is_told() {
        let table = [
            ("cat; echo $CONSUL_INDEX", Ok(()), "{}\n7\n"),
            ("exit 3", Err("exit status 3".to_owned()), ""),
            ("echo no >&2; kill -9 $$", Err("signal: killed".to_owned()), "no\n"),
        ];
        for (line, ended, output) in table {
            let args = ["/bin/sh", "-c", line].map(str::to_owned);
            assert_eq!(run(&args, b"{}\n", 7).await, (ended, output.to_owned()), "{line}");
        }
        let missing = Err("fork/exec /nope: no such file or directory".to_owned());
        assert_eq!(run(&["/nope".to_owned()], b"", 7).await, (missing, String::new()));
        assert_eq!(run(&[], b"", 7).await.0, Err("need an executable to run".to_owned()));
        // More than a pipe holds, to a program that reads none of it.
        let args = ["/bin/sh", "-c", "exec true"].map(str::to_owned);
        assert_eq!(run(&args, &vec![b'x'; 1 << 20], 7).await.0, Ok(()));
    }

    #[tokio::test]
    async fn who_is_replaced_loses_its_program() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("id");
        let line = format!("echo $$ > {}; exec sleep 600", file.display());
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tasks = Tasks::new();
        let watches = Watches::new(format!("http://{}", door.local_addr().unwrap()), tasks.clone());
        let args = ["/bin/sh", "-c", &line].map(str::to_owned).to_vec();
        watches.replace(vec![watch(Handler::Program(args))]);
        let (mut stream, _) = door.accept().await.unwrap();
        request_of(&mut stream).await;
        answer(&mut stream, 7, "{}").await;
        let process = loop {
            let text = tokio::fs::read_to_string(&file).await.unwrap_or_default();
            if let Some(id) = text.strip_suffix('\n') {
                break format!("/proc/{id}/stat");
            }
            tokio::task::yield_now().await;
        };
        watches.replace(Vec::new());
        let lives = || {
            let state = std::fs::read_to_string(&process).unwrap_or_default();
            state.contains(") ") && !state.contains(") Z ")
        };
        while lives() {
            tokio::task::yield_now().await;
        }
        assert_eq!(tasks.stop(Duration::from_secs(20)).await, 0);
    }
}
