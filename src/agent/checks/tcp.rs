//! A check that connects, shakes hands where it speaks TLS, and hangs up.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::disk::Verdict;
use super::super::spec::CheckSpec;
use super::tls::{Tls, Wish};
use super::words::{critical, dial_failed, passing, plain};

/// Connects to the address of a TCP check within `patience`.
///
/// Source: Consul, "TCP checks".
pub(super) async fn run(spec: &CheckSpec, tls: &Tls, patience: Duration) -> Verdict {
    let address = &spec.check.definition.tcp;
    let meet = async {
        let stream = dial(address).await?;
        if !spec.how.tls {
            return Ok("TCP");
        }
        let (server_name, skip_verify) = tls_of(spec);
        let wish = Wish { server_name, skip_verify };
        let met = tls.shake_hands(stream, address, wish, false).await;
        met.map(|_hangs_up| "TCP+TLS").map_err(|error| plain(&error))
    };
    match timeout(patience, meet).await {
        Ok(Ok(how)) => passing(format!("{how} connect {address}: Success")),
        Ok(Err(why)) => critical(why),
        Err(_elapsed) => critical(format!("dial tcp {address}: i/o timeout")),
    }
}

/// What a check says of certificates.
pub(super) fn tls_of(spec: &CheckSpec) -> (&str, bool) {
    (&spec.how.tls_server_name, spec.check.definition.tls_skip_verify)
}

/// Connects to `host:port`.
///
/// # Errors
///
/// Why not, in Go's words.
pub(super) async fn dial(address: &str) -> Result<TcpStream, String> {
    if address.rsplit_once(':').is_none_or(|(_, port)| port.contains(']')) {
        return Err(format!("dial tcp: address {address}: missing port in address"));
    }
    let stream = TcpStream::connect(address).await;
    stream.map_err(|error| dial_failed("tcp", address, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CheckStatus;
    use tokio::net::TcpListener;

    async fn run_at(address: &str, with_tls: bool) -> Verdict {
        let mut spec = CheckSpec::default();
        address.clone_into(&mut spec.check.definition.tcp);
        spec.how.tls = with_tls;
        run(&spec, &Tls::new().unwrap(), Duration::from_secs(5)).await
    }

    #[tokio::test]
    async fn passes_while_somebody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let verdict = run_at(&address, false).await;
        assert_eq!(verdict, passing(format!("TCP connect {address}: Success")));
        drop(listener);
        let verdict = run_at(&address, false).await;
        let refused = format!("dial tcp {address}: connect: connection refused");
        assert_eq!(verdict, critical(refused));
        let verdict = run_at("127.0.0.1", false).await;
        let nowhere = "dial tcp: address 127.0.0.1: missing port in address";
        assert_eq!(verdict, critical(nowhere));
    }

    #[tokio::test]
    async fn who_listens_without_tls_fails_with_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let hang_up = async { drop(listener.accept().await.unwrap()) };
        let (verdict, ()) = tokio::join!(run_at(&address, true), hang_up);
        assert_eq!(verdict.status, CheckStatus::Critical, "{}", verdict.output);
    }
}
