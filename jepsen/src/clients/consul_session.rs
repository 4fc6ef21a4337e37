//! Sessions and locks at Consul's door.
//!
//! A lock is taken and given back by a transaction, whose answer has the lock's count in the same
//! step. It rises with each holder, because nobody writes these keys plainly: a plain write resets
//! it at the real Consul.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::history::Answer;

use super::client::Trouble;
use super::consul::{ConsulClient, json_of, strange};

impl ConsulClient {
    /// A session of its own TTL only: no check of a node ends it, and a lock that it leaves is
    /// free at once.
    pub(super) async fn open_session(&mut self, ttl: u64) -> Result<Answer, Trouble> {
        let body = json!({
            "TTL": format!("{ttl}ms"),
            "LockDelay": "0s",
            "Behavior": "release",
            "NodeChecks": [],
            "Checks": [],
        });
        let response = self.put("/v1/session/create", &body).await?;
        let session = json_of(&response)?["ID"].as_str().map(str::to_owned);
        let session = session.ok_or_else(|| strange("no id", &response))?;
        Ok(Answer::Opened { session })
    }

    pub(super) async fn renew_session(&mut self, session: &str) -> Result<Answer, Trouble> {
        let path = format!("/v1/session/renew/{session}");
        let gone = StatusCode::NOT_FOUND;
        let response = self.ask(Method::PUT, &path, Vec::new(), gone).await?;
        Ok(Answer::Alive { alive: response.status != gone })
    }

    pub(super) async fn end_session(&mut self, session: &str) -> Result<Answer, Trouble> {
        let path = format!("/v1/session/destroy/{session}");
        self.ask(Method::PUT, &path, Vec::new(), StatusCode::OK).await?;
        Ok(Answer::Written { revision: None })
    }

    pub(super) async fn look_at_session(&mut self, session: &str) -> Result<Answer, Trouble> {
        let response = self.get(&format!("/v1/session/info/{session}?consistent")).await?;
        let found = json_of(&response)?;
        Ok(Answer::Alive { alive: found.as_array().is_some_and(|all| !all.is_empty()) })
    }

    pub(super) async fn acquire(&mut self, key: &str, session: &str) -> Result<Answer, Trouble> {
        let value = STANDARD.encode(session);
        let response = self
            .transaction(vec![json!({
                "KV": { "Verb": "lock", "Key": key, "Value": value, "Session": session }
            })])
            .await?;
        if response.status == StatusCode::CONFLICT {
            return Ok(Answer::Held { token: None });
        }
        let token = json_of(&response)?["Results"][0]["KV"]["LockIndex"].as_u64();
        let token = token.ok_or_else(|| strange("no LockIndex", &response))?;
        Ok(Answer::Held { token: Some(token) })
    }

    pub(super) async fn release(&mut self, key: &str, session: &str) -> Result<Answer, Trouble> {
        let value = STANDARD.encode("free");
        self.transact(vec![json!({
            "KV": { "Verb": "unlock", "Key": key, "Value": value, "Session": session }
        })])
        .await
    }
}
