//! A switch in this process, for networks that are slow and lose things: delay, jitter, loss,
//! duplication, reordering, corruption and a limit of the rate, for each way apart.
//!
//! Each host has a TAP device whose other end is here. The fates of packets follow from a seed;
//! their order in time does not, so a run is alike rather than the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tappers::Tap;

use super::LabError;
use crate::random::Random;

/// Longest time in which the switch does not look whether it is to stop, or the weather changed.
const LOOK_US: u64 = 50_000;
/// Most packets that are on their way at once; more are lost.
const QUEUE_MAX: usize = 50_000;
/// Longest time that a packet waits for its turn where the rate is limited; then it is lost.
const TURN_US_MAX: u64 = 500_000;
/// Longest frame that a device gives, in bytes.
const FRAME_BYTES_MAX: usize = 65_600;
/// Frames that are taken from one device before the next one has its turn.
const BURST: usize = 64;

/// How good or bad the ways of a network are. Shares are in a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weather {
    /// How long a packet is on its way, in microseconds.
    pub delay_us: u32,
    /// Up to how much longer it may be, in microseconds.
    pub jitter_us: u32,
    /// Share of packets that are lost.
    pub loss: u32,
    /// Share of packets that come twice.
    pub duplicate: u32,
    /// Share of packets that others overtake.
    pub reorder: u32,
    /// Share of packets of which a bit is turned. Only a checksum stands between such a packet
    /// and the process; a run that does not say so has none.
    pub corrupt: u32,
    /// Bits a second that pass; 0 is no limit.
    pub rate_bits: u64,
}

impl Weather {
    /// A network without any fault.
    pub const CALM: Self = Self {
        delay_us: 0,
        jitter_us: 0,
        loss: 0,
        duplicate: 0,
        reorder: 0,
        corrupt: 0,
        rate_bits: 0,
    };
}

/// What the switch does with packets, and did; ports are numbered from 0.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) weather: BTreeMap<(usize, usize), Weather>,
    /// Packets that a cut has dropped so far.
    pub(crate) cut_packets: u64,
}

/// A switch that runs on a thread of its own until it is dropped.
#[derive(Debug)]
pub(crate) struct Switch {
    pub(crate) rules: Arc<Mutex<Rules>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// Starts a switch between these devices.
    pub(crate) fn start(taps: Vec<Tap>, seed: u64) -> Result<Self, LabError> {
        let (rules, stop) = (Arc::<Mutex<Rules>>::default(), Arc::<AtomicBool>::default());
        let worker = Worker {
            macs: vec![None; taps.len()],
            taps,
            random: Random::new(seed),
            rules: Arc::clone(&rules),
            ways: BTreeMap::new(),
            queue: BinaryHeap::new(),
            sent: 0,
        };
        let stopping = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("switch".to_owned());
        let thread = thread.spawn(move || worker.run(&stopping));
        let thread = thread.map_err(|error| LabError::new("the switch", error))?;
        Ok(Self { rules, stop, thread: Some(thread) })
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A switch that panicked has cut everybody off, which no run overlooks.
            drop(thread.join());
        }
    }
}

type Mac = [u8; 6];

/// A packet on its way; ordered by when it is due, then by when it was sent.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    due_us: u64,
    number: u64,
    to: usize,
    frame: Vec<u8>,
}

/// What a way remembers of the packets before.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    /// When the rate lets the next one pass.
    free_us: u64,
    /// When the last one is due: those after it come no earlier, unless they are reordered.
    last_us: u64,
}

struct Worker {
    taps: Vec<Tap>,
    macs: Vec<Option<Mac>>,
    random: Random,
    rules: Arc<Mutex<Rules>>,
    ways: BTreeMap<(usize, usize), Way>,
    queue: BinaryHeap<Reverse<Packet>>,
    sent: u64,
}

impl Worker {
    fn run(mut self, stop: &AtomicBool) {
        let mut frame = vec![0; FRAME_BYTES_MAX];
        while !stop.load(Ordering::Relaxed) {
            for port in self.ready() {
                self.take_all(port, &mut frame);
            }
            self.deliver();
        }
    }

    /// Takes what waits at a port, as long as it is not the others' turn.
    fn take_all(&mut self, port: usize, frame: &mut [u8]) {
        for _ in 0..BURST {
            // No more is there, or the host is gone: in either case there is none now.
            let Ok(length) = self.taps[port].recv(frame) else { return };
            self.take(port, &frame[..length]);
        }
    }

