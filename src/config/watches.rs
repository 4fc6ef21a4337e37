//! `watches`: what each reads, how its answer is shown, and who is told of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::duration;
use super::layer::{ConfigError, Layer};
use super::watch_view::{WatchTarget, WatchView};
use crate::limits::WATCHES_MAX;

/// How long a call of an HTTP handler may take, unless it says so. Source: Consul, "Watches".
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);

/// Most values of one header; each is a line of every call.
const HEADER_VALUES_MAX: usize = 64;

/// One watch of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchOptions {
    /// `key`, `services` and so on; for the log.
    pub kind: String,
    /// What is read, and how it is shown.
    pub view: WatchView,
    /// The token that reads carry; empty for none.
    pub token: String,
    /// Who is told.
    pub handler: WatchHandler,
}

/// Who is told of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchHandler {
    /// A program and its arguments.
    Args(Vec<String>),
    /// A line for the shell.
    Shell(String),
    /// A call over HTTP.
    Http(WatchCall),
}

/// A call over HTTP that tells of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchCall {
    /// The whole URL.
    pub url: String,
    /// `POST` unless told otherwise.
    pub method: String,
    /// Patience with one call; above zero.
    pub timeout: Duration,
    /// Headers and their values.
    pub header: BTreeMap<String, Vec<String>>,
    /// True to take any certificate.
    pub tls_skip_verify: bool,
}

/// Wraps a value of HCL: there `a { … }` is a list of one.
fn object(value: &Value) -> Option<&Map<String, Value>> {
    match value {
        Value::Array(list) if list.len() == 1 => list.first()?.as_object(),
        one => one.as_object(),
    }
}

/// Looks at the shape alone: a list of objects.
pub(super) fn list_of(key: &str, value: &Value) -> Result<Value, ConfigError> {
    let Value::Array(list) = value else {
        let got = if value.is_object() { "map" } else { "a single value" };
        let why = format!("'{key}': source data must be an array or slice, got {got}");
        return Err(ConfigError::new(why));
    };
    match list.iter().position(|one| !one.is_object()) {
        Some(at) => Err(ConfigError::new(format!("'{key}[{at}]' expected a map"))),
        None => Ok(value.clone()),
    }
}

/// Reads every watch.
///
/// # Errors
///
/// The first that makes no sense, in Consul's words but for the definition itself, which may hold
/// a token; or more than there may be.
pub(super) fn watches_of(layer: &Layer) -> Result<Vec<WatchOptions>, ConfigError> {
    let list = layer.definitions("watches");
    if list.len() > WATCHES_MAX {
        let why = format!("watches: {} are more than {WATCHES_MAX}", list.len());
        return Err(ConfigError::new(why));
    }
    let read = list.iter().filter_map(Value::as_object).map(|fields| one(fields.clone()));
    read.collect::<Result<_, _>>().map_err(ConfigError::new)
}

fn one(mut fields: Map<String, Value>) -> Result<WatchOptions, String> {
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    if ["connect_roots", "connect_leaf"].contains(&kind.as_str()) {
        return Err(format!("Watch type {kind} is not allowed in agent config"));
    }
    let by_http = match fields.remove("handler_type") {
        None => false,
        Some(Value::String(text)) if text == "script" => false,
        Some(Value::String(text)) if text == "http" => true,
        Some(other) => {
            let text = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
            return Err(format!("Handler type '{text}' not recognized"));
        }
    };
    let program = program(&mut fields)?;
    match (&program, by_http) {
        (Some(_), true) => return Err("Only one watch handler allowed".to_owned()),
        (None, false) => return Err("Must define a watch handler".to_owned()),
        _ => {}
    }
    let failed = |why: String| match kind.as_str() {
        "" => format!("Failed to parse watch: {why}"),
        kind => format!("Failed to parse watch (type: {kind}): {why}"),
    };
    let handler = match program {
        Some(program) => program,
        None => WatchHandler::Http(call(&mut fields).map_err(failed)?),
    };
    let token = take_text(&mut fields, "token").map_err(failed)?;
    let view = view(&mut fields).map_err(failed)?;
    Ok(WatchOptions { kind: kind.clone(), view, token, handler })
}

