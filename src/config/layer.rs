//! What one source said, by option: checked against the table, then laid over what came before.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::definitions;
use super::duration;
use super::options::{DEV, Kind, OPTIONS, Setting, find, is_section};
use super::watches;

/// Why a configuration cannot be used; one line, with the key and where it stood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub(super) String);

impl ConfigError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self(message.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

/// Values by option, each of the kind that its row names.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Layer(BTreeMap<&'static str, Value>);

impl Layer {
    /// The table's defaults.
    pub(super) fn defaults() -> Self {
        let mut layer = Self::default();
        for setting in OPTIONS.iter().filter(|setting| !setting.default.is_empty()) {
            layer.put(setting, setting.default).expect("the table's defaults are of their kind");
        }
        layer
    }

    /// What `-dev` sets.
    pub(super) fn dev() -> Self {
        let mut layer = Self::default();
        for (key, text) in DEV {
            let setting = find(key).expect("the preset names rows of the table");
            layer.put(setting, text).expect("the preset's values are of their kind");
        }
        layer
    }

    /// Reads the root object of a file.
    pub(super) fn read(root: &Value) -> Result<Self, ConfigError> {
        let Value::Object(map) = root else {
            return Err(ConfigError::new("expected an object at the top"));
        };
        let mut layer = Self::default();
        layer.read_section("", map)?;
        Ok(layer)
    }

    fn read_section(&mut self, path: &str, map: &Map<String, Value>) -> Result<(), ConfigError> {
        for (name, value) in map {
            if name.starts_with("//") || value.is_null() {
                continue;
            }
            let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match find(&key) {
                Some(setting) => self.add(setting, of_kind(setting, value)?),
                None if is_section(&key) => self.read_sections(&key, value)?,
                None => return Err(ConfigError::new(format!("invalid config key {key}"))),
            }
        }
        Ok(())
    }

    /// A section may be an object or, as HCL gives repeated blocks, an array of them.
    fn read_sections(&mut self, key: &str, value: &Value) -> Result<(), ConfigError> {
        let parts = match value {
            Value::Array(parts) => parts.as_slice(),
            one => std::slice::from_ref(one),
        };
        for part in parts {
            let Value::Object(map) = part else {
                return Err(expected(key, "an object", part));
            };
            self.read_section(key, map)?;
        }
        Ok(())
    }

    /// Sets an option from the text of a flag.
    pub(super) fn put(&mut self, setting: &'static Setting, text: &str) -> Result<(), ConfigError> {
        let value =
            match setting.kind {
                Kind::Switch => Value::Bool(parse_switch(text).ok_or_else(|| {
                    ConfigError::new(format!("invalid value {text:?}: expected true or false"))
                })?),
                Kind::Number(..) => Value::from(text.parse::<i64>().map_err(|error| {
                    ConfigError::new(format!("invalid value {text:?}: {error}"))
                })?),
                Kind::Map => {
                    let (name, value) = text.split_once(':').unwrap_or((text, ""));
                    Value::Object(Map::from_iter([(name.to_owned(), Value::from(value))]))
                }
                Kind::List => Value::Array(vec![Value::from(text)]),
                Kind::Text | Kind::Duration | Kind::Definitions | Kind::Watches | Kind::Opaque => {
                    Value::from(text)
                }
            };
        self.add(setting, of_kind(setting, &value)?);
        Ok(())
    }

    /// Lays `over` on top: lists append, maps merge, everything else is replaced.
    pub(super) fn merge(&mut self, over: Self) {
        for (key, value) in over.0 {
            self.add(find(key).expect("layers hold rows of the table"), value);
        }
    }

    fn add(&mut self, setting: &'static Setting, value: Value) {
        match (self.0.get_mut(setting.key), value) {
            (Some(Value::Array(old)), Value::Array(new)) => old.extend(new),
            (Some(Value::Object(old)), Value::Object(new)) => old.extend(new),
            (_, value) => drop(self.0.insert(setting.key, value)),
        }
    }

    /// Every option that was set, with its row.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static Setting, &Value)> {
        self.0.iter().map(|(key, value)| (find(key).expect("layers hold rows of the table"), value))
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    pub(super) fn text(&self, key: &str) -> &str {
        self.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn switch(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or_default()
    }

    pub(super) fn number(&self, key: &str) -> i64 {
        self.get(key).and_then(Value::as_i64).unwrap_or_default()
    }

    pub(super) fn duration(&self, key: &str) -> std::time::Duration {
        duration::parse(self.text(key)).expect("durations were read when the layer was made")
    }

    pub(super) fn list(&self, key: &str) -> Vec<String> {
        let items = self.get(key).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    pub(super) fn map(&self, key: &str) -> BTreeMap<String, String> {
        let entries = self.get(key).and_then(Value::as_object).into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        entries.map(|(name, value)| (name.clone(), text(value))).collect()
    }

    pub(super) fn definitions(&self, key: &str) -> Vec<Value> {
        self.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
    }
}

/// Go's spellings of a boolean.
///
/// Source: Go standard library, `strconv.ParseBool`.
pub(super) fn parse_switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// `value` as its row wants it, or an error that names the key.
fn of_kind(setting: &Setting, value: &Value) -> Result<Value, ConfigError> {
    let key = setting.key;
    match (setting.kind, value) {
        (Kind::Opaque, any) => Ok(any.clone()),
        (Kind::Text, Value::String(_)) | (Kind::Switch, Value::Bool(_)) => Ok(value.clone()),
        (Kind::Text, other) => Err(expected(key, "a string", other)),
        (Kind::Switch, other) => Err(expected(key, "true or false", other)),
        (Kind::Number(min, max), other) => number_of(setting, other, (min, max)),
        (Kind::Duration, Value::String(text)) => match duration::parse(text) {
            Ok(_) => Ok(value.clone()),
            Err(why) => Err(ConfigError::new(format!("{key}: {why}"))),
        },
        (Kind::Duration, other) => Err(expected(key, "a duration such as \"10s\"", other)),
        (Kind::List, other) => list_of(key, other),
        (Kind::Map, other) => map_of(key, other),
        (Kind::Definitions, other) => definitions::check_keys(key, other),
        (Kind::Watches, other) => watches::list_of(key, other),
    }
}

fn number_of(setting: &Setting, value: &Value, bounds: (i64, i64)) -> Result<Value, ConfigError> {
    let key = setting.key;
    let whole = match value {
        // HCL reads 3.0 and 3e3 as floating numbers.
        Value::Number(number) => number.as_i64().or_else(|| whole_float(number.as_f64()?)),
        _ => None,
    };
    let number = whole.ok_or_else(|| expected(key, "a whole number", value))?;
    if (bounds.0..=bounds.1).contains(&number) {
        return Ok(Value::from(number));
    }
    Err(ConfigError::new(if key.starts_with("ports.") {
        format!("{key}: invalid port: {number}")
    } else if bounds.1 == i64::MAX {
        format!("{key} cannot be {number}. Must be greater than or equal to {}", bounds.0)
    } else {
        format!("{key} cannot be {number}. Must be between {} and {}", bounds.0, bounds.1)
    }))
}

#[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
fn whole_float(number: f64) -> Option<i64> {
    (number.fract().abs() < f64::EPSILON && number.abs() < 9e15).then_some(number as i64)
}

fn list_of(key: &str, value: &Value) -> Result<Value, ConfigError> {
    let items = match value {
        Value::Array(items) => items.clone(),
        Value::String(_) => vec![value.clone()],
        other => return Err(expected(key, "a list of strings", other)),
    };
    match items.iter().find(|item| !item.is_string()) {
        Some(other) => Err(expected(key, "a list of strings", other)),
        None => Ok(Value::Array(items)),
    }
}

fn map_of(key: &str, value: &Value) -> Result<Value, ConfigError> {
    let parts = match value {
        Value::Array(parts) => parts.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut merged = Map::new();
    for part in parts {
        let Value::Object(entries) = part else {
            return Err(expected(key, "names and strings", part));
        };
        for (name, entry) in entries {
            let text = match entry {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(switch) => switch.to_string(),
                other => return Err(expected(&format!("{key}.{name}"), "a string", other)),
            };
            merged.insert(name.clone(), Value::from(text));
        }
    }
    Ok(Value::Object(merged))
}

pub(super) fn expected(key: &str, what: &str, value: &Value) -> ConfigError {
    let got = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(switch) => switch.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    };
    ConfigError::new(format!("'{key}' expected {what}, got {got}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_replace_lists_append_maps_merge() {
        let mut base = Layer::read(&json!({
            "log_level": "DEBUG", "retry_join": ["a"], "node_meta": {"x": "1", "y": "1"},
        }))
        .unwrap();
        base.merge(
            Layer::read(&json!({
                "log_level": "WARN", "retry_join": "b", "node_meta": {"y": 2},
                "service": {"name": "web"},
            }))
            .unwrap(),
        );
        assert_eq!(base.text("log_level"), "WARN");
        assert_eq!(base.list("retry_join"), ["a", "b"]);
        assert_eq!(base.map("node_meta")["y"], "2");
        assert_eq!(base.map("node_meta")["x"], "1");
        assert_eq!(base.definitions("service"), [json!({"name": "web"})]);
    }

    #[test]
    fn wrong_values_name_their_key() {
        let table = [
            (json!({"bogus": 1}), "invalid config key bogus"),
            (json!({"ports": {"htp": 1}}), "invalid config key ports.htp"),
            (json!({"ports": {"http": 99999}}), "ports.http: invalid port: 99999"),
            (json!({"ports": {"http": "80"}}), "'ports.http' expected a whole number, got \"80\""),
            (json!({"ports": 1}), "'ports' expected an object, got 1"),
            (json!({"server": "yes"}), "'server' expected true or false, got \"yes\""),
            (json!({"retry_join": [1]}), "'retry_join' expected a list of strings, got 1"),
            (
                json!({"retry_interval": 3}),
                "'retry_interval' expected a duration such as \"10s\", got 3",
            ),
            (
                json!({"retry_interval": "x"}),
                "retry_interval: invalid duration \"x\": a number is missing",
            ),
            (
                json!({"performance": {"raft_multiplier": 11}}),
                "performance.raft_multiplier cannot be 11. Must be between 1 and 10",
            ),
            (json!([]), "expected an object at the top"),
        ];
        for (root, message) in table {
            assert_eq!(Layer::read(&root).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn keys_match_whatever_their_case_and_null_says_nothing() {
        let layer = Layer::read(&json!({
            "Node_Name": "a", "PORTS": {"HTTP": 1}, "segments": null, "//": "a comment",
        }))
        .unwrap();
        assert_eq!(layer.text("node_name"), "a");
        assert_eq!(layer.number("ports.http"), 1);
        assert!(layer.get("segments").is_none());
    }
}
