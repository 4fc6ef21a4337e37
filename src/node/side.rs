//! Where a node has the cluster's data from: a replica of its own, or the servers' ones.

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::NodeError;
use super::options::{self, Place};
use crate::client::{Client, Remote};
use crate::config::Config;
use crate::lifecycle::Tasks;
use crate::model::MemberList;
use crate::replica::{self, Replica};
use crate::telemetry::Metrics;

/// A server's side of the cluster, or that of an agent without a server.
pub(super) enum Side {
    /// A replica.
    Server(Replica),
    /// The way to those of others.
    Agent(Remote),
}

impl Side {
    /// Takes part in Raft on `peers`, or without them asks the servers among `members`.
    ///
    /// # Errors
    ///
    /// [`NodeError::Replica`].
    pub(super) async fn start(
        (config, place, dismiss): (&Config, &Place, mpsc::Sender<String>),
        metrics: &Metrics,
        peers: Option<TcpListener>,
        members: watch::Receiver<MemberList>,
        tasks: &Tasks,
    ) -> Result<Self, NodeError> {
        let Some(peers) = peers else {
            return Ok(Self::Agent(Remote::new(options::remote(config, place), members)));
        };
        let options = options::replica(config, place, dismiss, metrics.clone());
        Ok(Self::Server(replica::start(options, peers.into(), members, tasks).await?))
    }

    /// The door to the cluster's data.
    pub(super) fn client(&self) -> Client {
        match self {
            Self::Server(replica) => Client::local(replica.clone()),
            Self::Agent(remote) => Client::remote(remote.clone()),
        }
    }

    /// The replica of a server.
    pub(super) fn replica(&self) -> Option<&Replica> {
        match self {
            Self::Server(replica) => Some(replica),
            Self::Agent(_) => None,
        }
    }

    /// Returns what is wrong with this machine's disk or bytes, once something is; never without a
    /// replica, which has a log that can fail.
    pub(super) async fn fault(&self) -> String {
        if let Self::Server(replica) = self
            && let Ok(what) = replica.fault().wait_for(Option::is_some).await
        {
            return what.clone().unwrap_or_default();
        }
        std::future::pending().await
    }

    /// Hands leadership over, where this node leads.
    pub(super) async fn step_down(&self) {
        if let Self::Server(replica) = self {
            replica.step_down().await;
        }
    }

    /// Asks to be out of Raft's configuration, on a server; returns once it is.
    pub(super) async fn leave(&self) {
        if let Self::Server(replica) = self {
            replica.leave().await;
        }
    }

    /// Stops taking part, or asking.
    pub(super) async fn stop(&self) {
        match self {
            Self::Server(replica) => replica.stop().await,
            Self::Agent(remote) => remote.stop().await,
        }
    }
}
