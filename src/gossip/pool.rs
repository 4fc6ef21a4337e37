//! One member's side of the protocol, without sockets or a clock: packets, timers and the word of
//! others go in with the time; packets, checks and news come out.
//!
//! The failure detector is foca (SWIM with suspicion and refutation). What is added here: a
//! member that is held up itself waits longer before it judges ([`super::health`]); who is
//! suspected is asked over TCP before it is called dead; and what members say of themselves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use foca::{Config, Foca, Header, Message, Notification, PeriodicParams, State, Timer};
use parking_lot::Mutex;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::Instant;
use uuid::Uuid;

use super::book::{Book, Card, Dismissal};
use super::health::{Health, LATE, Timers};
use super::identity::{ACK, Identity, Wire};
use super::packet::{self, Packet};
use super::questions::{Answer, Question};
use super::rumors::{Heard, Rumor, Rumors};
use super::vivaldi::Vivaldi;
use crate::codec;
use crate::limits::GOSSIP_BYTES_MAX;
use crate::model::{Coordinate, Event, MemberList, MemberStatus};

/// Between two probes, each of another member.
const PROBE_PERIOD: Duration = Duration::from_millis(500);
/// How long a probe's answer may take before others are asked to probe as well.
const PROBE_ANSWER: Duration = Duration::from_millis(200);
/// How many others are asked then.
const INDIRECT_PROBES: NonZeroUsize = NonZeroUsize::new(3).unwrap();
/// A suspicion lasts so long for each power of ten of members. Source: memberlist's
/// `SuspicionMult` of 4 with its probe interval of a second.
const SUSPICION: Duration = Duration::from_secs(4);
/// Between two rounds of telling what is new, while something is.
const GOSSIP_PERIOD: Duration = Duration::from_millis(200);
/// To how many members it is told in a round.
const GOSSIP_FANOUT: NonZeroUsize = NonZeroUsize::new(3).unwrap();
/// How long the detector remembers who is down; the book forgets earlier.
const DOWN_KEPT: Duration = Duration::from_hours(96);
/// A suspect whose host says that nobody listens there is dead after this.
const REFUSED: Duration = Duration::from_secs(1);
/// Who was asked over TCP this recently is not asked again before it is called dead.
const CHECK_FRESH: Duration = Duration::from_secs(2);
/// How long the last question over TCP may take.
pub(super) const CHECK_TIME: Duration = Duration::from_secs(1);

/// What a member should do with the outside world.
#[derive(Debug)]
pub(super) enum Output {
    /// Send a packet.
    Packet(SocketAddr, Vec<u8>),
    /// Ask a suspect over TCP, and tell [`Pool::checked`].
    Check(Identity),
}

/// What came of asking a suspect over TCP. An answer is taken in like any exchange's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// It lives.
    Answered,
    /// Its host says that nobody listens there.
    Refused,
    /// Nothing came back.
    Silent,
}

/// A member.
pub(super) struct Pool {
    pub(super) foca: Foca<Identity, Wire, StdRng, Rumors>,
    pub(super) heard: Arc<Mutex<Heard>>,
    pub(super) driver: Driver,
    /// For how many members the detector is set up.
    sized_for: usize,
    left: bool,
}

/// What the detector works with: foca calls it while it runs.
pub(super) struct Driver {
    heard: Arc<Mutex<Heard>>,
    timers: Timers,
    health: Health,
    pub(super) vivaldi: Vivaldi,
    datacenter: u32,
    now: Instant,
    /// The incarnation that this member says it has.
    pub(super) incarnation: u16,
    /// The probe under way: whom, its number, since when.
    probe: Option<(Identity, u8, Instant)>,
    /// The coordinate that came with the packet at hand.
    coordinate: Option<Coordinate>,
    suspects: BTreeMap<Uuid, Suspect>,
    out: Vec<Output>,
}

struct Suspect {
    identity: Identity,
    incarnation: u16,
    checked: Option<Instant>,
    /// Whether its end was put off once to ask it.
    asked_last: bool,
}

impl Suspect {
    fn is(&self, identity: Identity, incarnation: u16) -> bool {
        self.identity == identity && self.incarnation == incarnation
    }
}

