//! What an operator does to a cluster, in the words of each system.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hyper::Method;

use super::system::{Kind, System};
use crate::clients::Connection;
use crate::nemesis::Admin;

/// How long it may take: a snapshot is the whole state.
const LIMIT: Duration = Duration::from_secs(10);
/// What a snapshot of Consul and of ours begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

impl System {
    /// Does it, by this node. None where the system has no such thing, or where no history could
    /// be judged over it: a snapshot that is put back takes acknowledged writes away, as it
    /// should.
    pub(super) async fn administer(&self, by: Ipv4Addr, what: Admin) -> Option<Result<(), String>> {
        let (port, method, path) = match (self.kind, what) {
            (Kind::Ours | Kind::Consul, Admin::Snapshot) => (8500, Method::GET, "/v1/snapshot"),
            (Kind::Ours, Admin::TransferLeader) => {
                (8500, Method::PUT, "/v1/operator/raft/transfer-leader")
            }
            (Kind::Etcd, Admin::Snapshot) => (2379, Method::POST, "/v3/maintenance/snapshot"),
            _ => return None,
        };
        let body = if self.kind == Kind::Etcd { b"{}".to_vec() } else { Vec::new() };
        let mut http = Connection::new(SocketAddr::from((IpAddr::V4(by), port)), LIMIT);
        Some(match http.ask(method, path, body).await {
            Ok(answer) if !answer.status.is_success() => Err(answer.words()),
            Ok(answer) if port == 8500 && what == Admin::Snapshot => {
                let whole = answer.body.starts_with(&GZIP);
                whole.then_some(()).ok_or_else(|| "what came is no archive".to_owned())
            }
            Ok(_) => Ok(()),
            Err(failure) => Err(format!("{failure:?}")),
        })
    }
}
