//! The way of a process without a replica to the replicas of the servers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use raft::{CallError, Caller, CallerOptions};
use tokio::time::Instant;

use super::agents::{Ask, Told};
use crate::codec;
use crate::seal::Streams;

/// What a [`Line`] needs to know.
#[derive(Clone, Debug)]
pub struct LineOptions {
    /// A number for this agent, which is never 0.
    pub number: u64,
    /// The data center; a server of another one refuses.
    pub datacenter: String,
    /// A server that owes an answer and is silent for twice this long is given up.
    pub patience: Duration,
    /// What its connections run over.
    pub streams: Streams,
}

/// Asks the replicas of servers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Line {
    caller: Caller,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The server surely did nothing.
    NotSent(String),
    /// It may have done what was asked.
    Unknown(String),
}

impl Line {
    /// A way to any server; none is asked yet. Must be called within tokio's runtime.
    pub fn new(options: &LineOptions) -> Self {
        let (cluster, patience) = (options.datacenter.clone(), options.patience);
        let wire: Arc<dyn raft::Wire> = Arc::new(options.streams.clone());
        let options = CallerOptions { node: options.number, cluster, patience, wire: Some(wire) };
        Self { caller: Caller::new(options) }
    }

    /// Asks the server of this number in Raft, at `address`. Dropping the future drops the work.
    ///
    /// # Errors
    ///
    /// [`Lost`], which says whether the server may have done something.
    pub async fn ask(
        &self,
        server: u64,
        address: &str,
        ask: &Ask,
        limit: Duration,
    ) -> Result<Told, Lost> {
        let request = Bytes::from(codec::encode(ask));
        match self.caller.call(server, address, request, limit).await {
            Ok(answer) => {
                codec::decode_answer(&answer).map_err(|error| Lost::Unknown(error.to_string()))
            }
            Err(CallError::NotSent(why)) => Err(Lost::NotSent(why)),
            Err(CallError::Unknown(why)) => Err(Lost::Unknown(why)),
        }
    }

    /// When a server was last heard from, if it ever was.
    pub fn heard(&self, server: u64) -> Option<Instant> {
        self.caller.heard(server)
    }

    /// Closes all connections.
    pub async fn stop(&self) {
        self.caller.stop().await;
    }
}
