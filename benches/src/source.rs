//! What the workers ask: keys and values from a sequence that is the same in every run, put in
//! place into requests that were encoded once.

use std::net::SocketAddr;

use crate::cluster::Kind;
use crate::etcd;
use crate::grpc;
use crate::http::{self, Response};
use crate::rows::{LARGE_KEYS_MAX, Reads, VALUE_BYTES, Value, Work};
use crate::steps::Size;

/// Decimal digits of a key's number, so that it can be put into a prepared request in place.
const KEY_DIGITS: usize = 8;

/// Makes the requests of one worker and knows what a good answer looks like.
#[derive(Debug)]
pub(crate) struct Source {
    work: Work,
    /// Keys or services to choose from.
    choice: u32,
    random: Random,
}

/// A request whose key, and value if it has one, are changed in place.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// All of it, as it goes to the server.
    pub(crate) bytes: Vec<u8>,
    key_at: usize,
    value_at: Option<usize>,
}

impl Source {
    /// The requests of the worker with this `number` over data of this size.
    pub(crate) fn new(work: Work, size: Size, number: usize) -> Self {
        let choice = match work {
            Work::Put(Value::Large) => size.keys.min(LARGE_KEYS_MAX),
            Work::Put(Value::Small) | Work::Get(_) => size.keys,
            Work::Srv => size.services(),
        };
        Self { work, choice, random: Random::new(number as u64) }
    }

    /// A request to `door`, in what a system of this `kind` speaks.
    pub(crate) fn prepare(&mut self, kind: Kind, door: SocketAddr) -> Prepared {
        let value = match self.work {
            Work::Put(value) => random_bytes(&mut self.random, value.bytes()),
            Work::Get(_) | Work::Srv => Vec::new(),
        };
        let key = match self.work {
            Work::Put(Value::Large) => format!("large/{:08}", 0),
            Work::Put(Value::Small) | Work::Get(_) | Work::Srv => key(0),
        };
        let bytes = match kind {
            Kind::Consul | Kind::Unbound => self.http(door, &key, &value),
            Kind::Etcd => self.grpc(&key, &value),
        };
        let key_at = find(&bytes, key.as_bytes()) + key.len() - KEY_DIGITS;
        let value_at = (!value.is_empty()).then(|| bytes.len() - value.len());
        Prepared { bytes, key_at, value_at }
    }

    /// Whether all of it goes to the DNS door, by a way of its own.
    pub(crate) fn asks_dns(&self) -> bool {
        self.work == Work::Srv
    }

