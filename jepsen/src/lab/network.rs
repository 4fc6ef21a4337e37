//! Hosts of their own on one isolated switch, in network namespaces.
//!
//! Every namespace is held by a file descriptor of this process and has no name, so that nothing
//! of a network outlives the program, however that ends. The switch has no way out: what runs in
//! a host reaches the other hosts and nothing else. The clients of a run have a host as well, so
//! that they too can be cut off.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::LabError;
use super::tools::run_with;

/// The network inside: `.1` is the first host, `.253` the client.
const SUBNET: [u8; 3] = [10, 77, 0];
const CLIENT: u8 = 253;

/// Most hosts that one network may have, the client not counted.
pub const HOSTS_MAX: u8 = 64;

/// A switch, the hosts on it and the client's host.
#[derive(Debug)]
pub struct Network {
    switch: Space,
    hosts: Vec<Host>,
    client: Host,
}

/// One host: a place where processes run, with an address that the others reach.
#[derive(Debug)]
pub struct Host {
    /// Its address inside the network.
    pub address: Ipv4Addr,
    port: String,
    space: Space,
}

/// A network namespace, which lives as long as this, or something that runs in it.
#[derive(Debug)]
pub(crate) struct Space(File);

impl Network {
    /// Makes a switch with this many hosts, and the client's host.
    ///
    /// # Errors
    ///
    /// If there are more than [`HOSTS_MAX`] hosts, or this process may not make namespaces.
    pub fn new(hosts: u8) -> Result<Self, LabError> {
        if hosts > HOSTS_MAX {
            return Err(LabError::new("network", format!("{hosts} hosts, at most {HOSTS_MAX}")));
        }
        let switch = Space::new()?;
        switch.ip(&["link add br0 type bridge".to_owned(), "link set br0 up".to_owned()])?;
        let client = Host::new(&switch, CLIENT)?;
        let hosts = (1..=hosts).map(|number| Host::new(&switch, number));
        let hosts = hosts.collect::<Result<_, _>>()?;
        Ok(Self { switch, hosts, client })
    }

    /// The hosts, in the order of their addresses.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host of the clients, on the same switch.
    pub fn client(&self) -> &Host {
        &self.client
    }

    /// The namespace of the switch, where its filters are.
    pub(crate) fn switch(&self) -> &Space {
        &self.switch
    }
}

impl Host {
    fn new(switch: &Space, number: u8) -> Result<Self, LabError> {
        let [a, b, c] = SUBNET;
        let (space, address) = (Space::new()?, Ipv4Addr::new(a, b, c, number));
        let port = format!("p{number}");
        switch.ip(&[
            format!("link add {port} type veth peer name eth0 netns {}", space.path().display()),
            format!("link set {port} master br0 up"),
        ])?;
        space.ip(&[
            "link set lo up".to_owned(),
            format!("address add {address}/24 dev eth0"),
            "link set eth0 up".to_owned(),
        ])?;
        Ok(Self { address, port, space })
    }

    /// The name of its port on the switch.
    pub(crate) fn port(&self) -> &str {
        &self.port
    }

    /// A command that runs this program inside this host. The child becomes the program: its id
    /// is the program's.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.space.command(program)
    }

    /// The file by which its namespace is entered, for as long as this value lives.
    pub fn path(&self) -> PathBuf {
        self.space.path()
    }

    /// Moves the calling thread into this host, for good: its sockets, and the threads and
    /// processes that it starts from now on. A runtime made on such a thread is inside as a whole.
    ///
    /// # Errors
    ///
    /// If the kernel refuses, as it does for who is not root.
    pub fn enter(&self) -> Result<(), LabError> {
        self.space.enter()
    }

    /// Runs this on a thread inside this host, and waits for what it returns.
    ///
    /// # Errors
    ///
    /// As [`Host::enter`], or if the thread panicked.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        let enter_and_work = || self.enter().map(|()| work());
        let ended = std::thread::scope(|scope| scope.spawn(enter_and_work).join());
        ended.map_err(|_panic| {
            LabError::new(format!("work inside {}", self.address), "it panicked")
        })?
    }
}

impl Space {
    /// A new one: a child makes it, and ends once this process holds it too.
    fn new() -> Result<Self, LabError> {
        let failed = |error| LabError::new("a network namespace", error);
        let child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo made && read held"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(failed)?;
        let mut made = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut made).map_err(failed)?;
        }
        let held = File::open(format!("/proc/{}/ns/net", child.id()));
        // Its end of the pipe closes with this wait, which ends the child.
        let ended = child.wait_with_output().map_err(failed)?;
        if made.trim() == "made" {
            return held.map(Self).map_err(failed);
        }
        let said = String::from_utf8_lossy(&ended.stderr);
        Err(LabError::new("a network namespace", said.trim()))
    }

    /// A name for this namespace that other programs can open.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()))
    }

    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    pub(crate) fn enter(&self) -> Result<(), LabError> {
        let entered = move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network));
        entered.map_err(|error| LabError::new("entering a network namespace", error))
    }

    /// Runs commands of `ip` in this namespace, one a line, at one go.
    pub(crate) fn ip(&self, lines: &[String]) -> Result<(), LabError> {
        let script = lines.join("\n") + "\n";
        run_with(self.command("ip").args(["-batch", "-"]), &script).map(drop)
    }
}
