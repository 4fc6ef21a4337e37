//! Hosts of their own on one isolated switch, in network namespaces.
//!
//! Every namespace is held by a file descriptor of this process and has no name, so that nothing
//! of a network outlives the program, however that ends. The switch has no way out: what runs in
//! a host reaches the other hosts and nothing else. The clients of a run have a host as well, so
//! that they too can be cut off.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use tappers::{Interface, Tap};

use super::LabError;
use super::cuts::{Cut, End, Filter};
use super::space::Space;
use super::switch::{Switch, Weather};

/// The network inside: `.1` is the first host, `.253` the client.
const SUBNET: [u8; 3] = [10, 77, 0];
const CLIENT: u8 = 253;

/// Most hosts that one network may have, the client not counted.
pub const HOSTS_MAX: u8 = 64;

/// A switch, the hosts on it and the client's host.
#[derive(Debug)]
pub struct Network {
    middle: Middle,
    hosts: Vec<Host>,
    client: Host,
}

/// What joins the hosts.
#[derive(Debug)]
enum Middle {
    /// The kernel's bridge: as fast as can be, and can only be cut.
    Bridge(Filter),
    /// The switch of this process, which can also be slow and lose things.
    Switch(Switch),
}

/// One host: a place where processes run, with an address that the others reach.
#[derive(Debug)]
pub struct Host {
    /// Its address inside the network.
    pub address: Ipv4Addr,
    space: Space,
}

impl Network {
    /// Makes a bridge with this many hosts, and the client's host.
    ///
    /// # Errors
    ///
    /// If there are more than [`HOSTS_MAX`] hosts, or this process may not make namespaces.
    pub fn new(hosts: u8) -> Result<Self, LabError> {
        let bridge = Space::network()?;
        bridge.ip(&["link add br0 type bridge".to_owned(), "link set br0 up".to_owned()])?;
        let attach = |space: &Space, number: u8| {
            let (port, other_end) = (port(number), space.path());
            bridge.ip(&[
                format!("link add {port} type veth peer name eth0 netns {}", other_end.display()),
                format!("link set {port} master br0 up"),
            ])
        };
        let (hosts, client) = all_hosts(hosts, attach)?;
        let ports = (1..).take(hosts.len()).map(port).collect();
        let filter = Filter::new(bridge, ports, port(CLIENT));
        Ok(Self { middle: Middle::Bridge(filter), hosts, client })
    }

    /// The same around a switch in this process, for networks with [`Weather`]. The fates of
    /// packets follow from the seed.
    ///
    /// # Errors
    ///
    /// As [`Network::new`], or if there are no TAP devices here.
    pub fn with_weather(hosts: u8, seed: u64) -> Result<Self, LabError> {
        let mut taps = Vec::new();
        let attach = |space: &Space, _number: u8| {
            taps.push(tap(space)?);
            Ok(())
        };
        let (hosts, client) = all_hosts(hosts, attach)?;
        Ok(Self { middle: Middle::Switch(Switch::start(taps, seed)?), hosts, client })
    }

    /// The hosts, in the order of their addresses.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host of the clients, on the same switch.
    pub fn client(&self) -> &Host {
        &self.client
    }

    /// From now on exactly these ways are cut: what was cut before and is not in it is healed.
    ///
    /// # Errors
    ///
    /// If the cut names a host that there is not, or `nft` is missing or refuses.
    pub fn set_cut(&self, cut: &Cut) -> Result<(), LabError> {
        match &self.middle {
            Middle::Bridge(filter) => filter.set(cut),
            Middle::Switch(switch) => {
                let ways = cut.ways().map(|(from, to)| Ok((self.port(from)?, self.port(to)?)));
                switch.rules.lock().cut = ways.collect::<Result<_, LabError>>()?;
                Ok(())
            }
        }
    }

    /// Mends all cuts.
    ///
    /// # Errors
    ///
    /// If `nft` is missing or refuses.
    pub fn heal(&self) -> Result<(), LabError> {
        self.set_cut(&Cut::none())
    }

