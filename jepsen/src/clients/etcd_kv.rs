//! Keys at etcd's door.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::history::{Action, Answer, Condition, Level, ListStep, Write};

use super::client::{Trouble, list_text, not_begun, number_of, writes_of};
use super::entry::{self, Entry};
use super::etcd::{EtcdClient, decoded, encoded, number, store_of};
use super::lists::{self, Found};

/// How long a watch waits before it answers without a change.
const WATCH_WAIT: Duration = Duration::from_secs(1);

impl EtcdClient {
    pub(super) async fn write(&mut self, action: &Action) -> Result<Answer, Trouble> {
        let writes = writes_of(action).unwrap_or_default();
        let compare: Vec<Value> = writes.iter().filter_map(comparison).collect();
        let success: Vec<Value> = writes.iter().map(operation).collect();
        self.transact(&json!({ "compare": compare, "success": success })).await
    }

    /// One transaction: written, or refused. What changed nothing, as the deletion of a missing
    /// key, has no revision of its own.
    async fn transact(&mut self, body: &Value) -> Result<Answer, Trouble> {
        let answer = self.ask("/v3/kv/txn", body).await?;
        let store = store_of(&answer);
        if answer["succeeded"] != true {
            return Ok(Answer::Refused { store });
        }
        let responses = answer["responses"].as_array().map(Vec::as_slice).unwrap_or_default();
        let changed = responses.iter().any(|response| match &response["response_delete_range"] {
            Value::Null => true,
            deleted => number(&deleted["deleted"]).is_some_and(|count| count > 0),
        });
        Ok(Answer::Written { revision: store.filter(|_| changed) })
    }

    pub(super) async fn read(&mut self, key: &str, level: Level) -> Result<Answer, Trouble> {
        let (entries, store) = self.range(key, None, level).await?;
        Ok(entry::value(&entries, store))
    }

    pub(super) async fn scan(&mut self, prefix: &str, level: Level) -> Result<Answer, Trouble> {
        let (entries, store) = self.range(prefix, Some(behind(prefix)), level).await?;
        Ok(entry::values(entries, store))
    }

    /// The first change of a key after a revision. Without one in time, the key as it is.
    pub(super) async fn watch(&mut self, key: &str, after: u64) -> Result<Answer, Trouble> {
        let start = after.saturating_add(1).to_string();
        let body = json!({ "create_request": { "key": encoded(key), "start_revision": start } });
        let body = body.to_string().into_bytes();
        match self.http.ask_until("/v3/watch", body, WATCH_WAIT, first_event).await? {
            Some(answer) => Ok(answer),
            None => self.read(key, Level::Default).await,
        }
    }

    pub(super) async fn append(&mut self, key: &str, element: u64) -> Result<Answer, Trouble> {
        let read = self.range(key, None, Level::Default).await;
        let (entries, _) = read.map_err(not_begun)?;
        let (mut elements, revision) = entry::list(&entries);
        elements.push(element);
        self.transact(&json!({
            "compare": [unchanged(key, revision)],
            "success": [put(key, &list_text(&elements))],
        }))
        .await
    }

    pub(super) async fn list(&mut self, key: &str, level: Level) -> Result<Answer, Trouble> {
        let (entries, _) = self.range(key, None, level).await?;
        Ok(entry::elements(&entries))
    }

    pub(super) async fn lists(&mut self, steps: &[ListStep]) -> Result<Answer, Trouble> {
        let mut found: BTreeMap<String, Found> = BTreeMap::new();
        for key in lists::keys(steps) {
            let read = self.range(key, None, Level::Default).await;
            let (entries, _) = read.map_err(not_begun)?;
            found.insert(key.to_owned(), entry::list(&entries));
        }
        let done = lists::perform(steps, &found);
        let same = |(key, (_, revision)): (&String, &Found)| unchanged(key, *revision);
        let write = |(key, elements): (&String, &Vec<u64>)| put(key, &list_text(elements));
        let body = json!({
            "compare": found.iter().map(same).collect::<Vec<_>>(),
            "success": done.changed.iter().map(write).collect::<Vec<_>>(),
        });
        Ok(match self.transact(&body).await? {
            Answer::Written { revision } => Answer::Lists { reads: done.reads, revision },
            refused => refused,
        })
    }