/// The program of `handler` or `args`, if there is one.
fn program(fields: &mut Map<String, Value>) -> Result<Option<WatchHandler>, String> {
    let shell = match fields.remove("handler") {
        None => None,
        Some(Value::String(line)) => Some(WatchHandler::Shell(line)),
        Some(_) => return Err("Watch handler must be a string".to_owned()),
    };
    let args = match fields.remove("args") {
        None => None,
        Some(value) => {
            let words = texts(&value).ok_or("Watch args must be a list of strings")?;
            Some(WatchHandler::Args(words))
        }
    };
    match (shell, args) {
        (Some(_), Some(_)) => Err("Only one watch handler allowed".to_owned()),
        (shell, args) => Ok(shell.or(args)),
    }
}

/// One string, or a list of them.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) => list.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn call(fields: &mut Map<String, Value>) -> Result<WatchCall, String> {
    let told = fields.remove("http_handler_config");
    let told = told.ok_or("Handler type 'http' requires 'http_handler_config' to be set")?;
    read_call(&told).map_err(|why| format!("Failed to parse 'http_handler_config': {why}"))
}

/// Unknown keys are passed over, as Consul does here.
fn read_call(told: &Value) -> Result<WatchCall, String> {
    let told = object(told).ok_or("expected a map")?;
    let text = |key: &str| match told.get(key) {
        None | Some(Value::Null) => Ok(""),
        Some(value) => value.as_str().ok_or_else(|| format!("'{key}' expected type 'string'")),
    };
    let url = match text("path")? {
        "" => return Err("Requires 'path' to be set".to_owned()),
        url => url.to_owned(),
    };
    let method = match text("method")? {
        "" => "POST".to_owned(),
        method => method.to_owned(),
    };
    let timeout = match text("timeout")? {
        "" => HTTP_TIMEOUT,
        text => duration::parse(text).map_err(|why| format!("Failed to parse timeout: {why}"))?,
    };
    let mut header = BTreeMap::new();
    if let Some(value) = told.get("header") {
        for (name, values) in object(value).ok_or("'header' expected a map")? {
            let values = texts(values).filter(|values| values.len() <= HEADER_VALUES_MAX);
            let values = values.ok_or_else(|| format!("'header[{name}]' expected strings"))?;
            header.insert(name.clone(), values);
        }
    }
    let tls_skip_verify = match told.get("tls_skip_verify") {
        None => false,
        Some(value) => value.as_bool().ok_or("'tls_skip_verify' expected type 'bool'")?,
    };
    // Consul takes none for no end; here none is without one.
    let timeout = if timeout.is_zero() { HTTP_TIMEOUT } else { timeout };
    Ok(WatchCall { url, method, timeout, header, tls_skip_verify })
}

fn view(fields: &mut Map<String, Value>) -> Result<WatchView, String> {
    let target = WatchTarget {
        datacenter: take_text(fields, "datacenter")?,
        stale: take_switch(fields, "stale")?,
        kind: match take_text(fields, "type")? {
            kind if kind.is_empty() => return Err("Watch type must be specified".to_owned()),
            kind => kind,
        },
        ..WatchTarget::default()
    };
    let target = match target.kind.as_str() {
        "key" => WatchTarget { key: take_text(fields, "key")?, ..target },
        "keyprefix" => WatchTarget { prefix: take_text(fields, "prefix")?, ..target },
        "service" => WatchTarget {
            service: take_text(fields, "service")?,
            tags: match fields.remove("tag") {
                None => Vec::new(),
                Some(value) => texts(&value).ok_or("Expecting tag to be a string or []string")?,
            },
            passing_only: take_switch(fields, "passingonly")?,
            ..target
        },
        "checks" => WatchTarget {
            service: take_text(fields, "service")?,
            state: take_text(fields, "state")?,
            ..target
        },
        "event" => WatchTarget { name: take_text(fields, "name")?, ..target },
        _ => target,
    };
    let view = target.view()?;
    if fields.is_empty() {
        return Ok(view);
    }
    let names: Vec<_> = fields.keys().map(String::as_str).collect();
    Err(format!("Invalid parameters: [{}]", names.join(" ")))
}

fn take_text(fields: &mut Map<String, Value>, key: &str) -> Result<String, String> {
    match fields.remove(key) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("Expecting {key} to be a string")),
    }
}

