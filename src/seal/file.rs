//! Where a ring is kept across restarts: a JSON array of base64 keys, the one in use first.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::error::KeyringError;
use crate::limits::SEAL_FILE_BYTES_MAX;

/// The keys in a file; `None` if there is no file.
///
/// # Errors
///
/// It cannot be read, is no list of texts, or lists nothing.
pub(super) fn read(path: &Path) -> Result<Option<Vec<String>>, KeyringError> {
    let wrong = |what: String| KeyringError::File(path.to_owned(), what);
    let bytes = match std::fs::metadata(path) {
        Ok(found) if found.len() > SEAL_FILE_BYTES_MAX => {
            return Err(wrong(format!("{} bytes are no keyring", found.len())));
        }
        Ok(_) => std::fs::read(path).map_err(|error| wrong(error.to_string()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
    };
    // The parser's own words would repeat what stands there.
    let keys = serde_json::from_slice::<Vec<String>>(&bytes)
        .map_err(|error| wrong(format!("no list of keys, at line {}", error.line())))?;
    if keys.is_empty() {
        return Err(KeyringError::Empty(path.to_owned()));
    }
    Ok(Some(keys))
}

/// Keeps the keys: once this returns, they are there after a loss of power, and nobody but this
/// user can read them.
///
/// # Errors
///
/// The disk's; the file is as it was, then.
pub(super) fn keep(path: &Path, keys: &[&str]) -> Result<(), KeyringError> {
    let kept = replace(path, keys);
    kept.map_err(|error| KeyringError::File(path.to_owned(), error.to_string()))
}

fn replace(path: &Path, keys: &[&str]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let aside = aside(path);
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.write_all(&serde_json::to_vec(keys)?)?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    File::open(folder)?.sync_all()
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_are_kept_for_this_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serf/local.keyring");
        assert_eq!(read(&path).unwrap(), None);
        std::fs::create_dir(dir.path().join("serf")).unwrap();
        std::fs::write(aside(&path), "left by a crash").unwrap();
        for keys in [&["a"][..], &["b", "a"]] {
            keep(&path, keys).unwrap();
            assert_eq!(read(&path).unwrap().unwrap(), keys);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert!(!aside(&path).exists());
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), r#"["b","a"]"#);
    }

    #[test]
    fn a_file_that_is_no_keyring_is_said_so_without_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("local.keyring");
        let name = path.display();
        std::fs::write(&path, "[]").unwrap();
        assert_eq!(
            read(&path).unwrap_err().to_string(),
            format!("no keys present in keyring: {name}")
        );
        std::fs::write(&path, "{\"secret\": 1}").unwrap();
        assert_eq!(
            read(&path).unwrap_err().to_string(),
            format!("keyring {name}: no list of keys, at line 1")
        );
        let file = File::create(&path).unwrap();
        file.set_len(SEAL_FILE_BYTES_MAX + 1).unwrap();
        assert!(read(&path).unwrap_err().to_string().ends_with("are no keyring"));
    }
}
