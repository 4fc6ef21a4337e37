//! A check that sends an empty datagram: it fails only where the host says that nobody listens.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use tokio::time::timeout;

use super::super::bounds;
use super::super::disk::Verdict;
use super::words::{critical, dial_failed, passing, plain};

/// Sends to `address` (`host:port`) and waits for any answer up to `patience`, at most
/// [`bounds::UDP_SILENCE_MAX`]. Silence passes, for most of what speaks UDP does not answer an
/// empty datagram. Consul waits its whole time-out.
///
/// Source: Consul 1.13, "UDP checks".
pub(super) async fn run(address: &str, patience: Duration) -> Verdict {
    match timeout(patience.min(bounds::UDP_SILENCE_MAX), ask(address)).await {
        Ok(Err(why)) => critical(why),
        Ok(Ok(())) | Err(_) => passing(format!("UDP connect {address}: Success")),
    }
}

async fn ask(address: &str) -> Result<(), String> {
    let dial = |error: io::Error| dial_failed("udp", address, &error);
    let mut found = lookup_host(address).await.map_err(dial)?;
    let to = found.next().ok_or_else(|| format!("dial udp: {address}: no such host"))?;
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await.map_err(dial)?;
    socket.connect(to).await.map_err(dial)?;
    let failed = |verb: &'static str| {
        move |error: io::Error| {
            let why = match error.kind() {
                io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                _ => plain(&error),
            };
            format!("{verb} udp {address}: {verb}: {why}")
        }
    };
    socket.send(&[]).await.map_err(failed("write"))?;
    socket.recv(&mut [0]).await.map_err(failed("read"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_echo_and_silence_pass_and_a_closed_port_fails() {
        let there = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = there.local_addr().unwrap().to_string();
        let success = passing(format!("UDP connect {address}: Success"));
        let echo = async {
            let (_, from) = there.recv_from(&mut [0]).await.unwrap();
            there.send_to(b"x", from).await.unwrap();
        };
        let (verdict, ()) = tokio::join!(run(&address, Duration::from_mins(1)), echo);
        assert_eq!(verdict, success);
        assert_eq!(run(&address, Duration::from_millis(20)).await, success);
        drop(there);
        let refused = format!("read udp {address}: read: connection refused");
        assert_eq!(run(&address, Duration::from_mins(1)).await, critical(refused));
        assert!(run("nowhere", Duration::from_secs(5)).await.output.starts_with("dial udp"));
    }
}
