//! Where registrations are kept: a file each, written aside, synced and renamed into place.
//! Everything here blocks; [`super::claim::Claim`] calls it from threads that may.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::{CheckStatus, Service};

use super::spec::CheckSpec;

/// The shape of the files; a higher one was written by a newer version and is not understood.
const VERSION: u32 = 1;

/// What a check was last told or found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Verdict {
    pub(super) status: CheckStatus,
    pub(super) output: String,
}

/// Everything that was kept. No check names a service that is not among the services.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) services: Vec<Service>,
    pub(super) checks: Vec<(CheckSpec, Option<Verdict>)>,
}

/// What to write and to remove. A crash midway leaves at most checks without their service.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) checks: Vec<CheckSpec>,
    pub(super) service: Option<Service>,
    /// A check's verdict, by its id.
    pub(super) verdict: Option<(String, Verdict)>,
    pub(super) gone_service: Option<String>,
    pub(super) gone_checks: Vec<String>,
}

/// One file.
#[derive(Serialize, Deserialize)]
struct Sheet<T> {
    version: u32,
    /// The id, which the file's name is the hash of.
    id: String,
    what: T,
}

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    services: PathBuf,
    checks: PathBuf,
    verdicts: PathBuf,
}

impl Batch {
    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.checks.is_empty()
            && self.service.is_none()
            && self.verdict.is_none()
            && self.gone_service.is_none()
            && self.gone_checks.is_empty()
    }
}

impl Disk {
    /// Opens or makes the folder and reads what is kept. A file that cannot be understood is
    /// set aside (`….damaged`) and reported; the rest counts.
    ///
    /// # Errors
    ///
    /// If a folder or a file cannot be reached at all.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, Kept)> {
        let disk = Self {
            services: dir.join("services"),
            checks: dir.join("checks"),
            verdicts: dir.join("checks").join("state"),
        };
        fs::create_dir_all(&disk.services)?;
        fs::create_dir_all(&disk.verdicts)?;
        let kept = disk.read()?;
        Ok((disk, kept))
    }

    fn read(&self) -> io::Result<Kept> {
        let mut kept = Kept::default();
        for path in files(&self.services)? {
            kept.services.extend(understood(&path, Service::default())?);
        }
        let ids: BTreeSet<&str> = kept.services.iter().map(|service| service.id.as_str()).collect();
        let mut checks = Vec::new();
        for path in files(&self.checks)? {
            let Some(spec) = understood(&path, CheckSpec::default())? else { continue };
            let service = &spec.check.service_id;
            if !service.is_empty() && !ids.contains(service.as_str()) {
                set_aside(&path, &format!("its service {service:?} is not kept"))?;
                continue;
            }
            let state = file(&self.verdicts, &spec.check.id);
            let verdict =
                if state.exists() { understood(&state, Verdict::default())? } else { None };
            checks.push((spec, verdict));
        }
        kept.checks = checks;
        Ok(kept)
    }

    /// Does what the batch says; afterwards it survives a loss of power.
    ///
    /// # Errors
    ///
    /// The first that the system gives; what comes after it in the batch is not done.
    pub(super) fn write(&self, batch: &Batch) -> io::Result<()> {
        for spec in &batch.checks {
            put(&self.checks, &spec.check.id, spec)?;
        }
        sync_if(!batch.checks.is_empty(), &self.checks)?;
        if let Some(service) = &batch.service {
            put(&self.services, &service.id, service)?;
        }
        if let Some(id) = &batch.gone_service {
            remove(&self.services, id)?;
        }
        sync_if(batch.service.is_some() || batch.gone_service.is_some(), &self.services)?;
        if let Some((id, verdict)) = &batch.verdict {
            put(&self.verdicts, id, verdict)?;
        }
        for id in &batch.gone_checks {
            remove(&self.verdicts, id)?;
            remove(&self.checks, id)?;
        }
        let gone = !batch.gone_checks.is_empty();
        sync_if(gone, &self.checks)?;
        sync_if(gone || batch.verdict.is_some(), &self.verdicts)
    }
}

fn file(folder: &Path, id: &str) -> PathBuf {
    let mut name = String::with_capacity(69);
    for byte in Sha256::digest(id.as_bytes()) {
        write!(name, "{byte:02x}").expect("writing to a string does not fail");
    }
    name.push_str(".json");
    folder.join(name)
}

/// The files of a folder that are whole; the rest of a write that was cut off is removed.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut whole = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => whole.push(path),
            Some("new") => fs::remove_file(&path)?,
            _ => {}
        }
    }
    whole.sort();
    Ok(whole)
}

/// What a file holds; one that holds nothing of use is set aside.
fn understood<T: Serialize + DeserializeOwned>(path: &Path, blank: T) -> io::Result<Option<T>> {
    let bytes = fs::read(path)?;
    match parse(path, &bytes, blank) {
        Ok(what) => Ok(Some(what)),
        Err(why) => {
            set_aside(path, &why)?;
            Ok(None)
        }
    }
}

