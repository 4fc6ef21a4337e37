//! The state inside an archive that Consul saved, turned into a backup of ours.
//!
//! A header, then records: a byte for the kind, then a value in MessagePack. Kinds that have no
//! place here are counted and told by name; a kind that nobody knows, or any damage, takes
//! nothing at all.
//!
//! Three things are left behind on purpose. The ids of nodes that an agent lived on: the agents
//! of this cluster come with ids of their own, and a name under another id would be refused to
//! them. The old servers' instances of `consul`: ours stand in their place. And the index that
//! Consul had reached: the records keep theirs, and the counter goes on above the highest.
//! Source: Consul snapshot files, as Consul 1.8.7 writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use serde_json::Value;
use uuid::Uuid;

use crate::limits::{BODY_BYTES_MAX, LOCK_DELAY_MAX, PREPARED_BYTES_MAX};
use crate::model::{
    Backup, Behavior, Failover, Index, KvEntry, Node, PreparedId, PreparedQuery, PreparedService,
    PreparedTemplate, Session, SessionId, SessionSpec, TemplateKind,
};

use super::catalog::{check_part, service_part};
use super::json::Fields;
use super::msgpack::{self, Packed};
use super::number;

/// The check that an agent's node has.
const AGENT_CHECK: &str = "serfHealth";
/// The service that Consul's servers are instances of.
const SERVERS: &str = "consul";

/// Fields of a service that are taken; the rest is of no use outside of Consul.
const SERVICE_FIELDS: &[&str] = &[
    "ID",
    "Service",
    "Tags",
    "Address",
    "TaggedAddresses",
    "Meta",
    "Port",
    "Weights",
    "EnableTagOverride",
    "Kind",
    "Proxy",
    "Connect",
];

/// Fields of a check, likewise.
const CHECK_FIELDS: &[&str] = &[
    "Node",
    "CheckID",
    "Name",
    "Status",
    "Notes",
    "Output",
    "ServiceID",
    "ServiceName",
    "ServiceTags",
    "Type",
    "Definition",
];

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A node, an instance or a check.
    Registration,
    /// A key.
    Key,
    /// A session.
    Session,
    /// A prepared query.
    Query,
    /// Consul's own bookkeeping, which this cluster does by itself.
    Bookkeeping,
    /// What has no place here: one of it, and several.
    Left(&'static str, &'static str),
}

const ODD_QUERY: Kind = Kind::Left(
    "prepared query without a UUID or too long",
    "prepared queries without a UUID or too long",
);
const OLD_SERVER: Kind = Kind::Left("instance of \"consul\"", "instances of \"consul\"");
const ODD_KEY: Kind = Kind::Left("key that is no UTF-8", "keys that are no UTF-8");
const ODD_SESSION: Kind = Kind::Left("session without a UUID", "sessions without a UUID");

/// Every kind that Consul writes. Source: Consul, the message types of its snapshots.
fn kind(byte: u8) -> Option<Kind> {
    Some(match byte {
        0 => Kind::Registration,
        2 => Kind::Key,
        3 => Kind::Session,
        7 => Kind::Query,
        // Tombstones, coordinates, indexes, parts of large commands, metadata of the upgrade,
        // names of services by kind.
        5 | 6 | 16 | 29 | 31 | 34 => Kind::Bookkeeping,
        4 => Kind::Left("legacy ACL token", "legacy ACL tokens"),
        9 => Kind::Left("autopilot configuration", "autopilot configurations"),
        11 => Kind::Left("ACL bootstrap", "ACL bootstraps"),
        12 => Kind::Left("intention", "intentions"),
        13 => Kind::Left("CA root", "CA roots"),
        14 => Kind::Left("CA provider state", "CA provider states"),
        15 => Kind::Left("CA configuration", "CA configurations"),
        17 => Kind::Left("ACL token", "ACL tokens"),
        19 => Kind::Left("ACL policy", "ACL policies"),
        22 => Kind::Left("config entry", "config entries"),
        23 => Kind::Left("ACL role", "ACL roles"),
        25 => Kind::Left("ACL binding rule", "ACL binding rules"),
        27 => Kind::Left("ACL auth method", "ACL auth methods"),
        30 => Kind::Left("federation state", "federation states"),
        32 | 33 | 43 => Kind::Left("virtual IP", "virtual IPs"),
        35 => Kind::Left("peering", "peerings"),
        37 => Kind::Left("peering trust bundle", "peering trust bundles"),
        39 => Kind::Left("peering secret", "peering secrets"),
        42 => Kind::Left("resource", "resources"),
        _ => return None,
    })
}

