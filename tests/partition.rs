//! Five servers in network namespaces, and cuts between them: both ways and one way.
//!
//! | variable | means |
//! |---|---|
//! | `PORTOLAN_PARTITION_ROUNDS` | how often every fault is made; not set: the usual ones, once |
//!
//! `make partition` makes every fault three times, against the release program.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep};

use crate::harness::{
    Cluster, Http, Network, alone, is_consul, on_network, rest, setting, skip, surely_refused,
    until, within,
};

/// After a fault every server of the majority must acknowledge a new write this soon.
const RESUMED_LIMIT: Duration = Duration::from_secs(3);
/// A write that takes longer is given up and sent anew.
const ATTEMPT: Duration = Duration::from_millis(500);
/// By when a server that was cut off must know it, and refuse.
const REFUSED_LIMIT: Duration = Duration::from_secs(30);
/// How long a server waits for a leader before it refuses; 7 s if nothing else is said.
const PATIENCE: &str = r#"performance { rpc_hold_timeout = "1s" }"#;
/// Who was cleaned up while it was cut off, and came back, gets its vote again after this.
const STABLE: &str = r#"autopilot { server_stabilization_time = "500ms" }"#;
/// Clients of each server that was cut off.
const CLIENTS: usize = 6;
/// Between the first writes of two of them.
const STAGGER: Duration = Duration::from_millis(40);
/// How long the cluster is watched after a cut was mended: longer than any election takes.
const CALM: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_mins(1);

/// Who is who when a fault is made.
struct Roles {
    leader: usize,
    followers: Vec<usize>,
    others: Vec<usize>,
}

/// What is cut, and what must come of it.
struct Fault {
    name: &'static str,
    /// Whether `make test` makes it too.
    usual: bool,
    cut: fn(&Network, &Roles),
    /// Who cannot take part any more.
    away: fn(&Roles) -> Vec<usize>,
    /// How many elections there may be.
    elections: u64,
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "the leader alone",
        usual: true,
        cut: |network, roles| network.isolate(&[roles.leader]),
        away: |roles| vec![roles.leader],
        elections: 1,
    },
    Fault {
        name: "the leader with one follower",
        usual: false,
        cut: |network, roles| network.isolate(&[roles.leader, roles.followers[0]]),
        away: |roles| vec![roles.leader, roles.followers[0]],
        elections: 1,
    },
    Fault {
        name: "a follower alone",
        usual: false,
        cut: |network, roles| network.isolate(&[roles.followers[0]]),
        away: |roles| vec![roles.followers[0]],
        elections: 0,
    },
    Fault {
        name: "two followers",
        usual: false,
        cut: |network, roles| network.isolate(&roles.followers[..2]),
        away: |roles| roles.followers[..2].to_vec(),
        elections: 0,
    },
    Fault {
        name: "the leader hears nobody",
        usual: true,
        cut: |network, roles| network.cut(&roles.followers, &[roles.leader]),
        away: |roles| vec![roles.leader],
        elections: 1,
    },
    Fault {
        name: "nobody hears the leader",
        usual: false,
        cut: |network, roles| network.cut(&[roles.leader], &roles.followers),
        away: |roles| vec![roles.leader],
        elections: 1,
    },
    Fault {
        name: "a follower hears nobody",
        usual: false,
        cut: |network, roles| network.cut(&roles.others, &roles.followers[..1]),
        away: |roles| vec![roles.followers[0]],
        elections: 0,
    },
    Fault {
        name: "nobody hears a follower",
        usual: true,
        cut: |network, roles| network.cut(&roles.followers[..1], &roles.others),
        away: |roles| vec![roles.followers[0]],
        elections: 0,
    },
    Fault {
        name: "a follower and the leader hear each other no more, all others do",
        usual: false,
        cut: |network, roles| {
            network.cut(&[roles.leader], &roles.followers[..1]);
            network.cut(&roles.followers[..1], &[roles.leader]);
        },
        away: |roles| vec![roles.followers[0]],
        elections: 0,
    },
];

/// What was seen of a fault.
#[derive(Debug)]
struct Seen {
    elections: u64,
    /// From the cut to the first new write that every server of the majority acknowledged.
    resumed: Duration,
    /// How long a write took that was sent to the majority at the moment of the cut.
    patient: Duration,
    /// From the cut until the last of those cut off refused a write.
    refused: Duration,
    /// From mending to all servers having the same state.
    converged: Duration,
}

async fn roles(cluster: &Cluster) -> Roles {
    let leader = cluster.leader().await;
    let followers = cluster.followers().await;
    let others = (0..cluster.servers.len()).filter(|at| *at != followers[0]).collect();
    Roles { leader, followers, others }
}

