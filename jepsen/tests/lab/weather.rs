//! The switch is slow and loses things as told, on the ways that it was told.

use std::net::UdpSocket;

use portolan_jepsen::lab::cuts::{Cut, End};
use portolan_jepsen::lab::network::Network;
use portolan_jepsen::lab::switch::Weather;
use rustix::time::{ClockId, clock_gettime};

use crate::harness::{passes, rest, skip, socket};

/// So many as a socket holds that nobody reads yet.
const ALL: u16 = 200;

fn network(test: &str) -> Option<Network> {
    match Network::with_weather(2, 11) {
        Ok(network) => Some(network),
        Err(why) => {
            skip(test, &why.to_string());
            None
        }
    }
}

/// Sends numbered datagrams and gives those that came, in the order in which they did.
fn sent(from: &UdpSocket, to: &UdpSocket) -> Vec<u16> {
    let address = to.local_addr().expect("bound");
    for number in 0..ALL {
        from.send_to(&number.to_be_bytes(), address).expect("sending tells nothing");
        if number % 20 == 0 {
            rest(1);
        }
    }
    let mut came = Vec::new();
    let mut bytes = [0; 2];
    while to.recv(&mut bytes).is_ok() {
        came.push(u16::from_be_bytes(bytes));
    }
    came
}

fn ms() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1000 + now.tv_nsec / 1_000_000
}

#[test]
fn weather_is_as_told_and_one_way() {
    let Some(network) = network("weather_is_as_told_and_one_way") else { return };
    let (a, b) = (socket(&network.hosts()[0]), socket(&network.hosts()[1]));
    assert_eq!(sent(&a, &b), (0..ALL).collect::<Vec<_>>());
    let way = [(End::Host(0), End::Host(1))];
    let set = |weather| network.set_weather_on(&way, &weather).unwrap();

    set(Weather { loss: 300_000, ..Weather::CALM });
    let came = sent(&a, &b).len();
    assert!((110..170).contains(&came), "{came} of 200 came where 30 % are lost");
    assert_eq!(sent(&b, &a).len(), usize::from(ALL), "the way back was bad too");

    set(Weather { duplicate: 500_000, ..Weather::CALM });
    let came = sent(&a, &b).len();
    assert!((265..335).contains(&came), "{came} came where half of 200 are doubled");

    set(Weather { delay_us: 5_000, jitter_us: 5_000, ..Weather::CALM });
    assert_eq!(sent(&a, &b), (0..ALL).collect::<Vec<_>>(), "jitter alone overtakes nobody");
    set(Weather { reorder: 200_000, ..Weather::CALM });
    let mut came = sent(&a, &b);
    assert_ne!(came, (0..ALL).collect::<Vec<_>>());
    came.sort_unstable();
    assert_eq!(came, (0..ALL).collect::<Vec<_>>(), "reordering loses nothing");

    set(Weather { delay_us: 120_000, ..Weather::CALM });
    let began = ms();
    assert!(passes(&a, &b));
    let took = ms() - began;
    assert!(took >= 120, "{took} ms");

    set(Weather { rate_bits: 40_000, ..Weather::CALM });
    // 200 frames of 44 bytes at 5,000 bytes a second take 1.8 s; those beyond half a second go.
    let came = sent(&a, &b).len();
    assert!((40..180).contains(&came), "{came}");
}

#[test]
fn a_switch_cuts_as_a_bridge_does() {
    let Some(network) = network("a_switch_cuts_as_a_bridge_does") else { return };
    let (a, b) = (socket(&network.hosts()[0]), socket(&network.hosts()[1]));
    let client = socket(network.client());
    assert!(passes(&a, &b) && passes(&b, &a) && passes(&client, &a));
    network.set_cut(&Cut::one_way(&[End::Host(0)], &[End::Host(1)])).unwrap();
    assert!(!passes(&a, &b));
    assert!(passes(&b, &a) && passes(&client, &a) && passes(&a, &client));
    assert!(network.dropped().unwrap() > 0);
    network.heal().unwrap();
    assert!(passes(&a, &b));
}
