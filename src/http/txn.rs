//! `/v1/txn`: several operations on keys, together or not at all.
//! Source: Consul HTTP API, "Transactions".

use axum::http::{HeaderValue, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use crate::limits::TXN_OPS_MAX;
use crate::model::{
    Answer, Command, Index, KvOp, KvWrite, Query, Reply, TxnError, TxnResult, Written,
};

use super::call::{Call, Discovery, KNOWN_LEADER, LAST_CONTACT, Outcome, truth, wrong_answer};
use super::error::{Failure, lock_not_held, refusal_text};
use super::json::{self, Fields};
use super::kv;
use super::number::quoted;
use super::session::parse_id;
use super::wire::{TxnErrorJson, TxnJson, TxnReadJson, TxnResultJson};

/// Operations on the catalog inside a transaction come later.
const KINDS_LATER: [&str; 3] = ["Node", "Service", "Check"];

/// `PUT /v1/txn`.
pub(super) async fn put(mut call: Call) -> Outcome {
    let plan = call.read_plan(Discovery::No)?;
    call.check_datacenter()?;
    let max = call.options.txn_bytes_max.max(call.options.value_bytes_max);
    let body = call.body(max, "txn_max_req_len").await?;
    let parse = |text: String| Failure::bad(format!("Failed to parse body: {text}"));
    let value = json::parse(&body).map_err(parse)?;
    let Asking { ops, errors, only_reads } = operations(&value, call.options.value_bytes_max)?;
    if !errors.is_empty() {
        let meta = only_reads.then_some((0, true));
        return Ok(answer(&call, Err(errors), meta));
    }
    if !only_reads {
        let Written { reply, index } = call.write(Command::Txn(ops)).await?;
        let Reply::Txn(outcome) = reply else { wrong_answer() };
        return Ok(answer(&call, shown(&outcome), None).written(index));
    }
    let plan = super::params::ReadPlan {
        options: crate::model::ReadOptions { after: None, wait: None, ..plan.options },
        ..plan
    };
    let read = call.read(Query::Txn(ops), &plan).await?;
    let Answer::Txn(outcome) = &*read.answer else { wrong_answer() };
    let contact = u64::try_from(read.last_contact.as_millis()).unwrap_or(u64::MAX);
    Ok(answer(&call, shown(outcome), Some((contact, read.known_leader))).written(read.index))
}

type Shown<'a> = Result<Vec<TxnResultJson<'a>>, Vec<TxnErrorJson>>;

fn shown(outcome: &Result<Vec<TxnResult>, Vec<TxnError>>) -> Shown<'_> {
    match outcome {
        Ok(results) => Ok(results.iter().map(TxnResultJson::of).collect()),
        Err(errors) => Err(errors
            .iter()
            .map(|error| TxnErrorJson { op_index: error.op, what: refusal_text(&error.what) })
            .collect()),
    }
}

/// The answer; one that only read also has last contact and known leader.
fn answer(call: &Call, outcome: Shown<'_>, read: Option<(u64, bool)>) -> super::call::Output {
    let status = if outcome.is_ok() { StatusCode::OK } else { StatusCode::CONFLICT };
    let txn = match outcome {
        Ok(results) => TxnJson { results: Some(results), errors: None },
        Err(errors) => TxnJson { results: None, errors: Some(errors) },
    };
    let Some((last_contact, known_leader)) = read else { return call.json(&txn).status(status) };
    let shape = TxnReadJson { txn, index: 0, last_contact, known_leader, consistency_level: "" };
    let mut output = call.json(&shape).status(status);
    output.headers.push((KNOWN_LEADER, truth(known_leader)));
    output.headers.push((LAST_CONTACT, HeaderValue::from(last_contact)));
    output
}

/// What a body asks for.
struct Asking {
    ops: Vec<KvOp>,
    /// Operations that the state need not be asked about: they fail by themselves.
    errors: Vec<TxnErrorJson>,
    only_reads: bool,
}

