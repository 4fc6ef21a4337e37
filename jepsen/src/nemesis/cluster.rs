//! What a nemesis breaks: a cluster, as the runner of faults sees it.

use super::{Admin, Binary};
use crate::lab::LabError;
use crate::lab::clock::Skew;
use crate::lab::cuts::Cut;
use crate::lab::disk::DiskFault;
use crate::lab::pressure::Pressure;
use crate::lab::switch::Weather;

/// Why a fault, or its mending, did not take place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// This cluster cannot be broken in this way at all.
    #[error("not possible here")]
    Impossible,
    /// The system under test said no, in its words. That is its right, under other faults.
    #[error("refused: {0}")]
    Refused(String),
    /// The lab failed: the run has.
    #[error(transparent)]
    Lab(#[from] LabError),
}

/// What became of one call.
pub type Effect = Result<(), NotDone>;

/// A cluster that can be broken. Calls come from several threads at once, each for another kind
/// of fault, and may block for as long as the thing takes (at most some ten seconds: what waits
/// longer should give up and say so). All of them must be safe to repeat: a dead node may be
/// killed, a running one started, a healthy one mended.
///
/// What has a body here is optional: without one of its own it is [`NotDone::Impossible`].
pub trait Cluster: Sync {
    /// How many nodes there are.
    fn nodes(&self) -> usize;

    /// Who leads, as far as it can be told at once.
    fn leader(&self) -> Option<usize>;

    /// The process of a node, if it runs (also: stands).
    fn pid(&self, node: usize) -> Option<u32>;

    /// Starts a node on what it has on disk, and does not wait until it serves.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    fn start(&self, node: usize) -> Effect;

    /// Kills a node at once, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// If it cannot be killed.
    fn kill(&self, node: usize) -> Effect;

    /// Asks a node to stop (SIGTERM), and waits some seconds until it is gone.
    ///
    /// # Errors
    ///
    /// [`NotDone::Refused`] if it is not gone in time; it is killed then.
    fn terminate(&self, node: usize) -> Effect;

    /// Stops a node in its tracks (SIGSTOP).
    ///
    /// # Errors
    ///
    /// [`NotDone::Refused`] if it does not run.
    fn pause(&self, node: usize) -> Effect;

    /// Lets a node go on (SIGCONT).
    ///
    /// # Errors
    ///
    /// [`NotDone::Refused`] if it does not run.
    fn resume(&self, node: usize) -> Effect;

    /// Cuts exactly these ways from now on.
    ///
    /// # Errors
    ///
    /// If the switch refuses.
    fn cut(&self, cut: &Cut) -> Effect;

    /// How many packets cuts have dropped so far, over the whole run. By it a partition is seen
    /// to have been one.
    fn dropped(&self) -> Option<u64> {
        None
    }

    /// Makes the network between all nodes this good or bad.
    ///
    /// # Errors
    ///
    /// If it cannot be.
    fn weather(&self, weather: &Weather) -> Effect {
        let _ = weather;
        Err(NotDone::Impossible)
    }

    /// Sets a node's wall clock wrong by so much, or right ([`Skew::NONE`]).
    ///
    /// # Errors
    ///
    /// If it cannot be.
    fn clock(&self, node: usize, skew: Skew) -> Effect {
        let _ = (node, skew);
        Err(NotDone::Impossible)
    }

    /// Makes a node's disk fail. A power cut also kills the node.
    ///
    /// # Errors
    ///
    /// If it cannot be.
    fn disk(&self, node: usize, fault: &DiskFault) -> Effect {
        let _ = (node, fault);
        Err(NotDone::Impossible)
    }

    /// Makes a node's disk whole, checks its file system, and starts the node if it is down.
    ///
    /// # Errors
    ///
    /// If it cannot be.
    fn mend_disk(&self, node: usize) -> Effect {
        let _ = node;
        Err(NotDone::Impossible)
    }

    /// Makes a node short of something, or of nothing (`None`).
    ///
    /// # Errors
    ///
    /// If it cannot be.
    fn pressure(&self, node: usize, pressure: Option<Pressure>) -> Effect {
        let _ = (node, pressure);
        Err(NotDone::Impossible)
    }

    /// Takes a node out of the cluster; it may go on running.
    ///
    /// # Errors
    ///
    /// If it cannot be.
    fn remove(&self, node: usize) -> Effect {
        let _ = node;
        Err(NotDone::Impossible)
    }

    /// Takes a removed node in again, with an empty disk if the system asks for that.
    ///
    /// # Errors
    ///
    /// If it cannot be.
    fn add(&self, node: usize) -> Effect {
        let _ = node;
        Err(NotDone::Impossible)
    }

    /// Does what an operator does.
    ///
    /// # Errors
    ///
    /// If it cannot be.
    fn administer(&self, what: Admin) -> Effect {
        let _ = what;
        Err(NotDone::Impossible)
    }

    /// Stops a node in order and starts it with this program.
    ///
    /// # Errors
    ///
    /// If it cannot be.
    fn restart_with(&self, node: usize, binary: Binary) -> Effect {
        let _ = (node, binary);
        Err(NotDone::Impossible)
    }
}
