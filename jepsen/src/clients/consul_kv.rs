//! Keys at Consul's door: writes go through transactions, whose answers tell their revision.
//!
//! The index of an answer is that of the store only where a key is missing: otherwise it is the
//! newest change of what was asked for, which says nothing about other keys.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::history::{Action, Answer, Condition, Level, ListStep, Write};

use super::client::{Trouble, list_text, not_begun, writes_of};
use super::consul::{ConsulClient, INDEX, json_of, level_word, strange};
use super::entry::{self, Entry};
use super::http::Response;
use super::lists::{self, Found};

/// How long a blocking read waits before it answers without a change, as a Go duration.
const WATCH_WAIT: &str = "1s";

impl ConsulClient {
    pub(super) async fn write(&mut self, action: &Action) -> Result<Answer, Trouble> {
        let writes = writes_of(action).unwrap_or_default();
        let operations: Vec<Value> = writes.iter().map(operation).collect();
        self.transact(operations).await
    }

    /// One transaction: written at one revision, or refused. One that only deletes tells none,
    /// since it may have changed nothing: the header has the store's index then, as of now.
    pub(super) async fn transact(&mut self, operations: Vec<Value>) -> Result<Answer, Trouble> {
        let response = self.transaction(operations).await?;
        if response.status == StatusCode::CONFLICT {
            return Ok(Answer::Refused { store: response.number(INDEX) });
        }
        let json = json_of(&response)?;
        // What a transaction only looked at shows an older one than what it wrote.
        let results = json["Results"].as_array().map(Vec::as_slice).unwrap_or_default();
        let shown = results.iter().filter_map(|result| result["KV"]["ModifyIndex"].as_u64()).max();
        Ok(Answer::Written { revision: shown })
    }

    /// One transaction, whose answer has status 200 or 409.
    pub(super) async fn transaction(
        &mut self,
        operations: Vec<Value>,
    ) -> Result<Response, Trouble> {
        let body = Value::Array(operations).to_string().into_bytes();
        self.ask(hyper::Method::PUT, "/v1/txn?consistent", body, StatusCode::CONFLICT).await
    }

    pub(super) async fn read(&mut self, key: &str, level: Level) -> Result<Answer, Trouble> {
        let path = format!("/v1/kv/{key}?{}", level_word(level));
        let (response, entries) = self.entries(&path).await?;
        // The index of a key that is there is that of its last change or of a neighbour's.
        let store = response.number(INDEX).filter(|_| entries.is_empty());
        Ok(entry::value(&entries, store))
    }

    pub(super) async fn scan(&mut self, prefix: &str, level: Level) -> Result<Answer, Trouble> {
        let path = format!("/v1/kv/{prefix}?recurse&{}", level_word(level));
        let (_, entries) = self.entries(&path).await?;
        Ok(entry::values(entries, None))
    }

    pub(super) async fn watch(&mut self, key: &str, after: u64) -> Result<Answer, Trouble> {
        let path = format!("/v1/kv/{key}?index={after}&wait={WATCH_WAIT}");
        let (response, entries) = self.entries(&path).await?;
        let store = response.number(INDEX);
        Ok(entry::value(&entries, store))
    }

    pub(super) async fn append(&mut self, key: &str, element: u64) -> Result<Answer, Trouble> {
        let path = format!("/v1/kv/{key}?");
        let (_, entries) = self.entries(&path).await.map_err(not_begun)?;
        let (mut elements, index) = entry::list(&entries);
        elements.push(element);
        let value = STANDARD.encode(list_text(&elements));
        self.transact(vec![json!({
            "KV": { "Verb": "cas", "Key": key, "Value": value, "Index": index }
        })])
        .await
    }

    pub(super) async fn list(&mut self, key: &str, level: Level) -> Result<Answer, Trouble> {
        let path = format!("/v1/kv/{key}?{}", level_word(level));
        let (_, entries) = self.entries(&path).await?;
        Ok(entry::elements(&entries))
    }

    pub(super) async fn lists(&mut self, steps: &[ListStep]) -> Result<Answer, Trouble> {
        let mut found: BTreeMap<String, Found> = BTreeMap::new();
        for key in lists::keys(steps) {
            let path = format!("/v1/kv/{key}?");
            let (_, entries) = self.entries(&path).await.map_err(not_begun)?;
            found.insert(key.to_owned(), entry::list(&entries));
        }
        let done = lists::perform(steps, &found);
        let operation = |(key, (_, index)): (&String, &Found)| match done.changed.get(key) {
            Some(elements) => {
                let value = STANDARD.encode(list_text(elements));
                json!({ "KV": { "Verb": "cas", "Key": key, "Value": value, "Index": index } })
            }
            None if *index == 0 => json!({ "KV": { "Verb": "check-not-exists", "Key": key } }),
            None => json!({ "KV": { "Verb": "check-index", "Key": key, "Index": index } }),
        };
        let answer = self.transact(found.iter().map(operation).collect()).await?;
        Ok(match answer {
            Answer::Written { revision } => {
                let revision = revision.filter(|_| !done.changed.is_empty());
                Answer::Lists { reads: done.reads, revision }
            }
            refused => refused,
        })
    }

    /// The entries of a read; none where nothing is there.
    async fn entries(&mut self, path: &str) -> Result<(Response, Vec<Entry>), Trouble> {
        let nothing = StatusCode::NOT_FOUND;
        let response = self.ask(hyper::Method::GET, path, Vec::new(), nothing).await?;
        if response.status == nothing {
            return Ok((response, Vec::new()));
        }
        let json = json_of(&response)?;
        let all = json.as_array().map(Vec::as_slice).unwrap_or_default();
        let entries: Option<Vec<Entry>> = all.iter().map(shown).collect();
        let entries = entries.ok_or_else(|| strange("no entries", &response))?;
        Ok((response, entries))
    }
}

fn operation(write: &Write) -> Value {
    let key = &write.key;
    let text = write.value.map(|value| STANDARD.encode(value.to_string()));
    let mut operation = match (&text, write.condition) {
        (Some(_), Condition::Always) => json!({ "Verb": "set", "Key": key }),
        (None, Condition::Always) => json!({ "Verb": "delete", "Key": key }),
        (Some(_), Condition::Absent) => json!({ "Verb": "cas", "Key": key, "Index": 0 }),
        (Some(_), Condition::Unchanged(index)) => {
            json!({ "Verb": "cas", "Key": key, "Index": index })
        }
        // A key that must not be there and shall go: nothing to do but to look.
        (None, Condition::Absent) => json!({ "Verb": "check-not-exists", "Key": key }),
        (None, Condition::Unchanged(index)) => {
            json!({ "Verb": "delete-cas", "Key": key, "Index": index })
        }
    };
    if let Some(text) = text {
        operation["Value"] = Value::String(text);
    }
    json!({ "KV": operation })
}

fn shown(json: &Value) -> Option<Entry> {
    let text = STANDARD.decode(json["Value"].as_str().unwrap_or_default()).ok()?;
    Some(Entry {
        key: json["Key"].as_str()?.to_owned(),
        text: String::from_utf8_lossy(&text).into_owned(),
        modified: json["ModifyIndex"].as_u64()?,
    })
}
