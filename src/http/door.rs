//! From bytes on a connection to a handler and back: what holds for every route.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::agent::Agent;
use crate::client::Client;
use crate::gossip::Gossip;
use crate::lifecycle::{Shutdown, Tasks};
use crate::limits::{ARCHIVES_MAX, HTTP_REQUESTS_MAX};
use crate::model::Unavailable;
use crate::telemetry::{LogMonitor, Metrics};
use crate::time;

use super::access::Access;
use super::archive::gzip;
use super::cache::Cache;
use super::call::{Call, INDEX, KNOWN_LEADER, Kind, LAST_CONTACT, Outcome, Output};
use super::encodings::Encodings;
use super::error::{Advice, Failure};
use super::params::Params;
use super::routes::{self, Found, Run, Running};
use super::{path, server};

/// Shortest body that is compressed, in bytes: below, the head costs more than it saves.
const GZIP_BYTES_MIN: usize = 1024;
/// What an unknown path is told. Source: Consul since 1.11.
const UNKNOWN_PATH: &str = "Invalid URL path: not a recognized HTTP API endpoint";
const TEXT: &str = "text/plain; charset=utf-8";
const DEFAULT_POLICY: HeaderName = HeaderName::from_static("x-consul-default-acl-policy");

/// What the door needs to know of its node.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data center; any other named by a caller is unknown.
    pub datacenter: String,
    /// This node's name.
    pub node_name: String,
    /// This node's id, a UUID as text.
    pub node_id: String,
    /// The IP address that other members reach this node by.
    pub advertise: String,
    /// The port where servers talk to each other; 0 on a node that is no server.
    pub server_port: u16,
    /// The port of the pool of members.
    pub serf_port: u16,
    /// Longest value of a key, in bytes. Consul: `limits.kv_max_value_size`.
    pub value_bytes_max: usize,
    /// Longest body of a transaction, in bytes. Consul: `limits.txn_max_req_len`.
    pub txn_bytes_max: usize,
    /// Connections of one client address; may change while the door is open. Consul:
    /// `limits.http_max_conns_per_client`.
    pub connections_a_client: Arc<AtomicUsize>,
    /// How long the client room holds a request without a leader; shown, not used here.
    pub leader_hold: Duration,
    /// How long a blocking read waits that does not say. Consul: `default_query_time`.
    pub wait_default: Duration,
    /// The longest that a blocking read may ask for. Consul: `max_query_time`.
    pub wait_max: Duration,
    /// The data folder; its disk is the one that is shown.
    pub data_dir: PathBuf,
    /// This program's version.
    pub version: &'static str,
    /// `DebugConfig` of `/v1/agent/self`: an object; fields that clients need are added.
    pub settings: serde_json::Value,
    /// Makes plain reads of catalog and health stale. Consul: `discovery_max_stale`.
    pub discovery_max_stale: Option<Duration>,
    /// Shortest TTL of a session. Consul: `session_ttl_min`.
    pub session_ttl_min: Duration,
    /// What is kept from whom. Consul: `http_config.block_endpoints`, `allow_write_http_from`.
    pub access: Access,
    /// Headers of every answer of a route. Consul: `http_config.response_headers`.
    pub response_headers: Vec<(String, String)>,
    /// Whether `?cached` is heeded. Consul: `http_config.use_cache`.
    pub use_cache: bool,
    /// Whether paths may hold any character. Consul: `disable_http_unprintable_char_filter`.
    pub unprintable_paths: bool,
    /// Whether `/v1/agent/metrics` has the Prometheus text. Consul: a
    /// `telemetry.prometheus_retention_time` above zero.
    pub prometheus: bool,
    /// What metric names begin with. Consul: `telemetry.metrics_prefix`.
    pub metrics_prefix: String,
    /// The host's name inside the names of gauges; `None` leaves it out.
    pub gauge_host: Option<String>,
    /// The port that the pool of all data centers would have; shown only.
    pub serf_wan_port: Option<u16>,
}

/// The rooms behind the door. Cheap to clone.
#[derive(Clone)]
pub struct Rooms {
    /// The cluster's data.
    pub client: Client,
    /// What this host claims.
    pub agent: Agent,
    /// Who is in the pool.
    pub gossip: Gossip,
    /// What is counted.
    pub metrics: Metrics,
    /// Takes a caller's wish that this node leaves: it then says goodbye, answers, and stops.
    pub leave: mpsc::Sender<LeaveAsked>,
    /// Takes a caller's wish that this node reads its configuration anew.
    pub reload: mpsc::Sender<ReloadAsked>,
    /// Says when the doors stop: whoever waits for a change is then answered.
    pub stopping: Shutdown,
    /// What was asked for with `?cached`.
    pub cache: Cache,
    /// Where log lines can be listened to.
    pub monitor: LogMonitor,
    /// Places for callers who are sent metrics again and again.
    pub streams: Arc<Semaphore>,
}