/// Raft's term as a server knows it.
async fn term(http: &Http) -> u64 {
    let own = http.get("/v1/agent/self").await.json();
    let term = own["Stats"]["raft"]["term"].as_str().and_then(|text| text.parse().ok());
    term.unwrap_or_else(|| panic!("no term in {own}"))
}

async fn newest_term(servers: &[Http]) -> u64 {
    let terms = join_all(servers.iter().map(term)).await;
    terms.into_iter().max().expect("there are servers")
}

fn text(reply: Result<crate::harness::Reply, reqwest::Error>) -> String {
    reply.map_or_else(|error| error.to_string(), |reply| reply.text())
}

/// Writes new keys until one is acknowledged; how long that took.
async fn resumed(http: &Http, key: &str) -> Duration {
    let quick = Http::with_limit(http.address(), ATTEMPT);
    let began = Instant::now();
    let mut nth = 0;
    while text(quick.try_put(&format!("/v1/kv/{key}/{nth}"), "x").await) != "true" {
        assert!(began.elapsed() < LIMIT, "{} takes no write", http.address());
        nth += 1;
        rest().await;
    }
    began.elapsed()
}

/// Writes new keys until one is surely refused; how long that took, and the keys refused so.
async fn refused(http: &Http, key: &str) -> (Duration, Vec<String>) {
    let began = Instant::now();
    let mut keys = Vec::new();
    let mut nth = 0;
    // Twice in a row: the first may have been underway as the server lost the others.
    while keys.len() < 2 {
        let path = format!("/v1/kv/{key}/{nth}");
        let reply = http.put(&path, "x").await;
        assert_ne!(reply.text(), "true", "{}: a minority took a write", http.address());
        assert_eq!(reply.status, 500, "{}", reply.text());
        if surely_refused(&reply.text()) {
            keys.push(path);
        } else {
            keys.clear();
        }
        assert!(began.elapsed() < REFUSED_LIMIT, "{}: {}", http.address(), reply.text());
        nth += 1;
    }
    (began.elapsed(), keys)
}

/// Makes one fault, judges what comes of it, mends it, and judges again.
async fn endure(network: &Network, cluster: &Cluster, fault: &Fault, round: usize) -> Seen {
    let roles = roles(cluster).await;
    let away = (fault.away)(&roles);
    let https = cluster.https();
    let side = |inside: bool| -> Vec<Http> {
        let on = |at: &usize| away.contains(at) == inside;
        (0..https.len()).filter(on).map(|at| https[at].clone()).collect()
    };
    let (minority, majority) = (side(true), side(false));
    let base = format!("cut/{round}/{}", fault.name.replace([' ', ','], "-"));
    https[0].done(&format!("/v1/kv/{base}/before"), "before").await;
    cluster.agreed(LIMIT).await;
    let term_before = newest_term(&https).await;

    (fault.cut)(network, &roles);
    let resumes = async {
        let key = |nth| format!("{base}/majority/{nth}");
        let tries = majority
            .iter()
            .enumerate()
            .map(|(nth, http)| async move { resumed(http, &key(nth)).await });
        join_all(tries).await.into_iter().max().expect("a majority")
    };
    let patience = async {
        let reply = majority[0].put(&format!("/v1/kv/{base}/patient"), "x").await;
        assert!(reply.status == 200 || reply.status == 500, "{}", reply.text());
        reply.took
    };
    let clients = minority.iter().flat_map(|http| (0..CLIENTS).map(move |client| (http, client)));
    let refusals = join_all(clients.enumerate().map(|(nth, (http, client))| {
        let key = format!("{base}/minority/{nth}");
        async move {
            // One after another: else a leader would take all their first writes as one.
            sleep(STAGGER * u32::try_from(client).expect("few clients")).await;
            refused(http, &key).await
        }
    }));
    let (resumed, patient, refusals) = tokio::join!(resumes, patience, refusals);
    for http in &minority {
        let stale = http.get(&format!("/v1/kv/{base}/before?stale&raw")).await;
        assert_eq!((stale.status, stale.text().as_str()), (200, "before"), "a stale read");
    }
    let elections = newest_term(&majority).await - term_before;
    let led_by = leader_of(&majority).await;

    network.heal();
    let mended = Instant::now();
    calm(&majority, &led_by, term_before + elections).await;
    cluster.agreed(LIMIT).await;
    let converged = mended.elapsed().saturating_sub(CALM);
    assert_eq!(newest_term(&https).await, term_before + elections, "{}", fault.name);
    assert_eq!(leader_of(&https).await, led_by, "{}", fault.name);
    for key in refusals.iter().flat_map(|(_, keys)| keys) {
        let found = https[roles.leader].get(&format!("{key}?consistent")).await;
        assert_eq!(found.status, 404, "{key} was refused and is there");
    }
    let refused = refusals.iter().map(|(took, _)| *took).max().unwrap_or_default();
    Seen { elections, resumed, patient, refused, converged }
}

