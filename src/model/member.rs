//! A member of the pool, as failure detection sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Whether a member is there. The numbers are those of Serf, which clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberStatus {
    /// It answers.
    Alive = 1,
    /// It said that it goes.
    Leaving = 2,
    /// It went, and said so.
    Left = 3,
    /// It does not answer.
    Failed = 4,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its UUID as text.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its IP address.
    pub address: String,
    /// The port of the pool.
    pub port: u16,
    /// The port where servers talk to each other; 0 for an agent.
    pub server_port: u16,
    /// Its data center.
    pub datacenter: String,
    /// How many servers it waits for before the first election; 0 does not say.
    pub expect: u32,
    /// Whether it has a Raft log already.
    pub bootstrapped: bool,
    /// Further tags by name, as `/v1/agent/members` shows them.
    pub tags: BTreeMap<String, String>,
    /// Whether it is there.
    pub status: MemberStatus,
    /// Grows at each start of the member: the newer word about it wins.
    pub generation: u64,
    /// Its number in Raft, which its disk keeps: a wiped disk comes back with another one. 0 for
    /// an agent that is no server.
    pub raft: u64,
}

/// All members that a member knows, by name; shared with whoever watches them.
pub type MemberList = Arc<[Arc<Member>]>;

/// `host:port`, with brackets around an IPv6 address.
pub fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A server as Raft's membership has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its UUID as text.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `host:port` where servers talk to each other.
    pub address: String,
    /// Whether it leads, as far as this server knows.
    pub leader: bool,
    /// Whether it votes; a learner does not.
    pub voter: bool,
}
