//! Tests of the whole door on real sockets, over a catalog that is a table.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, OpCode, Query as Question, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::frame;
use super::options::{Observed, Observer, Options};
use super::reply::Transport;
use super::resolve::Resolver;
use super::server::{Door, open};
use super::table::{LOCAL, Table};
use crate::lifecycle::Tasks;

/// A door on a port of its own, over UDP and TCP.
pub(super) struct Live {
    pub(super) udp: SocketAddr,
    tcp: SocketAddr,
    tasks: Tasks,
}

impl Live {
    pub(super) async fn start(options: Options) -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (udp_at, tcp_at) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        let tasks = Tasks::new();
        let options = Arc::new(options);
        let resolver = Resolver::new(options, Table::default());
        open(vec![udp], vec![tcp], &Arc::new(Door::new(resolver)), &tasks);
        Self { udp: udp_at, tcp: tcp_at, tasks }
    }

    pub(super) async fn udp_bytes(&self, request: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(request, self.udp).await.unwrap();
        let mut buffer = vec![0; 65_535];
        let length = socket.recv(&mut buffer).await.unwrap();
        buffer.truncate(length);
        buffer
    }

    pub(super) async fn udp(&self, request: &Message) -> Message {
        Message::from_vec(&self.udp_bytes(&request.to_vec().unwrap()).await).unwrap()
    }

    pub(super) async fn tcp(&self, request: &Message) -> Message {
        let mut stream = TcpStream::connect(self.tcp).await.unwrap();
        frame::write(&mut stream, &request.to_vec().unwrap()).await.unwrap();
        let reply = frame::read(&mut stream, 65_535).await.unwrap().unwrap();
        Message::from_vec(&reply).unwrap()
    }

    pub(super) async fn ask(&self, name: &str, kind: RecordType) -> Message {
        self.udp(&question(name, kind)).await
    }
}

pub(super) fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 4711;
    message.metadata.recursion_desired = true;
    message.add_query(Question::query(Name::from_ascii(name).unwrap(), kind));
    message
}

pub(super) fn with_edns(mut message: Message, bytes: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(bytes);
    message.set_edns(edns);
    message
}

pub(super) fn answers(message: &Message) -> Vec<String> {
    let mut lines: Vec<String> = message.answers.iter().map(|r| r.data.to_string()).collect();
    lines.sort();
    lines
}