/// The leader that all of these name.
async fn leader_of(servers: &[Http]) -> String {
    let named = || async {
        let names = join_all(servers.iter().map(|http| http.get("/v1/status/leader"))).await;
        let names: BTreeSet<String> = names.iter().map(crate::harness::Reply::text).collect();
        let one = names.first().filter(|name| names.len() == 1 && name.len() > 2);
        one.cloned()
    };
    until("all name the same leader", LIMIT, named).await.0
}

/// Watches the majority for a while: it keeps its leader, and its term.
async fn calm(majority: &[Http], leader: &str, term_now: u64) {
    let disturbed = || async {
        let term = newest_term(majority).await;
        let led_by = leader_of(majority).await;
        (term != term_now || led_by != leader).then_some((term, led_by))
    };
    if let Some((term, led_by)) = within(CALM, disturbed).await {
        panic!("{leader} led in term {term_now} and was unseated: {led_by} in term {term}");
    }
}

/// One election at most for each fault, a majority that writes on, a minority that answers stale
/// reads and says that it wrote nothing, and no unrest when it comes back. Takes about a minute.
#[test]
fn a_majority_goes_on_and_keeps_its_leader() {
    let name = "a_majority_goes_on_and_keeps_its_leader";
    if is_consul() {
        return skip(name, "the real Consul has no hash of its state");
    }
    let rounds: Option<usize> = setting("PORTOLAN_PARTITION_ROUNDS")
        .map(|text| text.parse().expect("PORTOLAN_PARTITION_ROUNDS is a number"));
    on_network(name, 5, move |network| async move {
        let _turn = alone().await;
        let cluster = Cluster::start_on(network.hosts(), &[PATIENCE, STABLE]).await;
        let mut seen = Vec::new();
        for round in 0..rounds.unwrap_or(1) {
            for fault in FAULTS.iter().filter(|fault| fault.usual || rounds.is_some()) {
                // A server that was away long enough was taken out meanwhile, as in Consul.
                cluster.settled().await;
                let of_fault = endure(&network, &cluster, fault, round).await;
                println!("partition: {}: {of_fault:?}", fault.name);
                assert!(of_fault.elections <= fault.elections, "{}: {of_fault:?}", fault.name);
                assert!(of_fault.resumed <= RESUMED_LIMIT, "{}: {of_fault:?}", fault.name);
                seen.push(of_fault);
            }
        }
        summary(&seen);
    });
}

fn summary(seen: &[Seen]) {
    let slowest = |of: fn(&Seen) -> Duration| seen.iter().map(of).max().unwrap_or_default();
    println!(
        "partition: {} faults, {} elections; at the most {:?} until writes went on, {:?} for a \
         write that waited, {:?} until the minority refused, {:?} until all were the same",
        seen.len(),
        seen.iter().map(|seen| seen.elections).sum::<u64>(),
        slowest(|seen| seen.resumed),
        slowest(|seen| seen.patient),
        slowest(|seen| seen.refused),
        slowest(|seen| seen.converged),
    );
}

/// A cut loses what is sent one way, and what is sent the other way arrives: else the faults above
/// would be others than they say.
#[test]
fn a_cut_is_silent_and_goes_one_way() {
    let name = "a_cut_is_silent_and_goes_one_way";
    on_network(name, 2, |network| async move {
        let [one, two] = network.hosts() else { panic!("two hosts") };
        let (first, second) = (one.socket(), two.socket());
        let sent = |from: &std::net::UdpSocket, to: &std::net::UdpSocket| {
            let to_address = to.local_addr().expect("an address");
            from.send_to(b"word", to_address).expect("a cut says nothing to who sends");
            to.recv_from(&mut [0; 16]).is_ok()
        };
        assert!(sent(&first, &second) && sent(&second, &first), "before");
        network.cut(&[0], &[1]);
        assert!(!sent(&first, &second), "what was cut arrives");
        assert!(sent(&second, &first), "what was not cut does not arrive");
        network.isolate(&[0]);
        assert!(!sent(&first, &second) && !sent(&second, &first), "both ways");
        network.heal();
        assert!(sent(&first, &second) && sent(&second, &first), "mended");
    });
}
