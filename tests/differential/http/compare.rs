//! What differs between two answers. What changes from run to run is masked on both sides alike:
//! indexes, ids, addresses, and the values that rows kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde_json::Value;

use crate::harness::Reply;

use super::ask::Ask;

/// Headers of the transport, not of the answer.
const TRANSPORT: [&str; 4] = ["date", "content-length", "transfer-encoding", "keep-alive"];
/// Headers of which only the presence counts, and whether they are zero.
const COUNTERS: [&str; 4] = ["x-consul-index", "x-consul-lastcontact", "age", "retry-after"];
/// What Consul puts in front of a refusal that another process than the one asked made.
const BY_ANOTHER: &str = "rpc error making call: ";
/// Fields that count, wherever they stand: compared by whether they are zero.
const INDEXES: [&str; 4] = ["CreateIndex", "ModifyIndex", "Index", "LTime"];
/// As long as a kept value must be to be looked for in answers.
const KEPT_BYTES_MIN: usize = 6;
/// Longest piece of an answer that a report shows, in characters.
const SHOWN_MAX: usize = 300;

/// Values kept by earlier rows, by name; of one program.
pub(super) type Kept = BTreeMap<String, String>;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Where: `status`, `header/<name>`, `body` or `body/<field>/…`.
    pub(super) place: String,
    /// What the real Consul has there.
    pub(super) theirs: String,
    /// What we have there.
    pub(super) ours: String,
}

impl Difference {
    fn new(place: &str, theirs: &dyn Display, ours: &dyn Display) -> Self {
        let (theirs, ours) = (cut(&theirs.to_string()), cut(&ours.to_string()));
        Self { place: place.to_owned(), theirs, ours }
    }
}

/// An answer with what may change taken out.
pub(super) struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Body,
}

enum Body {
    Json(Value),
    Text(String),
}

impl Answer {
    /// The answer to a row, masked.
    pub(super) fn of(reply: &Reply, row: &Ask, kept: &Kept) -> Self {
        let headers = reply.headers.iter().filter(|(name, _)| !TRANSPORT.contains(&name.as_str()));
        let headers = headers.map(|(name, value)| (name.clone(), header(name, value, kept)));
        let text = String::from_utf8_lossy(&reply.body).replace(BY_ANOTHER, "");
        let json = reply.header("content-type") == Some("application/json");
        let parsed = if json { serde_json::from_str::<Value>(&text).ok() } else { None };
        let body = match parsed {
            Some(value) => Body::Json(value_masked("", value, row, kept)),
            None => Body::Text(text_masked(&text, kept)),
        };
        Self { status: reply.status, headers: headers.collect(), body }
    }
}

/// All differences between the answers of the real Consul and of ours.
pub(super) fn differences(theirs: &Answer, ours: &Answer) -> Vec<Difference> {
    let mut found = Vec::new();
    if theirs.status != ours.status {
        found.push(Difference::new("status", &theirs.status, &ours.status));
    }
    let names: BTreeSet<&String> = theirs.headers.keys().chain(ours.headers.keys()).collect();
    for name in names {
        let (a, b) = (theirs.headers.get(name), ours.headers.get(name));
        if a != b {
            let shown = |value: Option<&String>| value.map_or("none".to_owned(), Clone::clone);
            found.push(Difference::new(&format!("header/{name}"), &shown(a), &shown(b)));
        }
    }
    match (&theirs.body, &ours.body) {
        (Body::Json(a), Body::Json(b)) => in_values("body", a, b, &mut found),
        (Body::Text(a), Body::Text(b)) if a == b => {}
        (a, b) => found.push(Difference::new("body", &shown(a), &shown(b))),
    }
    found
}

fn shown(body: &Body) -> String {
    match body {
        Body::Json(value) => value.to_string(),
        Body::Text(text) => format!("{text:?}"),
    }
}

fn cut(text: &str) -> String {
    let short: String = text.chars().take(SHOWN_MAX).collect();
    if short.len() < text.len() { format!("{short}… ({} bytes)", text.len()) } else { short }
}

fn in_values(at: &str, theirs: &Value, ours: &Value, found: &mut Vec<Difference>) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let place = format!("{at}/{name}");
                match (a.get(name), b.get(name)) {
                    (Some(a), Some(b)) => in_values(&place, a, b, found),
                    (Some(a), None) => found.push(Difference::new(&place, a, &"no such field")),
                    (_, b) => {
                        let b = b.unwrap_or(&Value::Null);
                        found.push(Difference::new(&place, &"no such field", b));
                    }
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (nth, (a, b)) in a.iter().zip(b).enumerate() {
                in_values(&format!("{at}/{nth}"), a, b, found);
            }
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => {}
        _ if theirs == ours => {}
        _ => found.push(Difference::new(at, theirs, ours)),
    }
}

