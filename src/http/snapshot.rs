//! `/v1/snapshot`: saves and restores everything. Source: Consul HTTP API, "Snapshots".

use crate::limits::ARCHIVE_BYTES_MAX;
use crate::model::{Answer, Query};

use super::archive::{self, Peers};
use super::call::{Call, Discovery, Kind, Outcome, Output, wrong_answer};
use super::error::Failure;
use super::params::ReadPlan;

/// `GET /v1/snapshot`: the archive.
pub(super) async fn save(call: Call) -> Outcome {
    let plan = call.read_plan(Discovery::No)?;
    call.check_datacenter()?;
    let options = crate::model::ReadOptions { after: None, wait: None, ..plan.options };
    let read = call.read(Query::Backup, &ReadPlan { options, ..plan }).await?;
    let status = call.client().status();
    let peers = Peers {
        servers: status.servers,
        term: status.term,
        index: read.index.0,
        seconds: crate::time::wall_seconds(),
    };
    let answer = std::sync::Arc::clone(&read.answer);
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
