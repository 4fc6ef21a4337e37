//! The burst and the crowd: thousands of registrations at once, thousands of readers that wait.
//!
//! | variable | means |
//! |---|---|
//! | `PORTOLAN_BURST_SERVICES` | how many services are registered (1,000); set, limits are strict |
//! | `PORTOLAN_IDLE_READS` | how many reads wait idly (5,000) |
//!
//! `make burst` runs both at full size against the release program, beside the real Consul.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use hickory_proto::rr::RecordType;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::harness::{
    Agent, Cluster, Http, Over, alone, ask, is_consul, setting, skip, until, within,
};
use crate::real_clients::peers;

/// Agents that register, each over a connection of its own.
const AGENTS: usize = 50;
/// Every server must answer for a service this soon after its registration was acknowledged.
const SEEN_LIMIT: Duration = Duration::from_millis(200);
/// A question asked this late was not the first, or this process was busy.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Questions a second of the DNS load, over all servers.
const QUESTIONS_A_SECOND: u64 = 300;
/// Services that are there before the burst and do not change, and readers of each.
const QUIET: (usize, usize) = (40, 10);
/// Services of the burst that many wait for, and readers of each.
const POPULAR: (usize, usize) = (30, 10);
/// Services of the burst that one reader waits for each.
const PLAIN: usize = 300;

/// Memory that one idle read may cost, in bytes.
const IDLE_BYTES_MAX: usize = 20_000;
/// How soon nothing is left of callers that hung up.
const GONE_LIMIT: Duration = Duration::from_secs(1);
/// Services that the idle reads spread over.
const IDLE_SERVICES: usize = 100;
/// Connections that this process's own client may keep.
const OWN_CONNECTIONS: usize = 5;
/// Descriptors beside those of the reads.
const SPARE_FILES: usize = 1_000;
const LIMIT: Duration = Duration::from_mins(1);

fn number(name: &str, usual: usize) -> usize {
    setting(name).map_or(usual, |text| text.parse().expect("a number"))
}

/// Whether the burst is run for its figures: then the machine is its own.
fn is_full() -> bool {
    setting("PORTOLAN_BURST_SERVICES").is_some()
}

/// How soon every server must answer for a service: where other programs may take the processors
/// away, and both programs are built for debugging, it takes longer.
fn seen_limit() -> Duration {
    if is_full() { SEEN_LIMIT } else { SEEN_LIMIT * 10 }
}

/// How soon nothing may be left of callers that hung up: where other programs may take the
/// processors away, it takes longer.
fn gone_limit() -> Duration {
    if is_full() { GONE_LIMIT } else { GONE_LIMIT * 5 }
}

/// Raises this process's bound of open files, which its children inherit; false if it cannot.
fn allow_files(count: usize) -> bool {
    let own = std::process::id().to_string();
    let bounds = [format!("{count}:{count}"), format!("{count}:")];
    bounds.iter().any(|bound| {
        let raised = Command::new("prlimit").args(["--pid", &own, "--nofile", bound]).output();
        raised.is_ok_and(|out| out.status.success())
    }) || own_files() >= count
}

fn own_files() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The sum of a server's counters of this name, whatever their labels; with `label`, of those
/// that have it.
async fn counted(http: &Http, name: &str, label: &str) -> usize {
    let text = http.get("/metrics").await.text();
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum()
}

/// How the services of a burst are registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Each agent has a node of its own in the catalog.
    Catalog,
    /// Each agent tells the agent of a server.
    Agent,
}

impl Form {
    fn path(self) -> &'static str {
        match self {
            Self::Catalog => "/v1/catalog/register",
            Self::Agent => "/v1/agent/service/register",
        }
    }

    fn body(self, agent: usize, service: &str, port: usize) -> String {
        match self {
            Self::Catalog => format!(
                r#"{{"Node":"a{agent}","Address":"10.1.0.{agent}","Service":{{"ID":"{service}-1","Service":"{service}","Tags":["v1"],"Port":{port}}},
                "Check":{{"CheckID":"{service}-1","Name":"c","ServiceID":"{service}-1","Status":"passing"}}}}"#
            ),
            Self::Agent => format!(
                r#"{{"ID":"{service}-1","Name":"{service}","Tags":["v1"],"Port":{port},"Check":{{"TTL":"1h","Status":"passing"}}}}"#
            ),
        }
    }
}

