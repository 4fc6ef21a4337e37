//! Prometheus finds its targets in our catalog (`consul_sd_configs`) and drops them again; so does
//! vmagent, which takes the same configuration and has a client of Consul of its own.
//!
//! Debian builds Prometheus without that since Consul left it; 2.24 is the last that has it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::program::{Program, find};
use crate::harness::{Cluster, Http, beside_others, free_address, is_consul, skip, until};
use crate::real_clients::peers;

const START_LIMIT: Duration = Duration::from_mins(1);
/// Prometheus hands targets on every 5 s at most; its own loop asks anew every second here.
const SEEN_LIMIT: Duration = Duration::from_secs(40);
const JOBS: [&str; 3] = ["all", "tagged", "named"];

/// A job for everything, one for services with a tag, one for a service by name.
fn settings(servers: &Cluster) -> String {
    let server = |at: usize| format!("{}:8500", servers.servers[at].address());
    let job = |name: &str, more: &str, at: usize| {
        format!(
            "- job_name: {name}\n  scrape_interval: 1h\n  consul_sd_configs:\n  \
             - server: '{}'\n    refresh_interval: 1s\n{more}",
            server(at)
        )
    };
    format!(
        "scrape_configs:\n{}{}{}",
        job("all", "    allow_stale: false\n", 0),
        job("tagged", "    services: [web, api]\n    tags: [canary]\n", 1),
        job("named", "    services: [web]\n    node_meta: {rack: r1}\n", 2),
    )
}

/// The labels of the targets of each job, by job and address.
async fn targets(http: &Http) -> Option<BTreeMap<(String, String), Value>> {
    let reply = http.try_get("/api/v1/targets?state=any").await.ok()?;
    let json = reply.json();
    let of = |target: &Value| {
        let labels = &target["discoveredLabels"];
        let text = |name: &str| labels[name].as_str().unwrap_or_default().to_owned();
        ((text("job"), text("__address__")), labels.clone())
    };
    let active = json["data"]["activeTargets"].as_array()?;
    Some(active.iter().map(of).collect())
}

/// Waits until every job has exactly these addresses, but for our own service `consul`.
async fn has(http: &Http, what: &str, want: [&[&str]; 3]) -> BTreeMap<(String, String), Value> {
    let look = || async {
        let seen = targets(http).await?;
        let right = JOBS.iter().zip(want).all(|(job, want)| {
            let of_job = seen.iter().filter(|((of, _), labels)| {
                of == job && labels["__meta_consul_service"] != "consul"
            });
            of_job.map(|((_, address), _)| address.as_str()).eq(want.iter().copied())
        });
        right.then_some(seen)
    };
    let (seen, took) = until(what, SEEN_LIMIT, look).await;
    eprintln!("{what} after {took:?}");
    seen
}

async fn register(http: &Http, node: &str, service: &str, port: u16, tags: &str) {
    let body = format!(
        "{{\"Node\":\"{node}\",\"Address\":\"10.1.0.1\",\"NodeMeta\":{{\"rack\":\"r1\"}},\
         \"Service\":{{\"ID\":\"{service}-{port}\",\"Service\":\"{service}\",\"Port\":{port},\
         \"Tags\":{tags},\"Meta\":{{\"team\":\"harbour\"}}}},\
         \"Check\":{{\"CheckID\":\"{service}-{port}\",\"Name\":\"c\",\"Status\":\"passing\",\
         \"ServiceID\":\"{service}-{port}\"}}}}"
    );
    assert_eq!(http.put("/v1/catalog/register", &body).await.text(), "true");
}

/// A program that takes Prometheus' configuration.
struct Scraper {
    name: &'static str,
    program: PathBuf,
    /// Its command line, by its folder and where it shall listen.
    words: fn(&Path, SocketAddr) -> Vec<String>,
    /// Answered with 200 once it serves.
    ready: &'static str,
}

impl Scraper {
    fn start(&self, settings: &str, door: SocketAddr) -> Program {
        let folder = TempDir::with_prefix("portolan-client-").expect("a temporary folder");
        Program::start_in(self.name, folder, |folder: &Path| {
            let file = folder.join("prometheus.yml");
            std::fs::write(file, settings).expect("the settings are written");
            let mut command = Command::new(&self.program);
            command.args((self.words)(folder, door));
            command
        })
    }
}

