//! What passes between the hosts of a network, read off the wire and searched for words.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read as _};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::Network;

/// Every protocol (ETH_P_ALL), in the byte order of the network.
const EVERY_PROTOCOL: u16 = 3_u16.to_be();
/// Larger than any packet, even one that is cut up only on its way out.
const PACKET_BYTES_MAX: usize = 128 * 1024;
/// What the kernel may keep until it is read; it grants less to whom it will.
const BUFFER_BYTES: usize = 64 * 1024 * 1024;
/// How often the reader looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// IP's numbers of the two protocols that our processes use.
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A capture that is running.
pub(crate) struct Capture {
    stop: Arc<AtomicBool>,
    reader: JoinHandle<Captured>,
}

/// What was captured of the traffic between hosts.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    /// Bytes by protocol and the lower of the two ports: the server's.
    pub(crate) bytes: BTreeMap<(&'static str, u16), usize>,
    /// The words that were seen, and where.
    pub(crate) found: BTreeMap<String, BTreeSet<(&'static str, u16)>>,
}

impl Capture {
    /// Begins to read all that passes the switch, and to look for these words in it. For a thread
    /// inside the network, as every test on it is. What the test itself sends is left out.
    pub(crate) fn start(network: &Network, words: &[String]) -> Self {
        let protocol = Some(Protocol::from(i32::from(EVERY_PROTOCOL)));
        let socket = Socket::new(Domain::PACKET, Type::RAW, protocol).expect("a packet socket");
        socket.set_recv_buffer_size(BUFFER_BYTES).expect("a buffer");
        socket.set_read_timeout(Some(LOOK)).expect("a limit");
        let hosts = network.hosts().iter().map(super::Host::address).collect();
        let (stop, words) = (Arc::new(AtomicBool::new(false)), words.to_vec());
        let told = Arc::clone(&stop);
        let reader = std::thread::spawn(move || read(socket, &told, &hosts, &words));
        Self { stop, reader }
    }

    /// Ends the capture; what was seen.
    pub(crate) fn stop(self) -> Captured {
        self.stop.store(true, Ordering::Relaxed);
        self.reader.join().expect("the reader did not panic")
    }
}

fn read(
    mut socket: Socket,
    stop: &AtomicBool,
    hosts: &BTreeSet<Ipv4Addr>,
    words: &[String],
) -> Captured {
    let mut captured = Captured::default();
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    while !stop.load(Ordering::Relaxed) {
        let length = match socket.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
            Err(error) => panic!("the capture fails: {error}"),
        };
        let Some((way, payload)) = between(hosts, &buffer[..length]) else { continue };
        *captured.bytes.entry(way).or_default() += payload.len();
        for word in words {
            if payload.windows(word.len()).any(|part| part == word.as_bytes()) {
                captured.found.entry(word.clone()).or_default().insert(way);
            }
        }
    }
    captured
}

/// What a packet carries, and over which protocol and port, if it goes from host to host.
///
/// Source: RFC 791, section 3.1.
fn between<'a>(
    hosts: &BTreeSet<Ipv4Addr>,
    packet: &'a [u8],
) -> Option<((&'static str, u16), &'a [u8])> {
    let ip = packet.get(ETHERNET..)?;
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(ip.get(at..at + 4)?).ok()?));
    let is_v4 = packet.get(12..ETHERNET)? == [8, 0];
    if !is_v4 || !hosts.contains(&address(12)?) || !hosts.contains(&address(16)?) {
        return None;
    }
    let payload = ip.get(usize::from(ip[0] & 0x0f) * 4..)?;
    let port =
        |at: usize| Some(u16::from_be_bytes(<[u8; 2]>::try_from(payload.get(at..at + 2)?).ok()?));
    let protocol = match ip[9] {
        TCP => "tcp",
        UDP => "udp",
        _ => return None,
    };
    Some(((protocol, port(0)?.min(port(2)?)), payload))
}
