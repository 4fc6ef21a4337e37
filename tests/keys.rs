//! Encryption between agents: what a capture shows, and how strangers are refused.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use portolan::seal::{Keyring, Streams};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{Agent, Cluster, Shape, beside_others, free_address, is_consul, skip, until};

const KEY: &str = "encrypt = \"pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=\"";
const OTHER_KEY: &str = "encrypt = \"cg8StVXbQJ0gPvMd9o7yrg==\"";
/// The peer protocol, and gossip.
const PORTS: [u16; 2] = [8300, 8301];
/// How long anything may take.
const LIMIT: Duration = Duration::from_mins(1);

/// All frames of the loopback device, as the kernel numbers the kind.
const ALL_FRAMES: u16 = 3;

/// Listens to everything that passes between some addresses on the ports of the agents.
struct Capture {
    stop: Arc<AtomicBool>,
    heard: JoinHandle<Vec<u8>>,
}

impl Capture {
    /// `None` where this user may not listen.
    fn start(addresses: &[Ipv4Addr]) -> Option<Self> {
        let frames = Protocol::from(i32::from(ALL_FRAMES.to_be()));
        let socket = Socket::new(Domain::from(17), Type::from(3), Some(frames)).ok()?;
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time limit");
        socket.set_recv_buffer_size(16 * 1024 * 1024).expect("room, or all that there is");
        // What else runs on this machine would drive what is looked for out of that room.
        socket.attach_filter(&only(addresses[0])).expect("a filter");
        let (stop, told) = (Arc::new(AtomicBool::new(false)), addresses.to_vec());
        let stopped = Arc::clone(&stop);
        let heard = std::thread::spawn(move || {
            let (mut heard, mut frame, mut socket) = (Vec::new(), vec![0; 70_000], socket);
            while !stopped.load(Ordering::Relaxed) {
                if let Ok(length) = socket.read(&mut frame) {
                    heard.extend_from_slice(content(&frame[..length], &told).unwrap_or_default());
                }
            }
            heard
        });
        Some(Self { stop, heard })
    }

    /// Everything that was heard.
    fn end(self) -> Vec<u8> {
        self.stop.store(true, Ordering::Relaxed);
        self.heard.join().expect("the listener ends")
    }
}

/// A filter in the kernel's words: of one loopback network, the ports of the agents.
fn only(network: Ipv4Addr) -> [SockFilter; 14] {
    let network = network.to_bits() & 0xffff_ff00;
    let [peers, gossip] = PORTS.map(u32::from);
    let (word, half, mask, equal, end) = (0x20, 0x28, 0x54, 0x15, 0x06);
    [
        SockFilter::new(word, 0, 0, 26), // the source's address
        SockFilter::new(mask, 0, 0, 0xffff_ff00),
        SockFilter::new(equal, 3, 0, network),
        SockFilter::new(word, 0, 0, 30), // the other's
        SockFilter::new(mask, 0, 0, 0xffff_ff00),
        SockFilter::new(equal, 0, 7, network),
        SockFilter::new(half, 0, 0, 34), // the source's port
        SockFilter::new(equal, 4, 0, peers),
        SockFilter::new(equal, 3, 0, gossip),
        SockFilter::new(half, 0, 0, 36), // the other's
        SockFilter::new(equal, 1, 0, peers),
        SockFilter::new(equal, 0, 1, gossip),
        SockFilter::new(end, 0, 0, 1 << 18), // all of it
        SockFilter::new(end, 0, 0, 0),       // nothing
    ]
}

/// What a frame carries to or from one of the addresses, on the ports of the agents.
fn content<'f>(frame: &'f [u8], addresses: &[Ipv4Addr]) -> Option<&'f [u8]> {
    let packet = frame.get(14..)?;
    let head = usize::from(packet.first()? & 15) * 4;
    let address = |at: usize| Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?));
    // Whoever calls another does so from whichever address the system gives it.
    if !addresses.contains(&address(12)?) && !addresses.contains(&address(16)?) {
        return None;
    }
    let segment = packet.get(head..)?;
    let port = |at: usize| Some(u16::from_be_bytes(*segment.get(at..)?.first_chunk::<2>()?));
    if !PORTS.contains(&port(0)?) && !PORTS.contains(&port(2)?) {
        return None;
    }
    match packet.get(9)? {
        6 => segment.get(usize::from(segment.get(12)? >> 4) * 4..),
        17 => segment.get(8..),
        _ => None,
    }
}

/// Words that a cluster with these fragments lets a listener read, and how much it heard.
async fn overheard(fragments: &[&str]) -> Option<(BTreeSet<&'static str>, usize)> {
    let words = ["plain-datacenter", "plain-key", "plain-value", "plain-service", "plain-meta"];
    let mut fragments = fragments.to_vec();
    fragments.push("datacenter = \"plain-datacenter\"\nnode_meta { a = \"plain-meta\" }");
    let addresses: Vec<Ipv4Addr> = (0..3).map(|_| free_address()).collect();
    let capture = Capture::start(&addresses)?;
    let cluster = Cluster::start_at(&addresses, &fragments).await;
    for server in &cluster.servers {
        let http = server.http();
        let path = format!("/v1/kv/plain-key/{}", server.name());
        assert_eq!(http.done(&path, "plain-value").await, true);
        let service = r#"{"Name": "plain-service", "Port": 1}"#;
        assert_eq!(http.put("/v1/agent/service/register", service).await.status, 200);
    }
    cluster.agreed(LIMIT).await;
    let heard = capture.end();
    let reads = |word: &&str| heard.windows(word.len()).any(|bytes| bytes == word.as_bytes());
    Some((words.into_iter().filter(reads).collect(), heard.len()))
}

