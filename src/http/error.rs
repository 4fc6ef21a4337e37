//! From an outcome to a status and to Consul's own text. Nothing else chooses a status.

use std::borrow::Cow;

use axum::http::StatusCode;

use crate::agent::AgentError;
use crate::model::{RecordKey, Refusal, SessionId, Unavailable};

use super::number::quoted;

/// Why a request gets no data: what the caller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The status.
    pub status: StatusCode,
    /// The body, plain text without a line break; empty sends no body.
    pub text: Cow<'static, str>,
    /// Whether the index headers go along, as Consul does for catalog and health.
    pub with_index: bool,
    /// What the connection or the caller is told besides.
    pub advice: Advice,
}

/// What goes along with a failure besides its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Advice {
    /// Nothing.
    #[default]
    None,
    /// The connection ends: its body was not read to the end.
    Close,
    /// Come back after this many seconds.
    RetryAfter(u32),
}

impl Failure {
    /// The caller stopped in the middle of its body.
    pub(super) fn stalled() -> Self {
        let silence = crate::limits::BODY_SILENCE_MAX;
        Self::new(StatusCode::REQUEST_TIMEOUT, format!("no more of the body within {silence:?}"))
    }

    /// A failure with this status and text.
    pub(super) fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, text: text.into(), with_index: false, advice: Advice::None }
    }

    /// The caller said nonsense.
    pub(super) fn bad(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// What Consul answers 500 to, most of it nonsense of the caller too.
    pub(super) fn internal(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    }

    /// A body that does not decode.
    pub(super) fn decode(text: &str) -> Self {
        Self::bad(format!("Request decode failed: {text}"))
    }

    /// The data center is not ours.
    pub(super) fn no_path() -> Self {
        Self::internal("No path to datacenter")
    }

    /// A body above its bound, with Consul's pointer to the setting that raises it.
    pub(super) fn too_large(bytes: u64, max: usize, setting: &str) -> Self {
        let text = format!(
            "Request body({bytes} bytes) too large, max size: {max} bytes. \
             See https://www.consul.io/docs/agent/options.html#{setting}."
        );
        let failure = Self::new(StatusCode::PAYLOAD_TOO_LARGE, text);
        Self { advice: Advice::Close, ..failure }
    }

    /// The same failure, with index headers.
    pub(super) fn indexed(mut self) -> Self {
        self.with_index = true;
        self
    }
}

/// Says whether a retry is safe.
impl From<Unavailable> for Failure {
    fn from(unavailable: Unavailable) -> Self {
        let text = unavailable.to_string();
        match unavailable {
            Unavailable::NoLeader => Self::internal("No cluster leader"),
            Unavailable::NoServers => Self::internal("No known Consul servers"),
            Unavailable::NotApplied(_) | Unavailable::Unknown(_) => Self::internal(text),
            Unavailable::TooMany(_) => Self {
                advice: Advice::RetryAfter(1),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, text)
            },
        }
    }
}

/// A refusal outside a transaction is Consul's 500.
impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::internal(refusal_text(&refusal))
    }
}

/// The agent's no.
impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        let text = error.to_string();
        match error {
            AgentError::UnknownService(id) => Self::new(
                StatusCode::NOT_FOUND,
                format!(
                    "Unknown service ID {}. Ensure that the service ID is passed, \
                     not the service name.",
                    quoted(&id)
                ),
            ),
            AgentError::UnknownCheck(id) => Self::new(
                StatusCode::NOT_FOUND,
                format!(
                    "Unknown check ID {}. Ensure that the check ID is passed, \
                     not the check name.",
                    quoted(&id)
                ),
            ),
            AgentError::NoTtl(id) => {
                Self::internal(format!("CheckID {} does not have associated TTL", quoted(&id)))
            }
            AgentError::TooMany(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, text),
            AgentError::ScriptsOff(_) | AgentError::Disk(_) => Self::internal(text),
        }
    }
}

/// Consul's text for each refusal.
pub(super) fn refusal_text(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NoSuchSession(id) => format!("invalid session {}", quoted(&id.to_string())),
        Refusal::SessionNodeMissing(_) | Refusal::NodeUnregistered(_) => {
            "Missing node registration".to_owned()
        }
        Refusal::SessionCheckMissing(check) => format!("Missing check '{check}' registration"),
        Refusal::SessionCheckCritical(check) => format!("Check '{check}' is in critical state"),
        Refusal::NodeNameMissing => "Must provide node".to_owned(),
        Refusal::NodeAddressMissing => {
            "Must provide address if SkipNodeUpdate is not set".to_owned()
        }
        Refusal::NodeNameReserved { name, id, holder, holder_shown } => format!(
            "failed inserting node: Error while renaming Node ID: {}: \
             Node name {name} is reserved by node {holder} with name {holder_shown}",
            quoted(id)
        ),
        Refusal::CheckServiceMissing { service: _, node } => {
            format!("failed inserting check: Missing service registration on node {}", quoted(node))
        }
        Refusal::NodeMissing(node) => format!("node {} doesn't exist", quoted(node)),
        Refusal::KeyMissing(key) => format!("key {} doesn't exist", quoted(key)),
        Refusal::IndexGuardMissing(key) => guard_text("index", key),
        Refusal::SessionGuardMissing(key) => guard_text("session", key),
        Refusal::KeyExists(key) => format!("key {} exists", quoted(key)),
        Refusal::SetStale(key) => format!("failed to set key {}, index is stale", quoted(key)),
        Refusal::DeleteStale(key) => {
            format!("failed to delete key {}, index is stale", quoted(key))
        }
        Refusal::LockHeld(key) => {
            format!("failed to lock key {}, lock is already held", quoted(key))
        }
        Refusal::LockDelay(key) => {
            format!("failed to lock key {} due to lock delay", quoted(key))
        }
        Refusal::LockNotHeld(key) => lock_not_held(key),
        Refusal::IndexDiffers { key, current, wanted } => format!(
            "failed index check for key {}, current modify index {} != {}",
            quoted(key),
            current.0,
            wanted.0
        ),
        Refusal::SessionDiffers { key, current, wanted } => {
            let current = current.as_ref().map(SessionId::to_string).unwrap_or_default();
            format!(
                "failed session check for key {}, current session {} != {}",
                quoted(key),
                quoted(&current),
                quoted(wanted)
            )
        }
        Refusal::RecordMissing(key) => format!("{} doesn't exist", record_text(key)),
        Refusal::RecordSetStale(key) => stale_text("set", key),
        Refusal::RecordDeleteStale(key) => stale_text("delete", key),
        Refusal::ServiceUnregistered { .. } => "Missing service registration".to_owned(),
        Refusal::Nonsense(text) => text.clone(),
        Refusal::UnknownCommand => "the command is of a newer version".to_owned(),
        Refusal::PreparedMissing(id) => {
            format!("Cannot modify non-existent prepared query: '{id}'")
        }
        Refusal::PreparedNameTaken(name) => {
            format!("name '{name}' aliases an existing query name")
        }
        Refusal::PreparedNameIsId(name) => format!("name '{name}' aliases an existing query ID"),
        Refusal::PreparedCatchAllTaken => {
            "a query template with an empty name already exists".to_owned()
        }
    }
}

