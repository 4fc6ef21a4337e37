//! Who this node is across restarts: its id, and what it says of itself to the pool.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use uuid::Uuid;

use super::options::Place;
use super::run::NodeError;
use crate::config::Config;
use crate::model::{Member, MemberStatus};
use crate::time;

/// Where the id is kept below the data folder. Consul keeps it in a file of the same name.
const FILE: &str = "node-id";

/// Where the number in Raft is kept below the data folder.
const RAFT_FILE: &str = "raft-id";

/// Our log below the data folder.
const LOG: &str = "raft/log";

/// Consul's log below its data folder.
const CONSULS_LOG: &str = "raft/raft.db";

/// Fails where a Consul server keeps its data: beside it, ours would look like its loss.
pub(super) fn not_consuls(dir: &Path) -> Result<(), NodeError> {
    if !dir.join(CONSULS_LOG).exists() {
        return Ok(());
    }
    let what = "a Consul server keeps its data here, which only Consul reads: there, \
        `consul snapshot save FILE`; here, an empty folder and `portolan snapshot import FILE`";
    Err(NodeError::File(dir.to_owned(), what.to_owned()))
}

/// The id that was told, or the one kept in `dir`, or a new one that is then kept there.
pub(super) fn node_id(told: Option<Uuid>, dir: &Path) -> Result<Uuid, NodeError> {
    let kept = kept_id(dir)?;
    let id = told.or(kept).unwrap_or_else(Uuid::new_v4);
    if kept != Some(id) {
        let path = dir.join(FILE);
        let done = keep(&path, dir, &id.to_string());
        done.map_err(|error| NodeError::File(path, error.to_string()))?;
    }
    Ok(id)
}

/// This disk's number in Raft: the one kept in `dir`, or a new one that is then kept there. A log
/// that was begun before numbers were kept has half of the node's id.
///
/// Not the id itself: a disk that was wiped under a told id must come back as another server, for
/// it has forgotten how it voted.
pub(super) fn raft_number(id: Uuid, dir: &Path) -> Result<u64, NodeError> {
    let path = dir.join(RAFT_FILE);
    let failed = |what: String| NodeError::File(path.clone(), what);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let number = text.trim().parse().ok().filter(|number| *number != 0);
            number.ok_or_else(|| failed(format!("{text:?} is no number of a server")))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let old = id.as_u64_pair().0.max(1);
            let new = || time::random().max(1);
            let number = if dir.join(LOG).exists() { old } else { new() };
            let kept = keep(&path, dir, &number.to_string());
            kept.map(|()| number).map_err(|error| failed(error.to_string()))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

/// The id that is kept in `dir`, if one is.
pub(super) fn kept_id(dir: &Path) -> Result<Option<Uuid>, NodeError> {
    let path = dir.join(FILE);
    let failed = |what: String| NodeError::File(path.clone(), what);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let id = text.trim().parse::<Uuid>();
            id.map(Some).map_err(|error| failed(format!("{text:?} is no uuid: {error}")))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Written aside, synced and renamed: a crash leaves the old text or the new one.
pub(super) fn keep(path: &Path, dir: &Path, text: &str) -> std::io::Result<()> {
    let aside = path.with_extension("new");
    let mut file = std::fs::File::create(&aside)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    std::fs::File::open(dir)?.sync_all()
}

/// What this node says of itself to the pool. The tags are those that Consul's clients read.
pub(super) fn member(config: &Config, place: &Place) -> Member {
    let id = place.id;
    let port = if config.server { config.ports.server } else { 0 };
    let expect = if config.bootstrap { 1 } else { config.bootstrap_expect };
    Member {
        id: id.to_string(),
        name: config.node_name.clone(),
        address: place.address.clone(),
        port: config.ports.serf_lan,
        server_port: port,
        datacenter: config.datacenter.clone(),
        expect,
        bootstrapped: false,
        tags: tags(config, id, port, expect),
        status: MemberStatus::Alive,
        generation: time::wall_millis(),
        raft: if config.server { place.number } else { 0 },
    }
}

fn tags(config: &Config, id: Uuid, port: u16, expect: u32) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([
        ("role", if config.server { "consul" } else { "node" }.to_owned()),
        ("dc", config.datacenter.clone()),
        ("id", id.to_string()),
        ("segment", String::new()),
        ("build", format!("{}:", env!("CARGO_PKG_VERSION"))),
        ("vsn", "2".to_owned()),
        ("vsn_min", "2".to_owned()),
        ("vsn_max", "3".to_owned()),
        ("acls", "0".to_owned()),
    ]);
    if config.server {
        tags.insert("port", port.to_string());
        tags.insert("raft_vsn", "3".to_owned());
        tags.insert("ft_fs", "1".to_owned());
        if let Some(port) = config.ports.serf_wan {
            tags.insert("wan_join_port", port.to_string());
        }
        match expect {
            0 => {}
            1 => drop(tags.insert("bootstrap", "1".to_owned())),
            more => drop(tags.insert("expect", more.to_string())),
        }
    }
    tags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consul_servers_folder_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        not_consuls(dir.path()).unwrap();
        std::fs::create_dir(dir.path().join("raft")).unwrap();
        not_consuls(dir.path()).unwrap();
        std::fs::write(dir.path().join(CONSULS_LOG), "x").unwrap();
        let error = not_consuls(dir.path()).unwrap_err().to_string();
        assert!(error.contains("snapshot import"), "{error}");
    }

    #[test]
    fn a_disk_keeps_its_number_and_a_wiped_one_gets_another() {
        let (dir, id) = (tempfile::tempdir().unwrap(), Uuid::from_u128(7 << 64));
        let first = raft_number(id, dir.path()).unwrap();
        assert_eq!(raft_number(id, dir.path()).unwrap(), first);
        assert_eq!(raft_number(Uuid::new_v4(), dir.path()).unwrap(), first);
        std::fs::remove_file(dir.path().join(RAFT_FILE)).unwrap();
        assert_ne!(raft_number(id, dir.path()).unwrap(), first, "the same id, another disk");
        std::fs::remove_file(dir.path().join(RAFT_FILE)).unwrap();
        std::fs::create_dir_all(dir.path().join(LOG)).unwrap();
        assert_eq!(raft_number(id, dir.path()).unwrap(), 7, "a log of before goes on");
        for nonsense in ["0", "x", ""] {
            std::fs::write(dir.path().join(RAFT_FILE), nonsense).unwrap();
            let error = raft_number(id, dir.path()).unwrap_err().to_string();
            assert!(error.contains("raft-id"), "{error}");
        }
    }

    #[test]
    fn an_id_is_made_once_and_a_damaged_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let first = node_id(None, dir.path()).unwrap();
        assert_eq!(node_id(None, dir.path()).unwrap(), first);
        let told = Uuid::from_u128(7);
        assert_eq!(node_id(Some(told), dir.path()).unwrap(), told);
        assert_eq!(node_id(None, dir.path()).unwrap(), told);
        std::fs::write(dir.path().join(FILE), "nonsense").unwrap();
        let error = node_id(None, dir.path()).unwrap_err().to_string();
        assert!(error.contains("node-id") && error.contains("nonsense"), "{error}");
    }
}