/// Fields that the file lacks are those of `blank`: an older version did not know them.
fn parse<T: Serialize + DeserializeOwned>(
    path: &Path,
    bytes: &[u8],
    blank: T,
) -> Result<T, String> {
    let sheet: Sheet<Value> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if sheet.version > VERSION {
        return Err(format!("version {} is above {VERSION}", sheet.version));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    if file(folder, &sheet.id) != path {
        return Err(format!("its name is not that of {:?}", sheet.id));
    }
    let mut what = serde_json::to_value(blank).map_err(|error| error.to_string())?;
    lay_over(&mut what, sheet.what);
    serde_json::from_value(what).map_err(|error| error.to_string())
}

fn lay_over(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

fn set_aside(path: &Path, why: &str) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    tracing::error!(file = %path.display(), %why, "a kept registration is set aside");
    fs::rename(path, aside)
}

fn put<T: Serialize>(folder: &Path, id: &str, what: &T) -> io::Result<()> {
    let sheet = Sheet { version: VERSION, id: id.to_owned(), what };
    let bytes = serde_json::to_vec(&sheet)?;
    let path = file(folder, id);
    let aside = path.with_extension("new");
    // Only the owner may read it: the headers of an HTTP check may hold secrets.
    let mut options = OpenOptions::new();
    let mut new = options.write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    new.write_all(&bytes)?;
    new.sync_all()?;
    fs::rename(aside, path)
}

fn remove(folder: &Path, id: &str) -> io::Result<()> {
    match fs::remove_file(file(folder, id)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_if(touched: bool, folder: &Path) -> io::Result<()> {
    if touched { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Check;

    fn service(id: &str) -> Service {
        Service { id: id.to_owned(), name: "web".to_owned(), port: 80, ..Service::default() }
    }

    fn check(id: &str, service: &str) -> CheckSpec {
        let (id, service_id) = (id.to_owned(), service.to_owned());
        CheckSpec { check: Check { id, service_id, ..Check::default() }, ..CheckSpec::default() }
    }

    fn kept(dir: &Path) -> (Vec<String>, Vec<(String, Option<Verdict>)>) {
        let (_, kept) = Disk::open(dir).unwrap();
        let id = |(spec, verdict): (CheckSpec, _)| (spec.check.id, verdict);
        let mut checks: Vec<_> = kept.checks.into_iter().map(id).collect();
        checks.sort_by(|one, two| one.0.cmp(&two.0));
        let mut services: Vec<_> = kept.services.into_iter().map(|service| service.id).collect();
        services.sort();
        (services, checks)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, _) = Disk::open(dir.path()).unwrap();
        let checks = vec![check("c1", "web"), check("c2", "")];
        disk.write(&Batch { checks, service: Some(service("web")), ..Batch::default() }).unwrap();
        let verdict = Verdict { status: CheckStatus::Passing, output: "fine".to_owned() };
        let told = Some(("c1".to_owned(), verdict.clone()));
        disk.write(&Batch { verdict: told, ..Batch::default() }).unwrap();
        let checks = vec![("c1".to_owned(), Some(verdict)), ("c2".to_owned(), None)];
        assert_eq!(kept(dir.path()), (vec!["web".to_owned()], checks));

        let gone = Batch {
            gone_service: Some("web".to_owned()),
            gone_checks: vec!["c1".to_owned(), "never there".to_owned()],
            ..Batch::default()
        };
        disk.write(&gone).unwrap();
        assert_eq!(kept(dir.path()), (vec![], vec![("c2".to_owned(), None)]));
    }

    #[test]
    fn the_damaged_is_set_aside_and_the_rest_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, _) = Disk::open(dir.path()).unwrap();
        for id in ["a", "b", "c", "d"] {
            let batch = Batch { service: Some(service(id)), ..Batch::default() };
            disk.write(&batch).unwrap();
        }
        disk.write(&Batch { checks: vec![check("c1", "gone")], ..Batch::default() }).unwrap();
        fs::write(file(&disk.services, "a"), b"{\"version\":1,\"id\":\"a\",\"wh").unwrap();
        fs::rename(file(&disk.services, "b"), file(&disk.services, "other")).unwrap();
        fs::write(file(&disk.services, "c"), b"{\"version\":9,\"id\":\"c\",\"what\":{}}").unwrap();
        fs::write(disk.services.join("half.new"), b"{").unwrap();

        assert_eq!(kept(dir.path()), (vec!["d".to_owned()], vec![]));
        let names = fs::read_dir(&disk.services).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        let damaged = names.iter().filter(|name| name.to_str().unwrap().ends_with(".damaged"));
        assert_eq!((names.len(), damaged.count()), (4, 3), "{names:?}");
        assert_eq!(kept(dir.path()).0, ["d"], "the second start is quiet");
    }

    #[test]
    fn a_field_that_an_older_version_did_not_know_is_blank() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, _) = Disk::open(dir.path()).unwrap();
        let old = b"{\"version\":1,\"id\":\"a\",\"what\":{\"id\":\"a\",\"meta\":{\"k\":\"v\"}}}";
        fs::write(file(&disk.services, "a"), old).unwrap();
        let (_, kept) = Disk::open(dir.path()).unwrap();
        assert_eq!(kept.services[0].meta["k"], "v");
        assert_eq!(kept.services[0].weights.passing, 1);
    }
}