    async fn range(
        &mut self,
        key: &str,
        end: Option<Vec<u8>>,
        level: Level,
    ) -> Result<(Vec<Entry>, Option<u64>), Trouble> {
        let mut body = json!({ "key": encoded(key), "serializable": level == Level::Stale });
        if let Some(end) = end {
            body["range_end"] = Value::String(encoded(end));
        }
        let answer = self.ask("/v3/kv/range", &body).await?;
        let all = answer["kvs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let entries: Option<Vec<Entry>> = all.iter().map(shown).collect();
        let entries = entries.ok_or_else(|| Trouble::Unknown(format!("no entries: {answer}")))?;
        Ok((entries, store_of(&answer)))
    }
}

/// What is written only if this holds; nothing for a write without a condition.
fn comparison(write: &Write) -> Option<Value> {
    match write.condition {
        Condition::Always => None,
        Condition::Absent => Some(unchanged(&write.key, 0)),
        Condition::Unchanged(revision) => Some(unchanged(&write.key, revision)),
    }
}

/// A key was last changed by this revision; 0 where it must not be there.
pub(super) fn unchanged(key: &str, revision: u64) -> Value {
    json!({
        "key": encoded(key),
        "target": "MOD",
        "result": "EQUAL",
        "mod_revision": revision.to_string(),
    })
}

fn operation(write: &Write) -> Value {
    match write.value {
        Some(value) => put(&write.key, &value.to_string()),
        None => delete(&write.key),
    }
}

fn put(key: &str, text: &str) -> Value {
    json!({ "request_put": { "key": encoded(key), "value": encoded(text) } })
}

/// The key goes.
pub(super) fn delete(key: &str) -> Value {
    json!({ "request_delete_range": { "key": encoded(key) } })
}

fn shown(json: &Value) -> Option<Entry> {
    Some(Entry {
        key: decoded(&json["key"])?,
        text: decoded(&json["value"])?,
        modified: number(&json["mod_revision"])?,
    })
}

/// The first name behind all that begin with this: its last byte is raised.
fn behind(prefix: &str) -> Vec<u8> {
    let mut bytes = prefix.as_bytes().to_vec();
    if let Some(last) = bytes.last_mut() {
        *last = last.saturating_add(1);
    }
    bytes
}

/// The first event in what came of a watch so far: whole lines of JSON.
fn first_event(text: &[u8]) -> Option<Answer> {
    let mut lines =
        text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    lines.find_map(|line| {
        let json: Value = serde_json::from_slice(line).ok()?;
        let event = json["result"]["events"].as_array()?.first()?;
        let revision = number(&event["kv"]["mod_revision"])?;
        let deleted = event["type"] == "DELETE";
        let value = decoded(&event["kv"]["value"]).filter(|_| !deleted);
        Some(Answer::Value {
            value: value.map(|text| number_of(&text)),
            revision: if deleted { 0 } else { revision },
            store: Some(revision),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_of_a_watch_is_the_key_as_it_became() {
        let created = "{\"result\":{\"created\":true}}\n";
        let put =
            r#"{"result":{"events":[{"kv":{"key":"aw==","mod_revision":"7","value":"NDI="}}]}}"#;
        assert_eq!(first_event(created.as_bytes()), None);
        assert_eq!(first_event(format!("{created}{put}").as_bytes()), None, "not whole yet");
        assert_eq!(
            first_event(format!("{created}{put}\n").as_bytes()),
            Some(Answer::Value { value: Some(42), revision: 7, store: Some(7) })
        );
        let delete = r#"{"result":{"events":[{"type":"DELETE","kv":{"mod_revision":"8"}}]}}"#;
        assert_eq!(
            first_event(format!("{delete}\n").as_bytes()),
            Some(Answer::Value { value: None, revision: 0, store: Some(8) })
        );
    }

    #[test]
    fn a_prefix_ends_where_its_last_byte_is_raised() {
        assert_eq!(behind("kv/"), b"kv0");
    }
}