/// A name, a kind, the code and what is answered.
type Row = (&'static str, RecordType, ResponseCode, &'static [&'static str]);

const NAMES: &[Row] = &[
    ("n1.node.consul.", RecordType::A, ResponseCode::NoError, &["10.0.0.1"]),
    ("n1.node.consul.", RecordType::AAAA, ResponseCode::NoError, &[]),
    ("n2.node.dc1.consul.", RecordType::AAAA, ResponseCode::NoError, &["fd00::2"]),
    ("n1.node.consul.", RecordType::TXT, ResponseCode::NoError, &["env=prod"]),
    ("n3.node.consul.", RecordType::A, ResponseCode::NXDomain, &[]),
    ("web.service.consul.", RecordType::A, ResponseCode::NoError, &["10.0.0.1", "10.9.9.9"]),
    ("web.service.consul.", RecordType::AAAA, ResponseCode::NoError, &[]),
    ("v1.0.web.service.consul.", RecordType::A, ResponseCode::NoError, &["10.0.0.1", "10.9.9.9"]),
    ("_web._udp.consul.", RecordType::SRV, ResponseCode::NXDomain, &[]),
    ("there.query.consul.", RecordType::AAAA, ResponseCode::NoError, &[]),
    (
        "_web._tcp.consul.",
        RecordType::SRV,
        ResponseCode::NoError,
        &["1 1 80 n1.node.dc1.consul.", "1 1 81 0a090909.addr.dc1.consul."],
    ),
    ("sick.service.consul.", RecordType::A, ResponseCode::NXDomain, &[]),
    ("none.service.consul.", RecordType::A, ResponseCode::NXDomain, &[]),
    ("gone.service.consul.", RecordType::A, ResponseCode::ServFail, &[]),
    ("0a090909.addr.dc1.consul.", RecordType::A, ResponseCode::NoError, &["10.9.9.9"]),
    (
        "alias.service.consul.",
        RecordType::A,
        ResponseCode::NoError,
        &["10.0.0.1", "10.9.9.9", "web.service.consul."],
    ),
    (
        "chain.service.consul.",
        RecordType::A,
        ResponseCode::NoError,
        &["10.0.0.1", "10.9.9.9", "alias.service.consul.", "web.service.consul."],
    ),
    ("far.service.consul.", RecordType::A, ResponseCode::NoError, &["far.example.com."]),
    ("1.0.0.10.in-addr.arpa.", RecordType::PTR, ResponseCode::NoError, &["n1.node.dc1.consul."]),
    (
        "9.9.9.10.in-addr.arpa.",
        RecordType::PTR,
        ResponseCode::NoError,
        &["web.service.dc1.consul."],
    ),
    ("8.9.9.10.in-addr.arpa.", RecordType::PTR, ResponseCode::NXDomain, &[]),
    ("1.0.0.10.in-addr.arpa.", RecordType::A, ResponseCode::NoError, &[]),
    ("own.service.consul.", RecordType::A, ResponseCode::NoError, &["10.0.0.1"]),
    (
        "own.service.consul.",
        RecordType::SRV,
        ResponseCode::NoError,
        &["1 1 80 n1.node.dc1.consul."],
    ),
    ("consul.", RecordType::NS, ResponseCode::NoError, &["n1.node.dc1.consul."]),
    ("www.example.com.", RecordType::A, ResponseCode::Refused, &[]),
    ("web.service.consul.", RecordType::AXFR, ResponseCode::NotImp, &[]),
];

#[tokio::test]
async fn every_kind_of_name_is_answered() {
    let live = Live::start(Options::default()).await;
    for (name, kind, code, want) in NAMES {
        let request = question(name, *kind);
        let over_udp = live.udp(&with_edns(request.clone(), 1232)).await;
        for reply in [over_udp, live.tcp(&request).await] {
            assert_eq!(reply.metadata.response_code, *code, "{name} {kind}");
            assert_eq!(answers(&reply), *want, "{name} {kind}");
            assert_eq!(reply.metadata.id, 4711);
            assert!(reply.metadata.recursion_desired && !reply.metadata.recursion_available);
        }
    }
}

#[tokio::test]
async fn a_name_that_leads_to_itself_ends() {
    let live = Live::start(Options::default()).await;
    let reply = live.tcp(&question("loop.service.consul.", RecordType::A)).await;
    let (one, other) = ("loop.service.consul.", "pool.service.consul.");
    assert_eq!(answers(&reply), [one, one, other, other]);
}

#[tokio::test]
async fn the_questions_spelling_comes_back() {
    let live = Live::start(Options::default()).await;
    let reply = live.ask("WeB.serVice.CONSUL.", RecordType::A).await;
    assert_eq!(reply.queries[0].name.to_ascii(), "WeB.serVice.CONSUL.");
    assert!(reply.answers.iter().all(|r| r.name.to_ascii() == "WeB.serVice.CONSUL."));
    assert!(reply.metadata.authoritative);
}

#[tokio::test]
async fn what_does_not_fit_is_cut_and_comes_over_tcp() {
    let live = Live::start(Options::default()).await;
    let plain = question("big.service.consul.", RecordType::SRV);
    // (advertised size, answers at least, whether it is cut)
    let table =
        [(None, 3, true), (Some(512), 3, true), (Some(1232), 10, true), (Some(4096), 50, true)];
    for (bytes, least, is_cut) in table {
        let request = bytes.map_or(plain.clone(), |bytes| with_edns(plain.clone(), bytes));
        let raw = live.udp_bytes(&request.to_vec().unwrap()).await;
        let reply = Message::from_vec(&raw).unwrap();
        assert!(raw.len() <= usize::from(bytes.unwrap_or(512)), "{bytes:?}: {}", raw.len());
        assert!(reply.answers.len() >= least, "{bytes:?}: {}", reply.answers.len());
        assert_eq!(reply.metadata.truncation, is_cut, "{bytes:?}");
        assert_eq!(reply.additionals.len(), reply.answers.len(), "{bytes:?}");
        assert_eq!(reply.edns.as_ref().map(Edns::max_payload), bytes);
    }
    let reply = live.tcp(&plain).await;
    assert_eq!((reply.answers.len(), reply.metadata.truncation), (200, false));
    let addresses = with_edns(question("big.service.consul.", RecordType::A), 4096);
    let reply = live.udp(&addresses).await;
    assert_eq!((reply.answers.len(), reply.metadata.truncation), (200, false));
}

#[tokio::test]
async fn a_cut_is_not_told_where_the_options_say_so() {
    let live = Live::start(Options { enable_truncate: false, ..Options::default() }).await;
    let reply = live.ask("big.service.consul.", RecordType::A).await;
    assert_eq!((reply.answers.len(), reply.metadata.truncation), (3, false));
}

#[tokio::test]
async fn odd_requests_get_their_codes() {
    let live = Live::start(Options::default()).await;
    let good = question("web.service.consul.", RecordType::A);
    let mut update = good.clone();
    update.metadata.op_code = OpCode::Update;
    let mut none = good.clone();
    none.queries.clear();
    let mut two = good.clone();
    two.queries.push(good.queries[0].clone());
    let mut chaos = good.clone();
    chaos.queries[0].query_class = DNSClass::CH;
    let mut newer = with_edns(good.clone(), 1232);
    newer.edns.as_mut().unwrap().set_version(3);
    let table = [
        (update, ResponseCode::NotImp),
        (none, ResponseCode::FormErr),
        (two, ResponseCode::FormErr),
        (chaos, ResponseCode::Refused),
        (newer, ResponseCode::BADVERS),
        (good.clone(), ResponseCode::NoError),
    ];
    for (request, code) in table {
        let reply = live.udp(&request).await;
        // As numbers, because 16 has two names.
        let told = u16::from(reply.metadata.response_code);
        assert_eq!(told, u16::from(code));
    }
    let mut torn = good.to_vec().unwrap();
    torn.truncate(17);
    let reply = live.udp_bytes(&torn).await;
    assert_eq!(reply, [torn[0], torn[1], 0x81, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn replies_and_scraps_get_no_reply() {
    let live = Live::start(Options::default()).await;
    let mut reply = question("web.service.consul.", RecordType::A).to_vec().unwrap();
    reply[2] |= 0x80;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for bytes in [reply.as_slice(), &[], &[1, 2, 3]] {
        socket.send_to(bytes, live.udp).await.unwrap();
    }
    // What comes first is the reply to the only request.
    let request = question("n1.node.consul.", RecordType::A).to_vec().unwrap();
    socket.send_to(&request, live.udp).await.unwrap();
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).await.unwrap();
    let reply = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(answers(&reply), ["10.0.0.1"]);
}

#[tokio::test]
async fn the_askers_network_comes_back_unused() {
    let live = Live::start(Options::default()).await;
    let mut request = with_edns(question("web.service.consul.", RecordType::A), 1232);
    let subnet = ClientSubnet::new("10.1.0.0".parse().unwrap(), 16, 0);
    request.edns.as_mut().unwrap().options_mut().insert(EdnsOption::Subnet(subnet));
    let reply = live.udp(&request).await;
    let edns = reply.edns.unwrap();
    assert_eq!(edns.option(EdnsCode::Subnet), Some(&EdnsOption::Subnet(subnet)));
}

#[tokio::test]
async fn one_connection_carries_many_questions_until_the_door_closes() {
    let live = Live::start(Options::default()).await;
    let mut stream = TcpStream::connect(live.tcp).await.unwrap();
    let request = question("n1.node.consul.", RecordType::A).to_vec().unwrap();
    for _ in 0..3 {
        frame::write(&mut stream, &request).await.unwrap();
    }
    for _ in 0..3 {
        let reply = frame::read(&mut stream, 65_535).await.unwrap().unwrap();
        assert_eq!(answers(&Message::from_vec(&reply).unwrap()), ["10.0.0.1"]);
    }
    assert_eq!(live.tasks.stop(Duration::from_secs(5)).await, 0);
    assert!(!matches!(frame::read(&mut stream, 65_535).await, Ok(Some(_))));
}

#[tokio::test]
async fn a_connection_with_too_long_a_request_is_closed() {
    let live = Live::start(Options::default()).await;
    let mut stream = TcpStream::connect(live.tcp).await.unwrap();
    frame::write(&mut stream, &vec![0; 5000]).await.unwrap();
    assert!(!matches!(frame::read(&mut stream, 65_535).await, Ok(Some(_))));
}

#[tokio::test]
async fn each_answer_is_observed() {
    let seen: Arc<Mutex<Vec<Observed>>> = Arc::default();
    let sink = Arc::clone(&seen);
    let observe = Some(Observer::new(move |observed| sink.lock().push(observed)));
    let live = Live::start(Options { observe, ..Options::default() }).await;
    live.ask("web.service.consul.", RecordType::A).await;
    live.tcp(&question("none.service.consul.", RecordType::A)).await;
    live.tcp(&question("web.service.consul.", RecordType::A)).await;
    live.ask("n1.node.consul.", RecordType::A).await;
    let seen: Vec<_> = seen.lock().iter().map(|o| (o.transport, o.code, o.cache)).collect();
    let want = [
        ("udp", "noerror", Some("miss")),
        ("tcp", "nxdomain", None),
        ("tcp", "noerror", Some("hit")),
        ("udp", "noerror", None),
    ];
    assert_eq!(seen, want);
}

/// Requests with bytes changed by chance, always the same chance: no reply is better than none,
/// but nothing may panic, and what comes back is a reply to this request.
#[tokio::test]
async fn no_bytes_bring_it_down() {
    let options = Arc::new(Options::default());
    let resolver = Resolver::new(options, Table::default());
    let subnet = EdnsOption::Subnet(ClientSubnet::new("10.1.0.0".parse().unwrap(), 16, 0));
    let mut rich = with_edns(question("v1.0.web.service.dc1.consul.", RecordType::ANY), 1232);
    rich.edns.as_mut().unwrap().options_mut().insert(subnet);
    let seeds = [
        rich.to_vec().unwrap(),
        question("_web._tcp.consul.", RecordType::SRV).to_vec().unwrap(),
        question("1.0.0.10.in-addr.arpa.", RecordType::PTR).to_vec().unwrap(),
        question("0a090909.addr.consul.", RecordType::A).to_vec().unwrap(),
    ];
    let mut state = 0x5eed_u64;
    let mut chance = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    for _ in 0..20_000 {
        let mut request = seeds[chance() % seeds.len()].clone();
        for _ in 0..=chance() % 4 {
            let at = chance() % request.len();
            request[at] = u8::try_from(chance() % 256).unwrap();
        }
        request.truncate(request.len() - (chance() % 8) / 7 * (chance() % request.len()));
        if let Some(reply) = resolver.respond(&request, Transport::Udp, LOCAL).await {
            assert_eq!(reply.bytes[..2], request[..2]);
            assert!(reply.bytes[2] & 0x80 != 0 && reply.bytes.len() <= 4096);
        }
    }
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_others() {
    let live = Live::start(Options::default()).await;
    let mut idle = Vec::new();
    for _ in 0..50 {
        idle.push(TcpStream::connect(live.tcp).await.unwrap());
    }
    let reply = live.tcp(&question("n1.node.consul.", RecordType::A)).await;
    assert_eq!(answers(&reply), ["10.0.0.1"]);
}
