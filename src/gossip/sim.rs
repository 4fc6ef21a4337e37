//! A pool of any size in one process: the real protocol, virtual time, a network that loses and
//! delays packets. The same seed gives the same run.
//!
//! `PORTOLAN_POOL_MEMBERS=1000,5000` runs pools of these sizes and prints their figures, at the
//! losses of `PORTOLAN_POOL_LOSS=0,10,100` in a thousand; without it small ones are held to bounds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use foca::Member as Seen;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;
use uuid::Uuid;

use super::book::Card;
use super::call::exchange_pause;
use super::identity::Identity;
use super::merge::{Extent, Offer, Reply};
use super::pool::{CHECK_TIME, Checked, Output, Pool};
use crate::model::{Member, MemberStatus};
use crate::time;

/// One way of a packet takes this long at least, and up to as long again.
const LATENCY: Duration = Duration::from_micros(250);
/// What UDP and IPv4 add to each packet, in bytes.
const HEADERS: usize = 28;

/// How a member stops.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Death {
    /// Its process ends: its host refuses calls.
    Process,
    /// Its host is gone: calls are not answered.
    Host,
}

enum Happening {
    Packet { to: usize, bytes: Vec<u8> },
    Tick(usize),
    Exchange(usize),
    Asked { by: usize, whom: Identity },
    Silent { by: usize, whom: Identity },
}

struct Event {
    at: Instant,
    number: u64,
    what: Happening,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

struct World {
    now: Instant,
    rng: StdRng,
    /// Of a thousand packets so many are lost.
    loss: u32,
    pools: Vec<Pool>,
    dead: BTreeMap<usize, Death>,
    /// When each member's next tick is set for.
    ticks: Vec<Option<Instant>>,
    events: BinaryHeap<Reverse<Event>>,
    next: u64,
    bytes: u64,
    packets: u64,
    /// Of the dead: when who saw it.
    seen: BTreeMap<(usize, usize), Instant>,
}

fn address(member: usize) -> SocketAddr {
    let host = Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(member).unwrap());
    SocketAddr::new(host.into(), 8301)
}

fn member_at(address: SocketAddr) -> usize {
    let IpAddr::V4(host) = address.ip() else { panic!("the pool is IPv4") };
    usize::try_from(host.to_bits() - 0x0a00_0000).unwrap()
}

fn identity(member: usize) -> Identity {
    Identity { generation: 1, at: address(member), id: Uuid::from_u128(member as u128 + 1) }
}

fn card(member: usize) -> Card {
    let who = identity(member);
    let tags = [("role", "node"), ("dc", "dc1"), ("vsn", "2"), ("build", "0.1.0:")];
    let member = Member {
        id: who.id.to_string(),
        name: format!("node-{member}"),
        address: who.at.ip().to_string(),
        port: 8301,
        server_port: 0,
        datacenter: "dc1".to_owned(),
        expect: 0,
        bootstrapped: false,
        tags: tags.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        status: MemberStatus::Alive,
        generation: 1,
        raft: 0,
    };
    Card { version: 1, member: Arc::new(member) }
}

impl World {
    /// Members that know nobody.
    fn strangers(members: usize, loss: u32, seed: u64) -> Self {
        let now = time::now();
        let pool = |member| Pool::new(identity(member), card(member), now, seed + member as u64);
        Self {
            now,
            rng: StdRng::seed_from_u64(seed),
            loss,
            pools: (0..members).map(pool).collect(),
            dead: BTreeMap::new(),
            ticks: vec![None; members],
            events: BinaryHeap::new(),
            next: 0,
            bytes: 0,
            packets: 0,
            seen: BTreeMap::new(),
        }
    }

