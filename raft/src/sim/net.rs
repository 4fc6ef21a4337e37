//! A network in memory: connections that are slow, stand still behind a cut, and end with the
//! process at their other end.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::options::NodeId;
use crate::peer::{Halves, ReadHalf as In, WriteHalf as Out};

/// Bytes that a connection holds in each direction.
const BUFFER: usize = 256 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: usize = 64;

/// How fast a network is.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// The least that one way takes.
    pub latency: Duration,
    /// What it may take in addition.
    pub jitter: Duration,
    /// Of a thousand pieces so many take a hundred times as long, as what was lost and sent again.
    pub stalls: u32,
}

/// The network of the world.
#[derive(Debug)]
pub struct Net {
    state: Mutex<State>,
    /// Counts the changes of `state` that a connection has to look at.
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    rng: StdRng,
    lane: Lane,
    /// Who takes connections at an address.
    ports: BTreeMap<String, (NodeId, mpsc::Sender<(Halves, String)>)>,
    /// From whom to whom nothing passes.
    cuts: BTreeSet<(NodeId, NodeId)>,
    /// How often each node's process has ended.
    lives: BTreeMap<NodeId, u64>,
}

/// Takes the connections of one address.
#[derive(Debug)]
pub struct Listener {
    queue: mpsc::Receiver<(Halves, String)>,
}

impl Listener {
    pub(crate) async fn accept(&mut self) -> (Halves, String) {
        match self.queue.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await, // the address belongs to a later life
        }
    }
}

/// One direction of a connection.
#[derive(Clone, Copy)]
struct Way {
    from: (NodeId, u64),
    to: (NodeId, u64),
}

impl Net {
    pub(super) fn new(seed: u64) -> Net {
        let lane = Lane {
            latency: Duration::from_micros(200),
            jitter: Duration::from_micros(300),
            stalls: 0,
        };
        let rng = StdRng::seed_from_u64(seed ^ 0x0e17);
        let (ports, cuts, lives) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let state = Mutex::new(State { rng, lane, ports, cuts, lives });
        Net { state, changed: watch::Sender::new(0) }
    }

    /// Takes connections at an address, for the node that lives there.
    pub fn listen(&self, node: NodeId, address: &str) -> Listener {
        let (sender, queue) = mpsc::channel(BACKLOG);
        self.state.lock().ports.insert(address.to_owned(), (node, sender));
        Listener { queue }
    }

    /// How fast it is from now on.
    pub fn set_lane(&self, lane: Lane) {
        self.state.lock().lane = lane;
    }

    /// Lets nothing pass between these, from the first to the second, and all else.
    pub fn set_cuts(&self, cuts: BTreeSet<(NodeId, NodeId)>) {
        self.state.lock().cuts = cuts;
        self.changed.send_modify(|count| *count += 1);
    }

    /// Ends all connections of a node, as the end of its process does.
    pub fn end(&self, node: NodeId) {
        let mut state = self.state.lock();
        *state.lives.entry(node).or_default() += 1;
        state.ports.retain(|_, (owner, _)| *owner != node);
        drop(state);
        self.changed.send_modify(|count| *count += 1);
    }

    #[expect(clippy::disallowed_methods, reason = "a network outlives the nodes on it")]
    pub(super) async fn dial(&'static self, from: NodeId, address: &str) -> io::Result<Halves> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let to = self.state.lock().ports.get(address).map(|(node, _)| *node).ok_or_else(refused)?;
        let (there, back) = {
            let state = self.state.lock();
            let life = |node| (node, state.lives.get(&node).copied().unwrap_or_default());
            (Way { from: life(from), to: life(to) }, Way { from: life(to), to: life(from) })
        };
        for way in [there, back] {
            tokio::time::sleep_until(self.arrival()).await;
            self.open(way).await?;
        }
        let port = self.state.lock().ports.get(address).cloned();
        let (_, port) = port.ok_or_else(refused)?;
        let (near, out_near) = tokio::io::duplex(BUFFER);
        let (far, out_far) = tokio::io::duplex(BUFFER);
        let (near_in, near_out) = tokio::io::split(out_near);
        let (far_in, far_out) = tokio::io::split(out_far);
        tokio::spawn(self.carry(there, near_in, far_out));
        tokio::spawn(self.carry(back, far_in, near_out));
        port.try_send((halves(far), format!("node {from}"))).map_err(|_full| refused())?;
        Ok(halves(near))
    }

    /// Carries one direction until either end is gone.
    async fn carry(
        &'static self,
        way: Way,
        mut from: ReadHalf<DuplexStream>,
        mut to: WriteHalf<DuplexStream>,
    ) {
        let (pieces, mut queue) = mpsc::channel::<(Instant, Vec<u8>)>(256);
        let take = async {
            let mut piece = vec![0; 64 * 1024];
            let mut last = Instant::now();
            while let Ok(size @ 1..) = from.read(&mut piece).await {
                last = last.max(self.arrival());
                if pieces.send((last, piece[..size].to_vec())).await.is_err() {
                    return;
                }
            }
            drop(pieces);
        };
        let give = async {
            while let Some((at, piece)) = queue.recv().await {
                tokio::time::sleep_until(at).await;
                if self.open(way).await.is_err() || to.write_all(&piece).await.is_err() {
                    return;
                }
            }
        };
        let carried = async { tokio::join!(take, give) };
        tokio::select! {
            biased;
            () = self.ended(way) => {}
            _ = carried => {}
        }
        // The word that the other end is gone travels as everything else.
        tokio::time::sleep_until(self.arrival()).await;
        self.uncut(way).await;
    }

    /// When something that is sent now arrives.
    fn arrival(&self) -> Instant {
        let State { rng, lane, .. } = &mut *self.state.lock();
        let mut time = lane.latency + lane.jitter.mul_f64(rng.random_range(0.0..1.0));
        if lane.stalls > 0 && rng.random_range(0..1000) < lane.stalls {
            time *= 100;
        }
        Instant::now() + time
    }

    /// Waits until something passes; an error once one of the two ends is of the past.
    async fn open(&self, way: Way) -> io::Result<()> {
        tokio::select! {
            biased;
            () = self.ended(way) => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            () = self.uncut(way) => Ok(()),
        }
    }

    async fn ended(&self, way: Way) {
        self.until(|state| {
            let gone = |(node, life): (NodeId, u64)| {
                state.lives.get(&node).copied().unwrap_or_default() != life
            };
            gone(way.from) || gone(way.to)
        })
        .await;
    }

    async fn uncut(&self, way: Way) {
        self.until(|state| !state.cuts.contains(&(way.from.0, way.to.0))).await;
    }

    async fn until(&self, so: impl Fn(&State) -> bool) {
        let mut changed = self.changed.subscribe();
        // The sender is the network's own, so it is never gone.
        drop(changed.wait_for(|_| so(&self.state.lock())).await);
    }
}

fn halves(stream: DuplexStream) -> Halves {
    let (reader, writer) = tokio::io::split(stream);
    Halves { reader: In::Wrapped(Box::new(reader)), writer: Out::Wrapped(Box::new(writer)) }
}
