//! Consul's HTTP door, ours or the real one: which request an action is, and what its answer means.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::Value;

use crate::history::{Action, Answer, Level};

use super::client::{Client, Doing, Trouble, foreign, outcome};
use super::dns;
use super::http::{Connection, Response};

/// The header that says which index an answer is of.
pub(super) const INDEX: &str = "x-consul-index";
/// The header that says how many milliseconds ago this server heard of its leader.
pub(super) const LAST_CONTACT: &str = "x-consul-lastcontact";

/// Texts of Consul, before which it may put others, with which a write is refused without having
/// been proposed; the last: it had no connection to the leader to send it over.
const SURELY_NOT: &[&str] = &[
    "No cluster leader",
    "No known Consul servers",
    "invalid session",
    "rpc error getting client: failed to get conn",
];
/// How ours begin.
const SURELY_NOT_OURS: &str = "not applied:";

/// A client of one agent's HTTP and DNS doors.
#[derive(Debug)]
pub struct ConsulClient {
    http: Connection,
    dns: SocketAddr,
}

impl ConsulClient {
    /// A client of the agent at this address, whose actions take `limit` at most.
    pub fn new(agent: IpAddr, limit: Duration) -> Self {
        Self {
            http: Connection::new(SocketAddr::from((agent, 8500)), limit),
            dns: SocketAddr::from((agent, 8600)),
        }
    }

    /// One request; an answer that is no success becomes trouble, unless its status is `also`.
    pub(super) async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        also: StatusCode,
    ) -> Result<Response, Trouble> {
        let response = self.http.ask(method, path, body).await?;
        if response.status == StatusCode::OK || response.status == also {
            return Ok(response);
        }
        Err(trouble(&response))
    }

    /// A `GET` whose success is 200.
    pub(super) async fn get(&mut self, path: &str) -> Result<Response, Trouble> {
        self.ask(Method::GET, path, Vec::new(), StatusCode::OK).await
    }

    /// A `PUT` of JSON whose success is 200.
    pub(super) async fn put(&mut self, path: &str, body: &Value) -> Result<Response, Trouble> {
        self.ask(Method::PUT, path, body.to_string().into_bytes(), StatusCode::OK).await
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
            Action::Open { ttl } => self.open_session(*ttl).await,
            Action::Renew { session } => self.renew_session(session).await,
            Action::End { session } => self.end_session(session).await,
            Action::Look { session } => self.look_at_session(session).await,
            Action::Acquire { key, session } => self.acquire(key, session).await,
            Action::Release { key, session } => self.release(key, session).await,
            Action::Register { service, instance } => self.register(service, instance).await,
            Action::Deregister { node, id, .. } => self.deregister(node, id).await,
            Action::Lookup { service, level } => self.lookup(service, *level).await,
            Action::Resolve { service } => {
                dns::resolve(self.dns, service, self.http.limit()).await.map_err(Trouble::NotDone)
            }
            Action::Members { level } => self.members(*level).await,
            Action::Use { .. } | Action::UseUnfenced { .. } => Err(foreign(action)),
        }
    }
}

impl Client for ConsulClient {
    fn act<'a>(&'a mut self, action: &'a Action) -> Doing<'a> {
        Box::pin(async move { outcome(action, self.perform(action).await) })
    }
}

/// What a failed request comes to: 4xx is refused before anything is done.
fn trouble(response: &Response) -> Trouble {
    let words = response.words();
    let text = words.split_once(": ").map_or("", |(_, text)| text);
    let surely_not = response.status.is_client_error()
        || text.starts_with(SURELY_NOT_OURS)
        || SURELY_NOT.iter().any(|sign| text.contains(sign));
    if surely_not { Trouble::NotDone(words) } else { Trouble::Unknown(words) }
}

/// The query that asks for this level.
pub(super) fn level_word(level: Level) -> &'static str {
    match level {
        Level::Default => "",
        Level::Strong => "consistent",
        Level::Stale => "stale",
    }
}

/// An answer that does not look as it should. The request may have been done all the same.
pub(super) fn strange(what: impl std::fmt::Display, response: &Response) -> Trouble {
    Trouble::Unknown(format!("{what}, in {}", response.words()))
}

/// The JSON of an answer.
pub(super) fn json_of(response: &Response) -> Result<Value, Trouble> {
    response.json().map_err(|why| strange(why, response))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hyper::HeaderMap;

    fn surely_not_done(status: u16, text: &str) -> bool {
        let response = Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(text.as_bytes()),
        };
        matches!(trouble(&response), Trouble::NotDone(_))
    }

    #[test]
    fn only_what_says_so_was_surely_not_done() {
        assert!(surely_not_done(500, "No cluster leader"));
        assert!(surely_not_done(500, "rpc error making call: No cluster leader"));
        assert!(surely_not_done(500, "not applied: queue full"));
        assert!(surely_not_done(429, "not applied: too many writes"));
        assert!(surely_not_done(400, "nonsense"));
        let refused = "rpc error getting client: failed to get conn: dial tcp: connection refused";
        assert!(surely_not_done(500, refused));
        assert!(!surely_not_done(500, "outcome unknown: not applied: perhaps"));
        assert!(!surely_not_done(500, "leadership lost while committing log"));
        assert!(!surely_not_done(503, ""));
    }
}
