//! Opens every port before anything else starts, so that a port in use is one clear line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpListener, UdpSocket};

use super::run::NodeError;
use crate::config::{Config, Listen};
use crate::gossip;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Every open port of this node.
pub(super) struct Ports {
    /// Other servers, and agents; on a server only.
    pub(super) peers: Option<TcpListener>,
    /// The pool: calls and packets.
    pub(super) pool: gossip::Sockets,
    /// HTTP.
    pub(super) http: Vec<TcpListener>,
    /// DNS over UDP.
    pub(super) dns_udp: Vec<UdpSocket>,
    /// DNS over TCP.
    pub(super) dns_tcp: Vec<TcpListener>,
}

/// Fails where a door is told to listen on what it cannot.
pub(super) fn judge(config: &Config) -> Result<(), NodeError> {
    let unix = config.addresses.http.iter().find_map(|listen| match listen {
        Listen::Unix(path) if config.ports.http.is_some() => Some(path),
        Listen::Unix(_) | Listen::Ip(_) => None,
    });
    let why = || "unix sockets are not supported yet".to_owned();
    unix.map_or(Ok(()), |path| Err(NodeError::Listen("http", path.display().to_string(), why())))
}

/// Opens all that `config` names.
pub(super) fn open(config: &Config) -> Result<Ports, NodeError> {
    judge(config)?;
    let mut http = Vec::new();
    if let Some(port) = config.ports.http {
        for listen in &config.addresses.http {
            if let Listen::Ip(address) = listen {
                http.push(tcp("http", *address, port)?);
            }
        }
    }
    let (mut dns_udp, mut dns_tcp) = (Vec::new(), Vec::new());
    if let Some(port) = config.ports.dns {
        for address in &config.addresses.dns {
            dns_tcp.push(tcp("dns", *address, port)?);
            dns_udp.push(udp("dns", *address, port)?);
        }
    }
    let peers = || tcp("server", config.bind_addr, config.ports.server);
    Ok(Ports {
        peers: config.server.then(peers).transpose()?,
        pool: gossip::Sockets {
            tcp: tcp("serf_lan", config.bind_addr, config.ports.serf_lan)?,
            udp: udp("serf_lan", config.bind_addr, config.ports.serf_lan)?,
        },
        http,
        dns_udp,
        dns_tcp,
    })
}

impl Ports {
    /// Where this process itself reaches its HTTP door, if it has one.
    pub(super) fn own_http(&self) -> Option<String> {
        let mut at = self.http.first()?.local_addr().ok()?;
        match at.ip() {
            IpAddr::V4(any) if any.is_unspecified() => at.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(any) if any.is_unspecified() => at.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        Some(format!("http://{at}"))
    }
}

fn tcp(door: &'static str, address: IpAddr, port: u16) -> Result<TcpListener, NodeError> {
    let at = SocketAddr::new(address, port);
    let opened = socket(at, socket2::Type::STREAM).and_then(|socket| {
        socket.set_reuse_address(true)?; // a restart need not wait for old connections to fade
        socket.bind(&at.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    });
    opened.map_err(|error| NodeError::Listen(door, at.to_string(), error.to_string()))
}

fn udp(door: &'static str, address: IpAddr, port: u16) -> Result<UdpSocket, NodeError> {
    let at = SocketAddr::new(address, port);
    let opened = socket(at, socket2::Type::DGRAM).and_then(|socket| {
        socket.bind(&at.into())?;
        UdpSocket::from_std(socket.into())
    });
    opened.map_err(|error| NodeError::Listen(door, at.to_string(), error.to_string()))
}

fn socket(at: SocketAddr, kind: socket2::Type) -> std::io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(at), kind, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
