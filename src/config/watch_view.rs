//! What a watch reads, and how its answer is shown: of the agent's own and of the command `watch`.

use serde_json::{Map, Value};

/// Order in which Consul's client writes a key's fields.
const KEY_FIELDS: [&str; 7] =
    ["Key", "CreateIndex", "ModifyIndex", "LockIndex", "Flags", "Value", "Session"];

/// What to watch, as people say it; empty where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchTarget {
    /// `key`, `keyprefix`, `services`, `nodes`, `service`, `checks` or `event`.
    pub kind: String,
    /// For type key.
    pub key: String,
    /// For type keyprefix.
    pub prefix: String,
    /// For types service and checks.
    pub service: String,
    /// For type service: instances with all of these alone.
    pub tags: Vec<String>,
    /// For type service: instances that pass alone.
    pub passing_only: bool,
    /// For type checks.
    pub state: String,
    /// For type event.
    pub name: String,
    /// Datacenter to ask.
    pub datacenter: String,
    /// True if any server may answer.
    pub stale: bool,
}

/// What to read, and how to show it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchView {
    /// Path below `/v1/`, not encoded.
    pub path: String,
    /// Parameters, not encoded.
    pub query: Vec<(&'static str, String)>,
    /// True if the first pair alone is shown.
    pub one_key: bool,
    /// True for pairs, where 404 is nothing and no error.
    pub keys: bool,
    /// True for events, whose index only tells one from another.
    pub events: bool,
}

impl WatchTarget {
    /// What to read.
    ///
    /// # Errors
    ///
    /// Says what is missing or too much, in Consul's words.
    ///
    /// Source: Consul, "Watches".
    pub fn view(&self) -> Result<WatchView, String> {
        let mut view = self.plain_view()?;
        if !self.datacenter.is_empty() {
            view.query.push(("dc", self.datacenter.clone()));
        }
        if self.stale {
            view.query.push(("stale", String::new()));
        }
        Ok(view)
    }

    fn plain_view(&self) -> Result<WatchView, String> {
        let plain = |path: &str| WatchView { path: path.to_owned(), ..WatchView::default() };
        let missing = |what: &str| Err(format!("Must specify a single {what} to watch"));
        Ok(match self.kind.as_str() {
            "key" if self.key.is_empty() => return missing("key"),
            "key" => WatchView { one_key: true, keys: true, ..plain(&format!("kv/{}", self.key)) },
            "keyprefix" if self.prefix.is_empty() => return missing("prefix"),
            "keyprefix" => WatchView {
                query: vec![("recurse", String::new())],
                keys: true,
                ..plain(&format!("kv/{}", self.prefix))
            },
            "services" => plain("catalog/services"),
            "nodes" => plain("catalog/nodes"),
            "service" if self.service.is_empty() => return missing("service"),
            "service" => {
                let mut query: Vec<_> = self.tags.iter().map(|tag| ("tag", tag.clone())).collect();
                if self.passing_only {
                    query.push(("passing", "1".to_owned()));
                }
                WatchView { query, ..plain(&format!("health/service/{}", self.service)) }
            }
            "checks" if !self.service.is_empty() && !self.state.is_empty() => {
                return Err("Cannot specify service and state".to_owned());
            }
            "checks" if !self.service.is_empty() => {
                plain(&format!("health/checks/{}", self.service))
            }
            "checks" if self.state.is_empty() => plain("health/state/any"),
            "checks" => plain(&format!("health/state/{}", self.state)),
            "event" => WatchView {
                query: match self.name.as_str() {
                    "" => Vec::new(),
                    name => vec![("name", name.to_owned())],
                },
                events: true,
                ..plain("event/list")
            },
            other => return Err(format!("Unsupported watch type: {other}")),
        })
    }
}

impl WatchView {
    /// True if an answer of this status says that there is nothing, which is no error.
    pub fn is_nothing(&self, status: u16) -> bool {
        status == 404 && self.keys
    }

    /// An answer as it is shown to who read up to the index `known` before.
    pub fn show(&self, mut value: Value, known: u64) -> Value {
        if self.keys {
            value.as_array_mut().into_iter().flatten().for_each(order_fields);
        }
        if let Some(events) = value.as_array_mut().filter(|_| self.events) {
            drop_known(events, known);
        }
        if self.one_key {
            value = value.get_mut(0).map_or(Value::Null, Value::take);
        }
        value
    }
}

/// Leaves the events behind the one of this index, or all where it is not among them.
fn drop_known(events: &mut Vec<Value>, index: u64) {
    let is_known = |event: &Value| {
        let id = event["ID"].as_str().and_then(|id| id.parse::<uuid::Uuid>().ok());
        let halves = id.map(|id| id.as_u64_pair());
        halves.is_some_and(|(high, low)| high ^ low == index)
    };
    if let Some(place) = events.iter().rposition(is_known) {
        events.drain(..=place);
    }
}

fn order_fields(pair: &mut Value) {
    let mut ordered = Map::new();
    for name in KEY_FIELDS {
        let value = pair.get(name).cloned();
        let absent = if name == "Session" { Value::from("") } else { Value::Null };
        ordered.insert(name.to_owned(), value.unwrap_or(absent));
    }
    *pair = Value::Object(ordered);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Index 7 is that of the second event's id.
    #[test]
    fn only_new_events_are_shown() {
        let view = WatchView { events: true, ..WatchView::default() };
        let events = serde_json::json!([
            {"ID": "00000000-0000-0001-0000-000000000001"},
            {"ID": "00000000-0000-0001-0000-000000000006"},
            {"ID": "00000000-0000-0001-0000-000000000009"},
        ]);
        assert_eq!(view.show(events.clone(), 99), events);
        let last = serde_json::json!([{"ID": "00000000-0000-0001-0000-000000000009"}]);
        assert_eq!(view.show(events, 7), last);
    }
}