    /// The method that a system which speaks gRPC is called by.
    pub(crate) fn method(&self) -> &'static str {
        match self.work {
            Work::Put(_) => etcd::PUT,
            Work::Get(_) => etcd::RANGE,
            Work::Srv => unreachable!("gRPC has no names"),
        }
    }

    fn http(&self, door: SocketAddr, key: &str, value: &[u8]) -> Vec<u8> {
        let (method, query) = match self.work {
            Work::Put(_) => ("PUT", ""),
            Work::Get(Reads::Default) => ("GET", ""),
            Work::Get(Reads::Stale) => ("GET", "?stale"),
            Work::Get(Reads::Consistent) => ("GET", "?consistent"),
            Work::Srv => unreachable!("DNS has its own requests"),
        };
        http::request(method, &format!("/v1/kv/{key}{query}"), door, value)
    }

    fn grpc(&self, key: &str, value: &[u8]) -> Vec<u8> {
        grpc::framed(&match self.work {
            Work::Put(_) => etcd::put(key, value),
            Work::Get(Reads::Default | Reads::Consistent) => etcd::range(key),
            Work::Get(Reads::Stale) => etcd::serializable_range(key),
            Work::Srv => unreachable!("DNS has its own requests"),
        })
    }

    /// The number of the service to ask for next.
    pub(crate) fn service(&mut self) -> u32 {
        self.random.below(self.choice)
    }

    /// Another key of those that the work is about and, so that no two writes are the same, another value.
    pub(crate) fn vary(&mut self, prepared: &mut Prepared) {
        let number = self.random.below(self.choice);
        let at = prepared.key_at;
        put_digits(&mut prepared.bytes[at..at + KEY_DIGITS], number);
        if let Some(at) = prepared.value_at {
            prepared.bytes[at..at + 8].copy_from_slice(&self.random.next().to_le_bytes());
        }
    }

    /// `true` after a write; after a read an entry, which holds the value in base64. Returns the
    /// bytes of the body.
    pub(crate) fn judge_http(&self, response: &Response<'_>) -> Result<usize, String> {
        let good = match self.work {
            Work::Put(_) => response.body.trim_ascii_end() == b"true",
            Work::Get(_) | Work::Srv => response.body.len() > VALUE_BYTES,
        };
        match response.status {
            200 if good => Ok(response.body.len()),
            200 => Err("status 200 with another body".to_owned()),
            status => Err(format!("status {status}")),
        }
    }

    /// A header after a write; after a read also an entry, which holds the value. Returns the
    /// bytes of the message.
    pub(crate) fn judge_grpc(&self, answer: &grpc::Answer<'_>) -> Result<usize, String> {
        let bytes = answer.message.len();
        let good = match self.work {
            Work::Put(_) => bytes > 0,
            Work::Get(_) | Work::Srv => bytes > VALUE_BYTES,
        };
        match answer.status {
            0 if good => Ok(bytes),
            0 => Err("gRPC status 0 with another message".to_owned()),
            status => Err(format!("gRPC status {status}")),
        }
    }
}

/// The key with this number.
pub(crate) fn key(number: u32) -> String {
    format!("bench/{number:08}")
}

/// A value of the data set.
pub(crate) fn value(random: &mut Random) -> Vec<u8> {
    random_bytes(random, VALUE_BYTES)
}

/// Bytes that do not compress, whole eights of them.
fn random_bytes(random: &mut Random, bytes: usize) -> Vec<u8> {
    (0..bytes / 8).flat_map(|_| random.next().to_le_bytes()).collect()
}

/// Where a key stands in a request; the caller put it there.
fn find(hay: &[u8], needle: &[u8]) -> usize {
    let mut parts = hay.windows(needle.len());
    parts.position(|part| part == needle).expect("the key is in the request")
}

/// Writes a number in decimal digits, with zeros before it.
pub(crate) fn put_digits(place: &mut [u8], mut number: u32) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
    }
}

