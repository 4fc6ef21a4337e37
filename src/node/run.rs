//! Builds the rooms from the ground up, serves, and stops them in the opposite order.

use std::io::Write as _;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, mpsc, watch};

use super::configured::Configured;
use super::options::Place;
use super::side::Side;
use super::signals::{Signals, Word};
use super::{files, gauges, identity, keys, listen, options};
use crate::agent::{Agent, Watches, tell_coordinates};
use crate::config::{Config, ConfigError};
use crate::dns::{self, Dns};
use crate::gossip::Gossip;
use crate::http::{self, LeaveAsked, ReloadAsked, Rooms};
use crate::lifecycle::{Shutdown, Tasks};
use crate::limits::{
    DISMISSALS_WAITING_MAX, EVENTS_WAITING_MAX, LEAVE_GRACE, LEAVES_WAITING_MAX,
    METRIC_STREAMS_MAX, RELOADS_WAITING_MAX,
};
use crate::model::{Event, MemberList};
use crate::replica;
use crate::telemetry::{LogHandle, LogMonitor, LogOptions, LogRotation, Metrics, init_logs};

/// How long doors may take to finish what they are doing.
const DRAIN: Duration = Duration::from_secs(3);
/// How long everything else may take to stop.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a node does not start, or stopped by itself. One line each, for a person.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration asks for what cannot be.
    #[error("{0}")]
    Config(String),
    /// The runtime cannot start: no threads, no descriptors.
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
    /// A port cannot be opened.
    #[error("cannot listen on {1} ({0}): {2}")]
    Listen(&'static str, String, String),
    /// A file or folder cannot be used.
    #[error("{path}: {1}", path = .0.display())]
    File(PathBuf, String),
    /// The replica cannot start.
    #[error(transparent)]
    Replica(#[from] replica::StartError),
    /// Nobody answered where this node was told to join.
    #[error("max join retry exhausted, exiting")]
    Alone,
    /// This machine's disk or bytes failed while the node ran.
    #[error("stopped by a fault: {0}")]
    Fault(String),
}

/// Reads definitions of services and checks, and where to listen, as the start of a node does.
///
/// # Errors
///
/// [`NodeError`] for the first that a node would refuse.
pub fn judge(config: &Config) -> Result<(), NodeError> {
    listen::judge(config)?;
    keys::judge(config)?;
    Configured::read(config, options::scripts(config)).map(drop)
}

/// Runs a node until a signal stops it; `args` are read anew at SIGHUP.
///
/// Returns 0 after an orderly stop, 1 after a line on the error stream that says what is wrong.
pub fn run(config: Config, args: &[String]) -> ExitCode {
    let logs = LogOptions {
        level: config.log_level.clone(),
        json: config.log_json,
        file: config.log_file.clone(),
        rotation: config.log_rotation.map(|asked| LogRotation {
            bytes: asked.bytes,
            age: asked.age,
            keep: asked.keep,
            wall: crate::time::wall_millis,
        }),
    };
    #[cfg(feature = "failpoints")]
    if let Err(error) = crate::failpoint::start() {
        drop(writeln!(std::io::stderr().lock(), "==> failpoints: {error}"));
        return ExitCode::FAILURE;
    }
    let ran = init_logs(&logs)
        .map_err(|error| NodeError::Config(error.to_string()))
        .and_then(|logs| Ok((logs, runtimes(config.server).map_err(NodeError::Runtime)?)))
        .and_then(|(logs, (doors, raft))| {
            // Raft's runtime lives until the doors' work has ended.
            let raft_or_doors = raft.as_ref().unwrap_or(&doors).handle().clone();
            doors.block_on(run_until_stopped(config, args, logs, raft_or_doors))
        });
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where even the error stream is gone, the exit code still tells.
            drop(writeln!(std::io::stderr().lock(), "==> {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The doors' runtime, and on a server one of a single thread for Raft: what it does is short and
/// wakes one task after another, which costs least on one thread; and no door's work holds it up
/// there.
fn runtimes(server: bool) -> std::io::Result<(Runtime, Option<Runtime>)> {
    let raft =
        || Builder::new_multi_thread().worker_threads(1).thread_name("raft").enable_all().build();
    Ok((Runtime::new()?, server.then(raft).transpose()?))
}

async fn run_until_stopped(
    config: Config,
    args: &[String],
    (logs, monitor): (LogHandle, LogMonitor),
    raft: Handle,
) -> Result<(), NodeError> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    files::allow_all();
    let configured = Configured::read(&config, options::scripts(&config))?;
    let temporary = Temporary::new(&config)?;
    let dir = temporary.dir.clone();
    std::fs::create_dir_all(&dir)
        .map_err(|error| NodeError::File(dir.clone(), error.to_string()))?;
    identity::not_consuls(&dir)?;
    let id = identity::node_id(config.node_id, &dir)?;
    let keyring = keys::load(&config, &dir)?;
    let number = if config.server { identity::raft_number(id, &dir)? } else { 0 };
    let address = advertised(&config)?;
    let place = Place { id, number, dir, address, raft, keyring };
    let node = Node::start(&config, &place, configured, monitor).await?;
    let pid = PidFile::write(config.pid_file.as_deref())?;
    let outcome = node.serve(logs, || Config::load(args)).await;
    drop(pid);
    outcome
}

/// A running node.
struct Node {
    side: Side,
    gossip: Gossip,
    agent: Agent,
    watches: Watches,
    dns: Dns,
    metrics: Metrics,
    /// The doors and what hangs on them; stopped first.
    doors: Tasks,
    /// All else.
    core: Tasks,
    leave_asked: mpsc::Receiver<LeaveAsked>,
    reload_asked: mpsc::Receiver<ReloadAsked>,
    leave_on: (bool, bool),
    /// How long this node goes on serving after it said that it leaves.
    drain: Duration,
    /// The HTTP door's bound of connections of one client address.
    connections_a_client: Arc<AtomicUsize>,
    dir: PathBuf,
}

impl Node {
    async fn start(
        config: &Config,
        place: &Place,
        configured: Configured,
        monitor: LogMonitor,
    ) -> Result<Self, NodeError> {
        let ports = listen::open(config)?;
        let own_http = ports.own_http();
        let (core, doors) = (Tasks::new(), Tasks::new());
        let (told, members) = watch::channel(Arc::from([]));
        let metrics = Metrics::new();
        let (pool, hosts) = (size(members.clone()), size(members.clone()));
        let (dismiss, dismissed) = mpsc::channel(DISMISSALS_WAITING_MAX);
        let side =
            Side::start((config, place, dismiss), &metrics, ports.peers, members, &core).await?;
        let (heard, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let options = options::gossip(config, place, side.replica().cloned(), heard);
        let gossip = Gossip::start(options, ports.pool, told, &core).map_err(NodeError::Config)?;
        core.spawn(dismiss_all(dismissed, gossip.clone(), core.shutdown()));
        let client = side.client();
        let agent = Agent::start(options::agent(config, place), client.clone(), pool, &core)
            .map_err(|error| NodeError::Config(error.to_string()))?;
        if !config.disable_coordinates {
            let (name, own) = (config.node_name.clone(), gossip.clone());
            let place = move || own.coordinate();
            core.spawn(tell_coordinates(client.clone(), name, hosts, place, core.shutdown()));
        }
        core.spawn(hand_on(events, agent.clone(), core.shutdown()));
        configured.claim(&agent, &place.dir).await?;

        gauges::fill(&metrics, side.replica(), gossip.clone());
        let (leave, leave_asked) = mpsc::channel(LEAVES_WAITING_MAX);
        let (reload, reload_asked) = mpsc::channel(RELOADS_WAITING_MAX);
        let rooms = Rooms {
            client: client.clone(),
            agent: agent.clone(),
            gossip: gossip.clone(),
            metrics: metrics.clone(),
            leave,
            reload,
            stopping: doors.shutdown(),
            cache: http::Cache::new(client.clone(), &doors),
            monitor,
            streams: Arc::new(Semaphore::new(METRIC_STREAMS_MAX)),
        };
        let asked = Arc::new(options::http(config, place));
        let connections_a_client = Arc::clone(&asked.connections_a_client);
        for listener in ports.http {
            let (asked, rooms, tasks) = (Arc::clone(&asked), rooms.clone(), doors.clone());
            doors.spawn(async move { http::serve(listener, asked, rooms, &tasks).await });
        }
        let watches = Watches::new(own_http.unwrap_or_default(), doors.clone());
        watches.replace(options::watches(config));
        let asked = options::dns(config, metrics.clone());
        let dns = dns::serve(ports.dns_udp, ports.dns_tcp, asked, client, &doors);
        let leave_on = (config.leave_on_terminate, !config.skip_leave_on_interrupt);
        tell_start(config, place);
        let dir = place.dir.clone();
        Ok(Self {
            side,
            gossip,
            agent,
            watches,
            dns,
            metrics,
            doors,
            core,
            leave_asked,
            reload_asked,
            leave_on,
            drain: options::drain(config),
            connections_a_client,
            dir,
        })
    }

    /// Waits for the word to stop, and stops.
    async fn serve(
        mut self,
        logs: LogHandle,
        reload: impl Fn() -> Result<Config, ConfigError>,
    ) -> Result<(), NodeError> {
        let mut signals = Signals::new().map_err(|error| NodeError::Fault(error.to_string()))?;
        let mut asked = None;
        let (leave, outcome) = loop {
            // Each branch may be dropped: signals and channels keep what was not taken.
            tokio::select! {
                word = signals.next() => match word {
                    Word::Reload => drop(self.reload(&logs, &reload).await), // it is logged
                    Word::Terminate => break (self.leave_on.0, Ok(())),
                    Word::Interrupt => break (self.leave_on.1, Ok(())),
                },
                Some(asked) = self.reload_asked.recv() => {
                    // Whoever asked may have gone.
                    drop(asked.send(self.reload(&logs, &reload).await));
                }
                Some(leave) = self.leave_asked.recv() => {
                    asked = Some(leave);
                    break (true, Ok(()));
                }
                what = self.side.fault() => break (false, Err(NodeError::Fault(what))),
                () = self.gossip.gave_up() => break (false, Err(NodeError::Alone)),
                // Without a duty or a listener the rest would only look alive.
                () = self.core.failed() => {
                    let what = "a task panicked: see the error stream".to_owned();
                    break (false, Err(NodeError::Fault(what)));
                }
            }
        };
        tracing::info!(leave, "stopping");
        if leave {
            self.leave(asked, &mut signals).await;
        }
        self.stop().await;
        outcome
    }

    /// Says that this node leaves, and goes on serving until the others have got used to it and
    /// Raft does without it, or a second signal comes. A leader hands over first: nobody else
    /// could take it out. `asked` is told once the pool knows.
    async fn leave(&mut self, asked: Option<LeaveAsked>, signals: &mut Signals) {
        self.side.step_down().await;
        self.gossip.leave().await;
        self.leave_asked.close();
        let others = std::iter::from_fn(|| self.leave_asked.try_recv().ok());
        for asked in asked.into_iter().chain(others) {
            if asked.send(()).is_err() {
                tracing::debug!("who asked this node to leave has gone");
            }
        }
        tracing::info!(drain = ?self.drain, "left; still serving");
        let going = async {
            tokio::time::sleep(self.drain).await;
            let out = tokio::time::timeout(LEAVE_GRACE, self.side.leave()).await;
            if out.is_err() {
                tracing::warn!(after = ?LEAVE_GRACE, "stopping, though Raft still counts on this server");
            }
        };
        // Both may be dropped: the others take out who does not answer, too.
        tokio::select! {
            () = going => {}
            _ = signals.next() => {}
        }
    }

    async fn stop(self) {
        let cut = self.doors.stop(DRAIN).await;
        if cut > 0 {
            tracing::info!(cut, "requests were cut off");
        }
        self.side.stop().await;
        let left = self.core.stop(PATIENCE).await;
        if left > 0 {
            tracing::warn!(left, "tasks did not stop by themselves");
        }
        tracing::info!("stopped");
    }

    /// Reads the configuration anew and takes over what may change while the node runs; says why
    /// it did not. A configuration that cannot be understood changes nothing.
    async fn reload(
        &self,
        logs: &LogHandle,
        reload: &impl Fn() -> Result<Config, ConfigError>,
    ) -> Result<(), String> {
        let done = self.take_over(logs, reload).await.map_err(|error| error.to_string());
        match &done {
            Ok(()) => tracing::info!("configuration reloaded"),
            Err(error) => tracing::error!(%error, "configuration not reloaded"),
        }
        done
    }

    async fn take_over(
        &self,
        logs: &LogHandle,
        reload: &impl Fn() -> Result<Config, ConfigError>,
    ) -> Result<(), NodeError> {
        let config = reload().map_err(|error| NodeError::Config(error.to_string()))?;
        let configured = Configured::read(&config, self.agent.scripts())?;
        let levelled = logs.set_level(&config.log_level);
        levelled.map_err(|error| NodeError::Config(error.to_string()))?;
        self.dns.reload(options::dns(&config, self.metrics.clone()));
        self.agent.discard_output(config.discard_check_output);
        let most = config.limits.http_max_conns_per_client;
        self.connections_a_client.store(most, Ordering::Relaxed);
        self.watches.replace(options::watches(&config));
        configured.claim(&self.agent, &self.dir).await
    }
}

/// How many members the pool has, as often as it is asked.
fn size(members: watch::Receiver<MemberList>) -> impl Fn() -> usize + Send + Sync + 'static {
    move || members.borrow().len()
}

/// Gives the pool's events to the agent.
async fn hand_on(mut events: mpsc::Receiver<Event>, agent: Agent, mut shutdown: Shutdown) {
    loop {
        // Both may be dropped: an event that was not taken stays in the channel.
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => agent.hear(event),
                None => return,
            },
            () = shutdown.wait() => return,
        }
    }
}

fn tell_start(config: &Config, place: &Place) {
    tracing::info!(
        node = config.node_name,
        server = config.server,
        id = %place.id,
        raft = place.number,
        address = place.address,
        http = ?config.ports.http,
        dns = ?config.ports.dns,
        data = %place.dir.display(),
        "portolan runs"
    );
}

/// Has the pool declare the members gone that Raft's leader gave up.
async fn dismiss_all(
    mut dismissed: mpsc::Receiver<String>,
    gossip: Gossip,
    mut shutdown: Shutdown,
) {
    loop {
        // Both may be dropped: a name that was not taken is told again.
        tokio::select! {
            name = dismissed.recv() => match name {
                Some(name) => drop(gossip.force_leave(&name, false)),
                None => return,
            },
            () = shutdown.wait() => return,
        }
    }
}

/// The address that others use: told, or the bound one, or that of the way out of this machine.
fn advertised(config: &Config) -> Result<String, NodeError> {
    if let Some(told) = config.advertise_addr {
        return Ok(told.to_string());
    }
    if !config.bind_addr.is_unspecified() {
        return Ok(config.bind_addr.to_string());
    }
    let found = outward(config.bind_addr).filter(|address| !address.is_unspecified());
    found.map(|address| address.to_string()).ok_or_else(|| {
        let why = "no address to tell others: set advertise_addr or bind_addr";
        NodeError::Config(why.to_owned())
    })
}

/// The local address of the default route; no packet is sent.
fn outward(family: IpAddr) -> Option<IpAddr> {
    let (any, far) = match family {
        IpAddr::V4(_) => ("0.0.0.0:0", "192.0.2.1:9"), // TEST-NET-1, RFC 5737
        IpAddr::V6(_) => ("[::]:0", "[2001:db8::1]:9"), // RFC 3849
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(far).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// The data folder; removed at the end where it is `-dev`'s temporary one.
struct Temporary {
    dir: PathBuf,
    remove: bool,
}

impl Temporary {
    fn new(config: &Config) -> Result<Self, NodeError> {
        if let Some(dir) = &config.data_dir {
            return Ok(Self { dir: dir.clone(), remove: false });
        }
        let dir = std::env::temp_dir().join(format!("portolan-dev-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&dir)
            .map_err(|error| NodeError::File(dir.clone(), error.to_string()))?;
        Ok(Self { dir, remove: true })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.remove
            && let Err(error) = std::fs::remove_dir_all(&self.dir)
        {
            tracing::warn!(dir = %self.dir.display(), %error, "temporary data stays");
        }
    }
}

/// The file with this process's id; removed at the end.
struct PidFile(Option<PathBuf>);

impl PidFile {
    fn write(path: Option<&Path>) -> Result<Self, NodeError> {
        if let Some(path) = path {
            std::fs::write(path, std::process::id().to_string())
                .map_err(|error| NodeError::File(path.to_owned(), error.to_string()))?;
        }
        Ok(Self(path.map(Path::to_owned)))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!(file = %path.display(), %error, "pid file stays");
        }
    }
}
