//! The one world of this process.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use super::disk::{Disk, DiskFile};
use super::net::Net;
use super::witness::Witness;
use crate::options::NodeId;
use crate::peer::Halves;

static WORLD: OnceLock<World> = OnceLock::new();

/// What the nodes of this process stand on.
#[derive(Debug)]
pub struct World {
    /// Their disks.
    pub disk: Disk,
    /// What lies between them.
    pub net: Net,
    /// Sees what they vote and apply.
    pub witness: Witness,
}

/// Makes this process a simulated one, for good.
///
/// # Panics
///
/// If it is one already.
pub fn begin(seed: u64) -> &'static World {
    let world = World { disk: Disk::new(seed), net: Net::new(seed), witness: Witness::default() };
    assert!(WORLD.set(world).is_ok(), "a process has one world");
    world_of(WORLD.get())
}

fn world_of(world: Option<&'static World>) -> &'static World {
    world.expect("this process is simulated")
}

/// Whether this process is a simulated one.
pub fn is_on() -> bool {
    WORLD.get().is_some()
}

/// The world, if this process is a simulated one.
pub fn world() -> Option<&'static World> {
    WORLD.get()
}

pub(crate) fn disk_file(file: &File, path: &Path) -> io::Result<Option<DiskFile>> {
    let Some(world) = WORLD.get() else { return Ok(None) };
    Ok(Some(world.disk.file(file.try_clone()?, path)?))
}

pub(crate) async fn disk_time(dir: &Path) {
    if let Some(time) = WORLD.get().and_then(|world| world.disk.time(dir)) {
        tokio::time::sleep(time).await;
    }
}

pub(crate) async fn dial(from: NodeId, address: &str) -> io::Result<Halves> {
    world_of(WORLD.get()).net.dial(from, address).await
}