#[tokio::test]
async fn prometheus_discovers_and_drops_targets() {
    let program = peers().join("usr/bin/prometheus");
    if !program.exists() || is_consul() {
        let why = "Prometheus not fetched (tests/peers/get)";
        return skip("prometheus_discovers_and_drops_targets", why);
    }
    let words = |folder: &Path, door| {
        let folder = folder.display();
        vec![
            format!("--config.file={folder}/prometheus.yml"),
            format!("--storage.tsdb.path={folder}/data"),
            format!("--web.listen-address={door}"),
        ]
    };
    discovers(Scraper { name: "prometheus", program, words, ready: "/-/ready" }).await;
}

#[tokio::test]
async fn vmagent_discovers_and_drops_targets() {
    let Some(program) = find("vmagent").filter(|_| !is_consul()) else {
        let why = "no vmagent here (tests/peers/get --clients)";
        return skip("vmagent_discovers_and_drops_targets", why);
    };
    let words = |folder: &Path, door| {
        let folder = folder.display();
        vec![
            format!("-promscrape.config={folder}/prometheus.yml"),
            "-promscrape.consulSDCheckInterval=1s".to_owned(),
            // It has no interval of its own for each job.
            "-promscrape.config.strictParse=false".to_owned(),
            // What it scrapes goes nowhere: nobody listens on the discard port.
            "-remoteWrite.url=http://127.0.0.1:9/".to_owned(),
            format!("-remoteWrite.tmpDataPath={folder}/data"),
            format!("-httpListenAddr={door}"),
        ]
    };
    discovers(Scraper { name: "vmagent", program, words, ready: "/health" }).await;
}

async fn discovers(scraper: Scraper) {
    let _turn = beside_others().await;
    let mut cluster = Cluster::start().await;
    let door = SocketAddr::from((free_address(), 9090));
    let _program = scraper.start(&settings(&cluster), door);
    let http = Http::new(door);
    until("it serves", START_LIMIT, || async {
        http.try_get(scraper.ready).await.ok().filter(|reply| reply.status == 200)
    })
    .await;

    let servers = cluster.https();
    register(&servers[0], "h1", "web", 8001, "[\"v1\"]").await;
    register(&servers[1], "h1", "api", 8002, "[\"v1\",\"canary\"]").await;
    let (web, api, late) = ("10.1.0.1:8001", "10.1.0.1:8002", "10.1.0.1:8003");
    let seen = has(&http, "two targets", [&[web, api], &[api], &[web]]).await;
    let labels = &seen[&("all".to_owned(), api.to_owned())];
    for (label, want) in [
        ("__meta_consul_node", "h1"),
        ("__meta_consul_address", "10.1.0.1"),
        ("__meta_consul_service", "api"),
        ("__meta_consul_service_id", "api-8002"),
        ("__meta_consul_service_port", "8002"),
        ("__meta_consul_service_metadata_team", "harbour"),
        ("__meta_consul_metadata_rack", "r1"),
        ("__meta_consul_tags", ",v1,canary,"),
        ("__meta_consul_dc", "dc1"),
        ("__meta_consul_health", "passing"),
    ] {
        assert_eq!(labels[label], want, "{label} in {labels}");
    }

    let leader = cluster.leader().await;
    register(&servers[2], "h1", "web", 8003, "[\"canary\"]").await;
    has(&http, "one more", [&[web, api, late], &[api, late], &[web, late]]).await;
    cluster.servers[leader].kill().await;
    cluster.servers[leader].start();
    cluster.servers[leader].serving().await;
    for id in ["web-8001", "api-8002"] {
        let body = format!("{{\"Node\":\"h1\",\"ServiceID\":\"{id}\"}}");
        assert_eq!(servers[0].put("/v1/catalog/deregister", &body).await.text(), "true");
    }
    has(&http, "two gone, after our leader's death", [&[late], &[late], &[late]]).await;
}
