//! One request on its way to a handler, and one answer on its way back.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::header::{AGE, CONTENT_LENGTH, EXPECT, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use futures::StreamExt as _;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

use crate::client::Client;
use crate::limits;
use crate::model::{Command, Index, Query, Read, ReadOptions, Reply, Unavailable, Written};

use super::cache::{Cached, Refresh};
use super::door::{Common, Options, Rooms};
use super::encodings::{self, Encoded};
use super::error::Failure;
use super::json;
use super::params::{self, Params, ReadDefaults, ReadPlan};

/// A request, parsed as far as every route needs it.
pub(super) struct Call {
    /// What the door was built with.
    pub options: Arc<Options>,
    /// The rooms behind the door.
    pub rooms: Arc<Rooms>,
    /// What all requests of the door share.
    pub common: Arc<Common>,
    /// The path of the table that the request came to.
    pub route: &'static str,
    /// What stands in the path behind the route's own, decoded; the key of a KV request.
    pub rest: String,
    /// The query part.
    pub params: Params,
    /// The headers.
    pub headers: HeaderMap,
    /// The other end of the connection, where it is known.
    pub caller: Option<IpAddr>,
    /// The body, not yet read. The lock is never contended: it lets a handler lend its call
    /// across threads, which a body alone does not allow.
    pub body: Mutex<Body>,
}

/// What a handler brings.
pub(super) type Outcome = Result<Output, Failure>;

impl Call {
    /// The door to the cluster's data.
    pub(super) fn client(&self) -> &Client {
        &self.rooms.client
    }

    /// What comes behind the route's path, or a 400 with this text.
    pub(super) fn required(&self, missing: &'static str) -> Result<&str, Failure> {
        if self.rest.is_empty() { Err(Failure::bad(missing)) } else { Ok(&self.rest) }
    }

    /// Fails when the caller names a data center that is not ours.
    pub(super) fn own_datacenter(&self, named: &str) -> Result<(), Failure> {
        if named.is_empty() || named == self.options.datacenter {
            return Ok(());
        }
        Err(Failure::no_path())
    }

    /// As [`Call::own_datacenter`], for `?dc=`.
    pub(super) fn check_datacenter(&self) -> Result<(), Failure> {
        self.own_datacenter(self.params.get("dc").unwrap_or_default())
    }

    /// How the caller wants to read; `discovery` for routes of catalog and health.
    pub(super) fn read_plan(&self, discovery: Discovery) -> Result<ReadPlan, Failure> {
        let defaults = ReadDefaults {
            discovery_max_stale: match discovery {
                Discovery::Yes => self.options.discovery_max_stale,
                Discovery::No => None,
            },
            wait: self.options.wait_default,
            wait_max: self.options.wait_max,
        };
        params::read_plan(&self.params, &self.headers, &defaults)
    }

    /// Reads as the plan says. A read that waits for a change while the doors are told to stop
    /// is answered with what is there, as at the end of its wait.
    pub(super) async fn read(&self, query: Query, plan: &ReadPlan) -> Result<Read, Unavailable> {
        let kind = query_kind(&query);
        let now = ReadOptions { after: None, wait: None, ..plan.options };
        let read = if plan.options.after.is_some() {
            let mut stopping = self.rooms.stopping.clone();
            tokio::select! {
                read = self.rooms.client.read(query.clone(), plan.options) => read,
                () = stopping.wait() => self.rooms.client.read(query, now).await,
            }
        } else {
            self.rooms.client.read(query, plan.options).await
        };
        self.rooms.metrics.read(kind, if read.is_ok() { "ok" } else { "unavailable" });
        read
    }

    /// Whether the caller takes a kept answer, and the operator lets it.
    pub(super) fn wants_cached(&self) -> bool {
        self.options.use_cache && self.params.has("cached")
    }

    /// Reads as the plan says, but takes a kept answer; returns how it came about. A wait ends
    /// when the doors are told to stop.
    pub(super) async fn read_cached(
        &self,
        query: Query,
        refresh: Refresh,
        plan: &ReadPlan,
    ) -> Result<(Read, Cached), Unavailable> {
        let kind = query_kind(&query);
        let waits = plan.options.after.zip(plan.options.wait);
        let cache = &self.rooms.cache;
        let mut stopping = self.rooms.stopping.clone();
        let read = tokio::select! {
            read = cache.read(query.clone(), refresh, plan.wish, waits) => read,
            () = stopping.wait() => cache.read(query, refresh, plan.wish, None).await,
        };
        self.rooms.metrics.read(kind, if read.is_ok() { "ok" } else { "unavailable" });
        read
    }

