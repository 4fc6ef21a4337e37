//! Encryption under a fuzzer: packets, the first message of a connection, and its records.

use std::io;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use snow::StatelessTransportState;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::keyring::Keyring;
use super::primitives::Primitives;
use super::records::{Opening, Sealing};
use super::streams::Streams;
use crate::fuzz::{Input, Target, Trickle, pieces};

/// What comes of who may know no key.
pub const TARGETS: &[Target] = &[
    Target {
        name: "seal-packet",
        about: "a packet: only what was sealed is opened, as it was, and no change of it is",
        memory: 1024 * 1024,
        run: packet,
        seeds: packet_seeds,
    },
    Target {
        name: "seal-records",
        about: "records of a connection: what is read was written, and any change ends it",
        memory: 2 * 1024 * 1024,
        run: records,
        seeds: record_seeds,
    },
    Target {
        name: "seal-hello",
        about: "the first message of a connection: who knows no key is refused",
        memory: 1024 * 1024,
        run: hello,
        seeds: hello_seeds,
    },
];

const LABEL: &[u8] = b"fuzz";

static RING: LazyLock<Keyring> = LazyLock::new(|| ring(1, 2));
/// Nothing is ever sealed with these: a fuzzer may come to know what was sealed in its own process,
/// and would hand that in as a stranger's.
static UNUSED: LazyLock<Keyring> = LazyLock::new(|| ring(3, 4));

fn ring(first: u8, second: u8) -> Keyring {
    let key = |of: u8| STANDARD.encode([of; 32]);
    let ring = Keyring::load(Some(&key(first)), None).expect("it is a key");
    ring.install(&key(second)).expect("so is this");
    ring
}

/// A change of some bytes; whether it is one.
fn changed(bytes: &mut Vec<u8>, input: &mut Input<'_>) -> bool {
    let before = bytes.clone();
    let at = usize::from(input.number()) % (bytes.len() + 1);
    match input.byte() % 3 {
        0 => {}
        1 => bytes.truncate(at),
        _ => {
            let change = input.take(8);
            bytes.iter_mut().skip(at).zip(change).for_each(|(byte, change)| *byte ^= change);
        }
    }
    *bytes != before
}

fn packet(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let plain = input.piece();
    let mut sealed = RING.seal(plain, LABEL);
    let same = !changed(&mut sealed, &mut input);
    let opened = RING.unseal(&sealed, LABEL);
    assert_eq!(opened.is_ok(), same, "only what was sealed is opened");
    assert!(opened.is_err() || opened.is_ok_and(|opened| opened == plain), "as it was");
    assert!(RING.unseal(&sealed, b"else").is_err(), "for one purpose alone");
    // Of these keys bytes may be sealed: they are read without harm.
    drop(RING.unseal(bytes, LABEL));
    assert!(UNUSED.unseal(bytes, LABEL).is_err(), "a stranger's packet is not opened");
}

fn packet_seeds() -> Vec<Vec<u8>> {
    let seed = |change: &[u8]| [pieces(&["hello"]), change.to_vec()].concat();
    let marked = RING.seal(b"", LABEL);
    vec![
        seed(&[0, 0, 0]),
        seed(&[0, 9, 1]),
        seed(&[0, 12, 2, 1]),
        seed(&[0, 2, 2, 3, 4]),
        // Head and mark of a key, and nothing behind.
        marked.iter().copied().take(7).collect(),
    ]
}

/// Both ends of a connection after its handshake.
type Ends = [Arc<StatelessTransportState>; 2];

static CIPHERS: LazyLock<Ends> = LazyLock::new(shake_hands);
/// Those of a connection on which nothing is ever written, as [`UNUSED`].
static SILENT: LazyLock<Ends> = LazyLock::new(shake_hands);

fn shake_hands() -> Ends {
    let build = || {
        let pattern = "Noise_NN_25519_AESGCM_SHA256".parse().expect("a pattern");
        snow::Builder::with_resolver(pattern, Box::new(Primitives))
    };
    let mut one = build().build_initiator().expect("it needs no key");
    let mut two = build().build_responder().expect("it needs no key");
    let (mut message, mut none) = ([0; 256], [0; 256]);
    for turn in 0..2 {
        let (from, to) = if turn == 0 { (&mut one, &mut two) } else { (&mut two, &mut one) };
        let length = from.write_message(&[], &mut message).expect("it is this side's turn");
        to.read_message(&message[..length], &mut none).expect("nobody changed it");
    }
    [one, two].map(|side| Arc::new(side.into_stateless_transport_mode().expect("it is done")))
}

fn records(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (step, count) = (usize::from(input.byte()) * 16, input.byte() % 8);
    let (mut sealed, mut written) = (Vec::new(), Vec::new());
    let mut writer = Sealing::new(&mut sealed, Arc::clone(&CIPHERS[0]));
    for _ in 0..count {
        let plain = input.piece();
        writer.write_all(plain).now_or_never().expect("memory").expect("memory takes all");
        written.extend_from_slice(plain);
    }
    let same = !changed(&mut sealed, &mut input);
    let mut read = Vec::new();
    let mut reader = Opening::new(Trickle::new(&sealed, step), Arc::clone(&CIPHERS[1]));
    let ended = reader.read_to_end(&mut read).now_or_never().expect("all bytes are there");
    assert!(written.starts_with(&read), "what is read was written");
    assert!(!same || (ended.is_ok() && read == written), "what nobody changed is read");
    // A cut between two records is an end like any other: who reads knows what is still due.
    assert!(same || ended.is_err() || read.len() < written.len(), "a change is seen");
    let mut read = Vec::new();
    let mut reader = Opening::new(Trickle::new(input.rest(), step), Arc::clone(&SILENT[1]));
    let ended = reader.read_to_end(&mut read).now_or_never().expect("all bytes are there");
    assert!(read.is_empty(), "nothing of a stranger's is read: {ended:?}");
}

fn record_seeds() -> Vec<Vec<u8>> {
    let seed = |step: u8, change: &[u8], behind: &[u8]| {
        let records = pieces(&["one", "", "two and more"]);
        [&[step, 3][..], &records, change, behind].concat()
    };
    vec![
        seed(0, &[0, 0, 0], &[0, 5, 1, 2, 3, 4, 5]),
        seed(1, &[0, 21, 1], &[0, 16, 0, 0]),
        seed(2, &[0, 2, 2, 1], &[255, 255]),
        seed(0, &[0, 0, 2, 0, 200], &[0, 0, 0, 0]),
    ]
}

fn hello(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let keys = RING.snapshot();
    let mut mark = input.take(4).try_into().unwrap_or(keys[0].mark);
    if input.byte() & 1 == 0 {
        mark = keys[0].mark;
    }
    let mut message = [0; super::streams::MESSAGE_BYTES];
    let taken = input.take(message.len());
    message[..taken.len()].copy_from_slice(taken);
    let streams = Streams::new(RING.clone(), "fuzz");
    let answered: io::Result<_> = streams.opened(&keys, mark, &message);
    assert!(answered.is_err(), "who knows no key is refused");
}

fn hello_seeds() -> Vec<Vec<u8>> {
    let mut low_order = vec![0, 0, 0, 0, 0];
    low_order.extend_from_slice(&[0; 48]);
    let mut one = low_order.clone();
    one[5] = 1;
    vec![low_order, one, vec![1, 2, 3, 4, 1], [vec![0; 5], vec![0xff; 48]].concat()]
}
