//! The sockets: takes requests, bounded in number, and sends what the resolver says.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::frame;
use super::options::{Observed, Options};
use super::reply::Transport;
use super::resolve::Resolver;
use crate::client::Client;
use crate::lifecycle::{Shutdown, Tasks};
use crate::limits::{DNS_TCP_CONNECTIONS_MAX, DNS_TCP_IDLE};
use crate::model::{Consistency, Query, Read, ReadOptions, Unavailable};
use crate::time::now;

/// Longest request, in bytes: one question and its options are some hundred.
const REQUEST_BYTES_MAX: usize = 4096;
/// Requests over UDP that are being answered; more are dropped, and their askers ask again.
const UDP_IN_FLIGHT_MAX: usize = 4096;
/// Rest after a socket said no, for instance because there are no more file descriptors.
const ERROR_PAUSE: Duration = Duration::from_millis(20);

/// Answers on these sockets until [`Tasks::shutdown`] says stop. Returns at once: the work is
/// done by `tasks`. All connections together are at most
/// [`DNS_TCP_CONNECTIONS_MAX`], and one is closed after [`DNS_TCP_IDLE`] without a whole request.
///
/// # Panics
///
/// If a domain of `options` is not a domain name.
///
/// Source: Consul DNS interface; RFC 1035, section 4.2; RFC 7766.
pub async fn serve(
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    options: Arc<Options>,
    client: Client,
    tasks: &Tasks,
) {
    let consistency = if options.allow_stale {
        Consistency::StaleWithin(options.max_stale)
    } else {
        Consistency::Linearizable
    };
    let how = ReadOptions { consistency, ..ReadOptions::default() };
    let read = move |query| {
        let client = client.clone();
        async move { client.read(query, how).await }
    };
    let door = Door { resolver: Resolver::new(Arc::clone(&options), read), options };
    open(udp, tcp, &Arc::new(door), tasks);
}

/// What all sockets share.
pub(super) struct Door<R> {
    pub(super) resolver: Resolver<R>,
    pub(super) options: Arc<Options>,
}

impl<R, F> Door<R>
where
    R: Fn(Query) -> F,
    F: Future<Output = Result<Read, Unavailable>>,
{
    async fn respond(&self, request: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let began = now();
        let reply = self.resolver.respond(request, transport).await?;
        if let Some(observer) = &self.options.observe {
            let code = code(reply.get(3).map_or(0, |flags| flags & 0x0f));
            let (transport, bytes) = (transport.as_str(), reply.len());
            observer.tell(Observed { transport, code, took: began.elapsed(), bytes });
        }
        Some(reply)
    }
}

/// Source: RFC 1035, section 4.1.1, RCODE.
fn code(number: u8) -> &'static str {
    match number {
        0 => "noerror",
        1 => "formerr",
        2 => "servfail",
        3 => "nxdomain",
        4 => "notimp",
        5 => "refused",
        _ => "other",
    }
}

/// Starts the loops of all sockets.
pub(super) fn open<R, F>(
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    door: &Arc<Door<R>>,
    tasks: &Tasks,
) where
    R: Fn(Query) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Read, Unavailable>> + Send + 'static,
{
    let requests = Arc::new(Semaphore::new(UDP_IN_FLIGHT_MAX));
    for socket in udp {
        let (door, places) = (Arc::clone(door), Arc::clone(&requests));
        tasks.spawn(take_datagrams(Arc::new(socket), door, places, tasks.clone()));
    }
    let connections = Arc::new(Semaphore::new(DNS_TCP_CONNECTIONS_MAX));
    for listener in tcp {
        let (door, places) = (Arc::clone(door), Arc::clone(&connections));
        tasks.spawn(take_connections(listener, door, places, tasks.clone()));
    }
}

async fn take_datagrams<R, F>(
    socket: Arc<UdpSocket>,
    door: Arc<Door<R>>,
    places: Arc<Semaphore>,
    tasks: Tasks,
) where
    R: Fn(Query) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Read, Unavailable>> + Send + 'static,
{
    let mut shutdown = tasks.shutdown();
    let mut buffer = vec![0; REQUEST_BYTES_MAX];
    loop {
        // Either may be dropped: nothing is taken from the socket until it is ready.
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = shutdown.wait() => return,
        };
        let (length, from) = match received {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "dns socket");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::debug!(%from, most = UDP_IN_FLIGHT_MAX, "dns request dropped");
            continue;
        };
        let request = buffer.get(..length).unwrap_or_default().to_vec();
        let (door, socket) = (Arc::clone(&door), Arc::clone(&socket));
        tasks.spawn(async move {
            answer_datagram(&door, &socket, &request, from).await;
            drop(place);
        });
    }
}

async fn answer_datagram<R, F>(door: &Door<R>, socket: &UdpSocket, request: &[u8], from: SocketAddr)
where
    R: Fn(Query) -> F,
    F: Future<Output = Result<Read, Unavailable>>,
{
    let Some(reply) = door.respond(request, Transport::Udp).await else { return };
    if let Err(error) = socket.send_to(&reply, from).await {
        tracing::debug!(%from, %error, "dns reply not sent");
    }
}

async fn take_connections<R, F>(
    listener: TcpListener,
    door: Arc<Door<R>>,
    places: Arc<Semaphore>,
    tasks: Tasks,
) where
    R: Fn(Query) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Read, Unavailable>> + Send + 'static,
{
    let mut shutdown = tasks.shutdown();
    loop {
        // Either may be dropped: a connection that was not taken stays with the listener.
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.wait() => return,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "dns listener");
                tokio::time::sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        // Closed at once rather than kept waiting: idle ones must not hold up the rest.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::debug!(%from, most = DNS_TCP_CONNECTIONS_MAX, "dns connection refused");
            continue;
        };
        let (door, shutdown) = (Arc::clone(&door), tasks.shutdown());
        tasks.spawn(async move { converse(&door, stream, shutdown, place).await });
    }
}

/// Answers one request after the other, until the other side ends or rests too long.
async fn converse<R, F>(
    door: &Door<R>,
    mut stream: TcpStream,
    mut shutdown: Shutdown,
    _place: OwnedSemaphorePermit,
) where
    R: Fn(Query) -> F,
    F: Future<Output = Result<Read, Unavailable>>,
{
    loop {
        // Either may be dropped: the connection ends then.
        let request = tokio::select! {
            request = timeout(DNS_TCP_IDLE, frame::read(&mut stream, REQUEST_BYTES_MAX)) => request,
            () = shutdown.wait() => return,
        };
        let Ok(Ok(Some(request))) = request else { return };
        let Some(reply) = door.respond(&request, Transport::Tcp).await else { return };
        match timeout(DNS_TCP_IDLE, frame::write(&mut stream, &reply)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}
