//! A check that asks a server's gRPC health service.
//!
//! The call is one small message each way, so HTTP/2 frames and protobuf fields are written here
//! and no code is generated. Source: gRPC, "GRPC Health Checking Protocol" and "gRPC over HTTP2".

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::{Either, select};
use h2::RecvStream;
use h2::client::SendRequest;
use http_crate::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use percent::decoded;
use tokio::time::timeout;

use super::super::disk::Verdict;
use super::super::spec::CheckSpec;
use super::h2::{NotMet, meet};
use super::tls::Tls;
use super::words::{critical, passing};

/// Bytes of an answer that are looked at: a status takes two, and five go before them.
const ANSWER_BYTES_MAX: usize = 64;
/// Bytes of each message's frame: whether it is compressed, and its length.
const FRAME_BYTES: usize = 5;
/// Field 1 of a message as a number and as text. Source: Protocol Buffers, "Encoding".
const FIELD_1_NUMBER: u8 = 0x08;
const FIELD_1_TEXT: u8 = 0x0a;
/// The statuses that a health service knows, by number.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
/// The codes that a call may end with, by number. Source: gRPC, "Status codes".
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

mod percent {
    //! The percent signs of a status message.

    /// The text behind `%XX` escapes. Source: gRPC over HTTP2, "Status-Message".
    pub(super) fn decoded(text: &str) -> String {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((first, behind)) = rest.split_first() {
            let hex = behind.get(..2).filter(|_| *first == b'%');
            let hex = hex.and_then(|two| u8::from_str_radix(str::from_utf8(two).ok()?, 16).ok());
            bytes.push(hex.unwrap_or(*first));
            rest = behind.get(if hex.is_some() { 2 } else { 0 }..).unwrap_or_default();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Asks `host:port/service` within `patience`: SERVING passes, all else is critical.
///
/// Source: Consul, "gRPC checks".
pub(super) async fn run(spec: &CheckSpec, tls: &Tls, patience: Duration) -> Verdict {
    let target = &spec.how.grpc;
    let late = |_elapsed| Err(ended("DeadlineExceeded", "context deadline exceeded"));
    match timeout(patience, ask(spec, tls)).await.unwrap_or_else(late) {
        Ok("SERVING") => passing(format!("gRPC check {target}: success")),
        Ok(status) => critical(format!("gRPC {target} serving status: {status}")),
        Err(why) => critical(why),
    }
}

/// How a call that failed is told.
fn ended(code: &str, why: &str) -> String {
    format!("rpc error: code = {code} desc = {why}")
}

async fn ask(spec: &CheckSpec, tls: &Tls) -> Result<&'static str, String> {
    let target = spec.how.grpc.as_str();
    let (address, service) = target.split_once('/').unwrap_or((target, ""));
    let met = meet(address, spec, tls).await.map_err(|not_met| {
        let why = match not_met {
            NotMet::Dial(why) => format!("Error while dialing {why}"),
            NotMet::Tls(why) => format!("authentication handshake failed: {why}"),
            NotMet::Http2(why) => why,
        };
        ended("Unavailable", &format!("connection error: desc = \"transport: {why}\""))
    })?;
    let (asker, connection) = met;
    let call = std::pin::pin!(call(asker, address, service, spec.how.tls));
    match select(call, connection).await {
        Either::Left((answer, _connection)) => answer,
        // It ended first, but what came over it may be the answer all the same.
        Either::Right((_ended, call)) => call.await,
    }
}

async fn call(
    asker: SendRequest<Bytes>,
    address: &str,
    service: &str,
    with_tls: bool,
) -> Result<&'static str, String> {
    let broken = |error: h2::Error| {
        let closed = error.is_io() || error.is_go_away();
        let why = if closed { "connection closed".to_owned() } else { error.to_string() };
        ended("Unavailable", &why)
    };
    let mut asker = asker.ready().await.map_err(broken)?;
    let scheme = if with_tls { "https" } else { "http" };
    let request = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("{scheme}://{address}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "Consul Health Check")
        .body(());
    let request = request.map_err(|error| ended("Internal", &error.to_string()))?;
    let (answer, mut body) = asker.send_request(request, false).map_err(broken)?;
    body.send_data(question(service), true).map_err(broken)?;
    let answer = answer.await.map_err(broken)?;
    if answer.status() != StatusCode::OK {
        return Err(not_grpc(&answer));
    }
    if let Some(why) = failure(answer.headers()) {
        return Err(why); // such an answer has no body
    }
    let mut body = answer.into_body();
    let message = message(&mut body).await.map_err(broken)?;
    if let Some(why) = body.trailers().await.map_err(broken)?.as_ref().and_then(failure) {
        return Err(why);
    }
    status(&message).ok_or_else(|| ended("Internal", "the answer is no health status"))
}

/// What an answer that is not gRPC's amounts to.
fn not_grpc(answer: &Response<RecvStream>) -> String {
    let status = answer.status();
    let code = match status {
        StatusCode::NOT_FOUND => "Unimplemented",
        StatusCode::UNAUTHORIZED => "Unauthenticated",
        StatusCode::FORBIDDEN => "PermissionDenied",
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => "Unavailable",
        _ => "Unknown",
    };
    let reason = status.canonical_reason().unwrap_or_default();
    ended(code, &format!("{reason}: HTTP status code {}", status.as_u16()))
}

/// Why a call failed, if these headers or trailers say so.
fn failure(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let number: usize = text("grpc-status")?.parse().ok()?;
    let code = CODES.get(number).copied().unwrap_or("Unknown");
    (number != 0).then(|| ended(code, &decoded(text("grpc-message").unwrap_or_default())))
}

/// The framed message that asks for a service's health.
fn question(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(FIELD_1_TEXT);
        put_number(&mut message, service.len());
        message.put_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).expect("a definition is shorter than 4 GiB");
    let mut framed = BytesMut::with_capacity(FRAME_BYTES + message.len());
    framed.put_u8(0); // not compressed
    framed.put_u32(length);
    framed.extend(message);
    framed.freeze()
}

/// A number in groups of seven bits, the lowest first.
fn put_number(to: &mut BytesMut, mut number: usize) {
    while number > 0x7f {
        to.put_u8(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
        number >>= 7;
    }
    to.put_u8(u8::try_from(number).expect("seven bits"));
}

/// The answer's message without its frame, as much of it as is looked at.
async fn message(body: &mut RecvStream) -> Result<Bytes, h2::Error> {
    let mut all = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        let room = ANSWER_BYTES_MAX.saturating_sub(all.len());
        all.put_slice(part.split_at(part.len().min(room)).0);
    }
    Ok(all.split_off(FRAME_BYTES.min(all.len())).freeze())
}

/// The status that a message tells; no field at all is the first one.
fn status(message: &[u8]) -> Option<&'static str> {
    match message {
        [] => STATUSES.first().copied(),
        [FIELD_1_NUMBER, number, ..] => STATUSES.get(usize::from(*number)).copied(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Tasks;
    use crate::model::CheckStatus;
    use tokio::net::TcpListener;

    /// What a server of these tests does with a call.
    #[derive(Clone, Copy)]
    enum Does {
        Says(u8),
        Fails(&'static str, &'static str),
        Is404,
        Nothing,
    }

    /// A server for one call; checks what it is asked.
    async fn server(tasks: &Tasks, asked: &'static [u8], does: Does) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tasks.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut server = h2::server::handshake(stream).await.unwrap();
            let mut held = Vec::new();
            while let Some(Ok((request, mut respond))) = server.accept().await {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                let mut body = request.into_body();
                let ask = std::pin::pin!(async move { body.data().await });
                let turn = std::pin::pin!(server.accept());
                let Either::Left((data, _)) = select(ask, turn).await else { return };
                assert_eq!(data.unwrap().unwrap(), asked);
                let answer = Response::builder();
                match does {
                    Does::Nothing => held.push(respond),
                    Does::Is404 => {
                        let answer = answer.status(404).body(()).unwrap();
                        respond.send_response(answer, true).unwrap();
                    }
                    Does::Fails(code, why) => {
                        let answer = answer.header("grpc-status", code);
                        let answer = answer.header("grpc-message", why).body(()).unwrap();
                        respond.send_response(answer, true).unwrap();
                    }
                    Does::Says(status) => {
                        let mut send = respond.send_response(answer.body(()).unwrap(), false);
                        let send = send.as_mut().unwrap();
                        let message = vec![0, 0, 0, 0, 2, FIELD_1_NUMBER, status];
                        send.send_data(message.into(), false).unwrap();
                        let mut trailers = HeaderMap::new();
                        trailers.insert("grpc-status", "0".parse().unwrap());
                        send.send_trailers(trailers).unwrap();
                    }
                }
            }
        });
        address
    }

