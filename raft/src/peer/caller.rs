//! The way in for a process that is no node: requests to servers that it names itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::control::{self, Ask, Manners};
use super::duplex::Duplex;
use super::frame::Kind;
use super::line::Wire;
use super::wire::{Hello, Lane, PROTOCOL};
use crate::error::CallError;
use crate::limits::{AGENT_IDLE, AGENT_PENDING, AGENT_QUEUE, AGENT_WAYS_MAX, ENTRY_BYTES_MAX};
use crate::options::NodeId;
use crate::tasks::Tasks;

/// What a [`Caller`] is made with. `cluster` is checked on every connection.
#[derive(Clone, Debug)]
pub struct CallerOptions {
    /// A number for this process; never 0, and none of a node's.
    pub node: NodeId,
    /// Name of the cluster; servers of another one refuse.
    pub cluster: String,
    /// A server that owes an answer and says nothing for this long is pinged, and given up after
    /// as long again.
    pub patience: Duration,
    /// What connections run over; `None` is plain TCP.
    pub wire: Option<Arc<dyn Wire>>,
}

/// Asks servers without being one. Cheap to clone; ends with [`Caller::stop`].
///
/// There is one connection to each server, made when it is first asked and closed once nothing
/// was asked for a minute.
#[derive(Clone)]
pub struct Caller {
    inner: Arc<Inner>,
}

struct Inner {
    options: CallerOptions,
    tasks: Tasks,
    ways: Mutex<BTreeMap<NodeId, Way>>,
}

/// The queue in front of the connection to one server.
struct Way {
    address: String,
    queue: mpsc::Sender<Ask>,
    heard: Arc<Mutex<Option<Instant>>>,
    asked: Instant,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl Caller {
    /// Connects to nobody yet. Must be called within a tokio runtime.
    pub fn new(options: CallerOptions) -> Caller {
        let inner = Inner { options, tasks: Tasks::new(), ways: Mutex::default() };
        Caller { inner: Arc::new(inner) }
    }

    /// Sends a request of at most 8 MiB to the [`crate::Inbound`] of node `to`, which listens at
    /// `address`, and waits for the answer, of at most 256 MiB.
    ///
    /// Dropping the future tells the server, which drops the work as far as it can be dropped.
    ///
    /// # Errors
    ///
    /// [`CallError::NotSent`] if it was surely not received, so that it may be sent to another
    /// server; else [`CallError::Unknown`].
    pub async fn call(
        &self,
        to: NodeId,
        address: &str,
        request: Bytes,
        limit: Duration,
    ) -> Result<Bytes, CallError> {
        if request.len() > ENTRY_BYTES_MAX {
            let what = format!("{} bytes, more than {ENTRY_BYTES_MAX}", request.len());
            return Err(CallError::NotSent(what));
        }
        let (ask, answer, _wanted) = Ask::while_wanted(Kind::Call, request);
        let full = |_| CallError::NotSent(format!("too many requests wait for {address}"));
        self.way(to, address).try_send(ask).map_err(full)?;
        match timeout(limit, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_closed)) => Err(CallError::Unknown("this node is stopping".to_owned())),
            Err(_elapsed) => Err(CallError::Unknown(format!("no answer within {limit:?}"))),
        }
    }

    /// When a server was last heard from, if it ever was.
    pub fn heard(&self, from: NodeId) -> Option<Instant> {
        let ways = self.inner.ways.lock();
        ways.get(&from).and_then(|way| *way.heard.lock())
    }

    /// Closes all connections; what waits for an answer gets none.
    pub async fn stop(&self) {
        self.inner.ways.lock().clear();
        self.inner.tasks.stop_tasks().await;
    }

    fn way(&self, to: NodeId, address: &str) -> mpsc::Sender<Ask> {
        let mut ways = self.inner.ways.lock();
        let now = Instant::now();
        if let Some(way) = ways.get_mut(&to).filter(|way| way.address == address) {
            way.asked = now;
            return way.queue.clone();
        }
        if ways.len() >= AGENT_WAYS_MAX {
            let oldest = ways.iter().min_by_key(|(_, way)| way.asked).map(|(node, _)| *node);
            oldest.and_then(|oldest| ways.remove(&oldest));
        }
        let (queue, asks) = mpsc::channel(AGENT_QUEUE);
        let heard = Arc::new(Mutex::new(None));
        let way = Way {
            address: address.to_owned(),
            queue: queue.clone(),
            heard: Arc::clone(&heard),
            asked: now,
        };
        // Dropping the queue of a way that was there before ends its task.
        ways.insert(to, way);
        drop(ways);
        self.inner.tasks.spawn(self.serve(to, address.to_owned(), heard, asks));
        queue
    }

    fn serve(
        &self,
        to: NodeId,
        address: String,
        heard: Arc<Mutex<Option<Instant>>>,
        asks: mpsc::Receiver<Ask>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let CallerOptions { node, cluster, patience, wire } = self.inner.options.clone();
        let manners = Manners { patience, pending: AGENT_PENDING, idle: Some(AGENT_IDLE), heard };
        let hello = Hello { protocol: PROTOCOL, cluster, from: node, to, lane: Lane::Agent };
        let connect = move || {
            let (address, hello, wire) = (address.clone(), hello.clone(), wire.clone());
            async move { Duplex::connect(wire.as_deref(), &address, &hello).await }
        };
        control::run(connect, manners, asks)
    }
}
