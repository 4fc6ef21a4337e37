//! The sockets: takes requests, bounded in number, and sends what the resolver says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::catalog::{Catalog, Cluster};
use super::frame;
use super::options::{Observed, Options};
use super::reply::Transport;
use super::resolve::Resolver;
use crate::client::Client;
use crate::lifecycle::{Shutdown, Tasks};
use crate::limits::{DNS_TCP_CONNECTIONS_MAX, DNS_TCP_IDLE, DNS_UDP_IN_FLIGHT_MAX};
use crate::time::now;

/// Longest request, in bytes: one question and its options are some hundred.
pub(super) const REQUEST_BYTES_MAX: usize = 4096;
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
pub fn serve(
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    options: Options,
    client: Client,
    tasks: &Tasks,
) -> Dns {
    let cluster = Cluster::new(client.clone(), options.consistency());
    let door = Arc::new(Door::new(Resolver::new(Arc::new(options), cluster)));
    open(udp, tcp, &door, tasks);
    Dns { door, client }
}

/// The open door, for who changes its settings.
pub struct Dns {
    door: Arc<Door<Cluster>>,
    client: Client,
}

impl Dns {
    /// Takes over new settings, but for the domains, the data center and the observer: those stay
    /// until a restart. Requests that are being answered are finished by the old ones.
    pub fn reload(&self, options: Options) {
        let old = self.door.resolver();
        let options = Options {
            datacenter: old.options.datacenter.clone(),
            domain: old.options.domain.clone(),
            alt_domain: old.options.alt_domain.clone(),
            observe: old.options.observe.clone(),
            ..options
        };
        let cluster = Cluster::new(self.client.clone(), options.consistency());
        *self.door.resolver.write() = Arc::new(Resolver::new(Arc::new(options), cluster));
    }
}

/// What all sockets share.
pub(super) struct Door<C> {
    resolver: RwLock<Arc<Resolver<C>>>,
}

impl<C: Catalog> Door<C> {
    pub(super) fn new(resolver: Resolver<C>) -> Self {
        Self { resolver: RwLock::new(Arc::new(resolver)) }
    }

    fn resolver(&self) -> Arc<Resolver<C>> {
        Arc::clone(&self.resolver.read())
    }

    async fn respond(
        &self,
        request: &[u8],
        transport: Transport,
        from: SocketAddr,
    ) -> Option<Vec<u8>> {
        let began = now();
        let resolver = self.resolver();
        let said = resolver.respond(request, transport, from.ip()).await?;
        if let Some(observer) = &resolver.options.observe {
            let code = code(said.bytes.get(3).map_or(0, |flags| flags & 0x0f));
            let (transport, bytes) = (transport.as_str(), said.bytes.len());
            let (took, cache) = (began.elapsed(), said.cache);
            observer.tell(Observed { transport, code, took, bytes, cache });
        }
        Some(said.bytes)
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
pub(super) fn open<C: Catalog>(
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    door: &Arc<Door<C>>,
    tasks: &Tasks,
) {
    let requests = Arc::new(Semaphore::new(DNS_UDP_IN_FLIGHT_MAX));
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

async fn take_datagrams<C: Catalog>(
    socket: Arc<UdpSocket>,
    door: Arc<Door<C>>,
    places: Arc<Semaphore>,
    tasks: Tasks,
) {
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
            tracing::debug!(%from, most = DNS_UDP_IN_FLIGHT_MAX, "dns request dropped");
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

async fn answer_datagram<C: Catalog>(
    door: &Door<C>,
    socket: &UdpSocket,
    request: &[u8],
    from: SocketAddr,
) {
    let Some(reply) = door.respond(request, Transport::Udp, from).await else { return };
    if let Err(error) = socket.send_to(&reply, from).await {
        tracing::debug!(%from, %error, "dns reply not sent");
    }
}

async fn take_connections<C: Catalog>(
    listener: TcpListener,
    door: Arc<Door<C>>,
    places: Arc<Semaphore>,
    tasks: Tasks,
) {
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
        tasks.spawn(async move { converse(&door, (stream, from), shutdown, place).await });
    }
}

/// Answers one request after the other, until the other side ends or rests too long.
async fn converse<C: Catalog>(
    door: &Door<C>,
    (mut stream, from): (TcpStream, SocketAddr),
    mut shutdown: Shutdown,
    _place: OwnedSemaphorePermit,
) {
    loop {
        // Either may be dropped: the connection ends then.
        let request = tokio::select! {
            request = timeout(DNS_TCP_IDLE, frame::read(&mut stream, REQUEST_BYTES_MAX)) => request,
            () = shutdown.wait() => return,
        };
        let Ok(Ok(Some(request))) = request else { return };
        let Some(reply) = door.respond(&request, Transport::Tcp, from).await else { return };
        match timeout(DNS_TCP_IDLE, frame::write(&mut stream, &reply)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}
