//! A check that connects and hangs up.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::model::CheckStatus;

use super::super::disk::Verdict;

/// Connects to `address` (`host:port`) within `patience`.
pub(super) async fn run(address: &str, patience: Duration) -> Verdict {
    let failed = |why: &str| (CheckStatus::Critical, format!("dial tcp {address}: {why}"));
    let (status, output) = match timeout(patience, TcpStream::connect(address)).await {
        Ok(Ok(_hangs_up)) => (CheckStatus::Passing, format!("TCP connect {address}: Success")),
        Ok(Err(error)) => failed(&reason(&error)),
        Err(_elapsed) => failed("i/o timeout"),
    };
    Verdict { status, output }
}

/// Why no connection came about, in the words that operators know from Consul.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "connect: connection timed out".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn passes_while_somebody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let patience = Duration::from_secs(5);
        let verdict = run(&address, patience).await;
        assert_eq!(verdict.status, CheckStatus::Passing);
        assert_eq!(verdict.output, format!("TCP connect {address}: Success"));
        drop(listener);
        let verdict = run(&address, patience).await;
        assert_eq!(verdict.status, CheckStatus::Critical);
        assert_eq!(verdict.output, format!("dial tcp {address}: connect: connection refused"));
    }
}