impl Pool {
    /// A member that knows nobody yet. `seed` decides whom it chooses when.
    pub(super) fn new(me: Identity, card: Card, now: Instant, seed: u64) -> Self {
        let datacenter = packet::datacenter(&card.member.datacenter);
        let heard = Arc::new(Mutex::new(Heard::new(Book::new(me, card, now), now)));
        let rng = StdRng::seed_from_u64(seed);
        let rumors = Rumors(Arc::clone(&heard));
        let driver = Driver {
            heard: Arc::clone(&heard),
            timers: Timers::default(),
            health: Health::default(),
            vivaldi: Vivaldi::new(seed),
            datacenter,
            now,
            incarnation: 0,
            probe: None,
            coordinate: None,
            suspects: BTreeMap::new(),
            out: Vec::new(),
        };
        let foca = Foca::with_custom_broadcast(me, config(1), rng, Wire, rumors);
        Self { foca, heard, driver, sized_for: 1, left: false }
    }

    /// Who this member is now.
    pub(super) fn me(&self) -> Identity {
        *self.foca.identity()
    }

    /// Whether it has said goodbye.
    pub(super) fn has_left(&self) -> bool {
        self.left
    }

    /// Where it lies among the others.
    pub(super) fn coordinate(&self) -> Coordinate {
        self.driver.vivaldi.coordinate()
    }

    /// How far it mistrusts itself; 0 is well.
    pub(super) fn health_score(&self) -> u32 {
        self.driver.health.score()
    }

