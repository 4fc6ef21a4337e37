//! The runner of the tables: sends a row's request, compares what came back, reports all that
//! differs at once.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::{Agent, Http, Reply, beside_others, is_consul};

/// What the body has to be. Names in braces stand for values kept by earlier rows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Want {
    /// Whatever it is.
    Any,
    /// No bytes at all.
    Empty,
    /// Exactly this text.
    Is(&'static str),
    /// Text that begins like this.
    Starts(&'static str),
    /// This JSON and no field more. `"*"` stands for any value, `"#"` for any number above
    /// zero, and a field whose name ends in `?` may be missing.
    Json(&'static str),
    /// This JSON, where objects may have further fields.
    Like(&'static str),
}

/// A request and what has to come back.
pub(super) struct Row {
    title: &'static str,
    method: &'static str,
    path: &'static str,
    body: &'static str,
    sent: &'static [(&'static str, &'static str)],
    status: u16,
    want: Want,
    consul: Option<(u16, Want)>,
    headers: &'static [(&'static str, &'static str)],
    keep: &'static [(&'static str, &'static str)],
}

const fn row(title: &'static str, method: &'static str, path: &'static str) -> Row {
    Row {
        title,
        method,
        path,
        body: "",
        sent: &[],
        status: 200,
        want: Want::Any,
        consul: None,
        headers: &[],
        keep: &[],
    }
}

/// A reading request.
pub(super) const fn get(title: &'static str, path: &'static str) -> Row {
    row(title, "GET", path)
}

/// A writing request with a body.
pub(super) const fn put(title: &'static str, path: &'static str, body: &'static str) -> Row {
    Row { body, ..row(title, "PUT", path) }
}

/// A request that makes something, with a body.
pub(super) const fn post(title: &'static str, path: &'static str, body: &'static str) -> Row {
    Row { body, ..row(title, "POST", path) }
}

/// A deleting request.
pub(super) const fn delete(title: &'static str, path: &'static str) -> Row {
    row(title, "DELETE", path)
}

/// A request with some other method.
pub(super) const fn other(title: &'static str, method: &'static str, path: &'static str) -> Row {
    row(title, method, path)
}

impl Row {
    /// What has to come back.
    pub(super) const fn gives(self, status: u16, want: Want) -> Self {
        Self { status, want, ..self }
    }

    /// What the real Consul 1.8.7 gives instead, where we go with later versions or do better.
    pub(super) const fn consul(self, status: u16, want: Want) -> Self {
        Self { consul: Some((status, want)), ..self }
    }

    /// Headers to send.
    pub(super) const fn sending(self, sent: &'static [(&'static str, &'static str)]) -> Self {
        Self { sent, ..self }
    }

    /// Headers that have to come back, names in lower case: `*` is any value, `-` none at all.
    pub(super) const fn with(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    /// Keeps values of the JSON that came back: name, and JSON pointer.
    pub(super) const fn keeps(self, keep: &'static [(&'static str, &'static str)]) -> Self {
        Self { keep, ..self }
    }
}

/// Values that later rows refer to, by name.
pub(super) type Kept = BTreeMap<String, String>;

/// Starts a node and runs the rows against it, in order.
pub(super) async fn check(rows: &[Row]) {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    check_on(&agent, rows).await;
}

/// Runs the rows against a running node, in order.
pub(super) async fn check_on(agent: &Agent, rows: &[Row]) {
    let http = agent.http();
    let mut kept = Kept::from([("ip".to_owned(), agent.address().to_string())]);
    let mut wrong = Vec::new();
    for row in rows {
        if let Err(what) = try_row(&http, row, &mut kept).await {
            wrong.push(format!("{} ({} {}): {what}", row.title, row.method, row.path));
        }
    }
    let (failed, all) = (wrong.len(), rows.len());
    assert!(wrong.is_empty(), "{failed} of {all} rows differ\n{}\n", wrong.join("\n"));
}

async fn try_row(http: &Http, row: &Row, kept: &mut Kept) -> Result<(), String> {
    let path = filled(row.path, kept);
    let body = filled(row.body, kept);
    let sent = http.send(row.method, &path, row.sent, &body).await;
    let reply = sent.map_err(|error| format!("no reply: {error}"))?;
    let (status, want) = row.consul.filter(|_| is_consul()).unwrap_or((row.status, row.want));
    if reply.status != status {
        return Err(format!("status {}, not {status}: {}", reply.status, reply.text()));
    }
    fits(&reply, want, kept)?;
    for (name, value) in row.headers {
        header_fits(&reply, name, value)?;
    }
    for (name, pointer) in row.keep {
        let json = reply.json();
        let value = json.pointer(pointer).ok_or_else(|| format!("nothing at {pointer}"))?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        kept.insert((*name).to_owned(), text);
    }
    Ok(())
}

fn filled(text: &str, kept: &Kept) -> String {
    kept.iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

fn header_fits(reply: &Reply, name: &str, value: &str) -> Result<(), String> {
    let there = reply.header(name);
    let fits = match value {
        "*" => there.is_some(),
        "-" => there.is_none(),
        _ => there == Some(value),
    };
    if fits { Ok(()) } else { Err(format!("header {name} is {there:?}, not {value:?}")) }
}

fn fits(reply: &Reply, want: Want, kept: &Kept) -> Result<(), String> {
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let ok = match want {
        Want::Any => true,
        Want::Empty => text.is_empty(),
        Want::Is(wanted) => text == filled(wanted, kept),
        Want::Starts(wanted) => text.starts_with(&filled(wanted, kept)),
        Want::Json(wanted) => return json_fits(&text, &filled(wanted, kept), Fields::Exactly),
        Want::Like(wanted) => return json_fits(&text, &filled(wanted, kept), Fields::AtLeast),
    };
    if ok { Ok(()) } else { Err(format!("body {text:?}, not {want:?}")) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fields {
    Exactly,
    AtLeast,
}

fn json_fits(text: &str, wanted: &str, fields: Fields) -> Result<(), String> {
    let there: Value =
        serde_json::from_str(text).map_err(|error| format!("not JSON ({error}): {text:?}"))?;
    let wanted: Value =
        serde_json::from_str(wanted).unwrap_or_else(|error| panic!("row: {error}: {wanted}"));
    value_fits("", &there, &wanted, fields).map_err(|what| format!("{what} in {there}"))
}

fn value_fits(at: &str, there: &Value, wanted: &Value, fields: Fields) -> Result<(), String> {
    match (there, wanted) {
        (_, Value::String(any)) if any == "*" => Ok(()),
        (Value::Number(number), Value::String(any)) if any == "#" => {
            let above = number.as_u64().is_some_and(|number| number > 0);
            if above { Ok(()) } else { Err(format!("{at} is {number}")) }
        }
        (Value::Array(there), Value::Array(wanted)) if there.len() == wanted.len() => {
            let mut pairs = there.iter().zip(wanted).enumerate();
            pairs.try_for_each(|(nth, (a, b))| value_fits(&format!("{at}/{nth}"), a, b, fields))
        }
        (Value::Object(there), Value::Object(wanted)) => {
            for (name, value) in wanted {
                let optional = name.ends_with('?');
                let name = name.trim_end_matches('?');
                match there.get(name) {
                    Some(found) => value_fits(&format!("{at}/{name}"), found, value, fields)?,
                    None if optional => {}
                    None => return Err(format!("{at}/{name} is missing")),
                }
            }
            let known =
                |name: &str| wanted.contains_key(name) || wanted.contains_key(&format!("{name}?"));
            match there.keys().find(|name| fields == Fields::Exactly && !known(name)) {
                Some(extra) => Err(format!("{at}/{extra} is one too many")),
                None => Ok(()),
            }
        }
        _ if there == wanted => Ok(()),
        _ => Err(format!("{at} is {there}, not {wanted}")),
    }
}