/// What was in an archive and is not taken, each kind with how many; empty if all is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut(BTreeMap<(&'static str, &'static str), usize>);

impl LeftOut {
    /// Whether everything was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, kind: Kind) {
        if let Kind::Left(one, several) = kind {
            *self.0.entry((one, several)).or_default() += 1;
        }
    }
}

/// `3 ACL tokens, 1 config entry`.
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |((one, several), count): (&(&str, &str), &usize)| {
            format!("{count} {}", if *count == 1 { one } else { several })
        };
        f.write_str(&self.0.iter().map(part).collect::<Vec<_>>().join(", "))
    }
}

/// What is wrong with a state, and at which of its bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {what}")]
pub(super) struct Broken {
    at: usize,
    what: String,
}

/// Whether a state begins as Consul's does: with a map of one field, the last index.
pub(super) fn is_consuls(state: &[u8]) -> bool {
    state.starts_with(b"\x81\xa9LastIndex")
}

/// Reads a whole state. Nothing is taken from one that is broken anywhere.
pub(super) fn read(state: &[u8]) -> Result<(Backup, LeftOut), Broken> {
    let mut rest = state;
    let mut taken = Taken::default();
    let broken = |rest: &[u8], what| Broken { at: state.len() - rest.len(), what };
    (_, rest) = bounded(rest).map_err(|what| broken(rest, what))?;
    while let Some((byte, behind)) = rest.split_first() {
        let fail = |what| broken(rest, what);
        let kind = kind(*byte).ok_or_else(|| fail(format!("unknown kind of record {byte}")))?;
        let (record, behind) = bounded(behind).map_err(fail)?;
        taken
            .record(kind, &record)
            .map_err(|what| fail(format!("record of kind {byte}: {what}")))?;
        rest = behind;
    }
    Ok(taken.end())
}

/// The value in front, and what is behind it. One that claims more than a body may have is not
/// looked at to its end: each of its bytes may cost thirty in memory.
fn bounded(bytes: &[u8]) -> Result<(Packed<'_>, &[u8]), String> {
    let front = bytes.get(..BODY_BYTES_MAX).unwrap_or(bytes);
    let mut left = front;
    let value = msgpack::read(&mut left).map_err(|what| {
        let long = what == msgpack::CUT && front.len() < bytes.len();
        if long { format!("longer than {BODY_BYTES_MAX} bytes") } else { what }
    })?;
    Ok((value, bytes.get(front.len() - left.len()..).unwrap_or_default()))
}

#[derive(Default)]
struct Taken {
    backup: Backup,
    left_out: LeftOut,
    agents: BTreeSet<String>,
}

impl Taken {
    fn record(&mut self, kind: Kind, record: &Packed<'_>) -> Result<(), String> {
        match kind {
            Kind::Registration => self.registration(record)?,
            Kind::Key => match entry(record) {
                Some(entry) => self.backup.kv.push(entry),
                None => self.left_out.add(ODD_KEY),
            },
            Kind::Session => match session(&record.json())? {
                Some(session) => self.backup.sessions.push(session),
                None => self.left_out.add(ODD_SESSION),
            },
            Kind::Query => match query(&record.json())? {
                Some(query) => self.backup.prepared.push(query),
                None => self.left_out.add(ODD_QUERY),
            },
            Kind::Bookkeeping => {}
            Kind::Left(..) => self.left_out.add(kind),
        }
        Ok(())
    }