/// Where it is told that this node has left the pool.
pub type LeaveAsked = oneshot::Sender<()>;

/// Where the answer to a wish to reload goes: why it did not happen, for a person.
pub type ReloadAsked = oneshot::Sender<Result<(), String>>;

impl fmt::Debug for Rooms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rooms").finish_non_exhaustive()
    }
}

/// Serves a listener until the word to stop, then drains for a bounded time.
///
/// May be called for several listeners; each counts its connections for itself. Returns when the
/// listener is closed; connections end as tasks of `tasks`.
pub async fn serve(listener: TcpListener, options: Arc<Options>, rooms: Rooms, tasks: &Tasks) {
    let limits = server::Limits {
        connections_a_client: Arc::clone(&options.connections_a_client),
        ..server::Limits::default()
    };
    let metrics = rooms.metrics.clone();
    let rooms = Arc::new(rooms);
    let requests = Arc::new(Semaphore::new(HTTP_REQUESTS_MAX));
    let archives = Arc::new(Semaphore::new(ARCHIVES_MAX));
    let common = Arc::new(Common { requests, archives, encodings: Encodings::default() });
    let answer = move |request: Request<Body>| {
        answer(request, Arc::clone(&options), Arc::clone(&rooms), Arc::clone(&common))
    };
    server::run(listener, limits, metrics, answer, tasks).await;
}

/// What all requests of a listener share.
#[derive(Debug)]
pub(super) struct Common {
    /// A place for each request that is being answered and does not wait for a change.
    pub requests: Arc<Semaphore>,
    /// A place for each archive that is packed or unpacked.
    pub archives: Arc<Semaphore>,
    /// The answers that several wait for.
    pub encodings: Encodings,
}

/// What every response of a route has besides its own.
struct Dress {
    gzip: bool,
    vary: bool,
    /// Those that the operator wants; a route's own of the same name wins.
    headers: HeaderMap,
}

/// Finds the route at once, so that what is kept while an answer is made is the call alone.
fn answer(
    request: Request<Body>,
    options: Arc<Options>,
    rooms: Arc<Rooms>,
    common: Arc<Common>,
) -> impl Future<Output = Response<Body>> + Send + 'static {
    let began = time::now();
    let metrics = rooms.metrics.clone();
    let routed = routed(request, options, rooms, common);
    async move {
        let (route, response) = match routed {
            Routed::Answered(route, response) => (route, response),
            Routed::Run(route, dress, running, _place) => (route, dressed(running.await, &dress)),
        };
        let took = time::now().duration_since(began);
        metrics.http(route, response.status().as_u16(), took);
        response
    }
}

