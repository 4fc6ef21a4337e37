//! Gauges that are cheaper asked than kept: how the cluster stands, asked when metrics are read.

use crate::gossip::Gossip;
use crate::model::MemberStatus;
use crate::replica::Replica;
use crate::telemetry::{Gauge, Metrics};

/// Has the gauges of the pool, and on a server those of the cluster, filled at each reading of
/// `metrics`.
pub(super) fn fill(metrics: &Metrics, replica: Option<&Replica>, gossip: Gossip) {
    if let Some(replica) = replica {
        of_cluster(metrics, replica.clone());
    }
    metrics.before_reading(move |metrics| {
        let members = gossip.members();
        let failed = members.iter().filter(|member| member.status == MemberStatus::Failed).count();
        metrics.set(Gauge::Members, count(length(members.len())));
        metrics.set(Gauge::MembersFailed, count(length(failed)));
    });
}

fn of_cluster(metrics: &Metrics, replica: Replica) {
    metrics.before_reading(move |metrics| {
        let status = replica.status();
        metrics.set(Gauge::RaftLeader, f64::from(u8::from(status.is_leader)));
        metrics.set(Gauge::RaftTerm, count(status.term));
        metrics.set(Gauge::RaftLastLog, count(status.last_log));
        metrics.set(Gauge::RaftCommitted, count(status.committed));
        metrics.set(Gauge::RaftApplied, count(status.applied));
        metrics.set(Gauge::RaftSnapshot, count(status.snapshot));
        metrics.set(Gauge::RaftLastContact, status.last_contact.as_secs_f64());
        metrics.set(Gauge::RaftServers, count(length(status.servers.len())));
        metrics.set(Gauge::Waiters, count(length(status.waiters)));
    });
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A count as metrics have it; above 2^53 it is rounded.
#[expect(clippy::cast_precision_loss, reason = "a gauge is read by people and graphs")]
fn count(count: u64) -> f64 {
    count as f64
}
