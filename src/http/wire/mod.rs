//! JSON shapes of Consul's API, field for field in the order of Consul's own structs.
//!
//! *Never*: a status, a header, a route.

mod catalog;
mod coordinate;
mod event;
mod kv;
mod member;
mod prepared;
mod session;
mod txn;

pub(super) use catalog::{
    AgentServiceJson, CatalogServiceJson, CheckJson, InstanceJson, NodeJson, NodeServiceListJson,
    NodeServiceMapJson, kind_word, span,
};
pub(super) use coordinate::{CoordinateJson, DatacenterCoordinatesJson, PlaceJson};
pub(super) use event::EventJson;
pub(super) use kv::KvListJson;
pub(super) use member::MemberJson;
pub(super) use prepared::{
    AboutJson, ExecutionJson, ExplainedJson, NAME_PREFIX_MATCH, PreparedJson,
};
pub(super) use session::SessionJson;
pub(super) use txn::{TxnErrorJson, TxnJson, TxnReadJson, TxnResultJson};
