//! How the servers of each system are started, written to and read.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::http::ask;
use super::options::{Control, Options, System};
use crate::lab::process::Program;

/// How long one request may take before its outcome is unknown.
const REQUEST_LIMIT: Duration = Duration::from_secs(2);
/// How long all keys of a cut may take to read.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// What a server holds: the index or revision that it is at, and a digest of all its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) at: String,
    pub(super) hash: String,
}

impl System {
    fn door(self, address: Ipv4Addr) -> SocketAddr {
        match self {
            Self::Ours => (address, 8500).into(),
            Self::Etcd => (address, 2379).into(),
        }
    }

    /// What the server of this number runs, with its data below this folder.
    pub(super) fn program(
        self,
        options: &Options,
        all: &[Ipv4Addr],
        number: usize,
        data: &Path,
    ) -> Program {
        let name = format!("n{}", number + 1);
        let log = options.folder.join(format!("{name}.log"));
        // Where the disk is seen, this process's own folder is not the one that paths begin at. A
        // name without a file is one to look for in the usual places.
        let file = options.program.canonicalize().unwrap_or_else(|_none| options.program.clone());
        let program = Program::new(&name, file, log);
        let own = all[number];
        match self {
            Self::Ours => {
                let joins = all.iter().map(|peer| format!("-retry-join={peer}"));
                program
                    .args(["agent", "-server", "-retry-interval=1s"])
                    .args([format!("-node={name}"), format!("-bind={own}")])
                    .args([format!("-client={own}"), format!("-bootstrap-expect={}", all.len())])
                    .args([format!("-data-dir={}", data.display())])
                    .args(joins)
                    .args(["-hcl", "disable_update_check = true"])
                    .args(["-hcl", "limits { http_max_conns_per_client = 10000 }"])
                    // Small, so that cuts come upon snapshots and purges too.
                    .args(["-hcl", "raft_snapshot_threshold = 64"])
                    .args(["-hcl", "raft_trailing_logs = 16"])
            }
            Self::Etcd => {
                let peers = all.iter().enumerate();
                let peers = peers.map(|(at, peer)| format!("n{}=http://{peer}:2380", at + 1));
                let (client, peer) = (format!("http://{own}:2379"), format!("http://{own}:2380"));
                let program = program
                    .args([format!("--name={name}"), format!("--data-dir={}", data.display())])
                    .args([format!("--listen-client-urls={client}")])
                    .args([format!("--advertise-client-urls={client}")])
                    .args([format!("--listen-peer-urls={peer}")])
                    .args([format!("--initial-advertise-peer-urls={peer}")])
                    .args([format!("--initial-cluster={}", peers.collect::<Vec<_>>().join(","))])
                    .args(["--snapshot-count=64"]);
                match options.control {
                    Control::NoSync => program.args(["--unsafe-no-fsync"]),
                    Control::Honest | Control::DiskLies => program,
                }
            }
        }
    }

    /// Writes a key; whether it was acknowledged. If not, it may have been written all the same.
    pub(super) fn put(self, server: Ipv4Addr, key: &str, value: &str) -> bool {
        let door = self.door(server);
        let answer = match self {
            Self::Ours => ask(door, ("PUT", &format!("/v1/kv/{key}")), value, REQUEST_LIMIT),
            Self::Etcd => {
                let body = json!({"key": STANDARD.encode(key), "value": STANDARD.encode(value)});
                ask(door, ("POST", "/v3/kv/put"), &body.to_string(), REQUEST_LIMIT)
            }
        };
        match (self, answer) {
            (Self::Ours, Ok((200, body))) => body.trim() == "true",
            (Self::Etcd, Ok((status, _))) => status == 200,
            _ => false,
        }
    }

    /// All keys below a prefix that ends with a slash, with their values, as the cluster has them.
    pub(super) fn keys(
        self,
        server: Ipv4Addr,
        prefix: &str,
    ) -> Result<BTreeMap<String, String>, String> {
        let door = self.door(server);
        let (answer, names) = match self {
            Self::Ours => {
                let path = format!("/v1/kv/{prefix}?recurse&consistent");
                (ask(door, ("GET", &path), "", READ_LIMIT), ("Key", "Value"))
            }
            Self::Etcd => {
                // The sign after the slash.
                let end = format!("{}0", prefix.trim_end_matches('/'));
                let body =
                    json!({"key": STANDARD.encode(prefix), "range_end": STANDARD.encode(end)});
                let asked = ("POST", "/v3/kv/range");
                (ask(door, asked, &body.to_string(), READ_LIMIT), ("key", "value"))
            }
        };
        let (status, body) = answer.map_err(|error| error.to_string())?;
        if status == 404 && self == Self::Ours {
            return Ok(BTreeMap::new());
        }
        if status != 200 {
            return Err(format!("{status}: {body}"));
        }
        let body: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
        let entries = match self {
            Self::Ours => body.as_array().cloned(),
            // Where there are none, the field is not there.
            Self::Etcd => body.get("kvs").map_or(Some(Vec::new()), |kvs| kvs.as_array().cloned()),
        };
        let entries = entries.ok_or_else(|| format!("no list of keys: {body}"))?;
        let entry = |entry: &Value| {
            let key = entry[names.0].as_str()?;
            let value = decoded(entry[names.1].as_str()?)?;
            let key = if self == Self::Ours { key.to_owned() } else { decoded(key)? };
            Some((key, value))
        };
        let read = entries.iter().map(|found| entry(found).ok_or_else(|| format!("odd: {found}")));
        read.collect()
    }

    /// What a server holds by itself; none while it does not answer.
    pub(super) fn digest(self, server: Ipv4Addr) -> Option<Digest> {
        let door = self.door(server);
        let (asked, body) = match self {
            Self::Ours => (("GET", "/v1/internal/state"), String::new()),
            Self::Etcd => (("POST", "/v3/maintenance/hash"), "{}".to_owned()),
        };
        let (status, body) = ask(door, asked, &body, REQUEST_LIMIT).ok()?;
        let body: Value = (status == 200).then(|| serde_json::from_str(&body).ok())??;
        let (at, hash) = match self {
            Self::Ours => (&body["Applied"], &body["Hash"]),
            Self::Etcd => (&body["header"]["revision"], &body["hash"]),
        };
        (!at.is_null() && !hash.is_null())
            .then(|| Digest { at: at.to_string(), hash: hash.to_string() })
    }
}

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}
