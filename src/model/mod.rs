//! The vocabulary: what is stored, what can be asked of it and what comes back. Plain data.
//!
//! *Never*: I/O, a clock, tokio, or the spelling of any protocol; doors convert, once.

mod answer;
mod autopilot;
mod backup;
mod catalog;
mod change;
mod command;
mod coordinate;
mod event;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod ids;
mod kv;
mod member;
mod nearness;
mod prepared;
mod query;
mod reply;
mod session;
mod template;
mod txn;

pub use answer::{Answer, Read};
pub use autopilot::{Autopilot, ServerHealth};
pub use backup::Backup;
pub use catalog::{
    Check, CheckDefinition, CheckKind, CheckStatus, Instance, Node, NodeServices, Service,
    ServiceAddress, ServiceKey, Weights,
};
pub use change::Topic;
pub use command::{
    CheckUpdate, Command, Deregistration, Envelope, KvOp, KvWrite, Registration, Renewal,
};
pub use coordinate::{Coordinate, DIMENSIONS, NodeCoordinate, Real};
pub use event::Event;
pub use ids::{ClusterTime, Index, SessionId};
pub use kv::KvEntry;
pub use member::{Member, MemberList, MemberStatus, Server, host_port};
pub use nearness::{Arrangement, Near, arrange, shuffle, sort_near};
pub use prepared::{
    Execution, Failover, PreparedId, PreparedQuery, PreparedService, PreparedTemplate,
    TemplateKind, Unresolved,
};
pub use query::{Consistency, Query, ReadOptions};
pub use reply::{Refusal, Reply, Unavailable, Written};
pub use session::{Behavior, Session, SessionSpec};
pub use template::Template;
pub use txn::{RecordKey, RecordVerb, TxnError, TxnOp, TxnResult};
