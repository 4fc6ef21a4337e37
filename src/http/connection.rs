//! One connection: hyper speaks HTTP on it, except while its caller waits for a change.
//!
//! *Why*: hyper keeps buffers of sixteen kilobytes for each connection. A caller that waits longer
//! than a moment needs none, so hyper is sent away: what stays is the answer in the making and a
//! look-out for the caller hanging up. When the answer is there, a fresh hyper reads a request
//! line that stands for the original one, and sends it.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Method, Request, Response, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::line::{Caller, Line};
use crate::lifecycle::Shutdown;
use crate::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX, HTTP_IDLE_MAX};

/// How long a connection may finish what it began once the word to stop is given.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// A caller that waits longer for a change is parked: most answers are there much earlier.
const PARK_AFTER: Duration = Duration::from_millis(50);

/// An answer in the making.
type Answered = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A request whose caller waits without hyper.
struct Parked {
    answered: Answered,
    /// What of the request decides how its answer is sent.
    version: Version,
    connection: Option<HeaderValue>,
}

/// What hyper's service and the connection hand each other.
#[derive(Default)]
struct Desk {
    parked: Option<Parked>,
    /// The answer to the next request, made already.
    ready: Option<Response<Body>>,
}

/// Why a request is not answered by the hyper that read it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Unanswered {
    #[error("the caller hung up")]
    HungUp,
    #[error("the caller waits")]
    Parked,
}

/// Answers one request after the other until the caller ends the connection, or breaks a bound,
/// or the word to stop is given. An answer is dropped midway when its caller hangs up.
pub(super) async fn serve<A, F>(stream: TcpStream, answer: A, mut shutdown: Shutdown)
where
    A: Fn(Request<Body>) -> F + Clone + Send + Sync,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set no-delay");
    }
    let caller = Caller::new(stream);
    let desk = Arc::new(Mutex::new(Desk::default()));
    loop {
        // Boxed: the connection keeps no room for it while its caller is parked.
        Box::pin(speak(&caller, &answer, &desk, &mut shutdown)).await;
        let Some(parked) = desk.lock().parked.take() else { return };
        let mut answered = parked.answered;
        // Whoever waits when the word to stop is given gets an answer, so there is no branch
        // for it: the door sees to that.
        let mut response = tokio::select! {
            biased;
            response = &mut answered => response,
            () = caller.gone() => return,
        };
        drop(answered);
        if shutdown.is_set() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        caller.say_first(&stand_in(parked.version, parked.connection.as_ref()));
        desk.lock().ready = Some(response);
    }
}

/// A request line that has its answer sent as the original request would.
fn stand_in(version: Version, connection: Option<&HeaderValue>) -> Vec<u8> {
    let version = if version == Version::HTTP_10 { "1.0" } else { "1.1" };
    let mut head = format!("GET / HTTP/{version}\r\n").into_bytes();
    if let Some(connection) = connection {
        head.extend_from_slice(b"Connection: ");
        head.extend_from_slice(connection.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Has hyper read requests and send answers until the connection ends or its caller is parked.
async fn speak<A, F>(caller: &Caller, answer: &A, desk: &Arc<Mutex<Desk>>, shutdown: &mut Shutdown)
where
    A: Fn(Request<Body>) -> F + Clone + Send + Sync,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let answering = caller.answering();
        let ready = desk.lock().ready.take();
        let asked = ready.is_none().then(|| ask(request, answer, caller));
        let desk = Arc::clone(desk);
        async move {
            let outcome = match (ready, asked) {
                (Some(response), _) => Ok(response),
                (None, Some(asked)) => asked.outcome(&desk).await,
                (None, None) => Err(Unanswered::HungUp),
            };
            drop(answering);
            outcome
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_IDLE_MAX)
        .max_headers(HTTP_HEADERS_MAX)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .half_close(true) // the line sees to it
        .title_case_headers(true);
    let mut served = builder.serve_connection(TokioIo::new(Line::new(caller.clone())), service);
    let ended = tokio::select! {
        biased; // an answer that is there already is sent whatever else happens
        ended = &mut served => Some(ended),
        () = shutdown.wait() => {
            Pin::new(&mut served).graceful_shutdown();
            tokio::time::timeout(DRAIN_MAX, &mut served).await.ok()
        }
    };
    if let Some(Err(error)) = ended {
        tracing::trace!(%error, "connection ended");
    }
    // Hyper may have read more than the request that is parked.
    let read = served.into_parts().read_buf;
    caller.say_first(&read);
}

/// A request on its way to its answer.
struct Asked {
    answered: Answered,
    /// Who may hang up meanwhile, where the request has no body that is still read.
    watched: Option<Caller>,
    /// How an answer is sent that takes longer, where the caller waits for a change.
    parks: Option<(Version, Option<HeaderValue>)>,
}

fn ask<A, F>(request: Request<Incoming>, answer: &A, caller: &Caller) -> Asked
where
    A: Fn(Request<Body>) -> F,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let bare = request.body().is_end_stream();
    let waits = waits(request.uri().query());
    // No read looks at a body: it is thrown away, or else nobody would see the caller hang up.
    // Hyper then ends the connection with the answer, unless all of the body is there.
    let unread = !bare && waits && request.method() == Method::GET;
    let watched = (bare || unread).then(|| caller.clone());
    let parks = (bare && waits).then(|| {
        let all = request.headers().get_all(CONNECTION).iter();
        // Copied: the originals lie in hyper's buffer, and would keep all of it.
        let all = all.map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
        let connection = HeaderValue::from_bytes(&all).ok().filter(|all| !all.is_empty());
        (request.version(), connection)
    });
    let request = request.map(|body| if unread { Body::empty() } else { Body::new(body) });
    Asked { answered: Box::pin(answer(request)), watched, parks }
}

/// Whether a request asks for what comes after an index. Only a hint.
fn waits(query: Option<&str>) -> bool {
    let mut parts = query.unwrap_or_default().split('&');
    parts.any(|part| part.strip_prefix("index=").is_some_and(|index| index != "0"))
}

impl Asked {
    async fn outcome(self, desk: &Mutex<Desk>) -> Result<Response<Body>, Unanswered> {
        let Self { mut answered, watched, parks } = self;
        let Some(caller) = watched else { return Ok(answered.await) };
        let moment = async {
            match parks {
                Some(manner) => {
                    tokio::time::sleep(PARK_AFTER).await;
                    manner
                }
                None => std::future::pending().await,
            }
        };
        let mut moment = pin!(moment);
        // What is answered at once costs no look at the connection.
        let (version, connection) = tokio::select! {
            biased;
            response = &mut answered => return Ok(response),
            () = caller.gone() => return Err(Unanswered::HungUp),
            manner = &mut moment => manner,
        };
        desk.lock().parked = Some(Parked { answered, version, connection });
        Err(Unanswered::Parked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_has_the_answer_sent_as_the_original_would() {
        let close = HeaderValue::from_static("close");
        for (version, connection, want) in [
            (Version::HTTP_11, None, "GET / HTTP/1.1\r\n\r\n"),
            (Version::HTTP_11, Some(&close), "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"),
            (Version::HTTP_10, None, "GET / HTTP/1.0\r\n\r\n"),
        ] {
            assert_eq!(stand_in(version, connection), want.as_bytes());
        }
    }

    #[test]
    fn only_reads_behind_an_index_wait() {
        for (query, want) in [
            (None, false),
            (Some("wait=5s"), false),
            (Some("index=0&wait=5s"), false),
            (Some("wait=5s&index=7"), true),
        ] {
            assert_eq!(waits(query), want, "{query:?}");
        }
    }
}
