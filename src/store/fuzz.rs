//! The state machine under a fuzzer: commands of strangers, and any sequence of commands, which
//! must come back from what is stored as it was, however it was cut into batches.

use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;

use super::engine::Batch;
use super::step::{Journal, Step};
use super::tables::{Counters, Tables};
use super::{apply, backup, encoding, invariants, machine, view};
use crate::codec;
use crate::fuzz::{Input, Target, pieces};
use crate::model::{
    Autopilot, Behavior, Check, CheckStatus, CheckUpdate, ClusterTime, Command, Coordinate,
    Deregistration, Envelope, Index, KvOp, KvWrite, Node, NodeCoordinate, PreparedId,
    PreparedQuery, PreparedService, PreparedTemplate, RecordVerb, Registration, Renewal, Service,
    SessionId, SessionSpec, TxnOp, Written,
};

/// What is proposed by others.
pub const TARGETS: &[Target] = &[
    Target {
        name: "store-envelopes",
        about: "encoded envelopes: none stops the machine, and what is stored is what is in memory",
        memory: 64 * 1024 * 1024,
        run: envelopes,
        seeds: envelope_seeds,
    },
    Target {
        name: "store-sequence",
        about: "a sequence of commands: any cut into batches, what is stored and a backup bring the same",
        memory: 64 * 1024 * 1024,
        run: sequence,
        seeds: sequence_seeds,
    },
];

/// The tables, and the rows that are stored of them.
#[derive(Default)]
struct Machine {
    tables: Tables,
    stored: BTreeMap<Vec<u8>, Vec<u8>>,
    counters: Vec<u8>,
}

impl Machine {
    /// Applies some envelopes as one batch.
    fn apply(&mut self, envelopes: &[Envelope]) -> Vec<Written> {
        let mut journal = Journal::default();
        let mut replies = Vec::new();
        for envelope in envelopes {
            replies.push(apply::apply(Step::begin(&mut self.tables, &mut journal), envelope));
            invariants::hold(&self.tables);
        }
        self.store(&machine::batch(&self.tables, &mut journal, Bytes::new()));
        replies
    }

    /// Stores what a batch changed, as the database does.
    fn store(&mut self, batch: &Batch) {
        if batch.wiped {
            self.stored.clear();
        }
        for (row, record) in &batch.rows {
            let name = encoding::name(row);
            match record {
                Some(record) => drop(self.stored.insert(name, encoding::value(record))),
                None => drop(self.stored.remove(&name)),
            }
        }
        self.counters = codec::encode(&batch.counters);
    }

    /// What is in memory, and what comes back from what is stored, are the same.
    fn comes_back(&self) {
        let mut loaded = Tables::default();
        for (name, value) in &self.stored {
            let (row, record) = encoding::read(name, value).expect("a row of ours is read");
            assert!(loaded.load(row.clone(), record), "row {row:?} hangs on nothing");
        }
        if !self.counters.is_empty() {
            let counters: Counters = codec::decode(&self.counters).expect("ours are read");
            loaded.counters = counters;
        }
        invariants::hold(&loaded);
        assert_eq!(view::digest(&loaded), view::digest(&self.tables), "what is stored comes back");
        assert_eq!(loaded.counters.clock, self.tables.counters.clock, "the clock comes back");
    }
}

fn envelopes(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut machine = Machine::default();
    machine.apply(&[of(0, Vec::new(), &Command::Register(Box::new(registration(0, 0))))]);
    while !input.is_empty() {
        let Ok(envelope) = codec::decode::<Envelope>(input.piece()) else { continue };
        let again = codec::decode::<Envelope>(&codec::encode(&envelope));
        assert_eq!(again.ok().as_ref(), Some(&envelope), "an envelope is written as it is");
        machine.apply(&[envelope]);
    }
    machine.comes_back();
}

fn of(at: u64, renewals: Vec<Renewal>, command: &Command) -> Envelope {
    let command = Bytes::from(codec::encode(command));
    Envelope { at: ClusterTime(at), renewals, command }
}

fn sequence(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (mut whole, mut single) = (Machine::default(), Machine::default());
    let mut at = 0;
    while !input.is_empty() {
        let count = usize::from(input.byte() % 4) + 1;
        let batch: Vec<Envelope> = (0..count).map(|_| next(&mut input, &mut at)).collect();
        let replies = whole.apply(&batch);
        let one_by_one = batch.iter().flat_map(|one| single.apply(std::slice::from_ref(one)));
        assert_eq!(replies, one_by_one.collect::<Vec<_>>(), "a batch answers as its commands do");
    }
    assert_eq!(view::digest(&whole.tables), view::digest(&single.tables), "and does the same");
    assert_eq!(whole.stored, single.stored, "and stores the same");
    whole.comes_back();
    restored(whole);
}

