//! A backup in place of everything: in parts, for one command could not carry it.

use super::handle::Client;
use crate::model::{Backup, Command, Reply, Unavailable, Written};
use crate::{limits, time};

impl Client {
    /// Replaces everything by `backup`: first its parts are set aside, one command each, then they
    /// take effect at once. One that fails midway leaves the state as it was.
    ///
    /// # Errors
    ///
    /// As [`Client::write`].
    pub async fn restore(&self, backup: &Backup) -> Result<Written, Unavailable> {
        let id = time::random();
        let mut parts = 0;
        for records in backup.parts(limits::BACKUP_PART_BYTES) {
            let records = Box::new(records);
            self.step(Command::RestorePart { id, part: parts, records }).await?;
            parts += 1;
        }
        if parts == 0 {
            return self.write(Command::Restore(Box::default())).await;
        }
        self.step(Command::RestoreParts { id, parts }).await
    }

    /// One step of a restore; another restore that came between ends it.
    async fn step(&self, command: Command) -> Result<Written, Unavailable> {
        let written = self.write(command).await?;
        if written.reply == Reply::Flag(false) {
            let why = "another restore came between".to_owned();
            return Err(Unavailable::NotApplied(why));
        }
        Ok(written)
    }
}
