//! Transactions as JSON.

use serde::Serialize;
use serde_json::Value;

use super::catalog::{CheckJson, NodeJson, ServiceJson};
use super::kv::KvJson;
use crate::model::TxnResult;

/// What one operation of a transaction brought.
#[derive(Serialize)]
pub(in crate::http) enum TxnResultJson<'a> {
    /// A key.
    #[serde(rename = "KV")]
    Kv(KvJson<'a>),
    /// A node.
    Node(NodeJson<'a>),
    /// An instance.
    Service(Value),
    /// A check.
    Check(Value),
}

impl<'a> TxnResultJson<'a> {
    /// The result, without the value where it was a write.
    pub(in crate::http) fn of(result: &'a TxnResult) -> Self {
        match result {
            TxnResult::Kv { entry, with_value: true } => Self::Kv(KvJson::of(entry)),
            TxnResult::Kv { entry, with_value: false } => Self::Kv(KvJson::written(entry)),
            TxnResult::Node(node) => Self::Node(NodeJson::of(node)),
            TxnResult::Service(service) => {
                Self::Service(nulled(&ServiceJson::of(service), &["Tags", "Meta"]))
            }
            TxnResult::Check(check) => Self::Check(nulled(&CheckJson::of(check), &["ServiceTags"])),
        }
    }
}

/// Unlike catalog and health, a transaction shows what is empty as `null`.
fn nulled<T: Serialize>(shape: &T, names: &[&str]) -> Value {
    let mut value = serde_json::to_value(shape).expect("our own shapes serialise");
    for name in names {
        let Some(field) = value.get_mut(*name) else { continue };
        let empty = field.as_array().is_some_and(Vec::is_empty)
            || field.as_object().is_some_and(serde_json::Map::is_empty);
        if empty {
            *field = Value::Null;
        }
    }
    value
}

/// Why one operation of a transaction failed.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct TxnErrorJson {
    /// Its place, from 0.
    pub op_index: usize,
    /// Consul's text.
    pub what: String,
}

/// What a transaction brought.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct TxnJson<'a> {
    /// `null` when it was rolled back.
    pub results: Option<Vec<TxnResultJson<'a>>>,
    /// `null` when it took effect.
    pub errors: Option<Vec<TxnErrorJson>>,
}

/// As [`TxnJson`], for one that only reads: Consul adds what a read says about itself.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct TxnReadJson<'a> {
    /// What it brought.
    #[serde(flatten)]
    pub txn: TxnJson<'a>,
    /// Always 0 in Consul.
    pub index: u64,
    /// Milliseconds.
    pub last_contact: u64,
    /// Whether a leader is known.
    pub known_leader: bool,
    /// Always empty in Consul.
    pub consistency_level: &'static str,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::json;
    use crate::model::{Check, Index, KvEntry, Node, Service};
    use bytes::Bytes;

    fn text<T: Serialize>(value: &T) -> String {
        String::from_utf8(json::bytes(value, false)).unwrap()
    }

    fn entry() -> Arc<KvEntry> {
        Arc::new(KvEntry {
            key: "a/b".into(),
            value: Bytes::from_static(b"x"),
            flags: 3_304_740_253_564_472_344,
            session: None,
            lock_index: 1,
            create: Index(14),
            modify: Index(15),
        })
    }

    #[test]
    fn records_show_what_is_empty_as_null() {
        let node = TxnResult::Node(Arc::new(Node { name: "n".into(), ..Node::default() }));
        assert_eq!(
            text(&TxnResultJson::of(&node)),
            concat!(
                r#"{"Node":{"ID":"","Node":"n","Address":"","Datacenter":"","TaggedAddresses":"#,
                r#"null,"Meta":null,"CreateIndex":0,"ModifyIndex":0}}"#,
            )
        );
        let service = Service { id: "s".into(), name: "s".into(), ..Service::default() };
        assert_eq!(
            text(&TxnResultJson::of(&TxnResult::Service(Arc::new(service)))),
            concat!(
                r#"{"Service":{"ID":"s","Service":"s","Tags":null,"Address":"","Meta":null,"#,
                r#""Port":0,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"#,
                r#""Proxy":{"MeshGateway":{},"Expose":{}},"Connect":{},"CreateIndex":0,"#,
                r#""ModifyIndex":0}}"#,
            )
        );
        let check = TxnResult::Check(Arc::new(Check { id: "c".into(), ..Check::default() }));
        assert!(text(&TxnResultJson::of(&check)).contains(r#""ServiceTags":null,"Type":"""#));
    }

    #[test]
    fn a_transactions_write_hides_its_value() {
        let result = TxnResult::Kv { entry: entry(), with_value: false };
        let txn = TxnJson { results: Some(vec![TxnResultJson::of(&result)]), errors: None };
        assert_eq!(
            text(&txn),
            concat!(
                r#"{"Results":[{"KV":{"LockIndex":1,"Key":"a/b","Flags":3304740253564472344,"#,
                r#""Value":null,"CreateIndex":14,"ModifyIndex":15}}],"Errors":null}"#,
            )
        );
        let errors = vec![TxnErrorJson { op_index: 0, what: "key \"nope\" doesn't exist".into() }];
        let read = TxnReadJson {
            txn: TxnJson { results: None, errors: Some(errors) },
            index: 0,
            last_contact: 0,
            known_leader: true,
            consistency_level: "",
        };
        assert_eq!(
            text(&read),
            concat!(
                r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"key \"nope\" doesn't exist"}],"#,
                r#""Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":""}"#,
            )
        );
    }
}
