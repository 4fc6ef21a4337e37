//! A snapshot on its way out: file after file in checked chunks, never whole in memory.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use tokio::time::timeout;

use super::duplex::{Duplex, text, timed_out};
use super::frame::{self, Kind};
use super::wire::{self, SnapshotHead};
use crate::codec;
use crate::limits::{SNAPSHOT_CHUNK, SNAPSHOT_INSTALL, SNAPSHOT_STALL};
use crate::snapshot::SnapshotFolder;
use crate::tasks::blocking;
use crate::wal::VoteRecord;

/// Sends a snapshot and waits until the peer has taken it over; returns the peer's vote.
pub(super) async fn send(
    mut duplex: Duplex,
    vote: VoteRecord,
    folder: Arc<SnapshotFolder>,
) -> io::Result<VoteRecord> {
    failpoint!("snapshot.send.before", io::Error::other);
    let files = folder.files()?;
    let position = folder.position.clone();
    let head = SnapshotHead { vote, position, files };
    frame::put(&mut duplex.out, Kind::SnapshotBegin, 0, &codec::encode(&head));
    flush(&mut duplex).await?;
    for (name, size) in head.files {
        let mut file = File::open(folder.state().join(&name))?;
        let mut left = size;
        while left > 0 {
            let (chunk, rest) = read(file, left).await?;
            failpoint!("snapshot.send.chunk", io::Error::other);
            left -= chunk.len() as u64;
            file = rest;
            frame::put(&mut duplex.out, Kind::SnapshotChunk, 0, &chunk);
            flush(&mut duplex).await?;
        }
    }
    failpoint!("snapshot.send.before_end", io::Error::other);
    frame::put(&mut duplex.out, Kind::SnapshotEnd, 0, &[]);
    flush(&mut duplex).await?;
    let answer = timeout(SNAPSHOT_INSTALL, duplex.reader.next());
    let answer = answer.await.map_err(|_elapsed| timed_out())??;
    match answer.kind {
        Kind::Answer => wire::decode(&answer.body),
        _ => Err(io::Error::other(text(&answer))),
    }
}

async fn flush(duplex: &mut Duplex) -> io::Result<()> {
    timeout(SNAPSHOT_STALL, duplex.flush()).await.map_err(|_elapsed| timed_out())?
}

/// The next chunk of a file, read on another thread.
async fn read(mut file: File, left: u64) -> io::Result<(Vec<u8>, File)> {
    let size = usize::try_from(left).unwrap_or(usize::MAX).min(SNAPSHOT_CHUNK);
    let work = blocking(move || {
        let mut chunk = vec![0; size];
        file.read_exact(&mut chunk)?;
        Ok((chunk, file))
    });
    work.await?
}
