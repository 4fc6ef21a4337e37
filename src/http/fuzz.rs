//! The HTTP door under a fuzzer: paths and queries, bodies, numbers as Go writes them, and the
//! archives of backups.

use std::time::Duration;

use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL};
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::archive::{self, Peers};
use super::params::{self, Params, ReadDefaults, Selection};
use super::wire::{AgentServiceJson, CheckJson, CoordinateJson, KvListJson, NodeJson};
use super::wire::{EventJson, PreparedJson, SessionJson};
use super::{
    autopilot, catalog, check_definition, coordinate, definition, door, filter, json as go,
    keyring, msgpack, number, operations, path, prepared_definition, routes, session,
};
use crate::codec;
use crate::fuzz::{Input, Target, pieces};
use crate::limits::{COMMAND_BYTES_MAX, VALUE_BYTES_MAX, WAIT_DEFAULT, WAIT_MAX};
use crate::model::{
    Autopilot, Backup, Command, Event, Index, KvEntry, KvOp, KvWrite, Node, PreparedId,
    PreparedQuery, SessionId, Template,
};

/// What is read of callers.
pub const TARGETS: &[Target] = &[
    Target {
        name: "http-head",
        about: "path, query and headers: a clean path stays one, a place is read as it was written",
        memory: 4 * 1024 * 1024,
        run: head,
        seeds: head_seeds,
    },
    Target {
        name: "http-body",
        about: "the body of every route that has one: the command of it is short enough, and travels",
        memory: 64 * 1024 * 1024,
        run: body,
        seeds: body_seeds,
    },
    Target {
        name: "http-number",
        about: "numbers, durations and texts as Go writes them: what is written is read",
        memory: 1024 * 1024,
        run: numbers,
        seeds: number_seeds,
    },
    Target {
        name: "http-msgpack",
        about: "MessagePack: what is read ends within the input, and nothing is reserved for claims",
        memory: 8 * 1024 * 1024,
        run: packed,
        seeds: packed_seeds,
    },
    Target {
        name: "http-archive",
        about: "an archive, ours or Consul's: whatever is restored can be saved again, and be shown",
        memory: 256 * 1024 * 1024,
        run: restored,
        seeds: archive_seeds,
    },
    filter::fuzz::TARGET,
];

fn head(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let text = |piece: &[u8]| String::from_utf8_lossy(piece).into_owned();
    let (raw, query) = (text(input.piece()), text(input.piece()));
    let mut headers = HeaderMap::new();
    for name in [CACHE_CONTROL, ACCEPT_ENCODING] {
        if let Ok(value) = HeaderValue::from_bytes(input.piece()) {
            headers.insert(name, value);
        }
    }
    door::accepts_gzip(&headers);
    for any in [false, true] {
        let Some(path) = path::decode(&raw, any) else { continue };
        let written = path::location(&path, None);
        assert_eq!(path::decode(&written, any).as_ref(), Some(&path), "a path is read as written");
        if let Some(clean) = path::cleaned(&path) {
            assert!(clean.starts_with('/') && clean.len() <= path.len() + 1, "{path:?} is cleaned");
            assert_eq!(path::cleaned(&clean), None, "a clean path stays one");
        } else if let routes::Found::Path(route) = routes::find(&path) {
            assert!(path.starts_with(route), "what is behind a route is told by its length");
        }
    }
    let Some(params) = Params::parse(Some(&query)) else { return };
    drop(Selection::of(&params));
    drop(params.conflict(&["stale", "consistent"]));
    let defaults =
        ReadDefaults { discovery_max_stale: None, wait: WAIT_DEFAULT, wait_max: WAIT_MAX };
    if let Ok(plan) = params::read_plan(&params, &headers, &defaults) {
        let wait = plan.options.wait;
        assert!(wait.is_none_or(|wait| wait <= WAIT_MAX), "nobody waits longer than that");
        assert!(plan.options.after.is_none_or(|after| after > Index(0)), "0 is no index");
    }
}

