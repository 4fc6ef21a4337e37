//! The words of a history. Every revision is the system's own: Raft's index at Portolan and
//! Consul, the revision at etcd.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One operation of one client, from its call to what was learned of it.
///
/// A client does one operation at a time. After an [`Outcome::Unknown`] it goes on under a new
/// number, because the operation may still take effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Who asked; never used again after an unknown outcome.
    pub client: u32,
    /// Which node was asked, from 0.
    pub node: u32,
    /// When it was sent: nanoseconds since the run began, by one monotonic clock.
    pub called: u64,
    /// When the outcome was known, by the same clock; for an unknown one, when the client gave up.
    pub returned: u64,
    /// What was asked for.
    pub action: Action,
    /// What was learned.
    pub outcome: Outcome,
}

/// How fresh a read has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// What the system answers when nothing is said.
    Default,
    /// What the system calls its strongest: Consul's `?consistent`, etcd's linearizable range.
    Strong,
    /// What may be old: Consul's `?stale`, etcd's serializable range.
    Stale,
}

/// What a write waits for, compared with the newest revision that changed the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It happens in any case.
    Always,
    /// The key must not be there.
    Absent,
    /// The key was last changed by this revision.
    Unchanged(u64),
}

/// A write to one key. Values are unique within a run, so that a read names its write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// The key.
    pub key: String,
    /// What it becomes; `None`: it goes.
    pub value: Option<u64>,
    /// When it happens.
    pub condition: Condition,
}

/// An instance of a service, as a read shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Instance {
    /// Node that it is registered on.
    pub node: String,
    /// Its id on the node.
    pub id: String,
    /// Its port, unique for each registration of the run, so that a read names it.
    pub port: u16,
    /// Whether all its checks pass.
    pub passing: bool,
}

/// One step of a transaction over lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum ListStep {
    /// An element is put at the end of a key's list.
    Append {
        /// The key.
        key: String,
        /// Unique within the run.
        element: u64,
    },
    /// A key's list is read, with what this transaction put there.
    Read {
        /// The key.
        key: String,
    },
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "f", rename_all = "snake_case")]
pub enum Action {
    /// One write.
    Write(Write),
    /// All of these writes in one transaction, or none.
    Transaction {
        /// The writes, each to another key.
        writes: Vec<Write>,
    },
    /// One key is read.
    Read {
        /// The key.
        key: String,
        /// How fresh.
        level: Level,
    },
    /// All keys below a prefix are read at once.
    Scan {
        /// What they begin with.
        prefix: String,
        /// How fresh.
        level: Level,
    },
    /// A blocking query or a watch on one key, which returned after a change or its time.
    Watch {
        /// The key.
        key: String,
        /// The revision that the watcher had seen before.
        after: u64,
    },
    /// An element is put at the end of a key's list (read, then written under a condition).
    Append {
        /// The key.
        key: String,
        /// Unique within the run.
        element: u64,
    },
    /// A key's list is read.
    List {
        /// The key.
        key: String,
        /// How fresh.
        level: Level,
    },
    /// Steps over lists, all at one point in time.
    Lists {
        /// In their order.
        steps: Vec<ListStep>,
    },
    /// A session or lease begins.
    Open {
        /// Its time to live, in milliseconds.
        ttl: u64,
    },
    /// A session is renewed.
    Renew {
        /// Which.
        session: String,
    },
    /// A session is ended by its owner.
    End {
        /// Which.
        session: String,
    },
    /// Whether a session lives is looked at.
    Look {
        /// Which.
        session: String,
    },
    /// A lock is asked for.
    Acquire {
        /// The lock's key.
        key: String,
        /// For whom.
        session: String,
    },
    /// A lock is given back.
    Release {
        /// The lock's key.
        key: String,
        /// By whom.
        session: String,
    },
    /// The resource behind a lock is used, with the token that came with the lock. The resource
    /// is a part of the test: it takes the token if it has seen no higher one.
    Use {
        /// The lock's key.
        key: String,
        /// Which token.
        token: u64,
    },
    /// The resource behind a lock is used and asks for no token: what goes wrong without them.
    UseUnfenced {
        /// The lock's key.
        key: String,
        /// For whom.
        session: String,
    },
    /// An instance of a service is entered into the catalog.
    Register {
        /// The service.
        service: String,
        /// The instance.
        instance: Instance,
    },
    /// An instance of a service is taken out of the catalog.
    Deregister {
        /// The service.
        service: String,
        /// Node that it is registered on.
        node: String,
        /// Its id there.
        id: String,
    },
    /// A service's instances are looked up in the catalog.
    Lookup {
        /// The service.
        service: String,
        /// How fresh.
        level: Level,
    },
    /// A service's instances are asked for over DNS.
    Resolve {
        /// The service.
        service: String,
    },
    /// Raft's membership is read.
    Members {
        /// How fresh.
        level: Level,
    },
}

