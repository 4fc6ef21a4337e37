//! Client libraries of Python and Node, unmodified: their common verbs against each server.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::harness::{Agent, Cluster, beside_others, is_consul, skip};
use crate::real_clients::peers;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
/// How long one script may take.
const LIMIT: Duration = Duration::from_mins(2);

/// A library: what runs its script, and the script.
struct Library {
    name: &'static str,
    interpreter: PathBuf,
    script: &'static str,
    /// Where Node finds the package.
    modules: PathBuf,
}

impl Library {
    fn python(name: &'static str) -> Self {
        let interpreter = peers().join("python").join(name).join("bin/python");
        Self { name, interpreter, script: "verbs.py", modules: PathBuf::new() }
    }

    fn node(name: &'static str) -> Self {
        let modules = peers().join("node").join(name).join("node_modules");
        let interpreter = if modules.exists() { "node".into() } else { modules.join("node") };
        Self { name, interpreter, script: "verbs.js", modules }
    }

    fn is_here(&self) -> bool {
        self.interpreter == Path::new("node") || self.interpreter.exists()
    }

    async fn run(&self, server: &Agent) {
        let mut command = Command::new(&self.interpreter);
        command
            .arg(Path::new(SCRIPTS).join(self.script))
            .args([server.address().to_string(), "8500".to_owned()])
            .env("NODE_PATH", &self.modules)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let ended = tokio::time::timeout(LIMIT, command.output()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{} does not end", self.name));
        let ended = ended.expect("the interpreter starts");
        let (out, err) =
            (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        let well = ended.status.success() && out.trim() == "all as it should be";
        assert!(well, "{} at {}: {out}{err}", self.name, server.name());
    }
}

#[tokio::test]
async fn client_libraries_run_their_common_verbs() {
    let libraries = [
        Library::python("python-consul==1.1.0"),
        Library::python("py-consul==1.8.0"),
        Library::node("consul@2.0.1"),
    ];
    let (here, missing): (Vec<_>, Vec<_>) = libraries.iter().partition(|one| one.is_here());
    for one in &missing {
        let why = format!("{} not fetched (tests/peers/get --clients)", one.name);
        skip("client_libraries_run_their_common_verbs", &why);
    }
    if here.is_empty() || is_consul() {
        return;
    }
    let _turn = beside_others().await;
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let follower = cluster.followers().await[0];
    for at in [leader, follower] {
        for library in &here {
            library.run(&cluster.servers[at]).await;
        }
    }
}