/// As [`refusal_text`], inside a transaction: without the command in front.
pub(super) fn txn_text(refusal: &Refusal) -> String {
    let text = refusal_text(refusal);
    match text.strip_prefix("failed inserting node: ") {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}

/// Consul's text for a guard of a key that is not there.
fn guard_text(guard: &str, key: &str) -> String {
    format!("failed to check {guard}, key {} doesn't exist", quoted(key))
}

/// Consul's text for a record that has another index than the caller saw.
fn stale_text(verb: &str, key: &RecordKey) -> String {
    format!("failed to {verb} {}, index is stale", record_text(key))
}

/// How Consul names a record of a transaction.
fn record_text(key: &RecordKey) -> String {
    match key {
        RecordKey::Node(name) => format!("node {}", quoted(name)),
        RecordKey::Service { node, id } => {
            format!("service {} on node {}", quoted(id), quoted(node))
        }
        RecordKey::Check { node, id } => format!("check {} on node {}", quoted(id), quoted(node)),
    }
}

/// Consul's text for an unlock by who does not hold the lock.
pub(super) fn lock_not_held(key: &str) -> String {
    format!("failed to unlock key {}, lock isn't held, or is held by another session", quoted(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Index;
    use uuid::Uuid;

    #[test]
    fn unavailable_says_whether_to_retry() {
        for (outcome, status, text) in [
            (Unavailable::NoLeader, 500, "No cluster leader"),
            (Unavailable::NoServers, 500, "No known Consul servers"),
            (Unavailable::NotApplied("queue full".into()), 500, "not applied: queue full"),
            (Unavailable::Unknown("timeout".into()), 500, "outcome unknown: timeout"),
            (Unavailable::TooMany("writes".into()), 429, "not applied: too many writes"),
        ] {
            let failure = Failure::from(outcome);
            assert_eq!((failure.status.as_u16(), failure.text.as_ref()), (status, text));
        }
        let busy = Failure::from(Unavailable::TooMany("reads".into()));
        assert_eq!(busy.advice, Advice::RetryAfter(1));
    }

    #[test]
    fn refusals_are_consuls_texts() {
        let id = SessionId(Uuid::from_u128(0x1111_1111_1111_1111_1111_1111_1111_1111));
        for (refusal, want) in [
            (
                Refusal::NoSuchSession(id),
                "invalid session \"11111111-1111-1111-1111-111111111111\"",
            ),
            (
                Refusal::IndexDiffers { key: "k".into(), current: Index(39), wanted: Index(1) },
                "failed index check for key \"k\", current modify index 39 != 1",
            ),
            (
                Refusal::SessionDiffers { key: "k".into(), current: None, wanted: id.to_string() },
                "failed session check for key \"k\", current session \"\" != \
                 \"11111111-1111-1111-1111-111111111111\"",
            ),
            (
                Refusal::CheckServiceMissing { service: "s".into(), node: "n2".into() },
                "failed inserting check: Missing service registration on node \"n2\"",
            ),
            (Refusal::SessionCheckMissing("x".into()), "Missing check 'x' registration"),
            (Refusal::LockHeld("k".into()), "failed to lock key \"k\", lock is already held"),
            (
                Refusal::LockNotHeld("k".into()),
                "failed to unlock key \"k\", lock isn't held, or is held by another session",
            ),
        ] {
            assert_eq!(refusal_text(&refusal), want);
        }
    }

    #[test]
    fn agent_errors_are_consuls_texts() {
        let failure = Failure::from(AgentError::NoTtl("x".into()));
        assert_eq!(failure.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(failure.text, "CheckID \"x\" does not have associated TTL");
        assert_eq!(Failure::from(AgentError::UnknownService("x".into())).status.as_u16(), 404);
    }

    #[test]
    fn too_large_names_the_setting_and_closes() {
        let failure = Failure::too_large(524_289, 524_288, "kv_max_value_size");
        assert_eq!(failure.advice, Advice::Close);
        assert_eq!(
            failure.text,
            "Request body(524289 bytes) too large, max size: 524288 bytes. See \
             https://www.consul.io/docs/agent/options.html#kv_max_value_size."
        );
    }
}