fn header(name: &str, value: &str, kept: &Kept) -> String {
    if name == "x-consul-contenthash" {
        return "a hash".to_owned();
    }
    if !COUNTERS.contains(&name) {
        return text_masked(value, kept);
    }
    match value.parse::<u64>() {
        Ok(0) => "0".to_owned(),
        Ok(_) => "a number".to_owned(),
        Err(_) => value.to_owned(),
    }
}

fn value_masked(field: &str, value: Value, row: &Ask, kept: &Kept) -> Value {
    if row.hidden.contains(&field) {
        return Value::String(format!("<{}>", kind(&value)));
    }
    match value {
        Value::Number(number) if INDEXES.contains(&field) && number.as_u64() != Some(0) => {
            Value::String("<index>".to_owned())
        }
        Value::String(_) if field == "ContentHash" => Value::String("<hash>".to_owned()),
        Value::String(text) => Value::String(text_masked(&text, kept)),
        Value::Array(items) => {
            let items = items.into_iter().map(|item| value_masked("", item, row, kept));
            let mut items: Vec<Value> = items.collect();
            if row.unordered {
                items.sort_by_key(Value::to_string);
            }
            Value::Array(items)
        }
        Value::Object(fields) => {
            let masked = |(name, value): (String, Value)| {
                let value = value_masked(&name, value, row, kept);
                (text_masked(&name, kept), value)
            };
            Value::Object(fields.into_iter().map(masked).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "truth",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// Text with kept values by their names, and with whatever looks like an id masked.
pub(super) fn text_masked(text: &str, kept: &Kept) -> String {
    let long = kept.iter().filter(|(_, value)| value.len() >= KEPT_BYTES_MIN);
    let text = long
        .fold(text.to_owned(), |text, (name, value)| text.replace(value, &format!("{{{name}}}")));
    without_index(&without_ids(&text))
}

/// UUIDs that a program made up; those of one digit are ours, written in rows.
fn without_ids(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if bytes.get(at..at + 36).is_some_and(is_made_up_id) {
            masked.push_str("<uuid>");
            at += 36;
            continue;
        }
        let step = rest.chars().next().map_or(1, char::len_utf8);
        masked.push_str(rest.get(..step).unwrap_or_default());
        at += step;
    }
    masked
}

fn is_made_up_id(bytes: &[u8]) -> bool {
    let shaped = bytes.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    let digits: BTreeSet<u8> = bytes.iter().copied().filter(|byte| *byte != b'-').collect();
    shaped && digits.len() > 2
}

/// The index that a refusal of a transaction names.
fn without_index(text: &str) -> String {
    let Some((before, after)) = text.split_once("current modify index ") else {
        return text.to_owned();
    };
    let rest = after.trim_start_matches(|sign: char| sign.is_ascii_digit());
    format!("{before}current modify index #{rest}")
}

#[cfg(test)]
mod tests {
    use super::super::ask::get;
    use super::*;
    use std::time::Duration;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let reply = Reply {
            status,
            headers: headers.collect(),
            body: body.as_bytes().to_vec(),
            took: Duration::ZERO,
        };
        let kept = Kept::from([("ip".to_owned(), "127.0.0.1".to_owned())]);
        Answer::of(&reply, &get("/"), &kept)
    }

    fn places(theirs: &Answer, ours: &Answer) -> Vec<String> {
        differences(theirs, ours).into_iter().map(|one| one.place).collect()
    }

    #[test]
    fn what_changes_from_run_to_run_does_not_count() {
        let json = ("content-type", "application/json");
        let a = answer(
            200,
            &[json, ("x-consul-index", "7"), ("date", "today")],
            r#"[{"ID":"9a31b39c-1b9a-4f46-9f7d-0a44ff0e3f4c","Address":"127.0.0.1","ModifyIndex":7}]"#,
        );
        let b = answer(
            200,
            &[json, ("x-consul-index", "9")],
            r#"[{"ID":"0b32b39c-1b9a-4f46-9f7d-0a44ff0e3f4c","Address":"{ip}","ModifyIndex":9}]"#,
        );
        assert_eq!(places(&a, &b), [""; 0]);
    }

    #[test]
    fn everything_else_counts() {
        let json = ("content-type", "application/json");
        let a = answer(200, &[json, ("x-consul-index", "7")], r#"[{"A":1,"B":null,"C":0.5}]"#);
        let b = answer(500, &[json], r#"[{"A":"1","C":0.50,"D":[]}]"#);
        let want = ["status", "header/x-consul-index", "body/0/A", "body/0/B", "body/0/D"];
        assert_eq!(places(&a, &b), want);
        let a = answer(200, &[json], "[1]");
        let b = answer(200, &[json], "[1,2]");
        assert_eq!(places(&a, &b), ["body"]);
        let a = answer(400, &[], "No, current modify index 39 != 1");
        let b = answer(400, &[], "No, current modify index 40 != 2");
        assert_eq!(places(&a, &b), ["body"]);
        let a = answer(404, &[], "11111111-1111-1111-1111-111111111111");
        let b = answer(404, &[], "22222222-2222-2222-2222-222222222222");
        assert_eq!(places(&a, &b), ["body"]);
    }
}
