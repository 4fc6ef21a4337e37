//! A write's way: to the leader, stamped there, proposed, and retried only where that is safe.

use bytes::Bytes;
use raft::{CallError, ProposeError};
use tokio::time::Instant;

use super::agents::STOPPING;
use super::handle::Inner;
use super::inbound::{self, Request, Response};
use crate::model::{Command, Envelope, Renewal, Unavailable, Written};
use crate::{codec, limits, time};

impl Inner {
    /// Writes through whoever leads.
    pub(super) async fn write(&self, command: &Command) -> Result<Written, Unavailable> {
        self.write_encoded(Bytes::from(codec::encode(command))).await
    }

    /// As [`Inner::write`], of a command in bytes.
    pub(super) async fn write_encoded(&self, bytes: Bytes) -> Result<Written, Unavailable> {
        let _permit = self
            .writes
            .try_acquire()
            .map_err(|_full| Unavailable::TooMany("writes in flight".to_owned()))?;
        if bytes.len() > limits::COMMAND_BYTES_MAX {
            let (is, most) = (bytes.len(), limits::COMMAND_BYTES_MAX);
            return Err(Unavailable::NotApplied(format!("command of {is} bytes, at most {most}")));
        }
        match self.ask_leader(&Request::Write(bytes)).await? {
            Response::Written(written) => Ok(written),
            other => Err(inbound::unexpected(&other)),
        }
    }

    /// Asks whoever leads, waiting up to the hold time for a leader to be there.
    ///
    /// Only what surely did not happen is tried again.
    pub(super) async fn ask_leader(&self, request: &Request) -> Result<Response, Unavailable> {
        let until = time::now() + self.options.leader_hold;
        loop {
            let (seen, leads) = self.raft.leader();
            let response = match seen {
                Some(_) if leads => self.answer(request.clone()).await,
                Some(leader) => self.forward(leader, request).await,
                None => Response::NotLeader,
            };
            match response {
                Response::NotLeader => self.await_leader(until, seen).await?,
                Response::Unavailable(unavailable) => return Err(unavailable),
                done => return Ok(done),
            }
        }
    }

    async fn forward(&self, leader: raft::NodeId, request: &Request) -> Response {
        let bytes = Bytes::from(codec::encode(request));
        failpoint!("write.forward.before");
        let called = self.raft.call(leader, bytes, limits::WRITE_TIMEOUT).await;
        failpoint!("write.forward.after");
        match called {
            Ok(answer) => codec::decode(&answer).unwrap_or_else(|error| {
                Response::Unavailable(Unavailable::Unknown(error.to_string()))
            }),
            Err(CallError::NotSent(_)) => Response::NotLeader,
            // B17: no answer is taken for no effect, so that it is asked for again.
            Err(CallError::Unknown(_)) if planted!("planted_b17") => Response::NotLeader,
            Err(error) => Response::Unavailable(Unavailable::Unknown(error.to_string())),
        }
    }

    /// Waits until another leader than `seen` is known, or a moment has passed.
    async fn await_leader(
        &self,
        until: Instant,
        seen: Option<raft::NodeId>,
    ) -> Result<(), Unavailable> {
        let now = time::now();
        if now >= until {
            return Err(Unavailable::NoLeader);
        }
        let mut status = self.raft.status();
        let other = status.wait_for(|status| status.leader.is_some() && status.leader != seen);
        // A leader that just refused may be the leader again at once, so do not wait for long.
        let patience = self.options.heartbeat.min(until - now);
        match tokio::time::timeout(patience, other).await {
            Ok(Err(_stopped)) => Err(Unavailable::NotApplied(STOPPING.to_owned())),
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }

    /// Stamps an encoded command and proposes it here, with the renewals that are due.
    pub(super) async fn propose(&self, command: Bytes) -> Response {
        let due = self.renewals.drain(self.clock.now(self.view.clock()));
        self.propose_with(due, command).await
    }

    /// Stamps an encoded command and proposes it here, with these renewals.
    pub(super) async fn propose_with(&self, renewals: Vec<Renewal>, command: Bytes) -> Response {
        let at = self.clock.now(self.view.clock());
        let envelope = Envelope { at, renewals, command };
        let payload = Bytes::from(codec::encode(&envelope));
        failpoint!("write.propose.before");
        let proposed = tokio::time::timeout(limits::WRITE_TIMEOUT, self.raft.propose(payload));
        let error = match proposed.await {
            Ok(Ok(reply)) => {
                failpoint!("write.propose.after");
                return codec::decode(&reply).map_or_else(
                    |error| Response::Unavailable(Unavailable::Unknown(error.to_string())),
                    Response::Written,
                );
            }
            Ok(Err(error)) => error,
            Err(_elapsed) => {
                ProposeError::Unknown(format!("no majority within {:?}", limits::WRITE_TIMEOUT))
            }
        };
        // Marks of a command that was lost must reach the next one; twice is harmless.
        self.renewals.restore(&envelope.renewals);
        match error {
            ProposeError::NotLeader { .. } => Response::NotLeader,
            ProposeError::NotApplied(why) => Response::Unavailable(Unavailable::NotApplied(why)),
            ProposeError::Unknown(why) => Response::Unavailable(Unavailable::Unknown(why)),
            ProposeError::Stopped => {
                Response::Unavailable(Unavailable::Unknown("this server is stopping".to_owned()))
            }
        }
    }
}