/// What became of a request before any other room was asked.
enum Routed {
    /// It is answered.
    Answered(&'static str, Response<Body>),
    /// Its handler runs, on a place that it holds.
    Run(&'static str, Dress, Running, Option<OwnedSemaphorePermit>),
}

fn routed(
    request: Request<Body>,
    options: Arc<Options>,
    rooms: Arc<Rooms>,
    common: Arc<Common>,
) -> Routed {
    use Routed::Answered;
    let (head, body) = request.into_parts();
    let bare = Dress { gzip: false, vary: false, headers: HeaderMap::new() };
    let Some(path) = path::decode(head.uri.path(), options.unprintable_paths) else {
        return Answered("malformed", dressed(Ok(empty(StatusCode::BAD_REQUEST)), &bare));
    };
    if let Some(clean) = path::cleaned(&path) {
        return Answered("redirect", redirect(&clean, head.uri.query(), &head.method));
    }
    let route = match routes::find(&path) {
        Found::Path(route) => route,
        Found::AddSlash => {
            let with_slash = format!("{path}/");
            return Answered("redirect", redirect(&with_slash, head.uri.query(), &head.method));
        }
        Found::Nowhere => {
            let failure = Failure::new(StatusCode::NOT_FOUND, UNKNOWN_PATH);
            return Answered("unknown", dressed(Err(failure), &bare));
        }
    };
    let dress = Dress {
        gzip: accepts_gzip(&head.headers),
        vary: true,
        headers: operators_headers(&options.response_headers),
    };
    if let Err(failure) = options.access.path(&path) {
        return Answered(route, dressed(Err(failure), &dress));
    }
    let Some(run) = routes::handler(route, &head.method) else {
        return Answered(route, dressed(Ok(not_allowed(route, &head.method)), &dress));
    };
    let caller = head.extensions.get::<server::Caller>().map(|caller| caller.0);
    if let Err(failure) = options.access.write(&head.method, caller) {
        return Answered(route, dressed(Err(failure), &dress));
    }
    let Some(params) = Params::parse(head.uri.query()) else {
        return Answered(route, dressed(Ok(empty(StatusCode::INTERNAL_SERVER_ERROR)), &dress));
    };
    let rest = path.get(route.len()..).unwrap_or_default().to_owned();
    let waits = waits(&head.method, &params);
    let headers = if waits { copied(&head.headers) } else { head.headers };
    let body = Mutex::new(body);
    let call = Call { options, rooms, common, route, rest, params, headers, caller, body };
    match run {
        Run::Show(run) => Answered(route, dressed(Ok(run(&call)), &dress)),
        Run::Now(run) => Answered(route, dressed(run(&call), &dress)),
        Run::Later(run) => match place(&call, waits) {
            Ok(place) => Routed::Run(route, dress, run(call), place),
            Err(failure) => Answered(route, dressed(Err(failure), &dress)),
        },
    }
}

/// Whether the caller may wait for a change: no write does, whatever its parameters.
fn waits(method: &Method, params: &Params) -> bool {
    let asks = params.get("index").is_some_and(|index| !matches!(index, "" | "0"));
    asks && *method == Method::GET
}

/// The headers in memory of their own: as they came they lie in the connection's buffer, and a
/// caller that waits would keep all of it.
fn copied(headers: &HeaderMap) -> HeaderMap {
    let copy = |(name, value): (&HeaderName, &HeaderValue)| {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    headers.iter().filter_map(copy).collect()
}

/// A place among the requests that are being answered. One that waits for a change needs none:
/// it costs little, and has a bound of its own.
fn place(call: &Call, waits: bool) -> Result<Option<OwnedSemaphorePermit>, Failure> {
    if waits {
        return Ok(None);
    }
    Arc::clone(&call.common.requests).try_acquire_owned().map(Some).map_err(|_full| {
        call.rooms.metrics.http_refused("requests");
        Unavailable::TooMany("requests".to_owned()).into()
    })
}

/// The headers that the operator wants; the configuration has checked their form.
fn operators_headers(wanted: &[(String, String)]) -> HeaderMap {
    let parsed = wanted.iter().filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    });
    parsed.collect()
}

fn empty(status: StatusCode) -> Output {
    Output::empty().status(status)
}

/// What a method gets that the route does not have: the list for OPTIONS, 405 for all others.
fn not_allowed(route: &'static str, method: &Method) -> Output {
    let allow = routes::allowed(route);
    let mut output = Output::empty();
    if method != Method::OPTIONS {
        output.status = StatusCode::METHOD_NOT_ALLOWED;
        output.kind = Kind::Other(TEXT);
        output.body = format!("method {method} not allowed").into();
    }
    let allow = HeaderValue::from_str(&allow).expect("method names are plain");
    output.headers.push((ALLOW, allow));
    output
}

/// Go's redirect: a page for GET, nothing for others.
fn redirect(path: &str, query: Option<&str>, method: &Method) -> Response<Body> {
    let location = path::location(path, query);
    let page = if *method == Method::GET {
        let shown = location.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        format!("<a href=\"{}\">Moved Permanently</a>.\n\n", shown.replace('"', "&#34;"))
    } else {
        String::new()
    };
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = response.headers_mut();
    if *method == Method::GET {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    }
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(LOCATION, location);
    }
    response
}

/// Whether the caller takes gzip; one with weight 0 is refused.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let all = headers.get_all(ACCEPT_ENCODING).into_iter();
    let mut parts = all.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    parts.any(|part| {
        let (name, weight) = part.split_once(';').unwrap_or((part, ""));
        let refused = matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
        matches!(name.trim(), "gzip" | "*") && !refused
    })
}

