//! Tests of names that are others': recursors that know, lie, are late or silent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use tokio::net::{TcpListener, UdpSocket};

use super::live::{Live, answers, question, with_edns};
use super::options::{Observer, Options, RecursorOrder};
use super::resolve::Resolver;
use super::server::{Door, open};
use super::table::Table;
use crate::lifecycle::Tasks;

#[tokio::test]
async fn other_names_go_to_the_first_recursor_that_knows() {
    let upstream =
        Live::start(Options { domain: "example.com".into(), ..Options::default() }).await;
    let useless = Live::start(Options { domain: "else.where".into(), ..Options::default() }).await;
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let recursors = vec![closed.local_addr().unwrap(), useless.udp, upstream.udp];
    drop(closed);
    let live = Live::start(Options { recursors, ..Options::default() }).await;

    let reply = live.ask("web.service.EXAMPLE.com.", RecordType::A).await;
    assert_eq!(answers(&reply), ["10.0.0.1", "10.9.9.9"]);
    assert_eq!((reply.metadata.id, reply.metadata.recursion_available), (4711, true));
    let reply = live.ask("none.service.example.com.", RecordType::A).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
    let reply = live.ask("www.example.org.", RecordType::A).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert!(reply.metadata.recursion_available);
    let reply = live.ask("1.1.1.1.in-addr.arpa.", RecordType::PTR).await;
    assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain, "as the recursors say");
}

#[tokio::test]
async fn recursors_are_asked_in_the_order_that_is_set() {
    let asked: Arc<[AtomicU64; 2]> = Arc::default();
    let mut upstream = Vec::new();
    for at in 0..2 {
        let asked = Arc::clone(&asked);
        let observe = Observer::new(move |_| {
            asked[at].fetch_add(1, Ordering::Relaxed);
        });
        let domain = "example.com".to_owned();
        let options = Options { domain, observe: Some(observe), ..Options::default() };
        upstream.push(Live::start(options).await);
    }
    let counts = || [asked[0].load(Ordering::Relaxed), asked[1].load(Ordering::Relaxed)];
    let recursors: Vec<SocketAddr> = upstream.iter().map(|live| live.udp).collect();
    let mut live =
        Live::start(Options { recursors: recursors.clone(), ..Options::default() }).await;
    for round in 1..=40 {
        let reply = live.ask("n1.node.example.com.", RecordType::A).await;
        assert_eq!(answers(&reply), ["10.0.0.1"]);
        assert_eq!(counts(), [round, 0]);
    }
    let recursor_order = RecursorOrder::Random;
    live = Live::start(Options { recursors, recursor_order, ..Options::default() }).await;
    for _ in 0..60 {
        live.ask("n1.node.example.com.", RecordType::A).await;
    }
    let [first, second] = counts();
    assert_eq!(first + second, 100, "one question is one recursor's");
    assert!(first > 40 && second > 0, "by chance of 2^-60 it may fail: {first} {second}");
}

#[tokio::test]
async fn a_recursors_cut_reply_is_fetched_over_tcp() {
    // Both sockets of a recursor have one address: take UDP's port for TCP, or try another.
    let options = || Options { domain: "example.com".into(), ..Options::default() };
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let at = udp.local_addr().unwrap();
    let tasks = Tasks::new();
    let resolver = Resolver::new(Arc::new(options()), Table::default());
    open(vec![udp], vec![tcp], &Arc::new(Door::new(resolver)), &tasks);

    let live = Live::start(Options { recursors: vec![at], ..Options::default() }).await;
    let request = with_edns(question("big.service.example.com.", RecordType::SRV), 1232);
    let reply = live.udp(&request).await;
    assert!(reply.metadata.truncation, "it does not fit the asker either");
    assert!(reply.answers.is_empty());
    let reply = live.tcp(&request).await;
    assert_eq!((reply.answers.len(), reply.metadata.truncation), (200, false));
}

#[tokio::test]
async fn a_silent_recursor_is_passed_over_and_a_forged_reply_too() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let forger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let live = Live::start(Options {
        recursors: vec![silent.local_addr().unwrap(), forger.local_addr().unwrap()],
        recursor_timeout: Duration::from_millis(100),
        ..Options::default()
    })
    .await;
    let upstream = async {
        let mut buffer = [0; 512];
        let (length, from) = forger.recv_from(&mut buffer).await.unwrap();
        let mut reply = buffer[..length].to_vec();
        assert_ne!(reply[..2], 4711_u16.to_be_bytes(), "the id that is sent on is our own");
        reply[2] |= 0x80;
        let mut other_id = reply.clone();
        other_id[0] ^= 0xff;
        let mut other_name = reply.clone();
        other_name[14] ^= 1;
        let mut no_reply = reply.clone();
        no_reply[2] &= 0x7f;
        for bytes in [other_id, other_name, no_reply, vec![0; 3], reply] {
            forger.send_to(&bytes, from).await.unwrap();
        }
    };
    let (reply, ()) = tokio::join!(live.ask("www.example.com.", RecordType::A), upstream);
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    assert_eq!(reply.queries[0].name.to_ascii(), "www.example.com.");
    assert_eq!((reply.metadata.id, reply.metadata.recursion_available), (4711, true));
}

#[tokio::test]
async fn host_names_of_others_are_asked_for_the_asker() {
    let upstream =
        Live::start(Options { domain: "example.com".into(), ..Options::default() }).await;
    let live = Live::start(Options { recursors: vec![upstream.udp], ..Options::default() }).await;
    // `far` is at far.example.com, which the other door does not have: the name stands alone.
    let reply = live.ask("far.service.consul.", RecordType::A).await;
    assert_eq!(answers(&reply), ["far.example.com."]);
    assert_eq!(reply.metadata.response_code, ResponseCode::NoError);
    let reply = live.ask("deep.service.consul.", RecordType::A).await;
    assert_eq!(answers(&reply), ["10.0.0.1", "n1.node.example.com."]);
    let reply = live.ask("deep.service.consul.", RecordType::SRV).await;
    assert_eq!(answers(&reply), ["1 1 80 n1.node.example.com."]);
    let beside: Vec<_> = reply.additionals.iter().map(|r| r.data.to_string()).collect();
    assert!(beside.contains(&"10.0.0.1".to_owned()), "{beside:?}");
}
