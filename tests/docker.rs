//! Docker's own overlay network with our servers as its store, and the leader killed midway.
//!
//! Needs root, `tests/peers/get --clients`, and a kernel with network namespaces; says loudly
//! that it was skipped where one of them is missing.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use crate::harness::{Cluster, alone, is_consul, skip, until};
use crate::real_clients::peers;

/// Where the servers listen, as the engines see them.
const SERVERS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 99, 0, 254), Ipv4Addr::new(10, 99, 0, 253), Ipv4Addr::new(10, 99, 0, 252)];
/// How long the engines may take until the first container runs.
const BETWEEN_LIMIT: Duration = Duration::from_mins(3);
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/docker-overlay");

/// The bridge and the two hosts; taken away when dropped.
struct Hosts {
    folder: TempDir,
}

impl Hosts {
    /// Makes them, or says why that cannot be done here.
    async fn make() -> Result<Self, String> {
        let wanted = [peers().join("usr/sbin/dockerd"), peers().join("usr/bin/docker")];
        if let Some(missing) = wanted.iter().find(|path| !path.exists()) {
            return Err(format!("no {} (tests/peers/get --clients)", missing.display()));
        }
        let tools = "command -v containerd runc busybox ip nsenter && [ $(id -u) = 0 ]";
        let tools = Command::new("sh").args(["-c", tools]).output().await.expect("sh starts");
        if !tools.status.success() {
            return Err("not root, or no containerd, runc, busybox or ip here".to_owned());
        }
        let hosts = Self { folder: TempDir::new().expect("a temporary folder") };
        let made = hosts.script(&["net"], "").await;
        if made.status.success() { Ok(hosts) } else { Err(said(&made)) }
    }

    async fn script(&self, words: &[&str], between: &str) -> Output {
        let mut command = Command::new(SCRIPT);
        command.args(words).env("DIR", self.folder.path()).env("BETWEEN", between);
        command.stdin(Stdio::null()).output().await.expect("the script starts")
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let mut clean = std::process::Command::new(SCRIPT);
        let cleaned = clean.arg("clean").env("DIR", self.folder.path()).status();
        cleaned.expect("the script starts");
    }
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    format!("{}\n{}", text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn containers_meet_over_the_overlay() {
    let _turn = alone().await;
    let hosts = match Hosts::make().await {
        Ok(hosts) => hosts,
        Err(why) => return skip("containers_meet_over_the_overlay", &why),
    };
    let _cluster = Cluster::start_at(&SERVERS, &[]).await;
    let met = hosts.script(&[&format!("consul://{}:8500", SERVERS[0])], "").await;
    assert!(met.status.success(), "{}", said(&met));
    println!("{}", said(&met));
}

#[tokio::test]
async fn containers_meet_though_the_leader_dies() {
    let _turn = alone().await;
    let hosts = match Hosts::make().await {
        Ok(hosts) => hosts,
        Err(why) => return skip("containers_meet_though_the_leader_dies", &why),
    };
    let mut cluster = Cluster::start_at(&SERVERS, &[]).await;
    // An engine takes one address, so it gets that of a server that will live.
    let store = cluster.followers().await[0];
    let store = format!("consul://{}:8500", cluster.servers[store].address());
    let (reached, go_on) = (hosts.folder.path().join("reached"), hosts.folder.path().join("go-on"));
    let between = format!(
        "touch {}; for _ in $(seq 600); do [ -e {1} ] && exit; sleep 0.1; done; exit 1",
        reached.display(),
        go_on.display()
    );
    let killing = async {
        until("the first container runs", BETWEEN_LIMIT, || exists(&reached)).await;
        let leader = cluster.leader().await;
        assert!(!store.contains(&cluster.servers[leader].address().to_string()));
        cluster.servers[leader].kill().await;
        if is_consul() {
            // Its followers turn requests away until they have a new leader; ours hold them.
            cluster.leader().await;
        }
        std::fs::write(&go_on, "").expect("a file");
    };
    let words = [store.as_str()];
    let (met, ()) = tokio::join!(hosts.script(&words, &between), killing);
    assert!(met.status.success(), "{}", said(&met));
    println!("{}", said(&met));
}

async fn exists(path: &Path) -> Option<()> {
    tokio::fs::try_exists(path).await.is_ok_and(|there| there).then_some(())
}
