//! Cuts the power again and again, and looks what is there each time.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::load::{Signals, Written, during};
use super::options::{Control, Options, Report};
use crate::lab::LabError;
use crate::lab::disk::{Disk, DiskFault, Lost};
use crate::lab::network::{HOSTS_MAX, Network};
use crate::lab::process::Daemon;
use crate::random::Random;

/// Size of each disk, in mebibytes. What is kept of it in memory is what was written to it.
const DISK_MEBIBYTES: usize = 512;
/// Writes that must be acknowledged before a cut, and how long they may take.
const WRITES_BEFORE: u64 = 40;
const WRITES_LIMIT: Duration = Duration::from_secs(30);
/// The moment of a cut, after those writes.
const MOMENT_MAX: Duration = Duration::from_millis(400);
/// How long servers may take until they serve again, all of them.
const RECOVERY_LIMIT: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(20);
/// How long a flush takes: about as long as on a disk that turns. Cuts come while it lasts.
const FLUSH_US: u64 = 2_000;
/// How long a cut that is meant for the midst of a flush waits for one, and how often it looks.
const AMID_LIMIT: Duration = Duration::from_millis(200);
const AMID_LOOK: Duration = Duration::from_micros(200);
/// Most findings that a report holds, and most keys that one of them names.
const FINDINGS_MAX: usize = 100;
const KEYS_NAMED: usize = 5;

struct Run<'a> {
    options: &'a Options,
    /// Declared before what they run on, so that they go first.
    daemons: Vec<Daemon>,
    disks: Vec<Disk>,
    network: Network,
    addresses: Vec<Ipv4Addr>,
    random: Random,
    report: Report,
}

/// Cuts the power as often as asked. Stops early once the servers do not serve again.
///
/// # Errors
///
/// If the lab fails; what the system does wrong is in the report.
pub fn run(options: &Options) -> Result<Report, LabError> {
    if options.nodes == 0 || options.nodes > HOSTS_MAX.min(7) {
        return Err(LabError::new("power cuts", format!("{} servers, 1 to 7", options.nodes)));
    }
    let began = now();
    let mut run = Run::new(options)?;
    let mut all: Vec<(String, Written)> = Vec::new();
    let serves = run.recovered()?;
    if serves {
        for cut in 0..options.cuts {
            let prefix = format!("power/{cut}/");
            let written = run.cut(&prefix)?;
            run.report.cuts += 1;
            let serves = run.recovered()?;
            if serves {
                run.report.unknown_there += run.look(&prefix, &written)?;
                run.agree()?;
            }
            all.push((prefix, written));
            if !serves {
                break;
            }
        }
    }
    // No later cut has taken what an earlier one left.
    for (prefix, written) in all.iter().take(all.len().saturating_sub(1)) {
        run.look(prefix, written)?;
    }
    run.report.unknown = count(&all, false);
    run.report.acknowledged = count(&all, true);
    run.report.took_ms = ms_since(began);
    Ok(run.report)
}