/// A backup of the state brings the same records back; only what counts time begins anew.
fn restored(mut machine: Machine) {
    let taken = backup::gather(&machine.tables).copy();
    let restore = Command::Restore(Box::new(taken.clone()));
    machine.apply(&[of(0, Vec::new(), &restore)]);
    machine.comes_back();
    let mut found = backup::gather(&machine.tables).copy();
    let mut taken = taken;
    for session in taken.sessions.iter_mut().chain(&mut found.sessions) {
        session.deadline = None;
    }
    assert_eq!(found, taken, "a backup brings back what was taken");
}

/// The next command of an input. Names are few, so that commands meet.
fn next(input: &mut Input<'_>, at: &mut u64) -> Envelope {
    let kind = input.byte();
    let renewals = match kind >> 6 {
        3 => vec![Renewal { id: session_id(input.byte()), at: ClusterTime(*at) }],
        bits => {
            *at += u64::from(bits) * 20_000;
            Vec::new()
        }
    };
    let (one, two) = (input.byte(), input.byte());
    of(*at, renewals, &command(kind & 0x3f, one, two, input))
}

fn command(kind: u8, one: u8, two: u8, input: &mut Input<'_>) -> Command {
    match kind % 22 {
        0..=4 => Command::Kv(kv(kind, one, two)),
        5..=7 => Command::Txn((0..=one % 6).map(|_| operation(input)).collect()),
        8 | 9 => Command::SessionCreate(session(one, two)),
        10 => Command::SessionDestroy(session_id(one)),
        11 => Command::SessionExpire { id: session_id(one), sequence: u64::from(two % 3) },
        12 | 13 => Command::Register(Box::new(registration(one, two))),
        14 => Command::Deregister(Deregistration {
            node: node_name(one),
            service: (two & 1 > 0).then(|| format!("s{}", two >> 6)),
            check: (two & 2 > 0).then(|| format!("c{}", two >> 6)),
        }),
        15 => Command::CheckUpdate(vec![CheckUpdate {
            node: node_name(one),
            check: format!("c{}", two % 4),
            status: status(two >> 2),
            output: format!("{two}"),
        }]),
        16 => Command::TombstoneReap(Index(u64::from(one))),
        17 => Command::PreparedCreate(Box::new(prepared(one, two))),
        18 => Command::PreparedUpdate(Box::new(prepared(one, two))),
        19 => Command::PreparedDelete(prepared(one, two).id),
        20 => Command::CoordinateUpdate(vec![NodeCoordinate {
            node: node_name(one),
            segment: if two & 1 > 0 { "x".to_owned() } else { String::new() },
            coordinate: Coordinate::default(),
        }]),
        _ => Command::Autopilot {
            settings: Box::new(Autopilot { min_quorum: one.into(), ..Autopilot::default() }),
            index: (two & 1 > 0).then(|| Index(u64::from(two >> 1))),
        },
    }
}

fn session_id(of: u8) -> SessionId {
    SessionId(Uuid::from_u128(u128::from(of % 4) + 1))
}

/// `n0` to `n3`; the second also in capitals, which name the same node.
fn node_name(of: u8) -> String {
    if of % 8 == 5 { "N1".to_owned() } else { format!("n{}", of % 4) }
}

fn key(of: u8) -> String {
    ["a", "a/", "a/b", "a/b/c", "b", "", "b/1", "c"][usize::from(of % 8)].to_owned()
}

fn status(of: u8) -> CheckStatus {
    CheckStatus::from_word(["passing", "warning", "critical", "odd"][usize::from(of % 4)])
}

fn kv(kind: u8, one: u8, two: u8) -> KvOp {
    let (value, flags) = (Bytes::from(vec![two; usize::from(two % 3)]), u64::from(one >> 3));
    let (session, index) = (session_id(two), Index(u64::from(two)));
    let verb = match (kind ^ one >> 3) % 12 {
        0 | 1 => KvWrite::Set { value, flags },
        2 => KvWrite::Cas { value, flags, index },
        3 | 4 => KvWrite::Lock { value, flags, session },
        5 => KvWrite::Unlock { value, flags, session },
        6 => KvWrite::Delete,
        7 => KvWrite::DeleteCas { index },
        8 => KvWrite::DeleteTree,
        9 => KvWrite::GetTree,
        10 => KvWrite::CheckSession { session: session.to_string() },
        _ => KvWrite::CheckNotExists,
    };
    KvOp { key: key(one), verb }
}

fn operation(input: &mut Input<'_>) -> TxnOp {
    let (kind, one, two) = (input.byte(), input.byte(), input.byte());
    let verb = match kind >> 4 {
        0..=5 => RecordVerb::Set,
        6 | 7 => RecordVerb::Cas(Index(u64::from(two))),
        8 => RecordVerb::Get,
        9..=12 => RecordVerb::Delete,
        _ => RecordVerb::DeleteCas(Index(u64::from(two))),
    };
    let Registration { node, service, mut checks, .. } = registration(one, two);
    match kind % 8 {
        0..=3 => TxnOp::Kv(kv(kind >> 3, one, two)),
        4 => TxnOp::Node { verb, node: Box::new(node) },
        5 => TxnOp::Service {
            verb,
            service: Box::new(service.unwrap_or_else(|| instance(one, two))),
        },
        6 => {
            TxnOp::Check { verb, check: Box::new(checks.pop().unwrap_or_else(|| check(one, two))) }
        }
        _ => TxnOp::Nonsense("no".to_owned()),
    }
}