/// The response of an outcome, with the headers that go with every one.
fn dressed(outcome: Outcome, dress: &Dress) -> Response<Body> {
    let (output, advice) = match outcome {
        Ok(output) => (output, Advice::None),
        Err(failure) => told(failure),
    };
    let Output { status, kind, body, shared, headers, stream } = output;
    let packed = dress.gzip && body.len() >= GZIP_BYTES_MIN && compressible(kind);
    let body = match shared {
        _ if !packed => body,
        Some(shared) => shared.packed(|| gzip(&body).into()),
        None => gzip(&body).into(),
    };
    let mut response = Response::new(stream.unwrap_or_else(|| Body::from(body)));
    *response.status_mut() = status;
    let all = response.headers_mut();
    all.extend(dress.headers.clone());
    for (name, value) in headers {
        all.insert(name, value);
    }
    match kind {
        Kind::None => {}
        Kind::Json => {
            all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Kind::Other(kind) => {
            all.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
    }
    if packed {
        all.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if dress.vary {
        all.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    all.insert(DEFAULT_POLICY, HeaderValue::from_static("allow"));
    match advice {
        Advice::None => {}
        Advice::Close => {
            all.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Advice::RetryAfter(seconds) => {
            all.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
    response
}

fn compressible(kind: Kind) -> bool {
    !matches!(kind, Kind::Other("application/x-gzip"))
}

/// A failure as an answer of plain text.
fn told(failure: Failure) -> (Output, Advice) {
    let Failure { status, text, with_index, advice } = failure;
    let mut output = empty(status);
    if !text.is_empty() {
        output.kind = Kind::Other(TEXT);
        output.body = match text {
            Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            Cow::Owned(text) => text.into(),
        };
    }
    if with_index {
        output.headers.push((INDEX, HeaderValue::from(1)));
        output.headers.push((KNOWN_LEADER, HeaderValue::from_static("false")));
        output.headers.push((LAST_CONTACT, HeaderValue::from(0)));
    }
    (output, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Dress {
        Dress { gzip: false, vary: true, headers: HeaderMap::new() }
    }

    fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    async fn body(response: Response<Body>) -> Vec<u8> {
        axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()
    }

    #[tokio::test]
    async fn a_failure_is_plain_text_with_index_headers_where_asked() {
        let response = dressed(Err(Failure::no_path().indexed()), &plain());
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(header(&response, "content-type"), "text/plain; charset=utf-8");
        assert_eq!(header(&response, "x-consul-index"), "1");
        assert_eq!(header(&response, "x-consul-knownleader"), "false");
        assert_eq!(header(&response, "vary"), "Accept-Encoding");
        assert_eq!(header(&response, "x-consul-default-acl-policy"), "allow");
        assert_eq!(body(response).await, b"No path to datacenter");
    }

    #[tokio::test]
    async fn advice_becomes_headers() {
        let failure = Failure::too_large(2, 1, "x");
        assert_eq!(header(&dressed(Err(failure), &plain()), "connection"), "close");
        let busy = Failure::from(Unavailable::TooMany("reads".into()));
        assert_eq!(header(&dressed(Err(busy), &plain()), "retry-after"), "1");
    }

    #[tokio::test]
    async fn only_long_bodies_are_compressed() {
        let zip = Dress { gzip: true, ..plain() };
        let long = Output { body: vec![b'x'; GZIP_BYTES_MIN].into(), ..Output::empty() };
        let response = dressed(Ok(long), &zip);
        assert_eq!(header(&response, "content-encoding"), "gzip");
        assert!(body(response).await.len() < 100);
        let short = Output { body: "x".into(), ..Output::empty() };
        assert_eq!(header(&dressed(Ok(short), &zip), "content-encoding"), "");
    }

    #[test]
    fn only_reads_behind_an_index_need_no_place() {
        for (method, query, want) in [
            (Method::GET, "index=5", true),
            (Method::GET, "index=0", false),
            (Method::GET, "index", false),
            (Method::GET, "wait=5s", false),
            (Method::PUT, "index=5", false),
            (Method::DELETE, "recurse&index=5", false),
        ] {
            let params = Params::parse(Some(query)).unwrap();
            assert_eq!(waits(&method, &params), want, "{method} {query}");
        }
    }

    #[test]
    fn encodings_are_read_with_their_weights() {
        for (text, want) in [
            ("gzip", true),
            ("deflate, gzip;q=0.5", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("*", true),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, text.parse().unwrap())]);
            assert_eq!(accepts_gzip(&headers), want, "{text}");
        }
    }

    #[tokio::test]
    async fn redirects_are_gos() {
        let response = redirect("/v1/kv/a", None, &Method::GET);
        assert_eq!(header(&response, "location"), "/v1/kv/a");
        assert_eq!(body(response).await, b"<a href=\"/v1/kv/a\">Moved Permanently</a>.\n\n");
        let response = redirect("/v1/kv/a", None, &Method::PUT);
        assert_eq!(header(&response, "content-type"), "");
        assert!(body(response).await.is_empty());
    }

    #[test]
    fn other_methods_are_told_which_there_are() {
        let output = not_allowed("/v1/kv/", &Method::POST);
        assert_eq!(output.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(output.body, "method POST not allowed");
        let output = not_allowed("/v1/kv/", &Method::OPTIONS);
        assert_eq!((output.status, output.body.len()), (StatusCode::OK, 0));
        assert_eq!(output.headers[0].1, "OPTIONS,GET,PUT,DELETE");
    }
}
