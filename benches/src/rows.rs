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
    /// Who says when to ask.
    pub(crate) pace: Pace,
}

/// Who says when to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// The answer to the question before: as fast as the system can.
    Closed,
    /// The clock: a share of the rate that the system reached in the closed rows of the same work.
    Open,
}

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A write under a random key: `PUT /v1/kv/<key>`; of etcd a `Put`.
    Put(Value),
    /// A read of a random key: `GET /v1/kv/<key>`; of etcd a `Range` of this key alone.
    Get(Reads),
    /// `SRV` of a random service, each with [`SERVICE_INSTANCES`] instances, over UDP.
    Srv,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// [`VALUE_BYTES`] under the keys of the data set.
    Small,
    /// [`LARGE_BYTES`] under keys of their own, so that the data set stays as it was loaded; at
    /// most [`LARGE_KEYS_MAX`], 40 MB.
    Large,
}

impl Value {
    /// Bytes of it.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Small => VALUE_BYTES,
            Self::Large => LARGE_BYTES,
        }
    }
}

/// How fresh the answer to a read is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// What the system does when nothing is asked for: of ours and of etcd linearizable, of Consul
    /// what the leader believes.
    Default,
    /// `?stale`, of etcd `serializable`: what the asked server has.
    Stale,
    /// `?consistent`, linearizable in all systems.
    Consistent,
}

/// Bytes of a value of the data set.
pub(crate) const VALUE_BYTES: usize = 128;
/// Bytes of a large value.
const LARGE_BYTES: usize = 4096;
/// Keys that large values are written under, if the data set has as many.
pub(crate) const LARGE_KEYS_MAX: u32 = 10_000;
/// Connections that the requests of an open row are spread over.
pub(crate) const OPEN_CONNECTIONS: usize = 256;
/// Instances of each service, each on a node of its own.
pub(crate) const SERVICE_INSTANCES: u32 = 10;

/// The name of the service with this number; all are of the same length.
pub(crate) fn service(number: u32) -> String {
    format!("bench-{number:06}")
}

/// All rows, in the order in which they run.
pub(crate) const ROWS: &[Row] = &[
    row("put-1", "PUT 128 B, 1 connection", Work::Put(Value::Small), 1),
    row("put-64", "PUT 128 B, 64 connections", Work::Put(Value::Small), 64),
    row("put-256", "PUT 128 B, 256 connections", Work::Put(Value::Small), 256),
    row("get", "GET, 64 connections", Work::Get(Reads::Default), 64),
    row("get-256", "GET, 256 connections", Work::Get(Reads::Default), 256),
    row("get-consistent", "GET ?consistent, 64 connections", CONSISTENT, 64),
    row("get-consistent-256", "GET ?consistent, 256 connections", CONSISTENT, 256),
    row("get-stale", "GET ?stale, 64 connections", Work::Get(Reads::Stale), 64),
    row("dns-srv", "DNS SRV of 10 instances, 64 UDP sockets", Work::Srv, 64),
    row("put-64-4k", "PUT 4 KB, 64 connections", Work::Put(Value::Large), 64),
    row("put-256-4k", "PUT 4 KB, 256 connections", Work::Put(Value::Large), 256),
    open("put-open", "PUT 128 B", Work::Put(Value::Small)),
    open("get-open", "GET", Work::Get(Reads::Default)),
];
/// The strictest read.
const CONSISTENT: Work = Work::Get(Reads::Consistent);

const fn row(name: &'static str, title: &'static str, work: Work, connections: usize) -> Row {
    Row { name, title, work, connections, pace: Pace::Closed }
}

const fn open(name: &'static str, title: &'static str, work: Work) -> Row {
    Row { name, title, work, connections: OPEN_CONNECTIONS, pace: Pace::Open }
}
