//! Asks other name servers about names that are not ours, one after the other.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::frame;
use super::options::RecursorOrder;
use super::reply::Transport;
use crate::limits::DNS_RECURSIONS_MAX;
use crate::model::shuffle;
use crate::time::random;

/// Longest reply, which TCP counts in 16 bits and UDP cannot exceed either.
const REPLY_BYTES_MAX: usize = 65_535;
/// Length of a message's header. Source: RFC 1035, section 4.1.1.
pub(super) const HEADER_BYTES: usize = 12;

/// The name servers that other names are asked of.
#[derive(Debug)]
pub(super) struct Recursors {
    servers: Vec<SocketAddr>,
    patience: Duration,
    order: RecursorOrder,
    places: Semaphore,
}

impl Recursors {
    /// `patience` holds for each of the servers.
    pub(super) fn new(servers: Vec<SocketAddr>, patience: Duration, order: RecursorOrder) -> Self {
        Self { servers, patience, order, places: Semaphore::new(DNS_RECURSIONS_MAX) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// The first reply that says yes or no, with the request's id and with RA set. Nothing where
    /// no server gave one, or where too many questions wait already.
    ///
    /// `request` is a whole message with one question. May be dropped at any time.
    pub(super) async fn ask(&self, request: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let _place = self.places.try_acquire().ok()?;
        let mut servers = self.servers.clone();
        if self.order == RecursorOrder::Random {
            shuffle(&mut servers, random());
        }
        for server in &servers {
            match timeout(self.patience, exchange(*server, request, transport)).await {
                Ok(Ok(reply)) if is_final(&reply) => return Some(reply),
                Ok(Ok(_)) => tracing::debug!(%server, "recursor has no answer"),
                Ok(Err(error)) => tracing::debug!(%server, %error, "recursor failed"),
                Err(_) => tracing::debug!(%server, patience = ?self.patience, "recursor is late"),
            }
        }
        None
    }
}

/// One question and its reply, under an id of our own that nobody can guess.
async fn exchange(server: SocketAddr, request: &[u8], by: Transport) -> io::Result<Vec<u8>> {
    let [low, high, ..] = random().to_le_bytes();
    let mut asked = request.to_vec();
    asked[..2].copy_from_slice(&[low, high]);
    let mut reply = match by {
        Transport::Udp => over_udp(server, &asked).await?,
        Transport::Tcp => over_tcp(server, &asked).await?,
    };
    if by == Transport::Udp && reply[2] & 0b10 != 0 {
        reply = over_tcp(server, &asked).await?;
    }
    reply[..2].copy_from_slice(&request[..2]);
    reply[3] |= 0x80; // RA
    Ok(reply)
}

async fn over_udp(server: SocketAddr, asked: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(asked).await?;
    let mut buffer = vec![0; REPLY_BYTES_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // A reply to something else is a forgery or late: the right one may still come.
        if is_reply(&buffer[..length], asked) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn over_tcp(server: SocketAddr, asked: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    frame::write(&mut stream, asked).await?;
    match frame::read(&mut stream, REPLY_BYTES_MAX).await? {
        Some(reply) if is_reply(&reply, asked) => Ok(reply),
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a reply to something else")),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Whether `reply` answers `asked`: its id, and its question unless it only says no.
pub(super) fn is_reply(reply: &[u8], asked: &[u8]) -> bool {
    if reply.len() < HEADER_BYTES || reply[..2] != asked[..2] || reply[2] & 0x80 == 0 {
        return false;
    }
    if !is_final(reply) {
        return true;
    }
    let Some(end) = question_end(asked) else { return false };
    reply
        .get(HEADER_BYTES..end)
        .is_some_and(|question| question.eq_ignore_ascii_case(&asked[HEADER_BYTES..end]))
}

/// Whether it says yes (NOERROR) or no (NXDOMAIN), so that no other server need be asked.
fn is_final(reply: &[u8]) -> bool {
    matches!(reply[3] & 0x0f, 0 | 3)
}

/// Where the one question of a message ends; nothing where it is not whole.
pub(super) fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = HEADER_BYTES;
    loop {
        match *message.get(at)? {
            0 => break,
            length @ 1..=63 => at += usize::from(length) + 1,
            _ => return None,
        }
    }
    let end = at + 5; // the root label, the type, the class
    (end <= message.len()).then_some(end)
}
