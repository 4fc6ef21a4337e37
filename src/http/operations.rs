//! The operations of a transaction as a body words them.
//!
//! An operation that makes no sense fails in one of two ways, as in Consul: what is looked at
//! before anything is done stops the whole transaction, the rest fails beside all others.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use crate::limits::{NAME_BYTES_MAX, TXN_OPS_MAX};
use crate::model::{Check, Index, KvOp, KvWrite, Node, RecordVerb, Service, TxnOp};

use super::catalog::{check_node_id, check_part, service_part};
use super::definition::{self, DefinitionError};
use super::error::{Failure, lock_not_held};
use super::json::{self, Fields};
use super::kv;
use super::number::quoted;
use super::session::parse_id;
use super::wire::TxnErrorJson;

/// What a body asks for.
pub(super) struct Asking {
    /// The operations.
    pub ops: Vec<TxnOp>,
    /// Operations that stop the whole before anything is done.
    pub errors: Vec<TxnErrorJson>,
    /// Whether nothing would be changed.
    pub only_reads: bool,
}

/// Reads a body; `datacenter` is that of a node which names none.
pub(super) fn operations(
    value: &Value,
    value_max: usize,
    datacenter: &str,
) -> Result<Asking, Failure> {
    let list = match value {
        Value::Array(list) => list.as_slice(),
        Value::Null => &[],
        other => return Err(parse(&json::wrong_value(other, "api.TxnOps"))),
    };
    if list.len() > TXN_OPS_MAX {
        let text =
            format!("Transaction contains too many operations ({} > {TXN_OPS_MAX})", list.len());
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    let mut found =
        Asking { ops: Vec::with_capacity(list.len()), errors: Vec::new(), only_reads: true };
    for (at, value) in list.iter().enumerate() {
        let Some(asked) = asked(value, datacenter).map_err(|text| parse(&text))? else { continue };
        asked.bounded(value_max)?;
        found.only_reads &= !asked.writes();
        match asked.operation() {
            Ok(op) => found.ops.push(op),
            Err(what) => found.errors.push(TxnErrorJson { op_index: at, what }),
        }
    }
    Ok(found)
}

fn parse(text: &str) -> Failure {
    Failure::bad(format!("Failed to parse body: {text}"))
}

/// An operation as the body words it.
enum Asked {
    Kv(AskedKv),
    Node { verb: String, node: Node, index: Index },
    Service { verb: String, service: Service, index: Index },
    Check { verb: String, check: Check, index: Index },
}

struct AskedKv {
    verb: String,
    key: String,
    value: Bytes,
    flags: u64,
    index: Index,
    session: String,
}

/// The first of the four kinds that an operation has; one that has none is passed over.
fn asked(value: &Value, datacenter: &str) -> Result<Option<Asked>, String> {
    let mut outer = Fields::of(value, "api.TxnOp")?;
    let (kv, node) = (outer.take("KV"), outer.take("Node"));
    let (service, check) = (outer.take("Service"), outer.take("Check"));
    outer.finish()?;
    let kv = kv.map(asked_kv).transpose()?;
    let node = node.map(|value| asked_node(value, datacenter)).transpose()?;
    let service = service.map(asked_service).transpose()?;
    let check = check.map(asked_check).transpose()?;
    Ok(kv.or(node).or(service).or(check))
}

fn asked_kv(value: &Value) -> Result<Asked, String> {
    let mut fields = Fields::of(value, "api.KVTxnOp")?;
    let asked = AskedKv {
        verb: fields.text("Verb")?,
        key: fields.text("Key")?,
        value: decoded(&fields.text("Value")?)?,
        flags: fields.unsigned("Flags")?,
        index: Index(fields.unsigned("Index")?),
        session: fields.text("Session")?,
    };
    fields.ignore(&["Namespace", "Partition"]);
    fields.finish()?;
    Ok(Asked::Kv(asked))
}

fn asked_node(value: &Value, datacenter: &str) -> Result<Asked, String> {
    let mut outer = Fields::of(value, "api.NodeTxnOp")?;
    let verb = outer.text("Verb")?;
    let inner = outer.take("Node").unwrap_or(&Value::Null);
    outer.finish()?;
    let mut fields = Fields::of(inner, "api.Node")?;
    let named = fields.text("Datacenter")?;
    let node = Node {
        id: fields.text("ID")?.to_lowercase(),
        name: fields.text("Node")?,
        address: fields.text("Address")?,
        datacenter: if named.is_empty() { datacenter.to_owned() } else { named },
        tagged_addresses: fields.pairs("TaggedAddresses")?,
        meta: fields.pairs("Meta")?,
        ..Node::default()
    };
    let index = Index(fields.unsigned("ModifyIndex")?);
    fields.ignore(&["CreateIndex", "Partition", "PeerName", "Locality"]);
    fields.finish()?;
    Ok(Asked::Node { verb, node, index })
}

fn asked_service(value: &Value) -> Result<Asked, String> {
    let mut outer = Fields::of(value, "api.ServiceTxnOp")?;
    let verb = outer.text("Verb")?;
    let node = outer.text("Node")?;
    let inner = outer.take("Service").unwrap_or(&Value::Null);
    outer.finish()?;
    let (id, index) = identity(inner, "ID")?;
    let service = service_part(inner).map_err(DefinitionError::local_text)?;
    Ok(Asked::Service { verb, service: Service { node, id, ..service }, index })
}

fn asked_check(value: &Value) -> Result<Asked, String> {
    let mut outer = Fields::of(value, "api.CheckTxnOp")?;
    let verb = outer.text("Verb")?;
    let inner = outer.take("Check").unwrap_or(&Value::Null);
    outer.finish()?;
    let (id, index) = identity(inner, "CheckID")?;
    let check = check_part(inner, "")?;
    Ok(Asked::Check { verb, check: Check { id, ..check }, index })
}

/// A record's id as it was given, which is not made up from its name here, and its index.
fn identity(value: &Value, id: &str) -> Result<(String, Index), String> {
    let mut fields = Fields::of(value, "api.AgentService")?;
    Ok((fields.text(id)?, Index(fields.unsigned("ModifyIndex")?)))
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

impl Asked {
    /// Whether it would change something; an unknown verb counts as Consul counts it.
    fn writes(&self) -> bool {
        match self {
            Self::Kv(asked) => matches!(
                asked.verb.as_str(),
                "set" | "cas" | "lock" | "unlock" | "delete" | "delete-tree" | "delete-cas"
            ),
            Self::Node { verb, .. } | Self::Service { verb, .. } | Self::Check { verb, .. } => {
                verb != "get"
            }
        }
    }

    /// Whether texts are within their bounds.
    fn bounded(&self, value_max: usize) -> Result<(), Failure> {
        let names: &[&String] = match self {
            Self::Kv(asked) => return asked.bounded(value_max),
            Self::Node { node, .. } => &[&node.name],
            Self::Service { service, .. } => &[&service.node, &service.name, &service.id],
            Self::Check { check, .. } => &[&check.node, &check.name, &check.id],
        };
        match names.iter().find(|name| name.len() > NAME_BYTES_MAX) {
            Some(name) => Err(Failure::bad(format!(
                "a name of {} bytes is too long, at most {NAME_BYTES_MAX}",
                name.len()
            ))),
            None => Ok(()),
        }
    }

    /// The operation, or why nothing of the transaction is done at all, in Consul's words.
    fn operation(self) -> Result<TxnOp, String> {
        match self {
            Self::Kv(asked) => asked.operation(),
            Self::Node { verb, node, index } => on_node(&verb, node, index),
            Self::Service { verb, service, index } => on_service(&verb, service, index),
            Self::Check { verb, check, index } => Ok(on_check(&verb, check, index)),
        }
    }
}

fn record_verb(word: &str, index: Index) -> Option<RecordVerb> {
    Some(match word {
        "set" => RecordVerb::Set,
        "cas" => RecordVerb::Cas(index),
        "get" => RecordVerb::Get,
        "delete" => RecordVerb::Delete,
        "delete-cas" => RecordVerb::DeleteCas(index),
        _ => return None,
    })
}

fn unknown(kind: &str, word: &str) -> TxnOp {
    TxnOp::Nonsense(format!("unknown {kind} verb {}", quoted(word)))
}

fn on_node(word: &str, node: Node, index: Index) -> Result<TxnOp, String> {
    let verb = record_verb(word, index);
    let bad_id = if node.id.is_empty() { None } else { check_node_id(&node.id).err() };
    if verb == Some(RecordVerb::Get) {
        if let Some(why) = bad_id {
            let why = why.trim_start_matches("Bad node ID: ");
            let text = format!("node lookup by ID failed, wrong UUID: {why} for '{}'", node.id);
            return Ok(TxnOp::Nonsense(text));
        }
    } else if node.name.is_empty() {
        return Err("Must provide node".to_owned());
    } else if let Some(why) = bad_id {
        return Err(why);
    }
    Ok(match verb {
        Some(verb) => TxnOp::Node { verb, node: Box::new(node) },
        None => unknown("Node", word),
    })
}

fn on_service(word: &str, mut service: Service, index: Index) -> Result<TxnOp, String> {
    let verb = record_verb(word, index);
    if verb != Some(RecordVerb::Get) {
        if !service.id.is_empty() && service.name.is_empty() {
            return Err("Must provide service name with ID".to_owned());
        }
        if service.id.is_empty() {
            service.id.clone_from(&service.name);
        }
        if definition::is_any_address(&service.address) {
            return Err("Invalid service address".to_owned());
        }
    }
    let sets = matches!(verb, Some(RecordVerb::Set | RecordVerb::Cas(_)));
    Ok(match verb {
        Some(_) if sets && service.name.is_empty() => {
            let text = "failed inserting service: Must provide service name";
            TxnOp::Nonsense(text.to_owned())
        }
        Some(verb) => TxnOp::Service { verb, service: Box::new(service) },
        None => unknown("Service", word),
    })
}

fn on_check(word: &str, mut check: Check, index: Index) -> TxnOp {
    let verb = record_verb(word, index);
    if check.id.is_empty() && verb != Some(RecordVerb::Get) {
        check.id.clone_from(&check.name);
    }
    let sets = matches!(verb, Some(RecordVerb::Set | RecordVerb::Cas(_)));
    match verb {
        Some(_) if sets && check.id.is_empty() => TxnOp::Nonsense(format!(
            "failed inserting check: Must provide check id or name on node {}",
            quoted(&check.node)
        )),
        Some(verb) => TxnOp::Check { verb, check: Box::new(check) },
        None => unknown("Check", word),
    }
}

impl AskedKv {
    fn bounded(&self, value_max: usize) -> Result<(), Failure> {
        if self.value.len() > value_max {
            let text = format!(
                "Value for key {} is too large ({} > {value_max} bytes)",
                quoted(&self.key),
                self.value.len()
            );
            return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        kv::bounded(&self.key)
    }

    fn operation(self) -> Result<TxnOp, String> {
        if self.key.is_empty() && self.verb != "delete-tree" {
            return Err("Must provide key".to_owned());
        }
        Ok(self.verb().map_or_else(TxnOp::Nonsense, TxnOp::Kv))
    }

    fn verb(self) -> Result<KvOp, String> {
        let Self { verb, key, value, flags, index, session } = self;
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
            "check-session" => KvWrite::CheckSession { session },
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
        operations(value, 8, "dc1")
            .map_err(|failure| (failure.status.as_u16(), failure.text.into_owned()))
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
        let found = read(&json!([{"KV": {"Verb": "set", "Key": ""}}])).unwrap();
        assert_eq!(found.errors[0].what, "Must provide key");
        for (op, want) in [
            (json!({"Verb": "SET", "Key": "t"}), "unknown KV verb \"SET\""),
            (json!({"Verb": "lock", "Key": "t"}), "missing session"),
            (
                json!({"Verb": "lock", "Key": "t", "Session": "x"}),
                "failed session lookup: index error: UUID must be 36 characters",
            ),
        ] {
            let found = read(&json!([{"KV": op}])).unwrap();
            assert_eq!(found.ops, [TxnOp::Nonsense(want.to_owned())]);
        }
    }

    #[test]
    fn records_have_five_verbs_and_their_own_rules() {
        for (verb, writes, want) in [
            ("set", true, RecordVerb::Set),
            ("cas", true, RecordVerb::Cas(Index(7))),
            ("get", false, RecordVerb::Get),
            ("delete", true, RecordVerb::Delete),
            ("delete-cas", true, RecordVerb::DeleteCas(Index(7))),
        ] {
            let service = json!({"Service": "s", "ModifyIndex": 7});
            let found = read(&json!([
                {"Node": {"Verb": verb, "Node": {"Node": "n", "ModifyIndex": 7}}},
                {"Service": {"Verb": verb, "Node": "n", "Service": service}},
                {"Check": {"Verb": verb, "Check": {"Node": "n", "Name": "c", "ModifyIndex": 7}}},
            ]));
            let found = found.unwrap();
            assert!(found.errors.is_empty() && found.only_reads != writes, "{verb}");
            let made = if writes { ["s", "c"] } else { ["", ""] };
            let [TxnOp::Node { verb: one, node }, TxnOp::Service { verb: two, service }, check] =
                found.ops.as_slice()
            else {
                panic!("{verb}: {:?}", found.ops)
            };
            let TxnOp::Check { verb: three, check } = check else { panic!("{check:?}") };
            assert_eq!((*one, *two, *three), (want, want, want));
            assert_eq!((node.datacenter.as_str(), service.node.as_str()), ("dc1", "n"));
            assert_eq!([service.id.as_str(), check.id.as_str()], made, "{verb}");
        }
    }

    #[test]
    fn records_that_make_no_sense_stop_all_or_fail_beside_the_others() {
        for (op, want) in [
            (json!({"Node": {"Verb": "set"}}), "Must provide node"),
            (
                json!({"Node": {"Verb": "set", "Node": {"Node": "n", "ID": "x"}}}),
                "Bad node ID: uuid string is wrong length",
            ),
            (
                json!({"Service": {"Verb": "delete", "Node": "n", "Service": {"ID": "s"}}}),
                "Must provide service name with ID",
            ),
            (
                json!({"Service": {"Verb": "set", "Node": "n",
                                   "Service": {"Service": "s", "Address": "0.0.0.0"}}}),
                "Invalid service address",
            ),
        ] {
            assert_eq!(read(&json!([op])).unwrap().errors[0].what, want);
        }
        for (op, want) in [
            (json!({"Node": {"Verb": "x", "Node": {"Node": "n"}}}), "unknown Node verb \"x\""),
            (json!({"Service": {"Verb": "x"}}), "unknown Service verb \"x\""),
            (json!({"Check": {}}), "unknown Check verb \"\""),
            (
                json!({"Service": {"Verb": "set"}}),
                "failed inserting service: Must provide service name",
            ),
            (
                json!({"Check": {"Verb": "cas", "Check": {"Node": "n"}}}),
                "failed inserting check: Must provide check id or name on node \"n\"",
            ),
            (
                json!({"Node": {"Verb": "get", "Node": {"ID": "x"}}}),
                "node lookup by ID failed, wrong UUID: uuid string is wrong length for 'x'",
            ),
        ] {
            assert_eq!(read(&json!([op])).unwrap().ops, [TxnOp::Nonsense(want.to_owned())]);
        }
    }

    #[test]
    fn bodies_that_do_not_parse_have_consuls_texts() {
        let many: Vec<_> = (0..=TXN_OPS_MAX).map(|_| json!({})).collect();
        for (body, want) in [
            (
                json!([{"Node": {"Node": {"X": 1}}}]),
                (400, "Failed to parse body: json: unknown field \"X\""),
            ),
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