fn take_switch(fields: &mut Map<String, Value>, key: &str) -> Result<bool, String> {
    match fields.remove(key) {
        None => Ok(false),
        Some(Value::Bool(switch)) => Ok(switch),
        Some(_) => Err(format!("Expecting {key} to be a boolean")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(watch: &Value) -> Result<WatchOptions, String> {
        let layer = Layer::read(&json!({"watches": [watch]})).map_err(|why| why.to_string())?;
        let mut all = watches_of(&layer).map_err(|why| why.to_string())?;
        Ok(all.remove(0))
    }

    /// Each line's end is the real Consul 1.8.7's.
    #[test]
    fn nonsense_is_refused_in_consuls_words() {
        let of_key = |more: Value| {
            let mut watch = json!({"type": "key", "key": "a"});
            watch.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            watch
        };
        for (watch, why) in [
            (of_key(json!({})), "Must define a watch handler"),
            (of_key(json!({"args": ["x"], "handler": "y"})), "Only one watch handler allowed"),
            (of_key(json!({"args": [3]})), "Watch args must be a list of strings"),
            (of_key(json!({"handler": 3})), "Watch handler must be a string"),
            (of_key(json!({"args": "x", "bogus": 1})), ": Invalid parameters: [bogus]"),
            (of_key(json!({"args": "x", "token": 3})), ": Expecting token to be a string"),
            (of_key(json!({"args": "x", "stale": "x"})), ": Expecting stale to be a boolean"),
            (
                of_key(json!({"args": "x", "handler_type": "foo"})),
                "Handler type 'foo' not recognized",
            ),
            (
                of_key(json!({"handler_type": "http"})),
                "Handler type 'http' requires 'http_handler_config' to be set",
            ),
            (
                of_key(json!({"handler_type": "http", "http_handler_config": {"method": "GET"}})),
                "Failed to parse 'http_handler_config': Requires 'path' to be set",
            ),
            (
                of_key(json!({"handler_type": "http", "args": "x",
                    "http_handler_config": {"path": "x"}})),
                "Only one watch handler allowed",
            ),
            (json!({"key": "a", "args": ["x"]}), "Watch type must be specified"),
            (json!({"type": "key", "args": ["x"]}), "Must specify a single key to watch"),
            (json!({"type": "key", "key": 3, "args": "x"}), "Expecting key to be a string"),
            (json!({"type": "foo", "args": ["x"]}), "Unsupported watch type: foo"),
            (
                json!({"type": "connect_roots", "args": ["x"]}),
                "Watch type connect_roots is not allowed in agent config",
            ),
            (
                json!({"type": "service", "service": "a", "tag": 3, "args": "x"}),
                "Expecting tag to be a string or []string",
            ),
            (
                json!({"type": "checks", "service": "a", "state": "b", "args": "x"}),
                "Cannot specify service and state",
            ),
            (json!(3), "'watches[0]' expected a map"),
        ] {
            let told = read(&watch).unwrap_err();
            assert!(told.ends_with(why), "{watch}: {told}");
        }
        let bare = Layer::read(&json!({"watches": {"type": "key"}})).unwrap_err();
        let why = "'watches': source data must be an array or slice, got map";
        assert_eq!(bare.to_string(), why);
        let many = json!({"watches": vec![of_key(json!({"args": "x"})); WATCHES_MAX + 1]});
        assert!(watches_of(&Layer::read(&many).unwrap()).is_err());
    }

    #[test]
    fn handlers_are_read() {
        let watch = json!({"type": "service", "service": "w", "tag": ["a", "b"], "stale": true,
            "passingonly": true, "datacenter": "dc1", "args": ["x", "y"], "token": "t"});
        let watch = read(&watch).unwrap();
        assert_eq!(watch.handler, WatchHandler::Args(vec!["x".to_owned(), "y".to_owned()]));
        assert_eq!((watch.token.as_str(), watch.kind.as_str()), ("t", "service"));
        let texts: Vec<_> =
            watch.view.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(texts, ["tag=a", "tag=b", "passing=1", "dc=dc1", "stale="]);
        // As HCL gives them, objects are lists of one.
        let watch = json!({"type": "nodes", "handler_type": "http", "http_handler_config":
            [{"path": "http://x/", "timeout": "3s", "header": [{"A": ["1", "2"]}], "other": 1}]});
        let WatchHandler::Http(call) = read(&watch).unwrap().handler else { panic!("no call") };
        assert_eq!((call.method.as_str(), call.timeout), ("POST", Duration::from_secs(3)));
        assert_eq!(call.header["A"], ["1", "2"]);
    }
}