    /// Members that all know each other's life and card, and have for a while.
    fn settled(members: usize, loss: u32, seed: u64) -> Self {
        let mut world = Self::strangers(members, loss, seed);
        // The same card for all: else each member would keep a copy of what each other one said.
        let cards: Vec<Arc<Card>> = (0..members).map(|member| Arc::new(card(member))).collect();
        for pool in 0..members {
            for card in &cards {
                world.pools[pool].heard.lock().take(Arc::clone(card));
            }
            let others = (0..members).filter(|other| *other != pool);
            let others = others.map(|other| Seen::alive(identity(other)));
            let now = world.now;
            world.pools[pool].run(now, |foca, driver| foca.apply_many(others, false, driver));
            world.pools[pool].tick(now);
            world.after(pool);
            let pause = exchange_pause(members - 1, world.rng.random());
            let at = now + world.within(pause);
            world.push(at, Happening::Exchange(pool));
        }
        // Nobody begins to probe in the same moment as all others.
        world.run(Duration::from_secs(20));
        (world.bytes, world.packets) = (0, 0);
        world
    }

    fn within(&mut self, span: Duration) -> Duration {
        span.mul_f64(self.rng.random_range(0.0..1.0))
    }

    fn push(&mut self, at: Instant, what: Happening) {
        self.events.push(Reverse(Event { at, number: self.next, what }));
        self.next += 1;
    }

    fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(Reverse(next)) = self.events.peek()
            && next.at <= until
        {
            let Some(Reverse(event)) = self.events.pop() else { break };
            self.now = event.at;
            self.happen(event.what);
        }
        self.now = until;
    }

    fn happen(&mut self, what: Happening) {
        let now = self.now;
        match what {
            Happening::Packet { to, bytes } if !self.dead.contains_key(&to) => {
                self.pools[to].packet(&bytes, now).expect("the pool's own packets are read");
                self.after(to);
            }
            Happening::Tick(who) if !self.dead.contains_key(&who) && self.is_due(who) => {
                self.ticks[who] = None;
                self.pools[who].tick(now);
                self.after(who);
            }
            Happening::Exchange(who) if !self.dead.contains_key(&who) => {
                let with = self.rng.random_range(0..self.pools.len());
                if with != who && !self.dead.contains_key(&with) {
                    self.exchange(who, with, Extent::Whole);
                }
                let pause = exchange_pause(self.pools.len() - 1, self.rng.random());
                self.push(now + pause, Happening::Exchange(who));
            }
            Happening::Asked { by, whom } if !self.dead.contains_key(&by) => {
                let suspect = member_at(whom.at);
                match self.dead.get(&suspect) {
                    None => {
                        self.exchange(by, suspect, Extent::Pair);
                        self.pools[by].checked(whom, Checked::Answered, now);
                    }
                    Some(Death::Process) => {
                        self.pools[by].checked(whom, Checked::Refused, now);
                    }
                    Some(Death::Host) => {
                        self.push(now + CHECK_TIME, Happening::Silent { by, whom });
                    }
                }
                self.after(by);
            }
            Happening::Silent { by, whom } if !self.dead.contains_key(&by) => {
                self.pools[by].checked(whom, Checked::Silent, now);
                self.after(by);
            }
            _ => {} // the dead do nothing
        }
    }

    fn is_due(&self, who: usize) -> bool {
        self.ticks[who].is_some_and(|at| at <= self.now)
    }

    /// A call over TCP, which loses nothing.
    fn exchange(&mut self, caller: usize, called: usize, extent: Extent) {
        let now = self.now;
        let whom = Some(identity(called).id);
        let offer: Offer = self.pools[caller].offer(extent, whom, now);
        self.bytes += crate::codec::encode(&offer).len() as u64;
        let reply = self.pools[called].answer(offer, now);
        self.bytes += crate::codec::encode(&reply).len() as u64;
        let Reply::Told(told) = reply else { panic!("members of one pool talk to each other") };
        let rest = self.pools[caller].take(*told, now);
        self.bytes += crate::codec::encode(&rest).len() as u64;
        self.pools[called].take_rest(rest, now);
        self.after(caller);
        self.after(called);
    }

    /// Does what came out of a member, and looks what it thinks of the dead.
    fn after(&mut self, who: usize) {
        for output in self.pools[who].outputs() {
            match output {
                Output::Packet(to, bytes) => {
                    self.bytes += (bytes.len() + HEADERS) as u64;
                    self.packets += 1;
                    if self.rng.random_range(0..1000) >= self.loss {
                        let at = self.now + LATENCY + self.within(LATENCY);
                        self.push(at, Happening::Packet { to: member_at(to), bytes });
                    }
                }
                Output::Check(whom) => {
                    let at = self.now + LATENCY * 3;
                    self.push(at, Happening::Asked { by: who, whom });
                }
            }
        }
        if let Some(due) = self.pools[who].due()
            && self.ticks[who].is_none_or(|set| due < set)
        {
            self.ticks[who] = Some(due);
            self.push(due, Happening::Tick(who));
        }
        let mut heard = self.pools[who].heard.lock();
        if std::mem::take(&mut heard.changed) {
            for dead in self.dead.keys() {
                if heard.book.is_up(identity(*dead).id) == Some(false) {
                    self.seen.entry((*dead, who)).or_insert(self.now);
                }
            }
        }
    }

    fn kill(&mut self, who: usize, how: Death) {
        self.dead.insert(who, how);
    }

    /// How often a living member was declared dead: each time it takes the next generation.
    fn false_deaths(&self) -> u64 {
        let living = (0..self.pools.len()).filter(|who| !self.dead.contains_key(who));
        living.map(|who| self.pools[who].me().generation - 1).sum()
    }

    /// How long after `killed` the first and the last of the living saw that `who` is dead.
    fn detection(&self, who: usize, killed: Instant) -> Option<(Duration, Duration)> {
        let seen: Vec<Instant> =
            self.seen.iter().filter(|((dead, _), _)| *dead == who).map(|(_, at)| *at).collect();
        let all = seen.len() == self.pools.len() - self.dead.len();
        let first = seen.iter().min().filter(|_| all)?;
        let last = seen.iter().max()?;
        Some((first.duration_since(killed), last.duration_since(killed)))
    }
}

