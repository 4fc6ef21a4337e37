//! etcd's door, by its JSON gateway: which request an action is, and what its answer means.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{Method, StatusCode};
use serde_json::Value;

use crate::history::{Action, Answer};

use super::client::{Client, Doing, Trouble, foreign, outcome};
use super::http::{Connection, Response};

/// What etcd says of a request that it did not propose.
const SURELY_NOT: &[&str] =
    &["etcdserver: too many requests", "etcdserver: requested lease not found"];

/// A client of one member's client door.
#[derive(Debug)]
pub struct EtcdClient {
    pub(super) http: Connection,
}

impl EtcdClient {
    /// A client of the member at this address, whose actions take `limit` at most.
    pub fn new(member: IpAddr, limit: Duration) -> Self {
        Self { http: Connection::new(SocketAddr::from((member, 2379)), limit) }
    }

    /// One request, whose answer is JSON.
    pub(super) async fn ask(&mut self, path: &str, body: &Value) -> Result<Value, Trouble> {
        let body = body.to_string().into_bytes();
        let response = self.http.ask(Method::POST, path, body).await?;
        if response.status != StatusCode::OK {
            return Err(trouble(&response));
        }
        let strange = |why| Trouble::Unknown(format!("{why}, in {}", response.words()));
        let json = response.json().map_err(strange)?;
        if json.get("error").is_some() {
            return Err(trouble(&response));
        }
        Ok(json)
    }

    async fn perform(&mut self, action: &Action) -> Result<Answer, Trouble> {
        match action {
            Action::Write(_) | Action::Transaction { .. } => self.write(action).await,
            Action::Read { key, level } => self.read(key, *level).await,
            Action::Scan { prefix, level } => self.scan(prefix, *level).await,
            Action::Watch { key, after } => self.watch(key, *after).await,
            Action::Append { key, element } => self.append(key, *element).await,
            Action::List { key, level } => self.list(key, *level).await,
            Action::Lists { steps } => self.lists(steps).await,
            Action::Open { ttl } => self.grant(*ttl).await,
            Action::Renew { session } => self.keep_alive(session).await,
            Action::End { session } => self.revoke(session).await,
            Action::Look { session } => self.time_to_live(session).await,
            Action::Acquire { key, session } => self.acquire(key, session).await,
            Action::Release { key, session } => self.release(key, session).await,
            Action::Use { .. }
            | Action::UseUnfenced { .. }
            | Action::Register { .. }
            | Action::Deregister { .. }
            | Action::Lookup { .. }
            | Action::Resolve { .. }
            | Action::Members { .. } => Err(foreign(action)),
        }
    }
}

impl Client for EtcdClient {
    fn act<'a>(&'a mut self, action: &'a Action) -> Doing<'a> {
        Box::pin(async move { outcome(action, self.perform(action).await) })
    }
}

/// What a failed request comes to: only nonsense of the caller is surely not done.
fn trouble(response: &Response) -> Trouble {
    let words = response.words();
    let surely_not = response.status == StatusCode::BAD_REQUEST
        || SURELY_NOT.iter().any(|sign| words.contains(sign));
    if surely_not { Trouble::NotDone(words) } else { Trouble::Unknown(words) }
}

/// A number as the gateway writes those of 64 bits: as a text.
pub(super) fn number(json: &Value) -> Option<u64> {
    json.as_str().map_or_else(|| json.as_u64(), |text| text.parse().ok())
}

/// The revision of the store that an answer was made at.
pub(super) fn store_of(answer: &Value) -> Option<u64> {
    number(&answer["header"]["revision"])
}

/// Bytes as the gateway writes them.
pub(super) fn encoded(text: impl AsRef<[u8]>) -> String {
    STANDARD.encode(text)
}

/// Text that the gateway wrote as bytes.
pub(super) fn decoded(json: &Value) -> Option<String> {
    let bytes = STANDARD.decode(json.as_str().unwrap_or_default()).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