fn operations(value: &Value, value_max: usize) -> Result<Asking, Failure> {
    let parse = |text: String| Failure::bad(format!("Failed to parse body: {text}"));
    let list = match value {
        Value::Array(list) => list.as_slice(),
        Value::Null => &[],
        _ => {
            let text = "json: cannot unmarshal object into Go value of type api.TxnOps";
            return Err(parse(text.to_owned()));
        }
    };
    if list.len() > TXN_OPS_MAX {
        let text =
            format!("Transaction contains too many operations ({} > {TXN_OPS_MAX})", list.len());
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    let mut found =
        Asking { ops: Vec::with_capacity(list.len()), errors: Vec::new(), only_reads: true };
    for (at, value) in list.iter().enumerate() {
        let Some(asked) = asked(value).map_err(|why| why.failure(&parse))? else { continue };
        if asked.value.len() > value_max {
            let text = format!(
                "Value for key {} is too large ({} > {value_max} bytes)",
                quoted(&asked.key),
                asked.value.len()
            );
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        kv::bounded(&asked.key)?;
        found.only_reads &= !is_write(&asked.verb);
        match asked.operation() {
            Ok(op) => found.ops.push(op),
            Err(what) => found.errors.push(TxnErrorJson { op_index: at, what }),
        }
    }
    Ok(found)
}

/// Why an operation cannot be read.
enum Unread {
    Parse(String),
    Later(&'static str),
}

impl Unread {
    fn failure(self, parse: &impl Fn(String) -> Failure) -> Failure {
        match self {
            Self::Parse(text) => parse(text),
            Self::Later(kind) => {
                Failure::bad(format!("transactions on {kind} are not supported yet, only on KV"))
            }
        }
    }
}

impl From<String> for Unread {
    fn from(text: String) -> Self {
        Self::Parse(text)
    }
}

/// An operation as the body words it.
struct Asked {
    verb: String,
    key: String,
    value: Bytes,
    flags: u64,
    index: Index,
    session: String,
}

fn asked(value: &Value) -> Result<Option<Asked>, Unread> {
    let mut outer = Fields::of(value, "api.TxnOp")?;
    let kv = outer.take("KV");
    for kind in KINDS_LATER {
        if outer.take(kind).is_some() {
            return Err(Unread::Later(kind));
        }
    }
    outer.finish()?;
    let Some(kv) = kv else { return Ok(None) };
    let mut fields = Fields::of(kv, "api.KVTxnOp")?;
    let asked = Asked {
        verb: fields.text("Verb")?,
        key: fields.text("Key")?,
        value: decoded(&fields.text("Value")?)?,
        flags: fields.unsigned("Flags")?,
        index: Index(fields.unsigned("Index")?),
        session: fields.text("Session")?,
    };
    fields.ignore(&["Namespace", "Partition"]);
    fields.finish()?;
    Ok(Some(asked))
}

/// Bytes from base64; line breaks inside do not count. The error is Go's text.
fn decoded(text: &str) -> Result<Bytes, String> {
    let joined: std::borrow::Cow<'_, str> = if text.contains(['\n', '\r']) {
        text.replace(['\n', '\r'], "").into()
    } else {
        text.into()
    };
    match STANDARD.decode(joined.as_bytes()) {
        Ok(bytes) => Ok(bytes.into()),
        Err(base64::DecodeError::InvalidByte(at, _)) => {
            Err(format!("illegal base64 data at input byte {at}"))
        }
        Err(_) => Err(format!("illegal base64 data at input byte {}", joined.len())),
    }
}

fn is_write(verb: &str) -> bool {
    matches!(verb, "set" | "cas" | "lock" | "unlock" | "delete" | "delete-tree" | "delete-cas")
}

impl Asked {
    /// The operation, or why it fails whatever the state is, in Consul's words.
    fn operation(self) -> Result<KvOp, String> {
        let Self { verb, key, value, flags, index, session } = self;
        if key.is_empty() && verb != "delete-tree" {
            return Err("Must provide key".to_owned());
        }
        let holder = || {
            if session.is_empty() {
                return Err("missing session".to_owned());
            }
            parse_id(&session)
        };
        let verb = match verb.as_str() {
            "set" => KvWrite::Set { value, flags },
            "cas" => KvWrite::Cas { value, flags, index },
            "lock" => KvWrite::Lock { value, flags, session: holder()? },
            "unlock" => match parse_id(&session) {
                Ok(session) => KvWrite::Unlock { value, flags, session },
                Err(_) if session.is_empty() => return Err("missing session".to_owned()),
                Err(_) => return Err(lock_not_held(&key)),
            },
            "delete" => KvWrite::Delete,
            "delete-tree" => KvWrite::DeleteTree,
            "delete-cas" => KvWrite::DeleteCas { index },
            "get" => KvWrite::Get,
            "get-or-empty" => KvWrite::GetOrEmpty,
            "get-tree" => KvWrite::GetTree,
            "check-index" => KvWrite::CheckIndex { index },
            "check-session" => KvWrite::CheckSession { session: parse_id(&session)? },
            "check-not-exists" => KvWrite::CheckNotExists,
            other => return Err(format!("unknown KV verb {}", quoted(other))),
        };
        Ok(KvOp { key, verb })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Result<Asking, (u16, String)> {
        operations(value, 8).map_err(|failure| (failure.status.as_u16(), failure.text.into_owned()))
    }

    #[test]
    fn every_verb_is_known() {
        let session = "11111111-1111-1111-1111-111111111111";
        for (verb, writes) in [
            ("set", true),
            ("cas", true),
            ("lock", true),
            ("unlock", true),
            ("delete", true),
            ("delete-tree", true),
            ("delete-cas", true),
            ("get", false),
            ("get-or-empty", false),
            ("get-tree", false),
            ("check-index", false),
            ("check-session", false),
            ("check-not-exists", false),
        ] {
            let op = json!([{"KV": {"Verb": verb, "Key": "k", "Value": "eA==", "Session": session,
                                    "Index": 7, "Flags": 3_304_740_253_564_472_344_u64}}]);
            let found = read(&op).unwrap();
            assert!(found.errors.is_empty(), "{verb}");
            assert_eq!((found.ops.len(), found.only_reads), (1, !writes), "{verb}");
        }
    }

    #[test]
    fn operations_that_fail_by_themselves_have_consuls_texts() {
        for (op, want) in [
            (json!({"Verb": "set", "Key": ""}), "Must provide key"),
            (json!({"Verb": "SET", "Key": "t"}), "unknown KV verb \"SET\""),
            (json!({"Verb": "lock", "Key": "t"}), "missing session"),
            (
                json!({"Verb": "lock", "Key": "t", "Session": "x"}),
                "failed session lookup: index error: UUID must be 36 characters",
            ),
        ] {
            let found = read(&json!([{"KV": op}])).unwrap();
            assert_eq!(found.errors[0].what, want);
        }
    }

    #[test]
    fn bodies_that_do_not_parse_have_consuls_texts() {
        let many: Vec<_> = (0..=TXN_OPS_MAX).map(|_| json!({})).collect();
        for (body, want) in [
            (
                json!({"KV": 1}),
                (
                    400,
                    "Failed to parse body: json: cannot unmarshal object into Go value of type \
                     api.TxnOps",
                ),
            ),
            (
                json!([{"Session": {}}]),
                (400, "Failed to parse body: json: unknown field \"Session\""),
            ),
            (
                json!([{"KV": {"Verb": "set", "Key": "t", "Value": "!!"}}]),
                (400, "Failed to parse body: illegal base64 data at input byte 0"),
            ),
            (
                json!([{"KV": {"Verb": "set", "Key": "t", "Value": "eHh4eHh4eHh4"}}]),
                (413, "Value for key \"t\" is too large (9 > 8 bytes)"),
            ),
            (
                json!([{"Node": {"Verb": "get"}}]),
                (400, "transactions on Node are not supported yet, only on KV"),
            ),
            (json!(many), (413, "Transaction contains too many operations (129 > 128)")),
        ] {
            let found = read(&body).map(|_| ());
            assert_eq!(found, Err((want.0, want.1.to_owned())));
        }
    }

    #[test]
    fn an_operation_of_nothing_is_passed_over() {
        let found = read(&json!([{}, {"KV": null}])).unwrap();
        assert!(found.ops.is_empty() && found.only_reads);
    }
}