/// What a pool of some size does at some loss.
struct Figures {
    members: usize,
    loss: u32,
    /// First and last observer, the median over the dead; their processes ended.
    process: (Duration, Duration),
    /// The same where their hosts were gone.
    host: (Duration, Duration),
    false_deaths_an_hour: f64,
    bytes_a_second: f64,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { members, loss, process, host, false_deaths_an_hour, bytes_a_second } = self;
        let percent = f64::from(*loss) / 10.0;
        let shown = |(first, last): &(Duration, Duration)| {
            format!("{:.1} s to {:.1} s", first.as_secs_f64(), last.as_secs_f64())
        };
        write!(
            f,
            "{members} members, {percent} % lost: process dead {}, host dead {}, \
             {false_deaths_an_hour:.1} false deaths an hour, {bytes_a_second:.0} B/s a member",
            shown(process),
            shown(host),
        )
    }
}

fn median(mut all: Vec<(Duration, Duration)>) -> (Duration, Duration) {
    all.sort();
    let first = all[all.len() / 2].0;
    all.sort_by_key(|(_, last)| *last);
    (first, all[all.len() / 2].1)
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn number(number: u64) -> f64 {
    number as f64
}

fn measure(members: usize, loss: u32, quiet: Duration) -> Figures {
    let mut world = World::settled(members, loss, 7);
    world.run(quiet);
    let bytes_a_second = number(world.bytes) / quiet.as_secs_f64() / number(members as u64);
    let false_deaths_an_hour = number(world.false_deaths()) * 3600.0 / quiet.as_secs_f64();
    let mut medians = Vec::new();
    for (how, from) in [(Death::Process, 0), (Death::Host, 5)] {
        let (killed, dead) = (world.now, from..from + 5);
        dead.clone().for_each(|who| world.kill(who, how));
        world.run(Duration::from_secs(40));
        let found = dead.map(|who| {
            let seen = world.detection(who, killed);
            seen.unwrap_or_else(|| panic!("not all of {members} saw {who} die"))
        });
        medians.push(median(found.collect()));
    }
    let (process, host) = (medians[0], medians[1]);
    Figures { members, loss, process, host, false_deaths_an_hour, bytes_a_second }
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration but this")]
fn asked<T: std::str::FromStr>(name: &str) -> Vec<T> {
    let text = std::env::var(name).unwrap_or_default();
    text.split(',').filter_map(|number| number.trim().parse().ok()).collect()
}

#[test]
fn the_dead_are_found_and_the_living_left_alone() {
    let sizes: Vec<usize> = asked("PORTOLAN_POOL_MEMBERS");
    let mut losses: Vec<u32> = asked("PORTOLAN_POOL_LOSS");
    if losses.is_empty() {
        losses = vec![0, 10, 100];
    }
    if sizes.is_empty() {
        for (loss, within) in [(10, Duration::from_secs(12)), (100, Duration::from_secs(16))] {
            let figures = measure(60, loss, Duration::from_mins(5));
            println!("{figures}");
            assert!(figures.false_deaths_an_hour.abs() < f64::EPSILON, "{figures}");
            assert!(figures.process.1 < Duration::from_secs(8), "{figures}");
            assert!(figures.host.1 < within, "{figures}");
            assert!(figures.bytes_a_second < 2_000.0, "{figures}");
        }
    }
    for members in sizes {
        for loss in &losses {
            let quiet = Duration::from_mins(if members > 2_000 { 1 } else { 10 });
            println!("{}", measure(members, *loss, quiet));
        }
    }
}

/// One after another joins the first; all come to know all, with what each says of itself.
#[test]
fn newcomers_are_known_everywhere() {
    let members = 40;
    let mut world = World::strangers(members, 50, 3);
    for who in 1..members {
        world.exchange(who, 0, Extent::Whole);
        world.run(Duration::from_millis(50));
    }
    world.run(Duration::from_secs(5));
    for pool in &world.pools {
        let shown = pool.heard.lock().book.shown();
        let alive = shown.iter().filter(|member| member.status == MemberStatus::Alive).count();
        assert_eq!(alive, members, "seen by {:?}", pool.me().at);
    }
}

/// A pool that is cut in two finds itself dead on the other side, and comes together again.
#[test]
fn two_halves_come_together_again() {
    let members = 10;
    let mut world = World::strangers(members, 0, 5);
    for who in 1..members {
        world.exchange(who, 0, Extent::Whole);
    }
    world.run(Duration::from_secs(5));
    // Each half takes the other's hosts for gone.
    let mut halves: Vec<Vec<Pool>> = Vec::new();
    let all = std::mem::take(&mut world.pools);
    let (now, mut rest) = (world.now, all.into_iter());
    for half in [0..5, 5..10] {
        let pools: Vec<Pool> = rest.by_ref().take(half.len()).collect();
        halves.push(pools);
    }
    for (side, pools) in halves.iter_mut().enumerate() {
        for pool in pools {
            let others = if side == 0 { 5..10 } else { 0..5 };
            let down = others.map(|other| Seen::down(identity(other)));
            pool.run(now, |foca, driver| foca.apply_many(down, false, driver));
            drop(pool.outputs());
        }
    }
    world.pools = halves.into_iter().flatten().collect();
    let failed = |pool: &Pool| {
        let shown = pool.heard.lock().book.shown();
        shown.iter().filter(|member| member.status == MemberStatus::Failed).count()
    };
    assert!(world.pools.iter().all(|pool| failed(pool) == 5));
    world.exchange(0, 9, Extent::Pair);
    world.run(Duration::from_secs(15));
    for pool in &world.pools {
        assert_eq!(failed(pool), 0, "seen by {:?}", pool.me().at);
    }
}

/// A member that was stopped for a while judges nobody by what it missed.
#[test]
fn who_was_held_up_calls_nobody_dead() {
    let mut world = World::settled(8, 0, 9);
    let first = world.ticks[0].replace(world.now + Duration::from_hours(1));
    assert!(first.is_some());
    world.kill(0, Death::Host); // nothing reaches it, it does nothing
    world.run(Duration::from_secs(3));
    world.dead.clear();
    world.ticks[0] = None;
    let now = world.now;
    world.pools[0].tick(now);
    world.after(0);
    world.run(Duration::from_secs(20));
    let others = 1..8;
    assert!(
        others.clone().all(|who| world.pools[who].me().generation == 1),
        "none was called dead"
    );
    for who in others {
        let heard = world.pools[0].heard.lock();
        assert_eq!(heard.book.is_up(identity(who).id), Some(true));
    }
}