    /// A registration repeats its node, which comes by itself first.
    fn registration(&mut self, record: &Packed<'_>) -> Result<(), String> {
        let value = record.json();
        let mut fields = Fields::of(&value, "structs.RegisterRequest")?;
        let node = Node {
            id: fields.text("ID")?.to_lowercase(),
            name: fields.text("Node")?,
            address: fields.text("Address")?,
            datacenter: fields.text("Datacenter")?,
            tagged_addresses: fields.pairs("TaggedAddresses")?,
            meta: fields.pairs("NodeMeta")?,
            create: Index(fields.unsigned("CreateIndex")?),
            modify: Index(fields.unsigned("ModifyIndex")?),
        };
        let name = node.name.clone();
        if self.backup.nodes.last().is_none_or(|last| last.name != name) {
            self.backup.nodes.push(node);
        }
        if let Some(value) = fields.take("Service") {
            let mut service = service_part(&only(value, SERVICE_FIELDS))
                .map_err(|why| format!("service on node {name:?}: {}", why.local_text()))?;
            (service.create, service.modify) = indexes(value)?;
            service.node.clone_from(&name);
            self.backup.services.push(service);
        }
        let many = fields.list("Checks")?;
        for value in fields.take("Check").into_iter().chain(many) {
            let mut check = check_part(&only(value, CHECK_FIELDS), &name)
                .map_err(|why| format!("check on node {name:?}: {why}"))?;
            (check.create, check.modify) = indexes(value)?;
            check.node.clone_from(&name);
            if check.id == AGENT_CHECK {
                self.agents.insert(name.clone());
            }
            self.backup.checks.push(check);
        }
        Ok(())
    }

    fn end(self) -> (Backup, LeftOut) {
        let Self { mut backup, mut left_out, agents } = self;
        for node in backup.nodes.iter_mut().filter(|node| agents.contains(&node.name)) {
            node.id.clear();
        }
        backup.services.retain(|service| {
            let old = service.name == SERVERS && agents.contains(&service.node);
            if old {
                left_out.add(OLD_SERVER);
            }
            !old
        });
        (backup, left_out)
    }
}

/// An object with these of its fields. Proxy and mesh settings lose what is not set: Consul
/// stores every field of them, and shows those that say something.
fn only(value: &Value, names: &[&str]) -> Value {
    let Value::Object(fields) = value else { return value.clone() };
    let kept = fields.iter().filter(|(name, _)| names.contains(&name.as_str()));
    let kept = kept.map(|(name, value)| match name.as_str() {
        "Proxy" => (name.clone(), proxy(value)),
        "Connect" => (name.clone(), pruned(value)),
        _ => (name.clone(), value.clone()),
    });
    kept.collect()
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// Without what is not set, all the way down.
fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), pruned(value)));
            fields.filter(|(_, value)| !is_unset(value)).collect()
        }
        Value::Array(items) => items.iter().map(pruned).collect(),
        other => other.clone(),
    }
}

/// Proxy settings in the form that Consul shows: some fields always, the rest when set. What
/// says nothing at all is empty.
fn proxy(value: &Value) -> Value {
    let mut shown = pruned(value);
    let Value::Object(fields) = &mut shown else { return shown };
    if fields.is_empty() {
        return shown;
    }
    if let Some(config) = value.get("Config").filter(|config| !is_unset(config)) {
        fields.insert("Config".to_owned(), config.clone());
    }
    let empty = || Value::Object(serde_json::Map::new());
    for always in ["MeshGateway", "Expose"] {
        fields.entry(always).or_insert_with(empty);
    }
    let whole = value.get("Upstreams").and_then(Value::as_array).into_iter().flatten();
    let upstreams = fields.get_mut("Upstreams").and_then(Value::as_array_mut);
    for (upstream, whole) in upstreams.into_iter().flatten().zip(whole) {
        let Value::Object(upstream) = upstream else { continue };
        upstream.remove("IngressHosts");
        upstream.entry("MeshGateway").or_insert_with(empty);
        for always in ["DestinationType", "DestinationName", "Datacenter", "Config"] {
            upstream.insert(always.to_owned(), whole.get(always).cloned().unwrap_or_default());
        }
    }
    let paths = value.pointer("/Expose/Paths").filter(|paths| !is_unset(paths));
    if let (Some(Value::Object(expose)), Some(paths)) = (fields.get_mut("Expose"), paths) {
        expose.insert("Paths".to_owned(), paths.clone());
    }
    shown
}

fn indexes(value: &Value) -> Result<(Index, Index), String> {
    let mut fields = Fields::of(value, "structs.RaftIndex")?;
    Ok((Index(fields.unsigned("CreateIndex")?), Index(fields.unsigned("ModifyIndex")?)))
}

