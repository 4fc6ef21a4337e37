//! `/v1/snapshot`: saves and restores everything. Source: Consul HTTP API, "Snapshots".

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{ARCHIVE_BYTES_MAX, ARCHIVE_WAIT_MAX};
use crate::model::{Answer, Query, Unavailable};

use super::archive::{self, Peers};
use super::call::{Call, Discovery, Kind, Outcome, Output, wrong_answer};
use super::error::Failure;
use super::params::ReadPlan;

/// A place among the archives that are held in memory; 429 where none is free in time.
async fn place(archives: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Unavailable> {
    let place = tokio::time::timeout(ARCHIVE_WAIT_MAX, Arc::clone(archives).acquire_owned()).await;
    let full = || Unavailable::TooMany("snapshots".to_owned());
    place.map_err(|_elapsed| full())?.map_err(|_closed| full())
}

/// `GET /v1/snapshot`: the archive.
pub(super) async fn save(call: Call) -> Outcome {
    let plan = call.read_plan(Discovery::No)?;
    call.check_datacenter()?;
    let _place = place(&call.common.archives).await?;
    let options = crate::model::ReadOptions { after: None, wait: None, ..plan.options };
    let read = call.read(Query::Backup, &ReadPlan { options, ..plan }).await?;
    let status = call.client().status().await?;
    let peers = Peers {
        servers: status.servers,
        term: status.term,
        index: read.index.0,
        seconds: crate::time::wall_seconds(),
    };
    let answer = Arc::clone(&read.answer);
    let packed = tokio::task::spawn_blocking(move || {
        let Answer::Backup(backup) = &*answer else { wrong_answer() };
        archive::pack(backup, &peers)
    });
    let body = packed.await.map_err(|why| Failure::internal(format!("snapshot: {why}")))?;
    let kind = Kind::Other("application/x-gzip");
    Ok(Output { kind, body: body.into(), ..Output::empty() }.about(&read))
}

/// Names what an archive of Consul's held that has no place here. An extension.
const NOT_IMPORTED: &str = "x-portolan-not-imported";

/// `PUT /v1/snapshot`: replaces everything by what the archive holds, be it ours or Consul's.
/// What of Consul's is not taken is told in a header and in the log.
pub(super) async fn restore(mut call: Call) -> Outcome {
    if call.params.has("stale") {
        return Err(Failure::internal("stale not allowed for restore"));
    }
    call.check_datacenter()?;
    let _place = place(&call.common.archives).await?;
    let body = call.body(ARCHIVE_BYTES_MAX, "limits").await?;
    let read = tokio::task::spawn_blocking(move || archive::unpack(&body));
    let read = read.await.map_err(|why| Failure::internal(format!("snapshot: {why}")))?;
    let (backup, left_out) = read.map_err(|why| Failure::internal(why.to_string()))?;
    let written = call.client().restore(&backup).await?;
    let output = Output::empty().written(written.index);
    if left_out.is_empty() {
        return Ok(output);
    }
    let left_out = left_out.to_string();
    tracing::warn!(not_imported = left_out, "a snapshot held what has no place here");
    Ok(output.header(NOT_IMPORTED, &left_out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ARCHIVES_MAX;

    #[tokio::test(start_paused = true)]
    async fn only_so_many_archives_are_held_at_once() {
        let archives = Arc::new(Semaphore::new(ARCHIVES_MAX));
        let mut held = Vec::new();
        for _ in 0..ARCHIVES_MAX {
            held.push(place(&archives).await.unwrap());
        }
        assert_eq!(place(&archives).await.unwrap_err(), Unavailable::TooMany("snapshots".into()));
        held.pop();
        assert!(place(&archives).await.is_ok());
    }
}
