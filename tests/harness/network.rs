//! Hosts of their own on one switch, in network namespaces, and cuts between them.
//!
//! Every namespace is held by a file descriptor of this process and has no name, so that nothing
//! of a network outlives the test program, however that ends. The test itself runs on a thread
//! inside the switch's namespace: it reaches every host, and no cut concerns it.
//!
//! A cut is silent, as that of a cable is: what one host sends to another goes to a hardware
//! address that nobody has. A route that drops (`blackhole`) would tell the sender at once.

use std::fs::File;
use std::future::Future;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::skip;

/// The network inside: `.1` is the first host, `.254` the switch, where the test is.
const SUBNET: [u8; 3] = [10, 77, 0];
const SWITCH: u8 = 254;
/// A hardware address of the locally administered kind, which no host has.
const NOWHERE: &str = "02:00:00:00:00:66";

/// How long a datagram may be on its way.
const DATAGRAM_LIMIT: Duration = Duration::from_millis(500);

/// A switch and the hosts on it.
pub(crate) struct Network {
    switch: Space,
    hosts: Vec<Host>,
}

/// One host: a place where an agent can run, with an address that the others reach.
#[derive(Debug)]
pub(crate) struct Host {
    space: Space,
    address: Ipv4Addr,
}

/// A network namespace, which lives as long as this, or something that runs in it.
#[derive(Debug)]
struct Space(File);

/// Runs a test on a thread inside a network of `hosts` hosts, and waits for its end.
///
/// Where this process may not make namespaces, it says that the test was skipped.
pub(crate) fn on_network<F, T>(name: &str, hosts: u8, test: T)
where
    T: FnOnce(Network) -> F + Send + 'static,
    F: Future<Output = ()>,
{
    let network = match Network::new(hosts) {
        Ok(network) => network,
        Err(why) => return skip(name, &format!("no network namespaces here: {why}")),
    };
    let inside = move || {
        network.switch.enter();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(test(network));
    };
    let named = std::thread::Builder::new().name(name.to_owned());
    let ended = named.spawn(inside).expect("a thread").join();
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

impl Network {
    fn new(hosts: u8) -> Result<Self, String> {
        assert!(hosts < SWITCH, "the network has too few addresses");
        let switch = Space::new()?;
        switch.ip(&[
            "link set lo up".to_owned(),
            "link add br0 type bridge".to_owned(),
            format!("address add {}/24 dev br0", address(SWITCH)),
            "link set br0 up".to_owned(),
        ])?;
        let hosts = (1..=hosts).map(|number| Host::new(&switch, number));
        let hosts = hosts.collect::<Result<_, _>>()?;
        Ok(Self { switch, hosts })
    }

    /// The hosts, in the order of their addresses.
    pub(crate) fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// From now on nothing that one of `from` sends comes to any of `to`.
    pub(crate) fn cut(&self, from: &[usize], to: &[usize]) {
        for sender in from {
            let away = to.iter().filter(|receiver| *receiver != sender).map(|receiver| {
                let address = self.hosts[*receiver].address;
                format!("neighbour replace {address} lladdr {NOWHERE} nud permanent dev eth0")
            });
            self.hosts[*sender].ip(&away.collect::<Vec<_>>());
        }
    }

    /// From now on nothing comes from one of these to any other host, and nothing back.
    pub(crate) fn isolate(&self, inside: &[usize]) {
        let outside: Vec<usize> = (0..self.hosts.len()).filter(|at| !inside.contains(at)).collect();
        self.cut(inside, &outside);
        self.cut(&outside, inside);
    }

    /// Mends all cuts.
    pub(crate) fn heal(&self) {
        for host in &self.hosts {
            host.ip(&["neighbour flush nud permanent dev eth0".to_owned()]);
        }
    }
}

fn address(host: u8) -> Ipv4Addr {
    let [a, b, c] = SUBNET;
    Ipv4Addr::new(a, b, c, host)
}

impl Host {
    fn new(switch: &Space, number: u8) -> Result<Self, String> {
        let (space, address) = (Space::new()?, address(number));
        let other_end = space.path();
        switch.ip(&[
            format!("link add p{number} type veth peer name eth0 netns {}", other_end.display()),
            format!("link set p{number} master br0 up"),
        ])?;
        space.ip(&[
            "link set lo up".to_owned(),
            format!("address add {address}/24 dev eth0"),
            "link set eth0 up".to_owned(),
        ])?;
        Ok(Self { space, address })
    }

    /// Its address inside the network.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The file by which its namespace is entered, for as long as this process runs.
    pub(crate) fn space(&self) -> PathBuf {
        self.space.path()
    }

    /// A datagram socket on this host, which waits for a datagram a moment and no longer.
    pub(crate) fn socket(&self) -> UdpSocket {
        let open = || {
            self.space.enter();
            let socket = UdpSocket::bind((self.address, 0)).expect("a free port");
            socket.set_read_timeout(Some(DATAGRAM_LIMIT)).expect("a limit");
            socket
        };
        std::thread::scope(|scope| scope.spawn(open).join()).expect("a thread")
    }

    fn ip(&self, lines: &[String]) {
        let done = self.space.ip(lines);
        done.unwrap_or_else(|error| panic!("{}: {error}", self.address));
    }
}

impl Space {
    /// A new one: a child makes it, and ends once this process holds it too.
    fn new() -> Result<Self, String> {
        let child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo made && read held"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| format!("unshare: {error}"))?;
        let mut made = String::new();
        let out = child.stdout.take().expect("a pipe");
        let read = BufReader::new(out).read_line(&mut made).map_err(|error| error.to_string());
        let held = File::open(format!("/proc/{}/ns/net", child.id()));
        // Its end of the pipe closes with this wait, which ends the child.
        let ended = child.wait_with_output().map_err(|error| error.to_string())?;
        match (read?, made.trim()) {
            (_, "made") => held.map(Self).map_err(|error| error.to_string()),
            _ => Err(String::from_utf8_lossy(&ended.stderr).trim().to_owned()),
        }
    }

    /// A name for this namespace that other programs can open.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()))
    }

    /// Moves the calling thread, and what it starts from now on, into this namespace.
    fn enter(&self) {
        let entered = move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network));
        entered.expect("who made a namespace may enter it");
    }

    /// Runs commands of `ip` in this namespace, one a line, at one go.
    fn ip(&self, lines: &[String]) -> Result<(), String> {
        let child = Command::new("nsenter")
            .arg(format!("--net={}", self.path().display()))
            .args(["ip", "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| format!("nsenter: {error}"))?;
        let script = lines.join("\n") + "\n";
        let told = child.stdin.take().expect("a pipe").write_all(script.as_bytes());
        let ended = child.wait_with_output().map_err(|error| error.to_string())?;
        if !ended.status.success() {
            let said = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
            return Err(format!("ip: {script}{said}"));
        }
        told.map_err(|error| error.to_string())
    }
}
