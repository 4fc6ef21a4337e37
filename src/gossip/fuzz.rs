//! The pool's protocol under a fuzzer: packets and exchanges of who may be anybody.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use uuid::Uuid;

use super::book::Card;
use super::exchange;
use super::identity::Identity;
use super::merge::{Extent, Offer, Reply, Rest};
use super::packet;
use super::pool::{Output, Pool};
use super::questions::{Answer, KeyVerb, Question};
use super::rumors::Rumor;
use crate::codec;
use crate::fuzz::{Input, Target, pieces};
use crate::limits::{EXCHANGE_BYTES_MAX, GOSSIP_BYTES_MAX, MEMBERS_MAX};
use crate::model::{Event, Member, MemberStatus};
use crate::seal::{Halves, ReadHalf, WriteHalf};
use crate::time;

/// What is read of other members.
pub const TARGETS: &[Target] = &[
    Target {
        name: "gossip-packet",
        about: "datagrams and timers: packets stay short, the member keeps its own card and finite place",
        memory: 32 * 1024 * 1024,
        run: packets,
        seeds: packet_seeds,
    },
    Target {
        name: "gossip-exchange",
        about: "offers, replies and cards over TCP: the answer is short enough, nothing false is shown",
        memory: 32 * 1024 * 1024,
        run: exchanges,
        seeds: exchange_seeds,
    },
    Target {
        name: "gossip-rumor",
        about: "rumors: what was read is written as it was, and is news once",
        memory: 32 * 1024 * 1024,
        run: rumors,
        seeds: rumor_seeds,
    },
];

/// What is around a message of the failure detector: version, kind, mark, and a coordinate.
const AROUND_BYTES: usize = 6 + 11 * 8;

fn identity(number: u128) -> Identity {
    let port = u16::try_from(number).unwrap_or(u16::MAX);
    let at = SocketAddr::from(([10, 0, 0, 1], port));
    Identity { generation: 1_000, at, id: Uuid::from_u128(number) }
}

fn card(number: u128) -> Card {
    let member = Member {
        id: Uuid::from_u128(number).to_string(),
        name: format!("n{number}"),
        address: "10.0.0.1".to_owned(),
        port: 8301,
        server_port: 8300,
        datacenter: "dc1".to_owned(),
        expect: 3,
        bootstrapped: false,
        tags: BTreeMap::from([("role".to_owned(), "node".to_owned())]),
        status: MemberStatus::Alive,
        generation: 1_000,
        raft: 7,
    };
    Card { version: 1, member: Arc::new(member) }
}

/// A member of this number, of the seed of its choices.
fn pool(number: u128, now: Instant) -> Pool {
    Pool::new(identity(number), card(number), now, 7)
}

/// Two members that know each other.
fn pair(now: Instant) -> [Pool; 2] {
    let (mut one, mut two) = (pool(1, now), pool(2, now));
    let reply = two.answer(one.offer(Extent::Whole, None, now), now);
    if let Reply::Told(told) = reply {
        let rest = one.take(*told, now);
        two.take_rest(rest, now);
    }
    [one, two]
}

/// What holds of a member whatever it was told.
fn is_sound(pool: &mut Pool) {
    for output in pool.outputs() {
        if let Output::Packet(_, bytes) = output {
            assert!(bytes.len() <= GOSSIP_BYTES_MAX + AROUND_BYTES, "a packet is short");
        }
    }
    let heard = pool.heard.lock();
    let mine = &heard.book.mine().member;
    assert_eq!((mine.name.as_str(), mine.raft), ("n1", 7), "nobody else says who this member is");
    let all = heard.book.all();
    assert!(all.len() <= MEMBERS_MAX, "a pool has an end");
    let cards = heard.book.newer_than(&BTreeMap::new());
    assert!(cards.iter().all(|card| card.fits()), "what a member says of itself is short");
    drop(heard);
    let place = pool.coordinate();
    let numbers = place.vec.iter().chain([&place.error, &place.adjustment, &place.height]);
    numbers.for_each(|number| assert!(number.get().is_finite(), "a place is of numbers"));
}

fn packets(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut now = time::now();
    let [mut member, _] = pair(now);
    is_sound(&mut member);
    while !input.is_empty() {
        now += Duration::from_millis(u64::from(input.byte()) * 20);
        member.tick(now);
        let packet = input.piece();
        if let Ok(Some(answer)) = member.packet(packet, now) {
            same(&answer);
        }
        is_sound(&mut member);
        drop(member.told());
    }
}

/// What was read is written so that it is read as the same.
fn same<T: Serialize + DeserializeOwned>(value: &T) {
    let bytes = codec::encode(value);
    let again: T = codec::decode(&bytes).expect("what was written is read");
    assert_eq!(codec::encode(&again), bytes, "what was read is written as it was");
}

/// A sequence of datagrams, each some time after the one before.
fn sequence(packets: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let one = |(wait, packet): &(u8, Vec<u8>)| [vec![*wait], pieces(&[packet])].concat();
    packets.iter().flat_map(one).collect()
}

