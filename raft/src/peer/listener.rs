//! How connections begin, on either side: over TCP, or through a simulated network.

use std::io;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};

use super::line::{Halves, Wire};
use super::wire::Hello;
use crate::limits::{KEEPALIVE, KEEPALIVE_PROBES};

/// Where a node takes connections of its peers.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// An address in a simulated network.
    #[cfg(feature = "sim")]
    Simulated(crate::sim::Listener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Listener {
        Listener::Tcp(listener)
    }
}

impl Listener {
    /// The same on the runtime of whoever calls.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn moved_here(self) -> io::Result<Listener> {
        match self {
            Listener::Tcp(listener) => {
                Ok(Listener::Tcp(TcpListener::from_std(listener.into_std()?)?))
            }
            #[cfg(feature = "sim")]
            simulated @ Listener::Simulated(_) => Ok(simulated),
        }
    }

    /// The next connection, and where it comes from. May be dropped midway.
    pub(super) async fn accept(&mut self) -> io::Result<(Incoming, String)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Incoming::Tcp(stream), address.to_string()))
            }
            #[cfg(feature = "sim")]
            Listener::Simulated(listener) => {
                let (halves, from) = listener.accept().await;
                Ok((Incoming::Simulated(halves), from))
            }
        }
    }
}

/// A connection that was accepted, with nothing around it yet.
pub(super) enum Incoming {
    Tcp(TcpStream),
    #[cfg(feature = "sim")]
    Simulated(Halves),
}

impl Incoming {
    /// Puts around it what has to be there.
    pub(super) async fn ready(self, wire: Option<&dyn Wire>) -> io::Result<Halves> {
        match self {
            Incoming::Tcp(stream) => {
                probe(&stream)?;
                match wire {
                    Some(wire) => wire.accept(stream).await,
                    None => Ok(Halves::plain(stream)),
                }
            }
            #[cfg(feature = "sim")]
            Incoming::Simulated(halves) => Ok(halves),
        }
    }
}

/// Opens a connection on which `hello` is going to be said.
#[cfg_attr(
    not(feature = "sim"),
    expect(unused_variables, reason = "only a simulated network asks who")
)]
pub(super) async fn dial(
    wire: Option<&dyn Wire>,
    address: &str,
    hello: &Hello,
) -> io::Result<Halves> {
    #[cfg(feature = "sim")]
    if crate::sim::is_on() {
        return crate::sim::dial(hello.from, address).await;
    }
    let stream = TcpStream::connect(address).await?;
    probe(&stream)?;
    match wire {
        Some(wire) => wire.connect(stream).await,
        None => Ok(Halves::plain(stream)),
    }
}

/// Has the system ask whether the peer is still there.
///
/// A peer that lost its power never says so: without this, the side that only answers would hold
/// the connection, one of `CONNECTIONS_MAX`, for ever.
fn probe(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let probes = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    SockRef::from(stream).set_tcp_keepalive(&probes.with_retries(KEEPALIVE_PROBES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_asks_whether_its_peer_is_still_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        probe(&stream).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE);
    }
}
