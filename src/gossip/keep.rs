//! The others' addresses in a file, so that a member that was restarted finds them again without
//! being told where to join.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::handle::Inner;
use crate::lifecycle::Shutdown;
use crate::limits::MEMBERS_MAX;
use crate::model::{MemberStatus, host_port};

/// Members come and go in crowds: the file is written this long after a change.
const PAUSE: Duration = Duration::from_secs(1);

/// The addresses that were kept, `host:port` each; none where there is no file.
pub(super) fn read(file: Option<&Path>) -> Vec<String> {
    let Some(file) = file else { return Vec::new() };
    match std::fs::read_to_string(file) {
        Ok(text) => text.lines().take(MEMBERS_MAX).map(str::to_owned).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "the kept members cannot be read");
            Vec::new()
        }
    }
}

/// Keeps the addresses of those that live until the word to stop.
pub(super) async fn keep(inner: Arc<Inner>, mut shutdown: Shutdown) {
    let Some(file) = inner.options.kept.clone() else { return };
    let mut told = inner.told.subscribe();
    let mut written = String::new();
    loop {
        // Waiting may be dropped.
        tokio::select! {
            changed = told.changed() => if changed.is_err() { return },
            () = shutdown.wait() => return,
        }
        tokio::time::sleep(PAUSE).await;
        let mut text = String::new();
        for member in told.borrow_and_update().iter() {
            let other = member.id != inner.options.me.id;
            if other && member.status == MemberStatus::Alive {
                let address = host_port(&member.address, member.port);
                writeln!(text, "{address}").expect("a text takes more text");
            }
        }
        // A member that is alone keeps whom it knew: they may come back.
        if text.is_empty() || text == written || inner.pool.lock().has_left() {
            continue;
        }
        let (path, new) = (file.clone(), text.clone());
        let kept = tokio::task::spawn_blocking(move || write(&path, &new)).await;
        match kept.map_err(std::io::Error::other).flatten() {
            Ok(()) => written = text,
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "members are not kept");
            }
        }
    }
}

/// Written aside, synced and renamed: a crash leaves the old text or the new one.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let aside = path.with_extension("new");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = std::fs::File::create(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&aside, path)
}

/// Who left does not come back by itself.
pub(super) fn forget(inner: &Inner) {
    if let Some(file) = &inner.options.kept
        && let Err(error) = std::fs::remove_file(file)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(file = %file.display(), %error, "the kept members stay");
    }
}
