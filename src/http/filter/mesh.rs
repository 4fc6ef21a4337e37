//! The fields of proxy and mesh settings, which are kept as the JSON that came. Only a filter
//! that names one of them reads that JSON.

use serde_json::Value;

use crate::http::json::same_name;

use super::bind::{
    Field, Test, below_struct, empty_test, ends_at, no_such_field, text_test, truth_test,
    whole_test,
};
use super::error::FilterError;
use super::grammar::Match;

/// Fields of an object by name.
type Shape = &'static [(&'static str, Kind)];

/// What a field holds; an absent one counts as empty, zero or false.
enum Kind {
    Text,
    Whole,
    Truth,
    Object(Shape),
    List(Shape),
}

use Kind::{List, Object, Text, Truth, Whole};

/// Source: Consul HTTP API, "List Nodes for Service", filtering, `ServiceProxy`.
const PROXY: Shape = &[
    ("DestinationServiceName", Text),
    ("DestinationServiceID", Text),
    ("LocalServiceAddress", Text),
    ("LocalServicePort", Whole),
    ("Upstreams", List(UPSTREAM)),
    ("MeshGateway", Object(MESH_GATEWAY)),
    ("Expose", Object(&[("Checks", Truth), ("Paths", List(EXPOSED_PATH))])),
];

const MESH_GATEWAY: Shape = &[("Mode", Text)];

const UPSTREAM: Shape = &[
    ("DestinationType", Text),
    ("DestinationNamespace", Text),
    ("DestinationName", Text),
    ("Datacenter", Text),
    ("LocalBindAddress", Text),
    ("LocalBindPort", Whole),
    ("MeshGateway", Object(MESH_GATEWAY)),
];

const EXPOSED_PATH: Shape = &[
    ("ListenerPort", Whole),
    ("Path", Text),
    ("LocalPathPort", Whole),
    ("Protocol", Text),
    ("ParsedFromCheck", Truth),
];

const CONNECT: Shape = &[("Native", Truth)];

/// Proxy settings, kept as JSON text that may be empty.
pub(super) fn proxy<T: 'static>(get: fn(&T) -> &str) -> Field<T> {
    kept(get, PROXY)
}

/// Mesh settings, likewise.
pub(super) fn connect<T: 'static>(get: fn(&T) -> &str) -> Field<T> {
    kept(get, CONNECT)
}

fn kept<T: 'static>(get: fn(&T) -> &str, shape: Shape) -> Field<T> {
    Field::Deep(Box::new(move |asked, depth| {
        let hit = bind(asked, below_struct(asked, depth)?, shape)?;
        Ok(Box::new(move |record| {
            let text = get(record);
            let value = if text.is_empty() { Value::Null } else { read(text) };
            hit(&value)
        }))
    }))
}

/// What was kept is JSON of our own making; anything else would count as nothing.
fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

fn bind(asked: &Match, depth: usize, shape: Shape) -> Result<Test<Value>, FilterError> {
    let found =
        asked.selector.get(depth).and_then(|named| shape.iter().find(|(name, _)| name == named));
    let (name, kind) = found.ok_or_else(|| no_such_field(asked, depth))?;
    if !matches!(kind, Object(_) | List(_)) {
        ends_at(asked, depth)?;
    }
    Ok(match kind {
        Text => {
            let hit = text_test(asked)?;
            Box::new(move |value| hit(field(value, name).as_str().unwrap_or_default()))
        }
        Whole => {
            let hit = whole_test(asked)?;
            Box::new(move |value| hit(field(value, name).as_i64().unwrap_or_default()))
        }
        Truth => {
            let hit = truth_test(asked)?;
            Box::new(move |value| hit(field(value, name).as_bool().unwrap_or_default()))
        }
        Object(shape) => {
            let hit = bind(asked, below_struct(asked, depth)?, shape)?;
            Box::new(move |value| hit(field(value, name)))
        }
        List(_) if depth + 1 == asked.selector.len() => {
            let empty = empty_test(asked)?;
            Box::new(move |value| empty(items(field(value, name)).is_empty()))
        }
        List(shape) => {
            let hit = bind(asked, depth + 1, shape)?;
            Box::new(move |value| items(field(value, name)).iter().any(&hit))
        }
    })
}

fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    let found = value.as_object().and_then(|fields| {
        fields.iter().find(|(given, _)| same_name(given, name)).map(|(_, value)| value)
    });
    found.unwrap_or(&Value::Null)
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
