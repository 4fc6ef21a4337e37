//! The rows of the table: one list, from which the run, the report and the help follow.

/// What one row does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// How the command line calls it.
    pub(crate) name: &'static str,
    /// How the table calls it.
    pub(crate) title: &'static str,
    /// What every connection asks, again and again.
    pub(crate) work: Work,
    /// How many ask at once, each waiting for its answer: TCP connections or UDP sockets.
    pub(crate) connections: usize,
}

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A write of [`VALUE_BYTES`] under a random key of the data set: `PUT /v1/kv/<key>`; of etcd
    /// a `Put`.
    Put,
    /// A read of a random key: `GET /v1/kv/<key>`; of etcd a `Range` of this key alone.
    Get(Reads),
    /// `SRV` of the service with [`INSTANCES`] instances, over UDP.
    Srv,
}

/// How fresh the answer to a read is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// What the system does when nothing is asked for: of ours and of etcd linearizable, of Consul
    /// what the leader believes.
    Default,
    /// `?stale`, of etcd `serializable`: what the asked server has.
    Stale,
}

/// Bytes of every value.
pub(crate) const VALUE_BYTES: usize = 128;
/// Instances of the service that DNS is asked for, each on a node of its own.
pub(crate) const INSTANCES: u16 = 10;
/// The service's name in the catalogue.
pub(crate) const SERVICE: &str = "bench-web";

/// All rows, in the order in which they run.
pub(crate) const ROWS: &[Row] = &[
    Row { name: "put-1", title: "PUT 128 B, 1 connection", work: Work::Put, connections: 1 },
    Row { name: "put-64", title: "PUT 128 B, 64 connections", work: Work::Put, connections: 64 },
    Row { name: "put-256", title: "PUT 128 B, 256 connections", work: Work::Put, connections: 256 },
    Row {
        name: "get",
        title: "GET, 64 connections",
        work: Work::Get(Reads::Default),
        connections: 64,
    },
    Row {
        name: "get-stale",
        title: "GET ?stale, 64 connections",
        work: Work::Get(Reads::Stale),
        connections: 64,
    },
    Row {
        name: "dns-srv",
        title: "DNS SRV of 10 instances, 64 UDP sockets",
        work: Work::Srv,
        connections: 64,
    },
];