/// A burst under way.
struct Burst {
    form: Form,
    addresses: Vec<Ipv4Addr>,
    https: Vec<Http>,
    /// How often each service's readers were answered.
    answers: Mutex<BTreeMap<String, usize>>,
    over: AtomicBool,
    questions: Mutex<Vec<Duration>>,
}

fn name(form: Form, nth: usize) -> String {
    format!("{}-{nth}", if form == Form::Catalog { "cat" } else { "age" })
}

fn quiet_name(nth: usize) -> String {
    format!("quiet-{nth}")
}

impl Burst {
    /// Reads a service again and again, waiting for its next change each time.
    async fn read(self: Arc<Self>, http: Http, service: String) {
        let path = format!("/v1/health/service/{service}");
        let mut index = http.get(&path).await.index();
        loop {
            let reply = http.get(&format!("{path}?index={index}&wait=50s")).await;
            assert_eq!(reply.status, 200, "{service}: {}", reply.text());
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            assert!(reply.index() > index, "{service}: answered without a change");
            index = reply.index();
            *self.answers.lock().entry(service.clone()).or_default() += 1;
        }
    }

    /// Registers every service that falls to this agent, one after the other.
    async fn register(self: Arc<Self>, agent: usize, all: usize, told: mpsc::Sender<Done>) {
        let http = self.https[agent % self.https.len()].clone();
        for nth in (agent..all).step_by(AGENTS) {
            let service = name(self.form, nth);
            let body = self.form.body(agent, &service, 1024 + nth);
            let reply = http.put(self.form.path(), &body).await;
            assert_eq!(reply.status, 200, "{service}: {}", reply.text());
            let done = Done { service, at: Instant::now(), took: reply.took };
            told.send(done).await.expect("somebody listens");
        }
    }

    /// Asks for services at a steady rate until the burst is over.
    async fn ask_on(self: Arc<Self>) {
        let mut ticks = interval(Duration::from_millis(1000 / QUESTIONS_A_SECOND));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut nth = 0;
        while !self.over.load(Ordering::Relaxed) {
            ticks.tick().await;
            nth += 1;
            let service = quiet_name(nth % QUIET.0);
            let began = Instant::now();
            let address = self.addresses[nth % self.addresses.len()];
            let question = format!("{service}.service.consul.");
            let answer = ask(address, &question, RecordType::A, Over::Udp).await;
            let answer = answer.unwrap_or_else(|| panic!("{address} says nothing on {question}"));
            assert_eq!(answer.answers(), ["A 10.2.0.1"], "{question} at {address}");
            self.questions.lock().push(began.elapsed());
        }
    }

    /// Asks every server for a service until it answers; the slowest one's times.
    async fn seen(&self, done: &Done) -> Seen {
        let question = format!("{}.service.consul.", done.service);
        let servers = self.addresses.iter().map(|address| {
            let question = &question;
            async move {
                let look = || async {
                    let asked = done.at.elapsed();
                    let answer = ask(*address, question, RecordType::SRV, Over::Udp).await?;
                    (answer.answers().len() == 1).then(|| Seen { asked, told: done.at.elapsed() })
                };
                within(LIMIT, look).await
            }
        });
        let times = join_all(servers).await;
        let slowest = times.into_iter().collect::<Option<Vec<_>>>();
        let slowest = slowest.and_then(|all| all.into_iter().max_by_key(|seen| seen.asked));
        slowest.unwrap_or_else(|| panic!("{} is not answered for everywhere", done.service))
    }
}

