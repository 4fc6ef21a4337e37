//! Tests of the whole door on real sockets, over a catalog that is a table.

use std::future::{Ready, ready};
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
use crate::lifecycle::Tasks;
use crate::model::{
    Answer, Check, CheckStatus, Index, Instance, Node, NodeServices, Query, Read, Service,
    Unavailable,
};

fn node(name: &str, address: &str) -> Arc<Node> {
    let meta = [("env".to_owned(), "prod".to_owned())].into();
    Arc::new(Node { name: name.to_owned(), address: address.to_owned(), meta, ..Node::default() })
}

fn instance(node: &Arc<Node>, name: &str, address: &str, port: u16) -> Instance {
    let service = Service {
        node: node.name.clone(),
        id: format!("{name}-{port}"),
        name: name.to_owned(),
        tags: vec!["v1.0".to_owned()],
        address: address.to_owned(),
        port,
        ..Service::default()
    };
    Instance { node: Arc::clone(node), service: Arc::new(service), checks: Vec::new() }
}

/// Two nodes, a small service, a big one, one that is critical, and host names.
fn catalog(query: Query) -> Ready<Result<Read, Unavailable>> {
    let (n1, n2) = (node("n1", "10.0.0.1"), node("n2", "fd00::2"));
    let answer = match query {
        Query::HealthService(name) => Answer::Instances(match name.as_str() {
            "consul" => vec![instance(&n1, "consul", "", 8300)],
            "web" => vec![instance(&n1, "web", "", 80), instance(&n2, "web", "10.9.9.9", 81)],
            "big" => (1..=200)
                .map(|at| instance(&n1, "big", &format!("10.1.0.{at}"), 1000 + at))
                .collect(),
            "alias" => vec![instance(&n1, "alias", "web.service.consul", 80)],
            "chain" => vec![instance(&n1, "chain", "alias.service.consul.", 80)],
            "loop" => vec![instance(&n1, "loop", "loop.service.consul", 80)],
            "deep" => vec![instance(&n1, "deep", "n1.node.example.com", 80)],
            "far" => vec![instance(&n1, "far", "far.example.com", 80)],
            "sick" => {
                let check = Check { status: CheckStatus::Critical, ..Check::default() };
                let checks = vec![Arc::new(check)];
                vec![Instance { checks, ..instance(&n1, "sick", "", 80) }]
            }
            "gone" => return ready(Err(Unavailable::NoLeader)),
            _ => Vec::new(),
        }),
        Query::NodeServices(name) => Answer::NodeServices(
            [n1, n2]
                .into_iter()
                .find(|node| node.name == name)
                .map(|node| NodeServices { node, services: Vec::new() }),
        ),
        Query::NodesByAddress(address) => {
            Answer::Nodes([n1, n2].into_iter().filter(|node| node.address == address).collect())
        }
        Query::InstancesByAddress(address) if address == "10.9.9.9" => {
            Answer::Instances(vec![instance(&n2, "web", "10.9.9.9", 81)])
        }
        Query::InstancesByAddress(_) => Answer::Instances(Vec::new()),
        other => panic!("the door asked {other:?}"),
    };
    let answer = Arc::new(answer);
    ready(Ok(Read { answer, index: Index(1), known_leader: true, last_contact: Duration::ZERO }))
}

/// A door on a port of its own, over UDP and TCP.
struct Live {
    udp: SocketAddr,
    tcp: SocketAddr,
    tasks: Tasks,
}