fn packet_seeds() -> Vec<Vec<u8>> {
    let now = time::now();
    let [mut one, mut two] = pair(now);
    let mut seeds = Vec::new();
    let mut all = Vec::new();
    // What the two say to each other for some seconds.
    for step in 1..=60 {
        let now = now + Duration::from_millis(step * 100);
        for turn in 0..2 {
            let (from, to) = if turn == 0 { (&mut one, &mut two) } else { (&mut two, &mut one) };
            from.tick(now);
            for output in from.outputs() {
                let Output::Packet(_, bytes) = output else { continue };
                drop(to.packet(&bytes, now));
                if turn == 1 {
                    all.push((5, bytes));
                }
            }
        }
        match step {
            20 => two.fire(event(), now),
            30 => drop(two.tell(&Rumor::Card(impostor().into()), now)),
            _ => {}
        }
    }
    all.dedup();
    seeds.extend(all.chunks(6).take(8).map(sequence));
    let answer = Answer { question: 7, member: "n2".to_owned(), outcome: Ok(vec!["k".to_owned()]) };
    seeds.push(sequence(&[(0, packet::answer(packet::datacenter("dc1"), &answer))]));
    let mut none = packet::swim(packet::datacenter("dc1"), b"x", Some(&two.coordinate()));
    none[6..14].copy_from_slice(&f64::NAN.to_be_bytes());
    seeds.push(sequence(&[(0, none)]));
    seeds
}

/// What another one says of the member under test, as news.
fn impostor() -> Card {
    let member = Member { name: "impostor".to_owned(), ..Member::clone(&card(1).member) };
    Card { version: 9, member: Arc::new(member) }
}

fn event() -> Event {
    Event {
        id: Uuid::from_u128(9),
        name: "deploy".to_owned(),
        payload: Bytes::from_static(b"web"),
        ltime: 3,
        ..Event::default()
    }
}

/// A connection over which these bytes come.
fn connection(bytes: &[u8]) -> Halves {
    Halves {
        reader: ReadHalf::Wrapped(Box::new(Cursor::new(bytes.to_vec()))),
        writer: WriteHalf::Wrapped(Box::new(Vec::new())),
    }
}

fn receive<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let mut halves = connection(bytes);
    let received = exchange::receive(&mut halves).now_or_never();
    received.expect("all bytes are there").ok()
}

fn exchanges(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let now = time::now();
    let [mut member, _] = pair(now);
    while !input.is_empty() {
        match input.byte() % 3 {
            0 => {
                let Some(offer) = receive::<Offer>(input.piece()) else { continue };
                same(&offer);
                let reply = codec::encode(&member.answer(offer, now));
                assert!(reply.len() < EXCHANGE_BYTES_MAX as usize, "a reply is short enough");
            }
            1 => {
                let Some(reply) = receive::<Reply>(input.piece()) else { continue };
                same(&reply);
                if let Reply::Told(told) = reply {
                    same(&member.take(*told, now));
                }
            }
            _ => {
                let Some(rest) = receive::<Rest>(input.piece()) else { continue };
                member.take_rest(rest, now);
            }
        }
        member.tick(now + Duration::from_secs(1));
        is_sound(&mut member);
    }
}

/// A record as it comes over a connection, behind what it is.
fn record<T: Serialize>(kind: u8, value: &T) -> Vec<u8> {
    let bytes = codec::encode(value);
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    [vec![kind], pieces(&[[&length[..], &bytes].concat()])].concat()
}

fn exchange_seeds() -> Vec<Vec<u8>> {
    let now = time::now();
    let [mut one, mut two] = pair(now);
    two.fire(event(), now);
    let mut three = pool(3, now);
    let offer = three.offer(Extent::Whole, None, now);
    let again = two.offer(Extent::Whole, Some(one.me().id), now);
    let reply = two.answer(one.offer(Extent::Pair, Some(two.me().id), now), now);
    let told = three.answer(two.offer(Extent::Whole, None, now), now);
    let rest = match one.answer(offer.clone(), now) {
        Reply::Told(told) => three.take(*told, now),
        Reply::Refused(_) => Rest(Vec::new()),
    };
    let seeds = vec![
        record(0, &offer),
        record(0, &again),
        record(1, &reply),
        record(1, &told),
        record(1, &Reply::Refused("no".to_owned())),
        record(2, &rest),
        [vec![0], pieces(&[[0xff, 0xff, 0xff, 0xff, 1]])].concat(),
        [vec![0], pieces(&[[0, 0xb0, 0, 0, 1]])].concat(),
    ];
    let all = seeds.concat();
    [seeds, vec![all]].concat()
}

fn rumors(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let now = time::now();
    let [mut member, _] = pair(now);
    while !input.is_empty() {
        let Ok(rumor) = codec::decode::<Rumor>(input.piece()) else { continue };
        same(&rumor);
        if matches!(&rumor, Rumor::Card(card) if card.id() == Some(member.me().id)) {
            continue; // its own word: others' comes in packets
        }
        if member.learn(&rumor, now) {
            assert!(!member.learn(&rumor, now), "what is known is no news");
        }
        is_sound(&mut member);
    }
}

fn rumor_seeds() -> Vec<Vec<u8>> {
    let question = Question { id: 5, from: identity(2), verb: KeyVerb::Install("k".to_owned()) };
    let dismissal = super::book::Dismissal { id: identity(2).id, generation: 1_000, prune: true };
    let newer = Card { version: 2, ..card(2) };
    let rumors = [
        Rumor::Card(Arc::new(newer)),
        Rumor::Card(Arc::new(card(4))),
        Rumor::Dismissal(dismissal),
        Rumor::Event(3, Box::new(event())),
        Rumor::Question(question),
    ];
    let encoded: Vec<Vec<u8>> = rumors.iter().map(codec::encode).collect();
    let all = pieces(&encoded);
    encoded.iter().map(|one| pieces(&[one])).chain([all]).collect()
}