    /// Writes; a refusal is a failure.
    pub(super) async fn write(&self, command: Command) -> Result<Written, Failure> {
        failpoint!("door.write.before");
        let written = self.rooms.client.write(command).await;
        failpoint!("door.write.before_reply");
        let outcome = match &written {
            Ok(Written { reply: Reply::Refused(_), .. }) => "refused",
            Ok(_) => "ok",
            Err(Unavailable::Unknown(_)) => "unknown",
            Err(_) => "not_applied",
        };
        self.rooms.metrics.write(outcome);
        match written? {
            Written { reply: Reply::Refused(refusal), .. } => Err(refusal.into()),
            written => Ok(written),
        }
    }

    /// The whole body; one above `max` bytes is refused as soon as that is known, whatever its
    /// head says.
    pub(super) async fn body(&mut self, max: usize, setting: &str) -> Result<Bytes, Failure> {
        let said = self.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let said = said.and_then(|text| text.parse::<u64>().ok());
        let mut chunks = std::mem::take(self.body.get_mut()).into_data_stream();
        if let Some(bytes) = said.filter(|bytes| *bytes > max as u64) {
            if !self.headers.contains_key(EXPECT) {
                read_off(&mut chunks).await;
            }
            return Err(Failure::too_large(bytes, max, setting));
        }
        let mut whole: Vec<u8> = Vec::new();
        let mut first = Bytes::new();
        loop {
            let next = tokio::time::timeout(limits::BODY_SILENCE_MAX, chunks.next()).await;
            let Some(chunk) = next.map_err(|_elapsed| Failure::stalled())? else { break };
            let chunk = chunk.map_err(|error| Failure::bad(format!("unreadable body: {error}")))?;
            let read = first.len() + whole.len() + chunk.len();
            if read > max {
                read_off(&mut chunks).await;
                return Err(Failure::too_large(read as u64, max, setting));
            }
            if first.is_empty() && whole.is_empty() {
                first = chunk;
                continue;
            }
            if whole.is_empty() {
                whole.reserve(usize::try_from(said.unwrap_or(0)).unwrap_or(0).max(read));
                whole.extend_from_slice(&std::mem::take(&mut first));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(if whole.is_empty() { first } else { whole.into() })
    }

    /// The body as JSON; `None` when it is empty.
    pub(super) async fn json_body(&mut self) -> Result<Value, Failure> {
        let body = self.body(limits::BODY_BYTES_MAX, "limits").await?;
        json::parse(&body).map_err(|text| Failure::decode(&text))
    }

    /// An answer of JSON in the form that the caller asked for.
    pub(super) fn json<T: Serialize + ?Sized>(&self, value: &T) -> Output {
        let body = json::bytes(value, self.params.has("pretty"));
        Output { kind: Kind::Json, body: body.into(), ..Output::empty() }
    }

    /// As [`Call::json`], with what the read says about itself. `value` is all of the read's
    /// answer that the parameters of the request leave: identical requests share its bytes.
    pub(super) fn read_json<T: Serialize + ?Sized>(&self, value: &T, read: &Read) -> Output {
        let Some(form) = encodings::form(self.route, &self.rest, &self.params) else {
            return self.json(value).about(read);
        };
        let encoded = self.common.encodings.of(&read.answer, &form);
        let (body, made) = encoded.plain(|| json::bytes(value, self.params.has("pretty")).into());
        self.rooms.metrics.encoding(if made { "made" } else { "shared" });
        let output = Output { kind: Kind::Json, body, shared: Some(encoded), ..Output::empty() };
        output.about(read)
    }
}

/// Reads what is left of a refused body, within bounds, and throws it away: closed with bytes
/// unread, the system would take the answer back before a caller who still sends has seen it.
async fn read_off(chunks: &mut BodyDataStream) {
    let mut left = limits::REFUSED_BODY_BYTES_MAX;
    let reading = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // A caller slower than that may miss its refusal, which harms nobody else.
    drop(tokio::time::timeout(limits::REFUSED_BODY_TIME_MAX, reading).await);
}

/// Whether `discovery_max_stale` of the configuration holds for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discovery {
    /// Catalog and health.
    Yes,
    /// All others.
    No,
}

/// What kind of body an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No body and no type.
    None,
    /// `application/json`.
    Json,
    /// Any other type.
    Other(&'static str),
}

/// An answer before it becomes bytes on the wire.
#[derive(Debug)]
pub(super) struct Output {
    /// The status.
    pub status: StatusCode,
    /// The type of the body.
    pub kind: Kind,
    /// The body.
    pub body: Bytes,
    /// Where the body came from, if identical requests share it.
    pub shared: Option<Arc<Encoded>>,
    /// Further headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// A body that goes on and on, sent in the place of `body`, piece by piece as it comes.
    pub stream: Option<Body>,
}

impl Output {
    /// 200 without a body.
    pub(super) fn empty() -> Self {
        Self {
            status: StatusCode::OK,
            kind: Kind::None,
            body: Bytes::new(),
            shared: None,
            headers: Vec::new(),
            stream: None,
        }
    }