fn head_seeds() -> Vec<Vec<u8>> {
    let heads = [
        ("/v1/kv/a/b%20c", "cas=7&flags=42", "", ""),
        ("/v1/kv/%ff", "recurse&keys&separator=%2F", "", ""),
        ("/v1//catalog/./x/../services/", "node-meta=rack:r1&tag=v1", "", "gzip;q=0"),
        ("/v1/health/service/web", "index=41&wait=60s&passing&near=_agent", "max-age=30", "*"),
        ("/v1/health/service/w%C3%A9b", "stale&max_stale=1m30s&cached", "must-revalidate", "gzip"),
        ("v1/agent/self", "stale;consistent", "stale-if-error=5, no-cache", "gzip, br;q=0.5"),
        ("/v1/query/%7bx%7d/execute", "limit=3&dc=dc2&pretty", "max-age=x", ""),
        ("/../", "%zz", "", ""),
    ];
    heads.iter().map(|(path, query, cache, gzip)| pieces(&[path, query, cache, gzip])).collect()
}

/// A session, a query or a node for which nothing else stands.
const ID: Uuid = Uuid::from_u128(7);

/// The readers of bodies, by the first byte of the input.
const BODIES: &[fn(&Value)] = &[
    |value| {
        if let Ok((service, checks)) = definition::service(value) {
            travels(&service);
            shown(&AgentServiceJson::of(&service, ""));
            for spec in &checks {
                shown(&CheckJson::of(&spec.check));
            }
        }
    },
    |value| {
        if let Ok(spec) = check_definition::check(value) {
            travels(&spec.check);
            shown(&CheckJson::of(&spec.check));
        }
    },
    |value| {
        if let Ok((registration, _)) = catalog::registration(value, "dc1") {
            proposed(&Command::Register(Box::new(registration)));
        }
    },
    |value| {
        if let Ok((removal, _)) = catalog::deregistration(value) {
            proposed(&Command::Deregister(removal));
        }
    },
    |value| {
        if let Ok(asked) = operations::operations(value, VALUE_BYTES_MAX, "dc1") {
            proposed(&Command::Txn(asked.ops));
        }
    },
    |value| {
        let own = session::Own { node: "n1", ttl_min: Duration::from_secs(10) };
        if let Ok(spec) = session::spec(value, SessionId(ID), own) {
            proposed(&Command::SessionCreate(spec));
        }
    },
    |value| {
        if let Ok(query) = prepared_definition::new(value, PreparedId(ID)) {
            prepared(query);
        }
    },
    |value| {
        if let Ok(query) = prepared_definition::changed(value, PreparedId(ID)) {
            prepared(query);
        }
    },
    |value| {
        if let Ok(settings) = autopilot::settings(value) {
            proposed(&Command::Autopilot { settings: Box::new(settings), index: None });
        }
    },
    |value| drop(keyring::key(value)),
    |value| {
        if let Ok((update, _)) = coordinate::parse(value) {
            shown(&CoordinateJson::of(&update));
            proposed(&Command::CoordinateUpdate(vec![update]));
        }
    },
];

fn body(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let kind = usize::from(input.byte()) % (BODIES.len() + 1);
    let bytes = input.rest();
    let Some(read) = BODIES.get(kind) else { return raw(bytes) };
    let Ok(value) = go::parse(bytes) else { return };
    shown(&value);
    read(&value);
}

/// Bodies that mean nothing: a key's value, an event's payload.
fn raw(bytes: &[u8]) {
    let value = Bytes::copy_from_slice(bytes);
    let verb = KvWrite::Set { value: value.clone(), flags: 0 };
    proposed(&Command::Kv(KvOp { key: "a".to_owned(), verb }));
    let event = Event { name: "e".to_owned(), payload: value, ..Event::default() };
    shown(&EventJson::of(&event));
    assert!(!event.fits() || bytes.len() < crate::limits::EVENT_BYTES_MAX, "events are short");
}