/// The first question that was answered with the service, by the time since its acknowledgement.
#[derive(Clone, Copy)]
struct Seen {
    /// When it was asked.
    asked: Duration,
    /// When its answer was here; with the time that this busy process takes to look at it.
    told: Duration,
}

/// A registration that was acknowledged.
struct Done {
    service: String,
    at: Instant,
    took: Duration,
}

/// The services that are waited for, with how many wait for each.
fn waited_for(form: Form) -> BTreeMap<String, usize> {
    let quiet = (0..QUIET.0).map(|nth| (quiet_name(nth), QUIET.1));
    let popular = (0..POPULAR.0).map(|nth| (name(form, nth), POPULAR.1));
    let plain = (0..PLAIN).map(|nth| (name(form, POPULAR.0 + nth), 1));
    quiet.chain(popular).chain(plain).collect()
}

/// The middle, the 99th of a hundred, and the longest.
fn figures(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    format!("median {:?}, p99 {:?}, longest {:?}", at(50), at(99), at(100))
}

async fn burst(cluster: &Cluster, form: Form, services: usize) {
    let https = cluster.https();
    let burst = Arc::new(Burst {
        form,
        addresses: cluster.servers.iter().map(Agent::address).collect(),
        https: https.clone(),
        answers: Mutex::default(),
        over: AtomicBool::new(false),
        questions: Mutex::default(),
    });
    let mut readers = JoinSet::new();
    let waited = waited_for(form);
    for (service, count) in &waited {
        for _ in 0..*count {
            let http = https[readers.len() % https.len()].clone();
            readers.spawn(Arc::clone(&burst).read(http, service.clone()));
        }
    }
    let all = readers.len();
    let all_wait = || async { (all_waiting(&https).await >= all).then_some(()) };
    until("all readers wait", LIMIT, all_wait).await;
    let woken_before = woken(&https).await;

    let mut work = JoinSet::new();
    work.spawn(Arc::clone(&burst).ask_on());
    let (told, mut heard) = mpsc::channel::<Done>(services);
    let began = Instant::now();
    for agent in 0..AGENTS {
        work.spawn(Arc::clone(&burst).register(agent, services, told.clone()));
    }
    drop(told);
    let mut looks = JoinSet::new();
    let mut acknowledged = Vec::new();
    while let Some(done) = heard.recv().await {
        acknowledged.push(done.took);
        let burst = Arc::clone(&burst);
        looks.spawn(async move { burst.seen(&done).await });
    }
    let took = began.elapsed();
    let seen = looks.join_all().await;
    report(&burst, &waited, &https, woken_before).await;
    burst.over.store(true, Ordering::Relaxed);
    work.join_all().await;
    readers.shutdown().await;
    let rate = seen.len() as u128 * 1000 / took.as_millis().max(1);
    let questions = burst.questions.lock().clone();
    let (asked, told): (Vec<_>, Vec<_>) = seen.iter().map(|seen| (seen.asked, seen.told)).unzip();
    let latest = asked.iter().max().copied().unwrap_or_default();
    let wrong = asked.iter().filter(|asked| **asked >= LOOK_AGAIN).count();
    println!("{form:?}: {} services in {took:?}, {rate} a second", seen.len());
    println!("  acknowledged: {}", figures(acknowledged));
    println!("  answered right by every server when asked after: {}", figures(asked.clone()));
    println!(
        "    of which {wrong} had to be asked later than {LOOK_AGAIN:?}; answers here after: {}",
        figures(told)
    );
    println!("  {} other questions: {}", questions.len(), figures(questions));
    let late = asked.iter().filter(|asked| **asked > seen_limit()).count();
    assert!(late == 0, "{late} services were seen late, one only {latest:?} later");
    let none_waits = || async { (all_waiting(&https).await == 0).then_some(()) };
    until("no reader is left", gone_limit(), none_waits).await;
}

/// How many reads wait on all servers.
async fn all_waiting(https: &[Http]) -> usize {
    let mut all = 0;
    for http in https {
        all += counted(http, "portolan_waiters ", "").await;
    }
    all
}

