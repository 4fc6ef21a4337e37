//! `snapshot`: saves, restores and looks into the whole state of the servers.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use super::api::{hold, refused};
use super::archive::{Meta, verify};
use super::columns::pairs;
use super::kv::plain;
use super::screen::{DONE, Screen};
use super::target::Servers;

/// Longest archive that is sent back, in bytes; a restore holds it in memory.
const RESTORE_BYTES_MAX: u64 = 8 << 30;

/// Longest text of an error, in bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// The header that names what of a snapshot was not taken.
const NOT_IMPORTED: &str = "x-portolan-not-imported";

/// Saves, restores, imports and inspects snapshots of server state.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Snapshot {
    Save(Save),
    Restore(Restore),
    Import(Import),
    Inspect(Inspect),
}

/// Saves a snapshot of server state.
#[derive(Debug, clap::Args)]
pub(super) struct Save {
    #[command(flatten)]
    at: Servers,
    #[arg(value_name = "FILE")]
    args: Vec<String>,
}

/// Restores a snapshot of server state.
#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    #[command(flatten)]
    at: Servers,
    #[arg(value_name = "FILE")]
    args: Vec<String>,
}

/// Imports a snapshot that Consul saved: keys, sessions, prepared queries, nodes,
/// services and checks.
///
/// It takes the place of everything that is there. What Consul's snapshot holds besides is
/// listed on stderr as `not imported: 3 ACL tokens, 1 config entry`; the exit code is 0 then
/// too. It is 1, and nothing is changed, if the file is damaged or of a version not known.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    #[command(flatten)]
    at: Servers,
    #[arg(value_name = "FILE")]
    args: Vec<String>,
}

/// Displays information about a snapshot file.
#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    #[arg(value_name = "FILE")]
    args: Vec<String>,
}

impl Snapshot {
    pub(super) async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        match self {
            Self::Save(save) => save.run(screen).await,
            Self::Restore(restore) => {
                let done = ("Error restoring snapshot", "Restored snapshot");
                send(&restore.at, &restore.args, done, screen).await
            }
            Self::Import(import) => {
                let done = ("Error importing snapshot", "Imported snapshot");
                send(&import.at, &import.args, done, screen).await
            }
            Self::Inspect(inspect) => inspect.run(screen),
        }
    }
}

impl Save {
    async fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let [file] = self.args.as_slice() else { return one_file(screen, self.args.len()) };
        let answer = self.at.open()?.open(reqwest::Method::GET, "snapshot", &[], Vec::new()).await;
        let mut answer = answer.context("Error saving snapshot")?;
        let status = answer.status().as_u16();
        if status != 200 {
            let text = hold(answer, ERROR_BYTES_MAX).await?;
            return screen.fail(format_args!("Error saving snapshot: {}", refused(status, &text)));
        }
        // The name is kept free until the archive is known to be whole.
        let unverified = PathBuf::from(format!("{file}.unverified.tmp{}", std::process::id()));
        let mut target = std::fs::File::create(&unverified)
            .map_err(|error| anyhow!("open {}: {}", unverified.display(), plain(&error)))
            .context("Error writing unverified snapshot file")?;
        let saved = async {
            while let Some(chunk) = answer.chunk().await? {
                target.write_all(&chunk)?;
            }
            target.sync_all()?;
            let meta = verify_file(&unverified)?;
            std::fs::rename(&unverified, file).context("Error renaming snapshot file")?;
            sync_folder(Path::new(file))?;
            Ok::<Meta, anyhow::Error>(meta)
        };
        match saved.await {
            Ok(meta) => {
                screen.say(format_args!("Saved and verified snapshot to index {}", meta.index))?;
                Ok(DONE)
            }
            Err(error) => {
                // What could not be verified is worth nothing, and its loss neither.
                drop(std::fs::remove_file(&unverified));
                screen.fail(format_args!("Error verifying snapshot file: {error:#}"))
            }
        }
    }
}