/// A key; `None` for one that is no text. Who holds its lock is settled when it is restored.
fn entry(record: &Packed<'_>) -> Option<KvEntry> {
    let holder = std::str::from_utf8(record.field("Session").bytes()).unwrap_or_default();
    Some(KvEntry {
        key: String::from_utf8(record.field("Key").bytes().to_vec()).ok()?,
        value: Bytes::copy_from_slice(record.field("Value").bytes()),
        flags: record.field("Flags").unsigned(),
        session: Uuid::try_parse(holder).ok().map(SessionId),
        lock_index: record.field("LockIndex").unsigned(),
        create: Index(record.field("CreateIndex").unsigned()),
        modify: Index(record.field("ModifyIndex").unsigned()),
    })
}

/// A session; `None` for one whose id is no UUID.
fn session(value: &Value) -> Result<Option<Session>, String> {
    let mut fields = Fields::of(value, "structs.Session")?;
    let Ok(id) = Uuid::try_parse(&fields.text("ID")?) else { return Ok(None) };
    let max = u64::try_from(LOCK_DELAY_MAX.as_millis()).unwrap_or(u64::MAX);
    let lock_delay_ms = number::millis(fields.duration_nanos("LockDelay")?).min(max);
    let ttl_text = fields.text("TTL")?;
    let ttl = number::duration_nanos(&ttl_text).ok().filter(|nanos| *nanos > 0);
    let service_checks = fields.list("ServiceChecks")?.iter().map(|value| {
        let mut fields = Fields::of(value, "structs.ServiceCheck")?;
        Ok((fields.text("ID")?, fields.text("Namespace")?))
    });
    let service_checks = service_checks.collect::<Result<Vec<_>, String>>()?;
    let spec = SessionSpec {
        id: SessionId(id),
        name: fields.text("Name")?,
        node: fields.text("Node")?,
        lock_delay_ms,
        behavior: match fields.text("Behavior")?.as_str() {
            "delete" => Behavior::Delete,
            _ => Behavior::Release,
        },
        ttl_ms: ttl.map(number::millis),
        ttl_text,
        node_checks: fields.texts("NodeChecks")?.unwrap_or_default(),
        service_checks: Some(service_checks).filter(|checks| !checks.is_empty()),
        checks: fields.texts("Checks")?,
    };
    let (create, modify) = indexes(value)?;
    Ok(Some(Session { spec, sequence: 0, deadline: None, create, modify }))
}

/// A prepared query; `None` for one whose id is no UUID, or that is longer than any of ours.
fn query(value: &Value) -> Result<Option<PreparedQuery>, String> {
    let mut fields = Fields::of(value, "structs.PreparedQuery")?;
    let Ok(id) = Uuid::try_parse(&fields.text("ID")?) else { return Ok(None) };
    let null = &Value::Null;
    let mut template =
        Fields::of(fields.take("Template").unwrap_or(null), "structs.QueryTemplateOptions")?;
    let mut dns = Fields::of(fields.take("DNS").unwrap_or(null), "structs.QueryDNSOptions")?;
    let service = query_service(fields.take("Service").unwrap_or(null))?;
    let session = Uuid::try_parse(&fields.text("Session")?).ok().map(SessionId);
    let dns_ttl = dns.text("TTL")?;
    let ttl = number::duration_nanos(&dns_ttl).ok();
    let (create, modify) = indexes(value)?;
    let query = PreparedQuery {
        id: PreparedId(id),
        name: fields.text("Name")?,
        session,
        token: fields.text("Token")?,
        template: PreparedTemplate {
            kind: match template.text("Type")?.as_str() {
                "" => TemplateKind::None,
                _ => TemplateKind::NamePrefixMatch,
            },
            regexp: template.text("Regexp")?,
            remove_empty_tags: template.truth("RemoveEmptyTags")?,
        },
        service,
        dns_ttl_ms: ttl.map(number::millis),
        dns_ttl,
        create,
        modify,
    };
    Ok(Some(query).filter(|query| query.text_bytes() <= PREPARED_BYTES_MAX))
}