impl Action {
    /// Whether it changes nothing, so that one without an answer is not done.
    pub fn only_reads(&self) -> bool {
        match self {
            Self::Read { .. }
            | Self::Scan { .. }
            | Self::Watch { .. }
            | Self::List { .. }
            | Self::Look { .. }
            | Self::Lookup { .. }
            | Self::Resolve { .. }
            | Self::Members { .. } => true,
            Self::Lists { steps } => steps.iter().all(|step| matches!(step, ListStep::Read { .. })),
            Self::Write(_)
            | Self::Transaction { .. }
            | Self::Append { .. }
            | Self::Open { .. }
            | Self::Renew { .. }
            | Self::End { .. }
            | Self::Acquire { .. }
            | Self::Release { .. }
            | Self::Use { .. }
            | Self::UseUnfenced { .. }
            | Self::Register { .. }
            | Self::Deregister { .. } => false,
        }
    }
}

/// What was learned of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Outcome {
    /// It was done, and this is the answer.
    Done(Answer),
    /// It was surely not done and never will be.
    NotDone {
        /// The system's words.
        why: String,
    },
    /// It may have been done, or may yet be.
    Unknown {
        /// The system's words, or the client's.
        why: String,
    },
}

/// What a done operation answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// It was written (also: appended, registered, deregistered, released, ended). The revision
    /// where the system tells it.
    Written {
        /// The revision that the write has.
        revision: Option<u64>,
    },
    /// The condition did not hold, so nothing was written.
    Refused {
        /// The revision of the whole store at which it did not hold, where the system tells it.
        store: Option<u64>,
    },
    /// A key as it is.
    Value {
        /// `None`: it is not there.
        value: Option<u64>,
        /// The revision that last changed it; 0 where it is not there.
        revision: u64,
        /// The revision of the store that the answer showed, where the system tells it.
        store: Option<u64>,
    },
    /// The keys below a prefix.
    Values {
        /// By key: the value, and the revision that last changed it.
        values: BTreeMap<String, (u64, u64)>,
        /// The revision of the store that the answer showed, where the system tells it.
        store: Option<u64>,
    },
    /// A key's list.
    Elements {
        /// In their order; empty where the key is not there.
        elements: Vec<u64>,
        /// The revision that last changed it; 0 where it is not there.
        revision: u64,
    },
    /// What a transaction over lists saw.
    Lists {
        /// What each of its reads saw, in their order.
        reads: Vec<Vec<u64>>,
        /// The revision of its appends, where there are any and the system tells it.
        revision: Option<u64>,
    },
    /// A session that began.
    Opened {
        /// Its name.
        session: String,
    },
    /// A session's life: of a look or a renewal.
    Alive {
        /// Whether it lives.
        alive: bool,
    },
    /// What became of asking for a lock.
    Held {
        /// Whether it is held now; `None` where it is not, else the token: it rises with each
        /// holder.
        token: Option<u64>,
    },
    /// Whether the resource took the token, or the use.
    Taken {
        /// Whether it did.
        accepted: bool,
    },
    /// A service's instances.
    Instances {
        /// In the order of their ids.
        instances: Vec<Instance>,
        /// The index that the answer was of, where the system tells it.
        store: Option<u64>,
        /// How old the answer may be, in milliseconds, where the system tells it.
        age: Option<u64>,
    },
    /// Raft's members.
    Membership {
        /// The configuration's index, where the system tells it.
        index: Option<u64>,
        /// Names of those that vote.
        voters: Vec<String>,
        /// Names of those that do not.
        learners: Vec<String>,
        /// Who leads, where known.
        leader: Option<String>,
    },
}