/// Numbers that look random and are the same in every run (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A sequence of its own for every `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0xD1B5_4A32_D192_ED03))
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from zero to `bound`, exclusive: the high half of a product.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let high = ((self.next() >> 32) * u64::from(bound)) >> 32;
        u32::try_from(high).expect("less than the bound")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 8500))
    }

    fn asking(work: Work, keys: u32, number: usize) -> Source {
        Source::new(work, Size { keys, instances: 10 }, number)
    }

    #[test]
    fn requests_vary_in_place() {
        let mut source = asking(Work::Put(Value::Small), 1, 7);
        let mut put = source.prepare(Kind::Consul, door());
        let first = put.bytes.clone();
        source.vary(&mut put);
        let text = String::from_utf8_lossy(&put.bytes).into_owned();
        assert!(text.starts_with("PUT /v1/kv/bench/00000000 HTTP/1.1\r\nHost: 127.0.0.1:8500\r\n"));
        assert!(text.contains("\r\nContent-Length: 128\r\n\r\n"), "{text}");
        assert_ne!(put.bytes, first, "another value");
        assert_eq!(put.bytes.len(), first.len());

        let mut source = asking(Work::Get(Reads::Stale), 100_000, 7);
        let mut get = source.prepare(Kind::Consul, door());
        let ends = |get: &Prepared| String::from_utf8_lossy(&get.bytes).into_owned();
        source.vary(&mut get);
        let text = ends(&get);
        assert!(text.starts_with("GET /v1/kv/bench/000"), "{text}");
        assert!(text.contains("?stale HTTP/1.1\r\n") && text.ends_with("\r\n\r\n"), "{text}");
    }

    #[test]
    fn large_values_have_keys_of_their_own() {
        for kind in [Kind::Consul, Kind::Etcd] {
            let mut source = asking(Work::Put(Value::Large), 10_000_000, 7);
            let mut put = source.prepare(kind, door());
            assert_eq!(put.bytes.len() - put.value_at.unwrap(), 4096);
            for _ in 0..100 {
                source.vary(&mut put);
                assert_eq!(put.bytes[put.key_at - 6..][..10], *b"large/0000");
            }
        }
    }

    #[test]
    fn the_query_says_how_fresh() {
        for (reads, line) in [
            (Reads::Default, "GET /v1/kv/bench/00000000 HTTP/1.1\r\n"),
            (Reads::Stale, "GET /v1/kv/bench/00000000?stale HTTP/1.1\r\n"),
            (Reads::Consistent, "GET /v1/kv/bench/00000000?consistent HTTP/1.1\r\n"),
        ] {
            let get = asking(Work::Get(reads), 1, 7).prepare(Kind::Consul, door());
            assert!(get.bytes.starts_with(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn digits_fill_their_place() {
        let mut place = *b"xxxxxxxx";
        put_digits(&mut place, 12_345);
        assert_eq!(&place, b"00012345");
        assert_eq!(key(12_345), "bench/00012345");
    }

    #[test]
    fn random_keys_reach_both_ends_evenly() {
        let mut random = Random::new(1);
        let mut counts = [0_u32; 10];
        for _ in 0..10_000 {
            counts[random.below(10) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn answers_are_judged() {
        let put = asking(Work::Put(Value::Small), 1, 0);
        let judge = |source: &Source, status, body| source.judge_http(&Response { status, body });
        assert_eq!(judge(&put, 200, b"true\n"), Ok(5));
        assert_eq!(judge(&put, 200, b"false"), Err("status 200 with another body".to_owned()));
        assert_eq!(judge(&put, 500, b"true"), Err("status 500".to_owned()));
        let get = asking(Work::Get(Reads::Default), 1, 0);
        assert_eq!(judge(&get, 200, &[b' '; 200]), Ok(200));
        assert_eq!(judge(&get, 404, b""), Err("status 404".to_owned()));
    }

    #[test]
    fn grpc_asks_for_the_same_keys_with_the_same_values() {
        let sequence = |kind| {
            let mut source = asking(Work::Put(Value::Small), 100_000, 7);
            let mut put = source.prepare(kind, door());
            let mut seen = Vec::new();
            for _ in 0..3 {
                source.vary(&mut put);
                let key = String::from_utf8_lossy(&put.bytes[put.key_at - 6..][..14]).into_owned();
                seen.push((key, put.bytes[put.value_at.unwrap()..].to_vec()));
            }
            seen
        };
        let consul = sequence(Kind::Consul);
        assert_eq!(consul, sequence(Kind::Etcd));
        assert!(consul.iter().all(|(key, value)| key.starts_with("bench/") && value.len() == 128));
    }

    #[test]
    fn answers_of_grpc_are_judged() {
        let put = asking(Work::Put(Value::Small), 1, 0);
        let get = asking(Work::Get(Reads::Stale), 1, 0);
        let judge =
            |source: &Source, status, message| source.judge_grpc(&grpc::Answer { status, message });
        assert_eq!(judge(&put, 0, b"header"), Ok(6));
        assert_eq!(judge(&put, 14, b""), Err("gRPC status 14".to_owned()));
        assert_eq!(judge(&get, 0, &[0; 200]), Ok(200));
        assert_eq!(judge(&get, 0, b"header"), Err("gRPC status 0 with another message".to_owned()));
    }
}