async fn woken(https: &[Http]) -> usize {
    let mut all = 0;
    for http in https {
        all += counted(http, "portolan_wakes_total", "topic=\"service\"").await;
    }
    all
}

/// Prints who was woken, and checks it: each reader of a service of the burst once, no other.
async fn report(burst: &Burst, waited: &BTreeMap<String, usize>, https: &[Http], before: usize) {
    let expected: BTreeMap<_, _> =
        waited.iter().filter(|(service, _)| !service.starts_with("quiet")).collect();
    let wakes: usize = expected.values().copied().sum();
    let all_told =
        || async { (burst.answers.lock().values().sum::<usize>() >= wakes).then_some(()) };
    until("every reader of a changed service was told", LIMIT, all_told).await;
    let counted = woken(https).await - before;
    let answers = burst.answers.lock().clone();
    let row = |which: &str, count: usize, readers: usize, changes: usize, of: &str| {
        let told: usize = answers
            .iter()
            .filter(|(service, _)| of.contains(&format!(" {service} ")))
            .map(|(_, told)| told)
            .sum();
        println!(
            "  {which:<28} {count:>5} services {readers:>5} readers {changes:>5} changes {told:>5} wakes"
        );
        told
    };
    let names = |which: &dyn Fn(&String, usize) -> bool| {
        let named = waited.iter().filter(|(service, readers)| which(service, **readers));
        format!(" {} ", named.map(|(service, _)| service.as_str()).collect::<Vec<_>>().join(" "))
    };
    let is_quiet = |service: &String| service.starts_with("quiet");
    let quiet = names(&|service, _| is_quiet(service));
    let popular = names(&|service, readers| !is_quiet(service) && readers > 1);
    let plain = names(&|service, readers| !is_quiet(service) && readers == 1);
    assert_eq!(row("unchanged", QUIET.0, QUIET.0 * QUIET.1, 0, &quiet), 0);
    row("changed, many readers", POPULAR.0, POPULAR.0 * POPULAR.1, POPULAR.0, &popular);
    row("changed, one reader each", PLAIN, PLAIN, PLAIN, &plain);
    println!("  the servers counted {counted} wakes");
    for (service, told) in &answers {
        assert_eq!(Some(told), waited.get(service), "{service}: each reader once for its change");
    }
    assert_eq!(counted, wakes, "the servers woke whom it concerned, and nobody else");
}

/// A shopping festival: everything is registered at once, is watched, and is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_seen_at_once_and_wakes_whom_it_concerns() {
    let _turn = alone().await;
    if is_consul() {
        return;
    }
    if !allow_files(SPARE_FILES * 5) {
        return skip("burst", "this process may not open enough files");
    }
    let services = number("PORTOLAN_BURST_SERVICES", 1_000);
    let cluster = Cluster::start().await;
    let http = cluster.servers[0].http();
    for nth in 0..QUIET.0 {
        let body = format!(
            r#"{{"Node":"quiet","Address":"10.2.0.1","Service":{{"Service":"{}","Port":80}}}}"#,
            quiet_name(nth)
        );
        http.done("/v1/catalog/register", &body).await;
    }
    for form in [Form::Catalog, Form::Agent] {
        burst(&cluster, form, services).await;
    }
}

/// Memory of a process in bytes.
fn resident(agent: &Agent) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid()));
    let status = status.expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kib.expect("Linux says how much") * 1024
}

/// Open files and connections of a process.
fn files(agent: &Agent) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", agent.pid()));
    files.expect("the process is there").count()
}

/// How many reads wait. Of the real Consul: how many goroutines it has, of which a read has two.
async fn waiting(http: &Http, real: bool) -> usize {
    if !real {
        return counted(http, "portolan_waiters ", "").await;
    }
    let metrics = http.get("/v1/agent/metrics").await.json();
    let gauges = metrics["Gauges"].as_array().cloned().unwrap_or_default();
    let name = "consul.runtime.num_goroutines";
    let gauge = gauges.iter().find(|gauge| gauge["Name"] == name);
    gauge
        .and_then(|gauge| gauge["Value"].as_u64())
        .map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX))
}