/// Sends a file back, and lists what of it was not taken; `told` is what is said of the outcome,
/// bad and good.
async fn send(
    at: &Servers,
    args: &[String],
    told: (&'static str, &'static str),
    screen: &mut Screen<'_>,
) -> Result<u8> {
    let [file] = args else { return one_file(screen, args.len()) };
    let mut bytes = Vec::new();
    open(file)?.take(RESTORE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > RESTORE_BYTES_MAX {
        return screen.fail(format_args!("{file} is longer than {RESTORE_BYTES_MAX} bytes"));
    }
    let answer = at.open()?.open(reqwest::Method::PUT, "snapshot", &[], bytes).await;
    let answer = answer.context(told.0)?;
    let status = answer.status().as_u16();
    let left_out = answer.headers().get(NOT_IMPORTED).cloned();
    let text = hold(answer, ERROR_BYTES_MAX).await?;
    if status != 200 {
        return screen.fail(format_args!("{}: {}", told.0, refused(status, &text)));
    }
    screen.say(told.1)?;
    if let Some(left_out) = left_out {
        let list = String::from_utf8_lossy(left_out.as_bytes()).into_owned();
        screen.warn(format_args!("not imported: {list}"))?;
    }
    Ok(DONE)
}

impl Inspect {
    fn run(self, screen: &mut Screen<'_>) -> Result<u8> {
        let [file] = self.args.as_slice() else { return one_file(screen, self.args.len()) };
        let meta = verify(std::io::BufReader::new(open(file)?));
        let meta = meta.context("Error verifying snapshot")?;
        screen.say(pairs(&[
            ("ID", meta.id),
            ("Size", meta.size.to_string()),
            ("Index", meta.index.to_string()),
            ("Term", meta.term.to_string()),
            ("Version", meta.version.to_string()),
        ]))?;
        screen.say("")?;
        Ok(DONE)
    }
}

fn open(file: &str) -> Result<std::fs::File> {
    let opened = std::fs::File::open(file);
    let opened = opened.map_err(|error| anyhow!("open {file}: {}", plain(&error)));
    opened.context("Error opening snapshot file")
}

fn verify_file(path: &Path) -> Result<Meta> {
    verify(std::io::BufReader::new(std::fs::File::open(path)?))
}

/// Makes a rename last: the folder is what holds the name.
fn sync_folder(file: &Path) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = std::fs::File::open(folder.unwrap_or(Path::new(".")))?;
    Ok(folder.sync_all()?)
}

fn one_file(screen: &mut Screen<'_>, got: usize) -> Result<u8> {
    match got {
        0 => screen.fail("Missing FILE argument"),
        got => screen.fail(format_args!("Too many arguments (expected 1, got {got})")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::archive::tests::sound;
    use super::super::fixture::play;

    #[test]
    fn inspect_and_restore_read_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("s");
        std::fs::write(&file, sound(b"state")).unwrap();
        let name = file.to_str().unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let words = ["snapshot", "inspect", name].map(str::to_owned);
        let mut screen = super::Screen { out: &mut out, err: &mut err };
        assert_eq!(super::super::run::run_words("p", &words, &mut screen), 0);
        let shown = "ID           2-5-9\nSize         5\nIndex        5\n\
                     Term         2\nVersion      1\n\n";
        assert_eq!(String::from_utf8(out).unwrap(), shown);
        std::fs::write(&file, "x").unwrap();
        let (code, out, _, asked) = play(&["snapshot", "restore", name], &[(200, "")]);
        assert_eq!((code, out.as_str()), (0, "Restored snapshot\n"));
        assert_eq!(asked, ["PUT /v1/snapshot x"]);
        let (code, out, err, asked) = play(&["snapshot", "import", name], &[(200, "")]);
        assert_eq!((code, out.as_str(), err.as_str()), (0, "Imported snapshot\n", ""));
        assert_eq!(asked, ["PUT /v1/snapshot x"]);
        let refusal = "Consul's state: byte 12: unknown kind of record 200; nothing was restored";
        let (code, _, err, _) = play(&["snapshot", "import", name], &[(500, refusal)]);
        let told = "Error importing snapshot: Unexpected response code: 500";
        assert_eq!((code, err), (1, format!("{told} ({refusal})\n")));
    }

    #[test]
    fn a_snapshot_that_is_none_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("s").display().to_string();
        let (code, _, err, _) = play(&["snapshot", "save", &name], &[(200, "garbage bytes here")]);
        assert_eq!(code, 1);
        assert!(err.starts_with("Error verifying snapshot file: failed to decompress"), "{err}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let (code, _, err, _) = play(&["snapshot", "save", &name], &[(500, "no leader")]);
        let told = "Error saving snapshot: Unexpected response code: 500 (no leader)\n";
        assert_eq!((code, err.as_str()), (1, told));
    }
}
