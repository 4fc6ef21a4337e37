//! HTTP/2 as far as checks need it: a connection with its driver, and a check that pings.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{Ping, client};
use tokio::time::timeout;

use super::super::disk::Verdict;
use super::super::spec::CheckSpec;
use super::tcp::{dial, tls_of};
use super::tls::{Stream, Tls, Wish};
use super::words::{critical, passing, plain};

/// A connection: who asks, and what must be polled meanwhile.
pub(super) type Met = (SendRequest<Bytes>, Connection<Box<dyn Stream>, Bytes>);

/// Why there is no connection.
pub(super) enum NotMet {
    /// Nobody there, in Go's words.
    Dial(String),
    /// Somebody is there, but TLS failed.
    Tls(String),
    /// Somebody is there who does not speak HTTP/2.
    Http2(String),
}

/// Connects to `address` (`host:port`) as the check wants it and greets in HTTP/2.
///
/// # Errors
///
/// Which part of it failed, and why.
pub(super) async fn meet(address: &str, spec: &CheckSpec, tls: &Tls) -> Result<Met, NotMet> {
    let stream = dial(address).await.map_err(NotMet::Dial)?;
    let stream: Box<dyn Stream> = if spec.how.tls {
        let (server_name, skip_verify) = tls_of(spec);
        let wish = Wish { server_name, skip_verify };
        let shaken = tls.shake_hands(stream, address, wish, true).await;
        shaken.map_err(|error| NotMet::Tls(plain(&error)))?
    } else {
        Box::new(stream)
    };
    client::handshake(stream).await.map_err(|error| NotMet::Http2(error.to_string()))
}

/// Pings within `patience`.
///
/// Source: Consul 1.10, "H2ping checks".
pub(super) async fn ping(spec: &CheckSpec, tls: &Tls, patience: Duration) -> Verdict {
    let address = &spec.how.h2ping;
    let failed = |why: &str| critical(format!("HTTP2 ping failed: {why}"));
    let pinged = async {
        let (_ask, mut connection) = match meet(address, spec, tls).await {
            Ok(met) => met,
            Err(NotMet::Dial(why) | NotMet::Tls(why)) => {
                return critical(format!("Failed to dial to {address}: {why}"));
            }
            Err(NotMet::Http2(why)) => {
                return critical(format!("Failed to create client connection {why}"));
            }
        };
        let mut pings = connection.ping_pong().expect("it is taken once");
        if let Err(error) = pings.send_ping(Ping::opaque()) {
            return failed(&error.to_string());
        }
        // Either may be dropped: the connection ends with the check in any case.
        tokio::select! {
            pong = poll_fn(|context| pings.poll_pong(context)) => match pong {
                Ok(_) => passing("HTTP2 ping was successful"),
                Err(error) => failed(&error.to_string()),
            },
            ended = connection => failed(&ended.err().map_or_else(
                || "the connection was closed".to_owned(),
                |error| error.to_string(),
            )),
        }
    };
    let elapsed = |_elapsed| failed("context deadline exceeded");
    timeout(patience, pinged).await.unwrap_or_else(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Tasks;
    use crate::model::CheckStatus;
    use tokio::net::TcpListener;

    fn spec(address: &str) -> CheckSpec {
        let mut spec = CheckSpec::default();
        address.clone_into(&mut spec.how.h2ping);
        spec
    }

    #[tokio::test]
    async fn a_server_of_http2_answers_and_others_do_not() {
        let tasks = Tasks::new();
        let tls = Tls::new().unwrap();
        let patience = Duration::from_secs(20);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tasks.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut server = h2::server::handshake(stream).await.unwrap();
            while server.accept().await.is_some() {}
        });
        let verdict = ping(&spec(&address), &tls, patience).await;
        assert_eq!(verdict, passing("HTTP2 ping was successful"));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let hang_up = async { drop(listener.accept().await.unwrap()) };
        let spec_there = spec(&address);
        let (verdict, ()) = tokio::join!(ping(&spec_there, &tls, patience), hang_up);
        assert_eq!(verdict.status, CheckStatus::Critical, "{}", verdict.output);
        let verdict = ping(&spec_there, &tls, Duration::from_millis(20)).await;
        assert_eq!(verdict.output, "HTTP2 ping failed: context deadline exceeded");
        drop(listener);
        let verdict = ping(&spec_there, &tls, patience).await;
        let refused = format!("dial tcp {address}: connect: connection refused");
        assert_eq!(verdict, critical(format!("Failed to dial to {address}: {refused}")));
    }
}