/// Opens a connection and leaves a read on it that waits.
async fn park(at: SocketAddr, service: usize, index: u64) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.expect("the server takes a connection");
    let head = format!(
        "GET /v1/health/service/idle-{service}?index={index}&wait=10m HTTP/1.1\r\n\
         Host: {at}\r\nUser-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("it takes a request");
    stream
}

/// Parks `reads` reads and waits until all wait.
async fn crowd(http: &Http, reads: usize, real: bool) -> Vec<TcpStream> {
    let index = http.get("/v1/health/service/idle-0").await.index() + 1_000_000;
    let before = waiting(http, real).await;
    let mut streams = Vec::with_capacity(reads);
    for first in (0..reads).step_by(100) {
        let parks = (first..reads.min(first + 100))
            .map(|nth| park(http.address(), nth % IDLE_SERVICES, index));
        streams.extend(join_all(parks).await);
    }
    let look = || async { (waiting(http, real).await >= before + reads).then_some(()) };
    until("all reads wait", Duration::from_mins(2), look).await;
    streams
}

/// What one idle read costs on a fresh agent, in bytes; in a second crowd as large, too.
async fn idle_cost(agent: &Agent, reads: usize, real: bool) -> (usize, usize) {
    let http = agent.http();
    for nth in 0..IDLE_SERVICES {
        let body = format!(
            r#"{{"Node":"n","Address":"10.3.0.1","Service":{{"Service":"idle-{nth}","Port":80}}}}"#
        );
        http.done("/v1/catalog/register", &body).await;
    }
    waiting(&http, real).await;
    let before = resident(agent);
    let streams = crowd(&http, reads, real).await;
    let first = resident(agent).saturating_sub(before) / reads;
    if real {
        return (first, 0);
    }
    drop(streams);
    let none = || async {
        // Files are counted first: the metrics of a server that is busy would make it busier.
        if files(agent) > SPARE_FILES / 10 {
            return None;
        }
        let waiters = counted(&http, "portolan_waiters ", "").await;
        let connections = counted(&http, "portolan_http_connections ", "").await;
        (waiters == 0 && connections <= OWN_CONNECTIONS).then_some(())
    };
    let ((), took) = until("nothing is left of those who hung up", gone_limit(), none).await;
    let left = resident(agent).saturating_sub(before) / reads;
    println!(
        "all {reads} were gone {took:?} after they hung up; {left} bytes of each stay for the next"
    );
    let streams = crowd(&http, reads, real).await;
    let again = resident(agent).saturating_sub(before) / reads;
    drop(streams);
    (first, again)
}

/// Readers that wait are cheap, and nothing is left of those that hang up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_reads_are_cheap_and_leave_nothing() {
    let _turn = alone().await;
    if is_consul() {
        return;
    }
    let reads = number("PORTOLAN_IDLE_READS", 5_000);
    if !allow_files(reads + SPARE_FILES) {
        return skip("idle reads", "this process may not open enough files");
    }
    let many = format!("limits {{ http_max_conns_per_client = {} }}", reads + SPARE_FILES);
    let agent = Agent::dev_with(&[&many]).await;
    let (first, again) = idle_cost(&agent, reads, false).await;
    println!("{reads} idle reads cost {first} bytes each, a second crowd {again}");
    assert!(first <= IDLE_BYTES_MAX, "{first} bytes for each idle read");
    assert!(again <= first + first / 2, "{first} bytes for each, then {again}");
    drop(agent);

    let consul = peers().join("usr/bin/consul");
    if !consul.exists() {
        return skip("idle reads of the real Consul", "it is not there: run .ci/peers");
    }
    let consul = Agent::dev_of(consul, &[&many]).await;
    let (theirs, _) = idle_cost(&consul, reads, true).await;
    println!("the real Consul: {theirs} bytes each");
    assert!(first < theirs, "{first} bytes each, the real Consul {theirs}");
}