#[tokio::test]
async fn a_capture_shows_no_plain_words() {
    if is_consul() {
        return skip("keys", "Consul encrypts gossip alone with a key");
    }
    let _turn = beside_others().await;
    let Some((read, _)) = overheard(&[]).await else {
        return skip("keys", "this user may not listen to the loopback device");
    };
    assert_eq!(read.len(), 5, "without a key a listener reads it all: {read:?}");
    let (read, bytes) = overheard(&[KEY]).await.expect("the second time too");
    assert_eq!(read, BTreeSet::new());
    assert!(bytes > 10_000, "a cluster says more than {bytes} bytes");
}

/// A connection from an address of its own to a server's port for peers.
async fn connect(from: Ipv4Addr, to: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((from, 0))).expect("a loopback address");
    socket.connect(SocketAddr::from((to, 8300))).await.expect("the port is open")
}

#[tokio::test]
async fn strangers_are_refused_and_that_is_logged_once() {
    if is_consul() {
        return skip("keys", "the peer protocol is ours");
    }
    let _turn = beside_others().await;
    let mut server =
        Agent::new("n1", free_address(), &Shape::Server { expect: 1, join: Vec::new() }, &[KEY]);
    server.start();
    server.serving().await;
    let (plain, wrong) = (free_address(), free_address());
    let key = OTHER_KEY.trim_start_matches("encrypt = ").trim_matches('"');
    let streams = Streams::new(Keyring::load(Some(key), None).expect("a key"), "peers");
    for _ in 0..5 {
        let mut stream = connect(plain, server.address()).await;
        stream.write_all(&[0; 64]).await.expect("it is sent");
        let mut nothing = Vec::new();
        // A reset is as good as an end.
        drop(stream.read_to_end(&mut nothing).await);
        assert!(nothing.is_empty(), "a stranger gets no word: {nothing:?}");
        let stream = connect(wrong, server.address()).await;
        streams.connect(stream).await.expect_err("another key is refused");
    }
    let lines = |from: Ipv4Addr| {
        let log = server.log();
        let of = |line: &&str| line.contains("traffic refused") && line.contains(&from.to_string());
        log.lines().filter(of).map(str::to_owned).collect::<Vec<_>>()
    };
    for (from, cause) in [(plain, "plain text"), (wrong, "not in this keyring")] {
        until("it is logged", LIMIT, || async { lines(from).first().cloned() }).await;
        assert_eq!(lines(from).len(), 1, "{:?}", lines(from));
        assert!(lines(from)[0].contains(cause), "{:?}", lines(from));
    }
    server.serving().await;
}

#[tokio::test]
async fn a_server_with_another_key_stays_outside() {
    if is_consul() {
        return skip("keys", "Consul's servers trust whoever reaches their port");
    }
    let _turn = beside_others().await;
    let cluster = Cluster::start_with(&[KEY]).await;
    let join = vec![cluster.servers[0].address()];
    let shape = Shape::Server { expect: 0, join };
    let mut other = Agent::new("other", free_address(), &shape, &[OTHER_KEY]);
    other.start();
    let asked = &cluster.servers[0];
    let refused = || async {
        let both = [asked.log(), other.log()].iter().all(|log| log.contains("traffic refused"));
        both.then_some(())
    };
    until("both sides say that it is refused", LIMIT, refused).await;
    let log = asked.log();
    let lines = log.lines().filter_map(|line| line.split_once("traffic refused"));
    let causes: Vec<&str> = lines.map(|(_, cause)| cause).collect();
    assert!(causes.iter().all(|cause| cause.contains("not in this keyring")), "{causes:?}");
    assert_eq!(BTreeSet::from_iter(&causes).len(), causes.len(), "none twice: {causes:?}");
    for server in &cluster.servers {
        let members = server.http().get("/v1/agent/members").await.json();
        let names: Vec<_> = members.as_array().into_iter().flatten().map(|m| &m["Name"]).collect();
        assert_eq!(names.len(), 3, "{names:?}");
    }
    assert!(other.is_running());
    let folder = other.data_dir().join("serf/local.keyring");
    let kept = std::fs::read_to_string(folder).expect("the ring is kept");
    assert_eq!(kept, "[\"cg8StVXbQJ0gPvMd9o7yrg==\"]");
    assert!(!other.log().contains("cg8StVXb"), "no key in a log");
    cluster.agreed(LIMIT).await;
}

#[tokio::test]
async fn a_bad_key_ends_the_start() {
    let _turn = beside_others().await;
    let told = async |key: &str| {
        let fragment = format!("encrypt = \"{key}\"");
        let mut agent = Agent::new("n1", free_address(), &Shape::Dev, &[&fragment]);
        agent.start();
        assert!(!agent.stopped().await.success());
        agent.log()
    };
    let log = told("nope!").await;
    assert!(log.contains("encrypt has invalid key: illegal base64 data at input byte 4"), "{log}");
    let log = told("AAAA").await;
    let size = "key size must be 16, 24 or 32 bytes";
    assert!(log.contains("Failed to configure keyring: ") && log.contains(size), "{log}");
}