    /// The ports at which frames wait, once some do or a packet is due.
    fn ready(&self) -> Vec<usize> {
        let next = self.queue.peek().map_or(u64::MAX, |packet| packet.0.due_us);
        let wait = Duration::from_micros(next.saturating_sub(now_us()).min(LOOK_US));
        let mut polled: Vec<_> =
            self.taps.iter().map(|tap| PollFd::new(tap, PollFlags::IN)).collect();
        let timeout = Timespec::try_from(wait).ok();
        if poll(&mut polled, timeout.as_ref()).is_err() {
            return Vec::new();
        }
        let ready = |fd: &PollFd<'_>| fd.revents().contains(PollFlags::IN);
        (0..polled.len()).filter(|port| ready(&polled[*port])).collect()
    }

    /// Takes a frame in, and sends it on to whom it is for.
    fn take(&mut self, from: usize, frame: &[u8]) {
        let (Some(to), Some(sender)) = (mac(frame, 0), mac(frame, 6)) else { return };
        self.macs[from] = Some(sender);
        let for_all = to[0] & 1 == 1;
        let ports = 0..self.taps.len();
        let is_for = |port: &usize| {
            *port != from && (for_all || self.macs[*port].is_none_or(|mac| mac == to))
        };
        let receivers: Vec<usize> = ports.filter(is_for).collect();
        for receiver in receivers {
            self.send(from, receiver, frame);
        }
    }

    fn send(&mut self, from: usize, to: usize, frame: &[u8]) {
        let weather = {
            let mut rules = self.rules.lock();
            if rules.cut.contains(&(from, to)) && !is_arp(frame) {
                rules.cut_packets += 1;
                return;
            }
            rules.weather.get(&(from, to)).copied().unwrap_or(Weather::CALM)
        };
        if self.random.happens(weather.loss) || self.queue.len() >= QUEUE_MAX {
            return;
        }
        let Some(due_us) = self.due(from, to, frame.len(), &weather) else { return };
        let mut frame = frame.to_vec();
        if self.random.happens(weather.corrupt) && frame.len() > 14 {
            let place = 14 + self.random.place(frame.len() - 14);
            frame[place] ^= 1 << self.random.below(8);
        }
        if self.random.happens(weather.duplicate) {
            let late = due_us + self.random.below(5_000);
            self.enqueue(late, to, frame.clone());
        }
        self.enqueue(due_us, to, frame);
    }

    /// When a packet comes; none if it waits too long for its turn.
    fn due(&mut self, from: usize, to: usize, bytes: usize, weather: &Weather) -> Option<u64> {
        let now = now_us();
        let jitter = self.random.below(u64::from(weather.jitter_us) + 1);
        let overtaken = self.random.happens(weather.reorder);
        let later = if overtaken { 1_000 + self.random.below(20_000) } else { 0 };
        let way = self.ways.entry((from, to)).or_default();
        let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(8);
        let mut sent = now;
        if let Some(takes_us) = bits.saturating_mul(1_000_000).checked_div(weather.rate_bits) {
            let turn = way.free_us.max(now);
            if turn > now + TURN_US_MAX {
                return None;
            }
            sent = turn + takes_us;
            way.free_us = sent;
        }
        let due = sent + u64::from(weather.delay_us) + jitter;
        if overtaken {
            return Some(due + later);
        }
        way.last_us = way.last_us.max(due);
        Some(way.last_us)
    }

    fn enqueue(&mut self, due_us: u64, to: usize, frame: Vec<u8>) {
        self.sent += 1;
        self.queue.push(Reverse(Packet { due_us, number: self.sent, to, frame }));
    }

    /// Hands over all packets that are due.
    fn deliver(&mut self) {
        let now = now_us();
        while self.queue.peek().is_some_and(|packet| packet.0.due_us <= now) {
            if let Some(Reverse(packet)) = self.queue.pop() {
                // A device that takes no more loses the packet, as any network card does.
                drop(self.taps[packet.to].send(&packet.frame));
            }
        }
    }
}

fn mac(frame: &[u8], at: usize) -> Option<Mac> {
    frame.get(at..at + 6)?.try_into().ok()
}

fn is_arp(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x08, 0x06])
}

fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default() / 1_000
}
