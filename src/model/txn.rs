//! Transactions: operations on keys and on the catalog that take effect together or not at all.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::catalog::{Check, Node, Service};
use super::command::KvOp;
use super::ids::Index;
use super::kv::KvEntry;
use super::reply::Refusal;

/// One operation of a transaction. Source: Consul HTTP API, "Transactions".
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TxnOp {
    /// On a key, or on the keys that begin with it.
    Kv(KvOp),
    /// On a node: found by its id where it has one and the verb is a read, else by its name.
    Node {
        /// What to do.
        verb: RecordVerb,
        /// What to set; else only `name` and `id` count.
        node: Box<Node>,
    },
    /// On an instance of a service.
    Service {
        /// What to do.
        verb: RecordVerb,
        /// What to set; else only `node` and `id` count.
        service: Box<Service>,
    },
    /// On a check.
    Check {
        /// What to do.
        verb: RecordVerb,
        /// What to set; else only `node` and `id` count. The name and the tags of its service
        /// are the store's matter.
        check: Box<Check>,
    },
    /// Fails with this text whatever the state is. It travels along so that every operation that
    /// fails is told, not only this one.
    Nonsense(String),
}

/// What to do with a node, an instance or a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RecordVerb {
    /// Registers it; one that says nothing new changes nothing.
    Set,
    /// As [`RecordVerb::Set`], if it still has this index; index 0: if it is not there.
    Cas(Index),
    /// Reads it; refused when it is not there.
    Get,
    /// Removes it with all that hangs on it; one that is not there is no error.
    Delete,
    /// Removes it if it still has this index; refused when it is not there.
    DeleteCas(Index),
}

/// Names a node, an instance or a check in a refusal, as the caller spelled it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RecordKey {
    /// A node.
    Node(String),
    /// An instance.
    Service {
        /// Its node.
        node: String,
        /// Its id.
        id: String,
    },
    /// A check.
    Check {
        /// Its node.
        node: String,
        /// Its id.
        id: String,
    },
}

/// What one operation of a transaction brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnResult {
    /// A key.
    Kv {
        /// The entry; a write's comes without its value.
        entry: Arc<KvEntry>,
        /// Whether it was read, so that its value belongs in the answer.
        with_value: bool,
    },
    /// A node as it is now.
    Node(Arc<Node>),
    /// An instance as it is now.
    Service(Arc<Service>),
    /// A check as it is now.
    Check(Arc<Check>),
}

/// Why an operation of a transaction failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxnError {
    /// Its place in the transaction, from 0.
    pub op: usize,
    /// Why.
    pub what: Refusal,
}