    async fn check(target: String, patience: Duration) -> Verdict {
        let mut spec = CheckSpec::default();
        spec.how.grpc = target;
        run(&spec, &Tls::new().unwrap(), patience).await
    }

    #[tokio::test]
    async fn only_serving_passes() {
        let tasks = Tasks::new();
        let web = b"\0\0\0\0\x05\x0a\x03web".as_slice();
        for (does, output) in [
            (Does::Says(1), "gRPC check {}: success"),
            (Does::Says(2), "gRPC {} serving status: NOT_SERVING"),
            (Does::Says(0), "gRPC {} serving status: UNKNOWN"),
            (
                Does::Fails("5", "unknown%20service"),
                "rpc error: code = NotFound desc = unknown service",
            ),
            (Does::Is404, "rpc error: code = Unimplemented desc = Not Found: HTTP status code 404"),
        ] {
            let target = format!("{}/web", server(&tasks, web, does).await);
            let verdict = check(target.clone(), Duration::from_secs(20)).await;
            assert_eq!(verdict.output, output.replace("{}", &target));
            let passes = matches!(does, Does::Says(1));
            assert_eq!(verdict.status == CheckStatus::Passing, passes, "{}", verdict.output);
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_is_critical() {
        let tasks = Tasks::new();
        let address = server(&tasks, b"\0\0\0\0\0", Does::Nothing).await;
        let verdict = check(address, Duration::from_millis(300)).await;
        let late = "rpc error: code = DeadlineExceeded desc = context deadline exceeded";
        assert_eq!(verdict, critical(late));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let verdict = check(address.clone(), Duration::from_secs(20)).await;
        let refused = format!(
            "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error \
             while dialing dial tcp {address}: connect: connection refused\""
        );
        assert_eq!(verdict, critical(refused));
    }

    #[test]
    fn long_names_and_escapes_are_spelled_right() {
        let long = "x".repeat(300);
        let framed = question(&long);
        assert_eq!(framed.split_at(8).0, [0, 0, 0, 1, 47, FIELD_1_TEXT, 0xac, 0x02]);
        assert_eq!(decoded("100%25 %C3%A9 %zz %"), "100% é %zz %");
        assert_eq!((status(&[]), status(&[FIELD_1_NUMBER, 9])), (Some("UNKNOWN"), None));
    }
}