fn session(one: u8, two: u8) -> SessionSpec {
    let checks = (two & 1 > 0).then(|| vec![format!("c{}", two >> 6)]);
    SessionSpec {
        id: session_id(one),
        name: String::new(),
        node: node_name(one >> 2),
        lock_delay_ms: u64::from(two >> 4) * 5_000,
        behavior: if two & 2 > 0 { Behavior::Delete } else { Behavior::Release },
        ttl_ms: (two & 4 > 0).then_some(10_000),
        ttl_text: String::new(),
        node_checks: checks.unwrap_or_default(),
        service_checks: (two & 8 > 0).then(|| vec![("c1".to_owned(), String::new())]),
        checks: None,
    }
}

fn registration(one: u8, two: u8) -> Registration {
    let ids = ["", "", "aa", "bb"];
    let node = Node {
        id: ids[usize::from(two >> 6)].to_owned(),
        name: node_name(one),
        address: format!("10.0.0.{}", two % 3),
        ..Node::default()
    };
    Registration {
        node,
        skip_node_update: one & 8 > 0,
        service: (one & 16 > 0).then(|| instance(one, two)),
        checks: if one & 32 > 0 { vec![check(one, two)] } else { Vec::new() },
    }
}

fn instance(one: u8, two: u8) -> Service {
    Service {
        node: node_name(one),
        id: format!("s{}", two % 3),
        name: ["web", "Web", "db"][usize::from(two >> 2) % 3].to_owned(),
        tags: vec![format!("t{}", two % 5)],
        address: if two & 1 > 0 { "10.1.0.1".to_owned() } else { String::new() },
        lets_in_to: if two & 64 > 0 { "db".to_owned() } else { String::new() },
        ..Service::default()
    }
}

fn check(one: u8, two: u8) -> Check {
    Check {
        node: node_name(one),
        id: format!("c{}", two % 4),
        status: status(two >> 2),
        service_id: if two & 16 > 0 { format!("s{}", two % 3) } else { String::new() },
        ..Check::default()
    }
}

fn prepared(one: u8, two: u8) -> PreparedQuery {
    let template = if two & 1 > 0 { "geo-" } else { "" };
    PreparedQuery {
        id: PreparedId(Uuid::from_u128(u128::from(one % 4) + 100)),
        name: format!("{template}{}", ["", "p", "P", "q"][usize::from(two >> 2) % 4]),
        session: (two & 2 > 0).then(|| session_id(one >> 2)),
        token: String::new(),
        template: PreparedTemplate {
            kind: if two & 1 > 0 {
                crate::model::TemplateKind::NamePrefixMatch
            } else {
                crate::model::TemplateKind::None
            },
            ..PreparedTemplate::default()
        },
        service: PreparedService { service: "web".to_owned(), ..PreparedService::default() },
        dns_ttl: String::new(),
        dns_ttl_ms: None,
        create: Index(0),
        modify: Index(0),
    }
}

fn envelope_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut all = Vec::new();
    for kind in 0..22 {
        let tail = [0x04, 0x38, 0x05, 0x45, 0x10, 0x16, 0x86, 0x20, 0x31];
        let mut input = Input::new(&tail);
        let envelope = of(1_000, Vec::new(), &command(kind, 0x35, 0x1d, &mut input));
        all.push(codec::encode(&envelope));
        seeds.push(pieces(&[all.last().map(Vec::as_slice).unwrap_or_default()]));
    }
    seeds.push(pieces(&all));
    seeds.push(pieces(&restores()));
    seeds
}

/// A backup in one command, and one in parts.
fn restores() -> Vec<Vec<u8>> {
    let mut machine = Machine::default();
    for kind in [12, 8, 4, 17, 20, 21] {
        let mut input = Input::new(&[]);
        machine.apply(&[of(5, Vec::new(), &command(kind, 0x30, 0x06, &mut input))]);
    }
    let records = Box::new(backup::gather(&machine.tables).copy());
    let commands = [
        Command::Restore(records.clone()),
        Command::RestorePart { id: 7, part: 0, records: records.clone() },
        Command::RestorePart { id: 7, part: 1, records },
        Command::RestoreParts { id: 7, parts: 2 },
    ];
    commands.iter().map(|command| codec::encode(&of(9, Vec::new(), command))).collect()
}

/// Numbers of a linear congruential generator: enough for commands to meet.
fn sequence_seeds() -> Vec<Vec<u8>> {
    let seed = |seed: u32| {
        let mut state = seed;
        let next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        std::iter::repeat_with(next).take(160).collect()
    };
    (1..=24).map(seed).collect()
}