fn count(all: &[(String, Written)], acknowledged: bool) -> u64 {
    let written = all.iter().flat_map(|(_, written)| written.values());
    let number = written.filter(|(_, was)| *was == acknowledged).count();
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl<'a> Run<'a> {
    fn new(options: &'a Options) -> Result<Self, LabError> {
        let failed = |error| LabError::new(options.folder.display(), error);
        std::fs::create_dir_all(&options.folder).map_err(failed)?;
        let base = options.folder.canonicalize().map_err(failed)?;
        let network = Network::new(options.nodes)?;
        let addresses: Vec<Ipv4Addr> = network.hosts().iter().map(|host| host.address).collect();
        let (mut disks, mut daemons) = (Vec::new(), Vec::new());
        for (number, host) in network.hosts().iter().enumerate() {
            let folder = base.join(format!("n{}", number + 1));
            let seed = Random::part(options.seed, u64::from(host.address.to_bits())).number();
            let disk = Disk::new(&folder, DISK_MEBIBYTES, seed)?;
            let data = folder.join("data");
            let mut program = options.system.program(options, &addresses, number, &data);
            program.mounts = Some(disk.mounts());
            prepare(options, &disk)?;
            disks.push(disk);
            daemons.push(Daemon::start(host, program)?);
        }
        let report = Report { seed: options.seed, ..Report::default() };
        let random = Random::new(options.seed);
        Ok(Self { options, daemons, disks, network, addresses, random, report })
    }

    /// Writes, cuts the power in the midst of it, and starts again what it took. Gives what was
    /// written.
    fn cut(&mut self, prefix: &str) -> Result<Written, LabError> {
        let nodes = self.disks.len();
        let of_all = nodes == 1 || self.random.happens(500_000);
        let victims: Vec<usize> =
            if of_all { (0..nodes).collect() } else { vec![self.random.place(nodes)] };
        let losses: Vec<_> =
            victims.iter().map(|_| self.options.mode.loss(&mut self.random)).collect();
        let moment = self.random.time(Duration::ZERO, MOMENT_MAX);
        let amid = self.random.happens(700_000);
        let (disks, daemons) = (&self.disks, &mut self.daemons);
        let strike = |signals: &Signals| {
            let writing = || signals.acknowledged.load(Ordering::Relaxed) >= WRITES_BEFORE;
            let wrote = within(WRITES_LIMIT, LOOK, writing);
            std::thread::park_timeout(moment);
            if amid {
                // Where none comes, the cut is as good at any other moment.
                within(AMID_LIMIT, AMID_LOOK, || disks[victims[0]].unflushed() > 0);
            }
            let lost: Vec<Lost> = victims
                .iter()
                .zip(&losses)
                .map(|(victim, loss)| disks[*victim].cut_power(*loss))
                .collect();
            for victim in &victims {
                daemons[*victim].kill();
            }
            (wrote, lost)
        };
        let servers = (self.options.system, self.addresses.as_slice());
        let (written, (wrote, lost)) = during(servers, &self.network, prefix, strike)?;
        if !wrote {
            self.find(format!("{prefix}: {WRITES_BEFORE} writes take more than {WRITES_LIMIT:?}"));
        }
        self.report.cuts_of_all += u32::from(of_all);
        for lost in lost {
            self.report.unflushed += lost.writes;
            self.report.sectors += lost.sectors;
            self.report.sectors_kept += lost.sectors_kept;
        }
        for victim in victims {
            self.disks[victim].repair()?;
            prepare(self.options, &self.disks[victim])?;
            self.daemons[victim].restart()?;
        }
        Ok(written)
    }

    /// Waits until every server takes a write; says whether they do.
    fn recovered(&mut self) -> Result<bool, LabError> {
        let began = now();
        let system = self.options.system;
        let mut left = self.addresses.clone();
        let serve = || {
            left.retain(|server| !system.put(*server, "power-ready", "yes"));
            left.is_empty()
        };
        let serves = self.network.client().inside(|| within(RECOVERY_LIMIT, LOOK, serve))?;
        self.report.longest_recovery_ms = self.report.longest_recovery_ms.max(ms_since(began));
        if !serves {
            let down = self.daemons.iter_mut().map(Daemon::is_running);
            let running: Vec<bool> = down.collect();
            let cut = self.report.cuts;
            self.find(format!("after cut {cut}: {left:?} do not serve; running: {running:?}"));
        }
        Ok(serves)
    }

    /// Compares what is there with what was written. Gives how many writes of unknown outcome are.
    fn look(&mut self, prefix: &str, written: &Written) -> Result<u64, LabError> {
        let (system, server) = (self.options.system, self.addresses[0]);
        let mut found = Err(String::new());
        let mut read = || {
            found = system.keys(server, prefix);
            found.is_ok()
        };
        self.network.client().inside(|| within(RECOVERY_LIMIT, LOOK, &mut read))?;
        let found = match found {
            Ok(found) => found,
            Err(why) => {
                self.find(format!("{prefix} cannot be read: {why}"));
                return Ok(0);
            }
        };
        let is_lost = |(key, (value, acknowledged)): &(&String, &(String, bool))| {
            *acknowledged && found.get(*key) != Some(value)
        };
        let lost: Vec<&String> = written.iter().filter(is_lost).map(|(key, _)| key).collect();
        let is_phantom = |(key, value): &(&String, &String)| {
            written.get(*key).is_none_or(|(wrote, _)| wrote != *value)
        };
        let phantoms: Vec<&String> = found.iter().filter(is_phantom).map(|(key, _)| key).collect();
        let unknown = written.iter().filter(|(_, (_, acknowledged))| !acknowledged);
        let there = unknown.filter(|(key, _)| found.contains_key(*key)).count();
        for (what, keys) in [("acknowledged and lost", lost), ("never written", phantoms)] {
            if !keys.is_empty() {
                let named: Vec<&str> =
                    keys.iter().take(KEYS_NAMED).map(|key| key.as_str()).collect();
                self.find(format!("{} {what}: {}", keys.len(), named.join(" ")));
            }
        }
        Ok(u64::try_from(there).unwrap_or(u64::MAX))
    }

    /// All servers come to hold the same.
    fn agree(&mut self) -> Result<(), LabError> {
        let (system, addresses) = (self.options.system, &self.addresses);
        let mut digests = Vec::new();
        let same = || {
            digests = addresses.iter().map(|server| system.digest(*server)).collect::<Vec<_>>();
            // At the same place they must hold the same, and waiting will not mend it.
            let first = digests.first().cloned().flatten();
            first.is_some_and(|first| {
                digests.iter().all(|digest| digest.as_ref().is_some_and(|it| it.at == first.at))
            })
        };
        let came = self.network.client().inside(|| within(RECOVERY_LIMIT, LOOK, same))?;
        let hashes = digests.iter().flatten().map(|digest| digest.hash.as_str());
        let hashes: std::collections::BTreeSet<&str> = hashes.collect();
        if !came || hashes.len() != 1 {
            self.find(format!("after cut {}: the servers differ: {digests:?}", self.report.cuts));
        }
        Ok(())
    }

    fn find(&mut self, what: String) {
        if self.report.findings.len() < FINDINGS_MAX && !self.report.findings.contains(&what) {
            self.report.findings.push(what);
        }
    }
}

/// Makes a disk as fast, and as honest, as it is to be.
fn prepare(options: &Options, disk: &Disk) -> Result<(), LabError> {
    disk.fail(DiskFault::SlowFlush { delay_us: FLUSH_US })?;
    match options.control {
        Control::DiskLies => disk.fail(DiskFault::Lies),
        Control::Honest | Control::NoSync => Ok(()),
    }
}

/// Looks again and again until it is so; says whether it was in time.
fn within(limit: Duration, pause: Duration, mut look: impl FnMut() -> bool) -> bool {
    let began = now();
    loop {
        if look() {
            return true;
        }
        if now().saturating_sub(began) > limit {
            return false;
        }
        std::thread::park_timeout(pause);
    }
}

fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

fn ms_since(began: Duration) -> u64 {
    u64::try_from(now().saturating_sub(began).as_millis()).unwrap_or(u64::MAX)
}
