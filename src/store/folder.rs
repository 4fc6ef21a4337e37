//! Which folder holds the state: a pointer file names it, and only ever names a whole one.
//!
//! A restored state is put together in a folder of its own; renaming the pointer is the moment
//! of change. A crash before it leaves the old state, a crash after it the new one.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::fault::Fault;

const POINTER: &str = "CURRENT";
const POINTER_NEW: &str = "CURRENT.new";
const PREFIX: &str = "state-";

/// The state folders below one root.
#[derive(Debug)]
pub(crate) struct Folders {
    root: PathBuf,
    number: u64,
}

impl Folders {
    /// Finds the current folder; the first time, names one. Leftovers of a crash are removed.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the disk fails, or the pointer is missing or broken beside existing states.
    pub(crate) fn open(root: &Path) -> Result<Self, Fault> {
        fs::create_dir_all(root).map_err(|error| Fault::at("create", root, error))?;
        let pointer = root.join(POINTER);
        let mut folders = Self { root: root.to_owned(), number: 0 };
        match fs::read_to_string(&pointer) {
            Ok(text) => folders.number = parse(&pointer, &text)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if !folders.others(None)?.is_empty() {
                    return Err(Fault::at("read", &pointer, "states are there, but no pointer"));
                }
                folders.point(0)?;
            }
            Err(error) => return Err(Fault::at("read", &pointer, error)),
        }
        // The first state is made after its pointer; every later one before.
        let missing = !folders.path().exists();
        if missing && (folders.number > 0 || !folders.others(None)?.is_empty()) {
            let what = format!("it names {}, which is not there", folders.path().display());
            return Err(Fault::at("read", &pointer, what));
        }
        folders.sweep()?;
        Ok(folders)
    }

    /// The current folder.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder(self.number)
    }

    /// Brings the files of `from` together in the next folder, all of them synced.
    ///
    /// Table files never change and are linked where the file system can; the others are copied.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the disk fails.
    pub(crate) fn adopt(&self, from: &Path) -> Result<PathBuf, Fault> {
        let next = self.folder(self.number + 1);
        remove(&next)?;
        fs::create_dir(&next).map_err(|error| Fault::at("create", &next, error))?;
        for name in names(from)? {
            if name.starts_with("LOG") || name == "LOCK" {
                continue;
            }
            let (old, new) = (from.join(&name), next.join(&name));
            let linked = is_table(&old) && fs::hard_link(&old, &new).is_ok();
            if !linked {
                fs::copy(&old, &new).map_err(|error| Fault::at("copy", &old, error))?;
            }
            sync(&new)?;
        }
        sync(&next)?;
        sync(&self.root)?;
        Ok(next)
    }

    /// Makes the next folder the current one; once this returns, for good.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the disk fails; which one is current is then for the next start to see.
    pub(crate) fn switch(&mut self) -> Result<(), Fault> {
        self.point(self.number + 1)?;
        self.number += 1;
        Ok(())
    }

    /// Removes every state but the current one.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the disk fails.
    pub(crate) fn sweep(&self) -> Result<(), Fault> {
        self.others(Some(self.number))?.iter().try_for_each(|folder| remove(folder))
    }

    fn folder(&self, number: u64) -> PathBuf {
        self.root.join(format!("{PREFIX}{number}"))
    }

    fn others(&self, current: Option<u64>) -> Result<Vec<PathBuf>, Fault> {
        let keep = current.map(|number| format!("{PREFIX}{number}"));
        let found = names(&self.root)?.into_iter().filter(|name| name.starts_with(PREFIX));
        Ok(found.filter(|name| Some(name) != keep.as_ref()).map(|it| self.root.join(it)).collect())
    }

    fn point(&self, number: u64) -> Result<(), Fault> {
        let (new, pointer) = (self.root.join(POINTER_NEW), self.root.join(POINTER));
        let written = File::create(&new).and_then(|mut file| {
            writeln!(file, "{PREFIX}{number}")?;
            file.sync_all()
        });
        written.map_err(|error| Fault::at("write", &new, error))?;
        failpoint!("restore.pointer.before_rename", Fault::new);
        fs::rename(&new, &pointer).map_err(|error| Fault::at("replace", &pointer, error))?;
        failpoint!("restore.pointer.after_rename", Fault::new);
        sync(&self.root)
    }
}

fn is_table(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "sst")
}

fn parse(pointer: &Path, text: &str) -> Result<u64, Fault> {
    let number = text.trim_end().strip_prefix(PREFIX).and_then(|number| number.parse().ok());
    number.ok_or_else(|| Fault::at("read", pointer, format!("{text:?} names no state")))
}

fn names(folder: &Path) -> Result<Vec<String>, Fault> {
    let fault = |error| Fault::at("list", folder, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(fault)? {
        names.push(entry.map_err(fault)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn remove(folder: &Path) -> Result<(), Fault> {
    match fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Fault::at("remove", folder, error)),
    }
}

fn sync(path: &Path) -> Result<(), Fault> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| Fault::at("sync", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_is_named_and_gone_is_a_fault() {
        let root = tempfile::tempdir().unwrap();
        let folders = Folders::open(root.path()).unwrap();
        Folders::open(root.path()).expect("the first state need not be there yet");
        fs::create_dir(folders.path()).unwrap();
        Folders::open(root.path()).unwrap();
        fs::write(root.path().join(POINTER), format!("{PREFIX}9\n")).unwrap();
        let fault = Folders::open(root.path()).unwrap_err().to_string();
        assert!(fault.contains("not there") && folders.path().exists(), "{fault}");
    }
}