    /// When [`Pool::tick`] wants to be called next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.driver.timers.due()
    }

    /// What is to be done since the last call.
    pub(super) fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.driver.out)
    }

    /// Whether members changed since the last call; then all of them.
    pub(super) fn news(&self) -> Option<MemberList> {
        let mut heard = self.heard.lock();
        std::mem::take(&mut heard.changed).then(|| heard.book.all())
    }

    /// Events and questions that came since the last call.
    pub(super) fn told(&self) -> (Vec<Event>, Vec<Question>) {
        let mut heard = self.heard.lock();
        (std::mem::take(&mut heard.new_events), std::mem::take(&mut heard.new_questions))
    }

    /// Takes a packet in; an answer to a question comes back.
    ///
    /// # Errors
    ///
    /// Why it is no packet of this pool.
    pub(super) fn packet(&mut self, bytes: &[u8], now: Instant) -> Result<Option<Answer>, String> {
        let packet = packet::open(bytes, self.driver.datacenter)?;
        let (swim, coordinate) = match packet {
            Packet::Answer(answer) => return Ok(Some(answer)),
            Packet::Swim(swim, coordinate) => (swim, coordinate),
        };
        let header = foca::Codec::decode_header(&mut Wire, swim).map_err(|e| e.to_string())?;
        if self.heard.lock().book.is_full_for(header.src.id) {
            return Err("the pool is full".to_owned());
        }
        // Others say by now that this member is down: who left must not answer that it lives.
        if !self.left {
            self.driver.coordinate = coordinate;
            self.run(now, |foca, driver| foca.handle_data(swim, driver));
        }
        Ok(None)
    }

    /// Runs what is due.
    pub(super) fn tick(&mut self, now: Instant) {
        if let Some(due) = self.due()
            && let late = now.saturating_duration_since(due)
            && late > LATE
        {
            self.driver.health.worse();
            self.driver.timers.put_off_suspicions(late);
        }
        while let Some(timer) = self.driver.timers.pop(now) {
            if self.is_in_force(&timer, now) {
                self.run(now, |foca, driver| foca.handle_timer(timer, driver));
            }
        }
        self.resize(now);
    }

    /// Whether foca is to have a timer now. The end of a suspicion that was refuted is kept from
    /// it (it would tell the suspect that it is dead all the same); one that was not is put off
    /// once, so that the suspect is asked over TCP before it is called dead.
    fn is_in_force(&mut self, timer: &Timer<Identity>, now: Instant) -> bool {
        let Timer::ChangeSuspectToDown { member_id, incarnation, .. } = timer else { return true };
        let suspected = self.foca.iter_membership_state().any(|member| {
            member.id() == member_id
                && member.incarnation() == *incarnation
                && member.state() == State::Suspect
        });
        let suspect = self.driver.suspects.get_mut(&member_id.id);
        let ask = suspected
            && suspect.filter(|suspect| suspect.is(*member_id, *incarnation)).is_some_and(
                |suspect| {
                    let fresh =
                        suspect.checked.is_some_and(|at| now.duration_since(at) < CHECK_FRESH);
                    !fresh && !std::mem::replace(&mut suspect.asked_last, true)
                },
            );
        if ask {
            self.driver.out.push(Output::Check(*member_id));
            self.driver.timers.push(now + CHECK_TIME + LATE, timer.clone());
        } else if self.is_suspect(*member_id, *incarnation) {
            self.driver.suspects.remove(&member_id.id);
        }
        suspected && !ask
    }

    fn is_suspect(&self, identity: Identity, incarnation: u16) -> bool {
        let suspect = self.driver.suspects.get(&identity.id);
        suspect.is_some_and(|suspect| suspect.is(identity, incarnation))
    }

    /// Takes in what came of asking a suspect over TCP.
    pub(super) fn checked(&mut self, whom: Identity, what: Checked, now: Instant) {
        let Some(suspect) = self.driver.suspects.get_mut(&whom.id) else { return };
        if suspect.identity != whom {
            return;
        }
        match what {
            // The packets between the two fail, or this member: the suspect does not.
            Checked::Answered => {
                suspect.checked = Some(now);
                self.driver.health.worse();
            }
            Checked::Refused => {
                suspect.checked = Some(now);
                let until = now + self.driver.health.stretch(REFUSED);
                self.driver.timers.hasten(whom, until);
            }
            Checked::Silent => suspect.checked = Some(now),
        }
    }

    /// Changes what this member says of itself, and has it told.
    pub(super) fn change_card(
        &mut self,
        change: impl FnOnce(&mut crate::model::Member),
        now: Instant,
    ) {
        let mut card = Card::clone(self.heard.lock().book.mine());
        change(Arc::make_mut(&mut card.member));
        card.version += 1;
        self.tell(&Rumor::Card(Arc::new(card)), now);
    }

    /// Takes a rumor in, and tells it on with what is sent anyway; whether it was news.
    pub(super) fn learn(&mut self, rumor: &Rumor, now: Instant) -> bool {
        let bytes = codec::encode(rumor);
        let mut news = false;
        self.run(now, |foca, _| {
            news = foca.add_broadcast(&bytes)?;
            Ok(())
        });
        news
    }

    /// As [`Pool::learn`], and a few members are told at once.
    pub(super) fn tell(&mut self, rumor: &Rumor, now: Instant) -> bool {
        let news = self.learn(rumor, now);
        self.spread(now);
        news
    }

    /// Tells a few members at once what there is to tell.
    pub(super) fn spread(&mut self, now: Instant) {
        if self.foca.updates_backlog() + self.foca.custom_broadcast_backlog() > 0 {
            self.run(now, |foca, driver| foca.gossip(driver));
        }
    }

    /// Throws an event into the pool.
    pub(super) fn fire(&mut self, mut event: Event, now: Instant) {
        let clock = {
            let heard = self.heard.lock();
            event.ltime = heard.events.next_time();
            heard.events.clock()
        };
        self.tell(&Rumor::Event(clock, Box::new(event)), now);
    }

    /// Declares the members of a name that do not answer gone; false when there is none of it.
    pub(super) fn force_leave(&mut self, name: &str, prune: bool, now: Instant) -> bool {
        let (known, gone): (bool, Vec<Dismissal>) = {
            let heard = self.heard.lock();
            (heard.book.has_name(name), heard.book.dismissals(name, prune))
        };
        for dismissal in gone {
            self.tell(&Rumor::Dismissal(dismissal), now);
        }
        known
    }

    /// Says goodbye: a few are told at once, the rest by them. Nobody is probed from now on.
    pub(super) fn leave(&mut self, now: Instant) {
        self.change_card(|me| me.status = MemberStatus::Left, now);
        self.left = true;
        self.run(now, |foca, driver| foca.leave_cluster(driver));
    }

    /// A packet that answers a question.
    pub(super) fn answer_packet(&self, answer: &Answer) -> Vec<u8> {
        packet::answer(self.driver.datacenter, answer)
    }

    /// Lets foca work, with the time set.
    pub(super) fn run(
        &mut self,
        now: Instant,
        work: impl FnOnce(
            &mut Foca<Identity, Wire, StdRng, Rumors>,
            &mut Driver,
        ) -> Result<(), foca::Error>,
    ) {
        self.driver.now = now;
        self.heard.lock().now = now;
        if let Err(error) = work(&mut self.foca, &mut self.driver) {
            tracing::debug!(%error, "failure detection");
        }
        self.driver.coordinate = None;
    }

    /// Sets the detector up for the size that the pool has now.
    fn resize(&mut self, now: Instant) {
        let members = self.foca.num_members() + 1;
        if members > self.sized_for * 2 || members * 2 < self.sized_for {
            self.sized_for = members;
            self.run(now, |foca, _| foca.set_config(config(members)));
        }
    }
}