    /// How many packets the cuts have dropped so far, over all of them.
    ///
    /// # Errors
    ///
    /// If `nft` is missing or refuses.
    pub fn dropped(&self) -> Result<u64, LabError> {
        match &self.middle {
            Middle::Bridge(filter) => filter.dropped(),
            Middle::Switch(switch) => Ok(switch.rules.lock().cut_packets),
        }
    }

    /// Makes all ways between hosts this good or bad; those to and from the client stay calm.
    ///
    /// # Errors
    ///
    /// If this network is not one [with weather](Network::with_weather).
    pub fn set_weather(&self, weather: &Weather) -> Result<(), LabError> {
        let all = 0..self.hosts.len();
        let ways = all.clone().flat_map(|from| all.clone().map(move |to| (from, to)));
        let ways: Vec<_> = ways.map(|(from, to)| (End::Host(from), End::Host(to))).collect();
        self.set_weather_on(&ways, weather)
    }

    /// Makes these ways this good or bad, and leaves all others as they are.
    ///
    /// # Errors
    ///
    /// As [`Network::set_weather`], or if a way names a host that there is not.
    pub fn set_weather_on(&self, ways: &[(End, End)], weather: &Weather) -> Result<(), LabError> {
        let Middle::Switch(switch) = &self.middle else {
            return Err(LabError::new("weather", "this network is a bridge, which has none"));
        };
        let ways = ways.iter().map(|(from, to)| Ok((self.port(*from)?, self.port(*to)?)));
        let ways = ways.collect::<Result<Vec<_>, LabError>>()?;
        switch.rules.lock().weather.extend(ways.into_iter().map(|way| (way, *weather)));
        Ok(())
    }

    /// The number of an end's port on the switch.
    fn port(&self, end: End) -> Result<usize, LabError> {
        match end {
            End::Client => Ok(self.hosts.len()),
            End::Host(number) if number < self.hosts.len() => Ok(number),
            End::Host(number) => Err(LabError::new("a way", format!("there is no host {number}"))),
        }
    }
}

/// The name of a port on the bridge.
fn port(number: u8) -> String {
    format!("p{number}")
}

/// The hosts, then the client's, each attached to what is in the middle.
fn all_hosts(
    hosts: u8,
    mut attach: impl FnMut(&Space, u8) -> Result<(), LabError>,
) -> Result<(Vec<Host>, Host), LabError> {
    if hosts > HOSTS_MAX {
        return Err(LabError::new("network", format!("{hosts} hosts, at most {HOSTS_MAX}")));
    }
    let mut host = |number| {
        let host = Host::new(number)?;
        attach(&host.space, number)?;
        host.set_up()?;
        Ok(host)
    };
    let hosts = (1..=hosts).map(&mut host).collect::<Result<_, LabError>>()?;
    Ok((hosts, host(CLIENT)?))
}

/// A device of a host whose other end this process holds.
fn tap(space: &Space) -> Result<Tap, LabError> {
    let failed = |error: std::io::Error| LabError::new("a TAP device", error);
    let make = || {
        space.enter()?;
        let mut tap = Tap::new_named(Interface::new("eth0").map_err(failed)?).map_err(failed)?;
        tap.set_nonblocking(true).map_err(failed)?;
        Ok(tap)
    };
    let made = std::thread::scope(|scope| scope.spawn(make).join());
    made.map_err(|_panic| LabError::new("a TAP device", "its maker panicked"))?
}

impl Host {
    fn new(number: u8) -> Result<Self, LabError> {
        let [a, b, c] = SUBNET;
        Ok(Self { address: Ipv4Addr::new(a, b, c, number), space: Space::network()? })
    }

    fn set_up(&self) -> Result<(), LabError> {
        self.space.ip(&[
            "link set lo up".to_owned(),
            format!("address add {}/24 dev eth0", self.address),
            "link set eth0 up".to_owned(),
        ])
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