impl Live {
    async fn start(options: Options) -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (udp_at, tcp_at) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        let tasks = Tasks::new();
        let options = Arc::new(options);
        let resolver = Resolver::new(Arc::clone(&options), catalog);
        open(vec![udp], vec![tcp], &Arc::new(Door { resolver, options }), &tasks);
        Self { udp: udp_at, tcp: tcp_at, tasks }
    }

    async fn udp_bytes(&self, request: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(request, self.udp).await.unwrap();
        let mut buffer = vec![0; 65_535];
        let length = socket.recv(&mut buffer).await.unwrap();
        buffer.truncate(length);
        buffer
    }

    async fn udp(&self, request: &Message) -> Message {
        Message::from_vec(&self.udp_bytes(&request.to_vec().unwrap()).await).unwrap()
    }

    async fn tcp(&self, request: &Message) -> Message {
        let mut stream = TcpStream::connect(self.tcp).await.unwrap();
        frame::write(&mut stream, &request.to_vec().unwrap()).await.unwrap();
        let reply = frame::read(&mut stream, 65_535).await.unwrap().unwrap();
        Message::from_vec(&reply).unwrap()
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Message {
        self.udp(&question(name, kind)).await
    }
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 4711;
    message.metadata.recursion_desired = true;
    message.add_query(Question::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn with_edns(mut message: Message, bytes: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(bytes);
    message.set_edns(edns);
    message
}

fn answers(message: &Message) -> Vec<String> {
    let mut lines: Vec<String> = message.answers.iter().map(|r| r.data.to_string()).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn every_kind_of_name_is_answered() {
    let live = Live::start(Options::default()).await;
    let table = [
        ("n1.node.consul.", RecordType::A, ResponseCode::NoError, vec!["10.0.0.1"]),
        ("n1.node.consul.", RecordType::AAAA, ResponseCode::NoError, vec![]),
        ("n2.node.dc1.consul.", RecordType::AAAA, ResponseCode::NoError, vec!["fd00::2"]),
        ("n1.node.consul.", RecordType::TXT, ResponseCode::NoError, vec!["env=prod"]),
        ("n3.node.consul.", RecordType::A, ResponseCode::NXDomain, vec![]),
        ("web.service.consul.", RecordType::A, ResponseCode::NoError, vec!["10.0.0.1", "10.9.9.9"]),
        ("web.service.consul.", RecordType::AAAA, ResponseCode::NoError, vec![]),
        (
            "v1.0.web.service.consul.",
            RecordType::A,
            ResponseCode::NoError,
            vec!["10.0.0.1", "10.9.9.9"],
        ),
        ("_web._udp.consul.", RecordType::SRV, ResponseCode::NXDomain, vec![]),
        (
            "_web._tcp.consul.",
            RecordType::SRV,
            ResponseCode::NoError,
            vec!["1 1 80 n1.node.dc1.consul.", "1 1 81 0a090909.addr.dc1.consul."],
        ),
        ("sick.service.consul.", RecordType::A, ResponseCode::NXDomain, vec![]),
        ("none.service.consul.", RecordType::A, ResponseCode::NXDomain, vec![]),
        ("gone.service.consul.", RecordType::A, ResponseCode::ServFail, vec![]),
        ("0a090909.addr.dc1.consul.", RecordType::A, ResponseCode::NoError, vec!["10.9.9.9"]),
        (
            "alias.service.consul.",
            RecordType::A,
            ResponseCode::NoError,
            vec!["10.0.0.1", "10.9.9.9", "web.service.consul."],
        ),
        (
            "chain.service.consul.",
            RecordType::A,
            ResponseCode::NoError,
            vec!["10.0.0.1", "10.9.9.9", "alias.service.consul.", "web.service.consul."],
        ),
        ("far.service.consul.", RecordType::A, ResponseCode::NoError, vec!["far.example.com."]),
        (
            "1.0.0.10.in-addr.arpa.",
            RecordType::PTR,
            ResponseCode::NoError,
            vec!["n1.node.dc1.consul."],
        ),
        (
            "9.9.9.10.in-addr.arpa.",
            RecordType::PTR,
            ResponseCode::NoError,
            vec!["web.service.dc1.consul."],
        ),
        ("8.9.9.10.in-addr.arpa.", RecordType::PTR, ResponseCode::ServFail, vec![]),
        ("consul.", RecordType::NS, ResponseCode::NoError, vec!["n1.node.dc1.consul."]),
        ("www.example.com.", RecordType::A, ResponseCode::Refused, vec![]),
        ("web.service.consul.", RecordType::AXFR, ResponseCode::NotImp, vec![]),
    ];
    for (name, kind, code, want) in table {
        let request = question(name, kind);
        let over_udp = live.udp(&with_edns(request.clone(), 1232)).await;
        for reply in [over_udp, live.tcp(&request).await] {
            assert_eq!(reply.metadata.response_code, code, "{name} {kind}");
            assert_eq!(answers(&reply), want, "{name} {kind}");
            assert_eq!(reply.metadata.id, 4711);
            assert!(reply.metadata.recursion_desired && !reply.metadata.recursion_available);
        }
    }
}

#[tokio::test]
async fn a_name_that_leads_to_itself_ends() {
    let live = Live::start(Options::default()).await;
    let reply = live.tcp(&question("loop.service.consul.", RecordType::A)).await;
    assert_eq!(answers(&reply), vec!["loop.service.consul."; 4]);
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
async fn other_names_go_to_the_first_recursor_that_knows() {
    let upstream =
        Live::start(Options { domain: "example.com".into(), ..Options::default() }).await;
    let useless = Live::start(Options { domain: "else.where".into(), ..Options::default() }).await;
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let recursors = vec![closed.local_addr().unwrap(), useless.udp, upstream.udp];
    drop(closed);
    let live = Live::start(Options { recursors, ..Options::default() }).await;

    let reply = live.ask("web.service.EXAMPLE.com.", RecordType::A).await;
    assert_eq!(answers(&reply), ["10.0.0.1", "10.9.9.9"]);
    assert_eq!((reply.metadata.id, reply.metadata.recursion_available), (4711, true));
    let reply = live.ask("none.service.example.com.", RecordType::A).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    let reply = live.ask("www.example.org.", RecordType::A).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(reply.metadata.recursion_available);
    let reply = live.ask("1.1.1.1.in-addr.arpa.", RecordType::PTR).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test]
async fn a_recursors_cut_reply_is_fetched_over_tcp() {
    // Both sockets of a recursor have one address: take UDP's port for TCP, or try another.
    let options = || Options { domain: "example.com".into(), ..Options::default() };
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let at = udp.local_addr().unwrap();
    let tasks = Tasks::new();
    let shared = Arc::new(options());
    let resolver = Resolver::new(Arc::clone(&shared), catalog);
    open(vec![udp], vec![tcp], &Arc::new(Door { resolver, options: shared }), &tasks);

    let live = Live::start(Options { recursors: vec![at], ..Options::default() }).await;
    let request = with_edns(question("big.service.example.com.", RecordType::SRV), 1232);
    let reply = live.udp(&request).await;
    assert!(reply.metadata.truncation, "it does not fit the asker either");
    assert!(reply.answers.is_empty());
    let reply = live.tcp(&request).await;
    assert_eq!((reply.answers.len(), reply.metadata.truncation), (200, false));
}

#[tokio::test]
async fn each_answer_is_observed() {
    let seen: Arc<Mutex<Vec<Observed>>> = Arc::default();
    let sink = Arc::clone(&seen);
    let observe = Some(Observer::new(move |observed| sink.lock().push(observed)));
    let live = Live::start(Options { observe, ..Options::default() }).await;
    live.ask("web.service.consul.", RecordType::A).await;
    live.tcp(&question("none.service.consul.", RecordType::A)).await;
    let seen: Vec<_> = seen.lock().iter().map(|o| (o.transport, o.code)).collect();
    assert_eq!(seen, [("udp", "noerror"), ("tcp", "nxdomain")]);
}

/// Requests with bytes changed by chance, always the same chance: no reply is better than none,
/// but nothing may panic, and what comes back is a reply to this request.
#[tokio::test]
async fn no_bytes_bring_it_down() {
    let options = Arc::new(Options::default());
    let resolver = Resolver::new(options, catalog);
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
        if let Some(reply) = resolver.respond(&request, Transport::Udp).await {
            assert_eq!(reply[..2], request[..2]);
            assert!(reply[2] & 0x80 != 0 && reply.len() <= 4096);
        }
    }
}

#[tokio::test]
async fn a_silent_recursor_is_passed_over_and_a_forged_reply_too() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let forger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let live = Live::start(Options {
        recursors: vec![silent.local_addr().unwrap(), forger.local_addr().unwrap()],
        recursor_timeout: Duration::from_millis(100),
        ..Options::default()
    })
    .await;
    let upstream = async {
        let mut buffer = [0; 512];
        let (length, from) = forger.recv_from(&mut buffer).await.unwrap();
        let mut reply = buffer[..length].to_vec();
        assert_ne!(reply[..2], 4711_u16.to_be_bytes(), "the id that is sent on is our own");
        reply[2] |= 0x80;
        let mut other_id = reply.clone();
        other_id[0] ^= 0xff;
        let mut other_name = reply.clone();
        other_name[14] ^= 1;
        let mut no_reply = reply.clone();
        no_reply[2] &= 0x7f;
        for bytes in [other_id, other_name, no_reply, vec![0; 3], reply] {
            forger.send_to(&bytes, from).await.unwrap();
        }
    };
    let (reply, ()) = tokio::join!(live.ask("www.example.com.", RecordType::A), upstream);
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    assert_eq!(reply.queries[0].name.to_ascii(), "www.example.com.");
    assert_eq!((reply.metadata.id, reply.metadata.recursion_available), (4711, true));
}

#[tokio::test]
async fn host_names_of_others_are_asked_for_the_asker() {
    let upstream =
        Live::start(Options { domain: "example.com".into(), ..Options::default() }).await;
    let live = Live::start(Options { recursors: vec![upstream.udp], ..Options::default() }).await;
    // `far` is at far.example.com, which the other door does not have: the name stands alone.
    let reply = live.ask("far.service.consul.", RecordType::A).await;
    assert_eq!(answers(&reply), ["far.example.com."]);
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    let reply = live.ask("deep.service.consul.", RecordType::A).await;
    assert_eq!(answers(&reply), ["10.0.0.1", "n1.node.example.com."]);
    let reply = live.ask("deep.service.consul.", RecordType::SRV).await;
    assert_eq!(answers(&reply), ["1 1 80 n1.node.example.com."]);
    let beside: Vec<_> = reply.additionals.iter().map(|r| r.data.to_string()).collect();
    assert!(beside.contains(&"10.0.0.1".to_owned()), "{beside:?}");
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