fn query_service(value: &Value) -> Result<PreparedService, String> {
    let mut fields = Fields::of(value, "structs.ServiceQuery")?;
    let null = &Value::Null;
    let mut failover =
        Fields::of(fields.take("Failover").unwrap_or(null), "structs.QueryFailoverOptions")?;
    let mut pairs = |name: &str| match fields.take(name) {
        Some(_) => fields.pairs(name).map(Some),
        None => Ok(None),
    };
    let (node_meta, service_meta) = (pairs("NodeMeta")?, pairs("ServiceMeta")?);
    Ok(PreparedService {
        service: fields.text("Service")?,
        failover: Failover {
            nearest: u64::try_from(failover.whole("NearestN")?.unwrap_or(0)).unwrap_or(0),
            datacenters: failover.texts("Datacenters")?,
        },
        only_passing: fields.truth("OnlyPassing")?,
        ignore_check_ids: fields.texts("IgnoreCheckIDs")?,
        near: fields.text("Near")?,
        tags: fields.texts("Tags")?,
        node_meta,
        service_meta,
        connect: fields.truth("Connect")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HEADER: &[u8] = b"\x81\xa9LastIndex\x27";

    /// A state of these records.
    fn state(records: &[(u8, Value)]) -> Vec<u8> {
        let mut out = HEADER.to_vec();
        for (kind, value) in records {
            out.push(*kind);
            msgpack::pack(value, &mut out);
        }
        out
    }

    fn node(name: &str) -> Value {
        json!({"ID": "40E4A748-2192-161a-0510-9bf59fe950b5", "Node": name, "Address": "10.0.0.1",
            "Datacenter": "dc1", "TaggedAddresses": null, "NodeMeta": {"a": "b"},
            "CreateIndex": 5, "ModifyIndex": 6, "Service": null, "Check": null, "Checks": null})
    }

    fn with(mut record: Value, name: &str, value: Value) -> Value {
        record[name] = value;
        record
    }

    #[test]
    fn records_become_a_backup() {
        let service = json!({"ID": "w1", "Service": "web", "Tags": null, "Port": 80, "Kind": "",
            "Weights": {"Passing": 3, "Warning": 1}, "LocallyRegisteredAsSidecar": false,
            "Proxy": {"Config": null, "DestinationServiceName": "", "Expose": {"Checks": false},
            "MeshGateway": {"Mode": ""}, "Upstreams": null}, "Connect": {"Native": false},
            "CreateIndex": 7, "ModifyIndex": 8, "SomethingNew": {"x": 1}});
        let check = json!({"Node": "n", "CheckID": "c", "Name": "c", "Status": "warning",
            "ServiceID": "w1", "ServiceName": "web", "Type": "http", "Definition":
            {"HTTP": "http://x", "Interval": 10_000_000_000_i64}, "ModifyIndex": 9});
        let (backup, left_out) = read(&state(&[
            (0, node("n")),
            (0, with(node("n"), "Service", service)),
            (0, with(node("n"), "Check", check)),
            (
                2,
                json!({"Key": "a/b", "Value": "v", "Flags": 42, "LockIndex": 3, "Session":
                "16bd04a2-1edc-f347-9073-bd6db34b7855", "CreateIndex": 10, "ModifyIndex": 11}),
            ),
            (
                3,
                json!({"ID": "16bd04a2-1edc-f347-9073-bd6db34b7855", "Node": "n", "TTL": "15s",
                "LockDelay": 5_000_000_000_i64, "Behavior": "delete", "NodeChecks": ["c"],
                "ServiceChecks": [{"ID": "c", "Namespace": ""}], "Checks": null}),
            ),
            (
                7,
                json!({"ID": "26bd04a2-1edc-f347-9073-bd6db34b7855", "Name": "q", "Session": "",
                "Template": {"Type": "name_prefix_match"}, "DNS": {"TTL": "10s"}, "Service":
                {"Service": "web", "Failover": {"NearestN": 2}, "NodeMeta": {"a": "b"}}}),
            ),
        ]))
        .unwrap();
        assert!(left_out.is_empty());
        let found = &backup.nodes[0];
        assert_eq!(
            (found.modify, found.id.as_str()),
            (Index(6), "40e4a748-2192-161a-0510-9bf59fe950b5")
        );
        assert_eq!((backup.nodes.len(), backup.services.len()), (1, 1));
        let service = &backup.services[0];
        assert_eq!((service.node.as_str(), service.port, service.weights.passing), ("n", 80, 3));
        assert_eq!((service.proxy.as_str(), service.connect.as_str()), ("", ""));
        assert_eq!(service.modify, Index(8));
        let check = &backup.checks[0];
        assert_eq!((check.definition.interval_ms, check.modify), (10_000, Index(9)));
        assert_eq!((backup.kv[0].flags, backup.kv[0].lock_index), (42, 3));
        let spec = &backup.sessions[0].spec;
        assert_eq!((spec.lock_delay_ms, spec.ttl_ms), (5000, Some(15_000)));
        assert_eq!(backup.kv[0].session, Some(spec.id));
        let query = &backup.prepared[0];
        assert!(query.is_template() && query.service.node_meta.is_some());
        assert_eq!((query.service.failover.nearest, query.dns_ttl_ms), (2, Some(10_000)));
    }

    #[test]
    fn proxies_are_kept_as_consul_shows_them() {
        let stored = json!({"Config": {"a": 0}, "DestinationServiceName": "web",
            "DestinationServiceID": "", "Expose": {"Checks": false, "Paths": null},
            "LocalServicePort": 81, "MeshGateway": {"Mode": ""}, "Upstreams": [{"Config": null,
            "Datacenter": "", "DestinationName": "db", "DestinationType": "", "IngressHosts": null,
            "LocalBindPort": 9001, "MeshGateway": {"Mode": "local"}}]});
        let shown = json!({"DestinationServiceName": "web", "LocalServicePort": 81,
            "Config": {"a": 0}, "MeshGateway": {}, "Expose": {}, "Upstreams": [{"Config": null,
            "Datacenter": "", "DestinationName": "db", "DestinationType": "",
            "LocalBindPort": 9001, "MeshGateway": {"Mode": "local"}}]});
        assert_eq!(proxy(&stored), shown);
        assert_eq!(proxy(&json!({"Config": null, "Expose": {"Checks": false}})), json!({}));
    }

    #[test]
    fn what_has_no_place_is_counted_by_name() {
        let empty = || json!({});
        let agent = json!({"CheckID": "serfHealth", "Status": "passing"});
        let (backup, left_out) = read(&state(&[
            (17, empty()),
            (17, empty()),
            (22, json!("packed again")),
            (5, json!({"Key": "gone"})),
            (16, json!({"Key": "kvs", "Value": 3})),
            (3, json!({"ID": "x"})),
            (0, node("old")),
            (0, with(node("old"), "Service", json!({"ID": "consul", "Service": "consul"}))),
            (0, with(node("old"), "Check", agent)),
        ]))
        .unwrap();
        let want =
            "2 ACL tokens, 1 config entry, 1 instance of \"consul\", 1 session without a UUID";
        assert_eq!(left_out.to_string(), want);
        assert_eq!((backup.nodes[0].id.as_str(), backup.services.len()), ("", 0));
        assert_eq!(backup.checks.len(), 1);
    }

    #[test]
    fn damage_and_unknown_kinds_are_told_with_their_place() {
        let good = state(&[(0, node("n")), (2, json!({"Key": "k"}))]);
        assert!(read(&good).is_ok());
        let records = HEADER.len();
        for (bytes, want) in [
            (state(&[(200, Value::Null)]), format!("byte {records}: unknown kind of record 200")),
            (good[..good.len() - 1].to_vec(), "cut short".to_owned()),
            ([HEADER, b"\x02"].concat(), format!("byte {records}: cut short")),
            ([HEADER, b"\x02\xdb\xff\xff\xff\xffx"].concat(), "cut short".to_owned()),
            ([HEADER, b"\x02\xdf\xff\xff\xff\xff\x01"].concat(), "cut short".to_owned()),
            (state(&[(0, json!([1]))]), "record of kind 0: json: cannot unmarshal".to_owned()),
            (
                [&b"\x81\xa9LastIndex\xdd\xff\xff\xff\xff"[..], &vec![0xc0; BODY_BYTES_MAX]]
                    .concat(),
                format!("byte 0: longer than {BODY_BYTES_MAX} bytes"),
            ),
            (
                state(&[(2, json!({"Value": "x".repeat(BODY_BYTES_MAX)}))]),
                format!("longer than {BODY_BYTES_MAX} bytes"),
            ),
        ] {
            let why = read(&bytes).unwrap_err().to_string();
            assert!(why.contains(&want), "{want}: {why}");
        }
        for cut in records..good.len() {
            let _outcome = read(&good[..cut]).map(|(backup, _)| backup.nodes.len());
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            let _outcome = read(&bad).map(|(backup, _)| backup.nodes.len());
        }
    }
}
