//! The side of a server on which processes that are no nodes ask: requests of the application,
//! their cancellation and pings, and nothing that belongs to consensus.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{AbortHandle, Aborted, BoxFuture, abortable};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::duplex::{Duplex, send};
use super::frame::{self, Frame, Kind, malformed};
use crate::handle::Inbound;
use crate::limits::{AGENT_PENDING, AGENTS_MAX, ANSWER_BYTES_MAX, ANSWER_PART, ANSWERS_KIB};
use crate::options::NodeId;

/// The bounds that all agents of a server share.
#[derive(Clone)]
pub(crate) struct Agents {
    places: Arc<Semaphore>,
    long_answers: Arc<Semaphore>,
}

impl Default for Agents {
    fn default() -> Agents {
        let places = Arc::new(Semaphore::new(AGENTS_MAX));
        Agents { places, long_answers: Arc::new(Semaphore::new(ANSWERS_KIB)) }
    }
}

impl Agents {
    /// A place for one agent's connection, or why there is none.
    pub(super) fn enter(&self) -> Result<OwnedSemaphorePermit, String> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_full| format!("this server has {AGENTS_MAX} agents, as many as it may"))
    }

    /// Serves one agent until its connection ends; what is under way then is dropped.
    pub(super) async fn serve(
        &self,
        mut duplex: Duplex,
        from: NodeId,
        inbound: Arc<dyn Inbound>,
    ) -> io::Result<()> {
        let mut guest = Guest {
            from,
            inbound,
            long_answers: Arc::clone(&self.long_answers),
            under_way: FuturesUnordered::new(),
            handles: BTreeMap::new(),
            long: VecDeque::new(),
        };
        loop {
            guest.send_parts(&mut duplex);
            let room = duplex.has_room();
            let busy = room && !guest.under_way.is_empty();
            let Duplex { reader, writer, out, .. } = &mut duplex;
            let unsent = !out.is_empty();
            // Every branch may be dropped: a frame stays in the reader's buffer, unsent bytes in
            // `out`, and what is done in `under_way`.
            tokio::select! {
                biased;
                Some((seq, answer)) = guest.under_way.next(), if busy => {
                    guest.answered(&mut duplex, seq, answer);
                }
                sent = send(writer, out), if unsent => sent?,
                frame = reader.next(), if room => guest.take(&mut duplex, frame?)?,
            }
        }
    }
}

/// What one agent has under way.
struct Guest {
    from: NodeId,
    inbound: Arc<dyn Inbound>,
    long_answers: Arc<Semaphore>,
    under_way: FuturesUnordered<BoxFuture<'static, (u64, Result<Bytes, Aborted>)>>,
    handles: BTreeMap<u64, AbortHandle>,
    /// Answers that are sent in parts, in turns.
    long: VecDeque<Long>,
}

/// What is left to send of an answer.
struct Long {
    seq: u64,
    left: Bytes,
    _room: OwnedSemaphorePermit,
}

impl Guest {
    fn take(&mut self, duplex: &mut Duplex, frame: Frame) -> io::Result<()> {
        let seq = frame.seq;
        match frame.kind {
            Kind::Call if self.handles.len() >= AGENT_PENDING => {
                frame::put(&mut duplex.out, Kind::Busy, seq, b"too many requests");
            }
            // It would have no place of its own among those that are counted.
            Kind::Call if self.handles.contains_key(&seq) => {
                return Err(malformed(format!("request {seq} is under way already")));
            }
            Kind::Call => {
                let (work, handle) = abortable(self.inbound.agent(self.from, frame.body));
                self.under_way.push(work.map(move |answer| (seq, answer)).boxed());
                self.handles.insert(seq, handle);
            }
            Kind::Cancel => {
                if let Some(handle) = self.handles.remove(&seq) {
                    handle.abort();
                }
                self.long.retain(|long| long.seq != seq);
            }
            Kind::Ping => frame::put(&mut duplex.out, Kind::Answer, seq, &[]),
            other => return Err(malformed(format!("{other:?} from an agent"))),
        }
        Ok(())
    }

    fn answered(&mut self, duplex: &mut Duplex, seq: u64, answer: Result<Bytes, Aborted>) {
        // Who cancelled waits for nothing.
        let Ok(body) = answer else { return };
        self.handles.remove(&seq);
        let out = &mut duplex.out;
        if body.len() <= ANSWER_PART {
            frame::put(out, Kind::Answer, seq, &body);
            return;
        }
        match self.room_for(body.len()) {
            Ok(room) => self.long.push_back(Long { seq, left: body, _room: room }),
            Err(why) => frame::put(out, Kind::Failed, seq, why.as_bytes()),
        }
    }

    fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, String> {
        if bytes > ANSWER_BYTES_MAX {
            return Err(format!("answer of {bytes} bytes, more than {ANSWER_BYTES_MAX}"));
        }
        let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.long_answers).try_acquire_many_owned(kib);
        room.map_err(|_full| "too many long answers are under way".to_owned())
    }

    /// Puts parts of the long answers behind what waits to be sent, as far as there is room.
    fn send_parts(&mut self, duplex: &mut Duplex) {
        while duplex.has_room() {
            let Some(mut long) = self.long.pop_front() else { return };
            let part = long.left.split_to(long.left.len().min(ANSWER_PART));
            let last = long.left.is_empty();
            let kind = if last { Kind::Answer } else { Kind::Part };
            frame::put(&mut duplex.out, kind, long.seq, &part);
            if !last {
                self.long.push_back(long);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::super::listener::Incoming;
    use super::super::wire::{Hello, Lane, PROTOCOL};
    use super::*;
    use crate::tasks::Tasks;

    struct Mute;

    impl Inbound for Mute {
        fn call(&self, _: NodeId, _: Bytes) -> BoxFuture<'static, Bytes> {
            futures::future::ready(Bytes::new()).boxed()
        }

        fn agent(&self, _: NodeId, _: Bytes) -> BoxFuture<'static, Bytes> {
            futures::future::pending().boxed()
        }
    }

    /// An agent's connection, and what becomes of it at the server.
    async fn connected() -> (Duplex, impl Future<Output = io::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let accept = async move {
            let (stream, _): (TcpStream, _) = listener.accept().await.unwrap();
            Duplex::accept(None, Incoming::Tcp(stream), |_| Ok(())).await.unwrap()
        };
        let cluster = "test".to_owned();
        let hello = Hello { protocol: PROTOCOL, cluster, from: 9, to: 1, lane: Lane::Agent };
        let (there, here) =
            futures::future::join(accept, Duplex::connect(None, &address, &hello)).await;
        let served = async move { Agents::default().serve(there.0, 9, Arc::new(Mute)).await };
        (here.unwrap(), served)
    }

    #[tokio::test]
    async fn nothing_of_consensus_is_taken_from_an_agent() {
        for kind in [Kind::Append, Kind::Vote, Kind::PreVote, Kind::Transfer, Kind::ReadIndex] {
            let (mut duplex, served) = connected().await;
            frame::put(&mut duplex.out, kind, 1, &[]);
            duplex.flush().await.unwrap();
            let error = served.await.unwrap_err();
            assert!(error.to_string().contains("from an agent"), "{kind:?}: {error}");
        }
    }

    #[tokio::test]
    async fn one_agent_has_only_so_much_under_way() {
        let (mut duplex, served) = connected().await;
        let tasks = Tasks::new();
        tasks.spawn(async move { drop(served.await) });
        let calls = u64::try_from(AGENT_PENDING).unwrap() + 1;
        for seq in 1..=calls {
            frame::put(&mut duplex.out, Kind::Call, seq, &[]);
        }
        duplex.flush().await.unwrap();
        let refused = duplex.reader.next().await.unwrap();
        assert_eq!((refused.kind, refused.seq), (Kind::Busy, calls));
        frame::put(&mut duplex.out, Kind::Cancel, 1, &[]);
        frame::put(&mut duplex.out, Kind::Call, calls + 1, &[]);
        frame::put(&mut duplex.out, Kind::Ping, calls + 2, &[]);
        duplex.flush().await.unwrap();
        let ponged = duplex.reader.next().await.unwrap();
        assert_eq!((ponged.kind, ponged.seq), (Kind::Answer, calls + 2), "there was room again");
        tasks.stop_tasks().await;
    }

    #[tokio::test]
    async fn a_sequence_is_of_one_request_at_a_time() {
        let (mut duplex, served) = connected().await;
        for _ in 0..2 {
            frame::put(&mut duplex.out, Kind::Call, 7, &[]);
        }
        duplex.flush().await.unwrap();
        let ended = tokio::time::timeout(std::time::Duration::from_secs(5), served).await;
        let error = ended.expect("the connection ends").unwrap_err();
        assert!(error.to_string().contains("request 7 is under way"), "{error}");
    }

    #[test]
    fn one_server_has_only_so_many_agents() {
        let agents = Agents::default();
        let mut places: Vec<_> = (0..AGENTS_MAX).map(|_| agents.enter().unwrap()).collect();
        assert!(agents.enter().unwrap_err().contains("as many as it may"));
        places.pop();
        assert!(agents.enter().is_ok());
    }
}