    /// The same with another status.
    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The same with one more header; `value` must be printable ASCII, else it is left out.
    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    /// The same with the index after a write or a transaction. An extension: Consul says it of
    /// plain reads only.
    pub(super) fn written(mut self, index: Index) -> Self {
        self.headers.push((INDEX, HeaderValue::from(index.shown())));
        self
    }

    /// The same with index, known leader and last contact.
    pub(super) fn about(mut self, read: &Read) -> Self {
        self.headers.push((INDEX, HeaderValue::from(read.index.shown())));
        self.headers.push((KNOWN_LEADER, truth(read.known_leader)));
        let contact = u64::try_from(read.last_contact.as_millis()).unwrap_or(u64::MAX);
        self.headers.push((LAST_CONTACT, HeaderValue::from(contact)));
        self
    }

    /// The same with what kind of read it was, and whether the answer was kept.
    pub(super) fn consistency(mut self, plan: &ReadPlan) -> Self {
        self.headers.push((CONSISTENCY, HeaderValue::from_static(plan.word)));
        self.cached(plan.cached)
    }

    /// The same with whether the answer was kept, and its age if it was.
    pub(super) fn cached(mut self, cached: Option<Cached>) -> Self {
        let (word, age) = match cached {
            None => return self,
            Some(Cached::Miss) => ("MISS", None),
            Some(Cached::Hit(age)) => ("HIT", Some(age.as_secs())),
        };
        self.headers.push((X_CACHE, HeaderValue::from_static(word)));
        self.headers.extend(age.map(|age| (AGE, HeaderValue::from(age))));
        self
    }

    /// The same with what answers a blocking read of this route, which newer clients look for.
    pub(super) fn backend(mut self) -> Self {
        self.headers.push((BACKEND, HeaderValue::from_static("blocking-query")));
        self
    }
}

/// The index to give next time.
pub(super) const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
/// Whether the server knows a leader.
pub(super) const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");
/// Milliseconds since the server heard of the leader.
pub(super) const LAST_CONTACT: HeaderName = HeaderName::from_static("x-consul-lastcontact");
/// `HIT` or `MISS`.
const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
/// Source: Consul since 1.10.
const BACKEND: HeaderName = HeaderName::from_static("x-consul-query-backend");
/// `leader`, `stale` or `consistent`.
const CONSISTENCY: HeaderName = HeaderName::from_static("x-consul-effective-consistency");

/// A truth value as a header has it.
pub(super) fn truth(value: bool) -> HeaderValue {
    HeaderValue::from_static(if value { "true" } else { "false" })
}

/// The query's label in the metrics.
fn query_kind(query: &Query) -> &'static str {
    match query {
        Query::Kv(_) => "kv",
        Query::KvTree(_) => "kv_tree",
        Query::KvKeys { .. } => "kv_keys",
        Query::Session(_) | Query::NodeSessions(_) | Query::Sessions => "session",
        Query::Nodes | Query::NodesByAddress(_) => "nodes",
        Query::Services => "services",
        Query::CatalogService(_) | Query::InstancesByAddress(_) => "catalog_service",
        Query::HealthService(_) => "health_service",
        Query::NodeServices(_) => "node_services",
        Query::NodeChecks(_) | Query::ServiceChecks(_) | Query::ChecksInState(_) => "checks",
        Query::Txn(_) => "txn",
        Query::Backup => "backup",
        Query::Prepared(_) | Query::AllPrepared | Query::Resolve(_) | Query::Execute { .. } => {
            "prepared"
        }
        Query::Coordinates | Query::NodeCoordinates(_) | Query::CoordinatesOf(_) => "coordinates",
        Query::ConnectService(_) => "connect_service",
        Query::Autopilot => "autopilot",
    }
}

/// An answer of another kind than the query's is our own mistake.
#[track_caller]
pub(super) fn wrong_answer() -> ! {
    panic!("the answer is not of its query's kind")
}