fn prepared(query: PreparedQuery) {
    shown(&PreparedJson::of(&query));
    proposed(&Command::PreparedCreate(Box::new(query.clone())));
    if query.is_template() {
        drop(Template::compile(query.into()));
    }
}

/// Every command of a body can be proposed.
fn proposed(command: &Command) {
    assert!(codec::encode(command).len() <= COMMAND_BYTES_MAX, "a command is short enough");
    travels(command);
}

fn travels<T: Serialize + serde::de::DeserializeOwned + PartialEq>(value: &T) {
    let again: T = codec::decode(&codec::encode(value)).expect("what is sent is read");
    assert!(again == *value, "what is sent arrives as it was");
}

/// Every record can be shown.
fn shown<T: Serialize>(value: &T) {
    go::parse(&go::bytes(value, true)).expect("what is shown is JSON");
}

fn body_seeds() -> Vec<Vec<u8>> {
    let bodies = [
        (
            0,
            r#"{"ID":"w1","Name":"web","Tags":["a"],"Address":"10.0.0.1","Port":80,
            "TaggedAddresses":{"lan":{"Address":"x","Port":1}},"Meta":{"k":"v"},
            "Weights":{"Passing":3,"Warning":1},"EnableTagOverride":true,
            "Checks":[{"TCP":"x:1","Interval":"10s","DeregisterCriticalServiceAfter":"1h"}]}"#,
        ),
        (0, r#"{"Name":"w","Kind":"connect-proxy","Proxy":{"DestinationServiceName":"db"}}"#),
        (0, r#"{"name":"w","port":1,"connect":{"native":true},"check":{"ttl":"5s"}}"#),
        (1, r#"{"Name":"c","HTTP":"http://x","Interval":"10s","Header":{"A":["b"]},"Timeout":1}"#),
        (
            1,
            r#"{"ID":"c","Name":"c","Args":["a"],"DockerContainerID":"d","Shell":"s","Interval":"1m"}"#,
        ),
        (1, r#"{"Name":"c","GRPC":"x:1/s","GRPCUseTLS":true,"Interval":"1h","Status":"passing"}"#),
        (1, r#"{"Name":"a","AliasService":"web","ServiceID":"s"}"#),
        (
            2,
            r#"{"Node":"n","Address":"1.2.3.4","Service":{"Service":"w","Weights":{"Passing":2}},
            "Checks":[{"Name":"c","Status":"warning","Definition":{"Interval":"10s"}}]}"#,
        ),
        (2, r#"{"ID":"40e4a748-2192-161a-0510-9bf59fe950b5","Node":"n","SkipNodeUpdate":true}"#),
        (3, r#"{"Node":"n","ServiceID":"s","CheckID":"","Datacenter":"dc1"}"#),
        (
            4,
            r#"[{"KV":{"Verb":"cas","Key":"a","Value":"eA==","Index":7,"Flags":1}},
            {"KV":{"Verb":"lock","Key":"b","Session":"00000000-0000-0000-0000-000000000007"}}]"#,
        ),
        (
            4,
            r#"[{"Node":{"Verb":"set","Node":{"Node":"n","Address":"x"}}},
            {"Service":{"Verb":"delete","Node":"n","Service":{"ID":"s"}}},
            {"Check":{"Verb":"cas","Check":{"Node":"n","CheckID":"c","ModifyIndex":3}}}]"#,
        ),
        (5, r#"{"LockDelay":"15s","Name":"s","TTL":"30s","Behavior":"delete","Checks":["c"]}"#),
        (5, r#"{"LockDelay":1.5e3,"ServiceChecks":[{"ID":"c"}],"NodeChecks":[]}"#),
        (
            6,
            r#"{"Name":"q","Service":{"Service":"w","Tags":["a","!b"],"Near":"_agent",
            "Failover":{"NearestN":3,"Datacenters":["dc2"]}},"DNS":{"TTL":"10s"}}"#,
        ),
        (
            7,
            r#"{"Name":"geo","Template":{"Type":"name_prefix_match","Regexp":"^geo-(.*)$",
            "RemoveEmptyTags":true},"Service":{"Service":"${match(1)}"}}"#,
        ),
        (8, r#"{"CleanupDeadServers":false,"LastContactThreshold":"1s","MinQuorum":3}"#),
        (9, r#"{"Key":"pUqJrVyVRj5jsiYEkM/tFQ==","RelayFactor":1}"#),
        (10, r#"{"Node":"n","Coord":{"Vec":[0,1,-1,1e300,0,0,0,0.5],"Error":1.5,"Height":1e-5}}"#),
        (11, "a value of no meaning"),
    ];
    bodies.iter().map(|(kind, body)| [&[*kind], body.as_bytes()].concat()).collect()
}

/// The longest duration in whole milliseconds, as Go counts it.
const MILLIS_MAX: u64 = i64::MAX.unsigned_abs() / 1_000_000;

fn numbers(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(nanos) = number::duration_nanos(text) {
        let millis = number::millis(nanos).min(MILLIS_MAX);
        let again = number::duration_nanos(&number::duration_text(millis));
        assert_eq!(again.map(number::millis), Ok(millis), "{text:?} is written and read");
    }
    if let Ok(whole) = number::whole(text) {
        assert_eq!(number::whole(&whole.to_string()), Ok(whole), "{text:?} is written and read");
    }
    if let Ok(unsigned) = number::unsigned(text)
        && !text.starts_with('0')
    {
        assert_eq!(
            number::whole(text).ok(),
            i64::try_from(unsigned).ok(),
            "{text:?} is one number"
        );
    }
    let quoted = number::quoted(text);
    assert!(quoted.len() >= text.len() + 2 && quoted.chars().all(|sign| sign != '\n'), "{quoted}");
}

fn number_seeds() -> Vec<Vec<u8>> {
    let texts = [
        "1h2m3.5s",
        "-1.5s",
        ".5ms",
        "0",
        "9223372036854775807ns",
        "2562047h47m16.854775807s",
        "0x1f",
        "0b101",
        "0_120",
        "-9223372036854775808",
        "18446744073709551615",
        "007",
        "1_000",
        "a\"b\\\n\u{1}\u{7f}\u{2028}",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn packed(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(value) = msgpack::read(&mut rest) {
        assert!(rest.len() < bytes.len(), "a value takes a byte at least");
        let text = value.json().to_string();
        assert!(text.len() <= 330 * (bytes.len() + 1), "what is shown is no more than was sent");
        if rest.is_empty() {
            return;
        }
    }
}

fn packed_seeds() -> Vec<Vec<u8>> {
    vec![
        b"\x81\xa9LastIndex\x27".to_vec(),
        b"\x83\xa1a\xc0\xa1b\xc3\xa1c\x93\x01\xff\xcb\x7f\xe0\0\0\0\0\0\0".to_vec(),
        b"\xdd\xff\xff\xff\xff\x01".to_vec(),
        b"\xdf\xff\xff\xff\xff\x01".to_vec(),
        b"\xc6\xff\xff\xff\xff\x01".to_vec(),
        b"\xc9\xff\xff\xff\xff\x01".to_vec(),
        vec![0x91; 70],
        b"\xd6\x01abcd\xc7\x02\x05ab\xd3\x80\0\0\0\0\0\0\0".to_vec(),
    ]
}

fn peers() -> Peers {
    Peers { servers: Vec::new(), term: 2, index: 7, seconds: 1 }
}

fn restored(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let whole = input.byte() & 1 == 0;
    let bytes = input.rest();
    let packed = if whole { bytes.to_vec() } else { archive::packed(bytes, &peers()) };
    let Ok((backup, left_out)) = archive::unpack(&packed) else { return };
    assert!(left_out.is_empty() != left_out.to_string().contains(' '), "what is left is named");
    let again = archive::unpack(&archive::pack(&backup, &peers()));
    assert!(again.is_ok_and(|(again, _)| again == backup), "what is restored is saved again");
    backup.sessions.iter().for_each(|it| shown(&SessionJson::of(it)));
    backup.nodes.iter().for_each(|it| shown(&NodeJson::of(it)));
    backup.services.iter().for_each(|it| shown(&AgentServiceJson::of(it, "")));
    backup.checks.iter().for_each(|it| shown(&CheckJson::of(it)));
    backup.coordinates.iter().for_each(|it| shown(&CoordinateJson::of(it)));
    backup.kv.iter().for_each(|it| shown(&KvListJson(&[it.clone().into()])));
    backup.prepared.into_iter().for_each(prepared);
}

fn archive_seeds() -> Vec<Vec<u8>> {
    let key = KvEntry {
        key: "a".to_owned(),
        value: Bytes::from_static(b"value"),
        flags: 1,
        session: None,
        lock_index: 0,
        create: Index(3),
        modify: Index(4),
    };
    let node = Node { name: "n".to_owned(), address: "10.0.0.1".to_owned(), ..Node::default() };
    let mut backup = Backup { kv: vec![key], nodes: vec![node], ..Backup::default() };
    backup.autopilot = Some(Autopilot::default());
    let seed = |kind: u8, bytes: &[u8]| [&[kind], bytes].concat();
    let mut seeds = vec![
        seed(0, &archive::pack(&backup, &peers())),
        seed(1, &archive::state_bytes(&backup)),
        seed(1, b"portolan state 2\n"),
        seed(1, b"portolan state 2\n\xff\xff\xff\xff\x01"),
        seed(1, b"\x81\xa9LastIndex\x27"),
        // A head that never ends.
        seed(1, &[&b"\x81\xa9LastIndex\xdd\xff\xff\xff\xff"[..], &[0xc0; 4096]].concat()),
    ];
    seeds.extend(consuls().iter().map(|state| seed(1, state)));
    seeds
}

/// States as Consul saves them: each record by itself, and all in a row.
fn consuls() -> Vec<Vec<u8>> {
    let id = "00000000-0000-0000-0000-000000000007";
    let service = json!({"ID": "w", "Service": "web", "Port": 80, "Tags": ["a"], "CreateIndex": 5,
        "Proxy": {"DestinationServiceName": "db", "Upstreams": [{"DestinationName": "x"}]}});
    let node = json!({"ID": id, "Node": "n", "Address": "10.0.0.1", "Datacenter": "dc1",
        "NodeMeta": {"a": "b"}, "CreateIndex": 5, "ModifyIndex": 6, "Service": service});
    let check = json!({"Node": "n", "CheckID": "serfHealth", "Status": "passing"});
    let records = [
        (0, node),
        (0, json!({"Node": "n", "Address": "10.0.0.1", "Check": check})),
        (2, json!({"Key": "a", "Value": "x", "Flags": 7, "Session": id, "LockIndex": 1})),
        (3, json!({"ID": id, "Node": "n", "LockDelay": 15_000_000_000_i64, "TTL": "30s"})),
        (7, json!({"ID": id, "Name": "q", "Service": {"Service": "web", "Tags": ["a"]}})),
        (7, json!({"ID": "x", "Name": "odd"})),
        (17, json!({"AccessorID": id})),
    ];
    let mut all = b"\x81\xa9LastIndex\x27".to_vec();
    let mut states = Vec::new();
    for (kind, record) in &records {
        let mut state = b"\x81\xa9LastIndex\x27".to_vec();
        for out in [&mut state, &mut all] {
            out.push(*kind);
            msgpack::pack(record, out);
        }
        states.push(state);
    }
    states.push(all);
    states
}