/// The detector's figures for a pool of this size.
fn config(members: usize) -> Config {
    let tens = members.max(10).ilog10(); // a power of ten, rounded down
    let within = f64::from(u32::try_from(members).unwrap_or(u32::MAX)).log10().max(1.0);
    let told = u8::try_from(4 * (tens + 1)).unwrap_or(u8::MAX);
    let often = |frequency, num_members| Some(PeriodicParams { frequency, num_members });
    Config {
        probe_period: PROBE_PERIOD,
        probe_rtt: PROBE_ANSWER,
        num_indirect_probes: INDIRECT_PROBES,
        max_transmissions: NonZeroU8::new(told).unwrap_or(NonZeroU8::MAX),
        suspect_to_down_after: SUSPICION.mul_f64(within),
        remove_down_after: Some(DOWN_KEPT),
        max_packet_size: NonZeroUsize::new(GOSSIP_BYTES_MAX).unwrap_or(NonZeroUsize::MAX),
        notify_down_members: true,
        periodic_announce: None,
        periodic_announce_to_down_members: often(Duration::from_secs(65), INDIRECT_PROBES),
        periodic_gossip: often(GOSSIP_PERIOD, GOSSIP_FANOUT),
    }
}

impl Driver {
    fn life(&self, identity: &Identity, up: bool) {
        let mut heard = self.heard.lock();
        heard.book.lives(*identity, up, self.now);
        heard.changed = true;
    }

    /// A probe's answer gives the time of the round trip, and where its sender lies.
    fn acknowledged(&mut self, header: &Header<Identity>) {
        let Message::Ack(number) = header.message else { return };
        let Some((whom, probed, since)) = self.probe else { return };
        if whom != header.src || probed != number {
            return;
        }
        self.probe = None;
        self.health.better();
        if let Some(coordinate) = self.coordinate.take() {
            self.vivaldi.measured(whom.id, &coordinate, self.now.duration_since(since));
        }
    }

    fn sent(&mut self, header: &Header<Identity>) {
        if header.src_incarnation > self.incarnation {
            self.health.worse(); // others suspected this member: perhaps it is slow
        }
        self.incarnation = header.src_incarnation;
        if let Message::Ping(number) = header.message {
            self.probe = Some((header.dst, number, self.now));
        }
    }
}

impl foca::Runtime<Identity> for &mut Driver {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        match notification {
            Notification::MemberUp(identity) => self.life(identity, true),
            Notification::MemberDown(identity) => self.life(identity, false),
            Notification::Rename(_, identity) => {
                let mut heard = self.heard.lock();
                heard.book.renamed(*identity, self.now);
                heard.changed = true;
            }
            Notification::Rejoin(identity) => {
                tracing::warn!("others declared this member dead; it comes back");
                self.incarnation = 0;
                self.health.worse();
                self.life(identity, true);
            }
            Notification::DataReceived(header) => self.acknowledged(header),
            Notification::DataSent(header) => self.sent(header),
            Notification::Active
            | Notification::Idle
            | Notification::Defunct
            | Notification::ProbeFailed(..) => {}
        }
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        let coordinate = (data.first() == Some(&ACK)).then(|| self.vivaldi.coordinate());
        let bytes = packet::swim(self.datacenter, data, coordinate.as_ref());
        self.out.push(Output::Packet(to.at, bytes));
    }

    fn submit_after(&mut self, timer: Timer<Identity>, after: Duration) {
        let after = match &timer {
            Timer::ProbeRandomMember(_) | Timer::SendIndirectProbe { .. } => {
                self.health.stretch(after)
            }
            Timer::ChangeSuspectToDown { member_id, incarnation, .. } => {
                let (identity, incarnation) = (*member_id, *incarnation);
                let suspect = Suspect { identity, incarnation, checked: None, asked_last: false };
                self.suspects.insert(identity.id, suspect);
                self.out.push(Output::Check(identity));
                self.health.stretch(after)
            }
            _ => after,
        };
        self.timers.push(self.now + after, timer);
    }
}
