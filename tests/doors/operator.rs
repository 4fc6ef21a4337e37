//! `/v1/operator`: autopilot's settings and judgement, and the keyring that there is not.

use std::time::Duration;

use crate::harness::{Agent, Cluster, beside_others, is_consul, until};

use super::table::Want::{Any, Is, Json, Like};
use super::table::{Row, check, check_on, delete, get, other, put};

const CONFIGURATION: &str = "/v1/operator/autopilot/configuration";

const AUTOPILOT: &[Row] = &[
    put("leadership goes to no stranger", "/v1/operator/raft/transfer-leader?id=nope", "")
        .gives(500, Is("id \"nope\" was not found in the Raft configuration"))
        .consul(404, Any),
    get("the settings of a new cluster", CONFIGURATION).gives(200, Json(
        r##"{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":0,
        "ServerStabilizationTime":"10s","RedundancyZoneTag":"","DisableUpgradeMigration":false,
        "UpgradeVersionTag":"","CreateIndex":"#","ModifyIndex":"#"}"##,
    ))
    .with(&[("x-consul-index", "-")])
    .keeps(&[("first", "/ModifyIndex")]),
    get("of another data center", "/v1/operator/autopilot/configuration?dc=x")
        .gives(500, Is("No path to datacenter")),
    get("stale", "/v1/operator/autopilot/configuration?stale").gives(200, Any),
    get("two consistencies", "/v1/operator/autopilot/configuration?stale&consistent")
        .gives(400, Is("Cannot specify ?stale with ?consistent, conflicting semantics.")),
    put("an index that is none", "/v1/operator/autopilot/configuration?cas=x", "{}").gives(400, Is(
        "Bad request: Error parsing cas value: strconv.ParseUint: parsing \"x\": invalid syntax",
    )),
    put("a truth that is none", CONFIGURATION, r#"{"CleanupDeadServers":3}"#).gives(400, Is(
        "Bad request: Error parsing autopilot config: json: cannot unmarshal number into Go struct field \
         AutopilotConfiguration.CleanupDeadServers of type bool",
    )),
    put("a duration that is none", CONFIGURATION, r#"{"LastContactThreshold":"zz"}"#)
        .gives(400, Is("Bad request: Error parsing autopilot config: time: invalid duration \"zz\"")),
    put("a count below zero", CONFIGURATION, r#"{"MaxTrailingLogs":-1}"#).gives(400, Is(
        "Bad request: Error parsing autopilot config: json: cannot unmarshal number -1 into Go struct field \
         AutopilotConfiguration.MaxTrailingLogs of type uint64",
    )),
    put("an unknown field", CONFIGURATION, r#"{"bogus":1}"#)
        .gives(400, Is("Bad request: Error parsing autopilot config: json: unknown field \"bogus\"")),
    put("no settings", CONFIGURATION, "").gives(400, Is("Bad request: Error parsing autopilot config: EOF")),
    put("settings for another data center", "/v1/operator/autopilot/configuration?dc=x", "{}")
        .gives(500, Is("No path to datacenter")),
    put("settings of another index", "/v1/operator/autopilot/configuration?cas=999999", "{}")
        .gives(200, Json("false")),
    put("settings of the right one", "/v1/operator/autopilot/configuration?cas={first}",
        r#"{"MinQuorum":3,"LastContactThreshold":"300ms","MaxTrailingLogs":9,"CleanupDeadServers":true,
        "ServerStabilizationTime":"1m0s"}"#)
        .gives(200, Json("true")),
    get("what is set", CONFIGURATION).gives(200, Like(
        r#"{"CleanupDeadServers":true,"LastContactThreshold":"300ms","MaxTrailingLogs":9,"MinQuorum":3,
        "ServerStabilizationTime":"1m0s"}"#,
    )),
    put("a single setting", CONFIGURATION, r#"{"MaxTrailingLogs":7}"#).gives(200, Json("true")),
    // The other one zeroes what is not named, and mended that in 1.11.
    get("the others are the defaults", CONFIGURATION)
        .gives(200, Like(
            r#"{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":7,"MinQuorum":0}"#,
        ))
        .consul(200, Like(r#"{"CleanupDeadServers":false,"LastContactThreshold":"0s","MaxTrailingLogs":7}"#)),
    put("the defaults again", CONFIGURATION,
        r#"{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250}"#)
        .gives(200, Any),
    get("another data center's health", "/v1/operator/autopilot/health?dc=x")
        .gives(500, Is("No path to datacenter")),
    get("the state", "/v1/operator/autopilot/state")
        .gives(200, Like(r#"{"FailureTolerance":0,"Servers":"*","Leader":"*","Voters":["*"]}"#))
        .consul(404, Any),
];

#[tokio::test]
async fn autopilot() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    // The first leader stores them right after it began to lead.
    let stored =
        || async { http.get(CONFIGURATION).await.json()["ModifyIndex"].as_u64() != Some(0) };
    let look = || async { stored().await.then_some(()) };
    until("a leader has stored the settings", Duration::from_secs(10), look).await;
    check_on(&agent, AUTOPILOT).await;
}

#[tokio::test]
async fn a_lone_server_is_well_and_tolerates_nothing() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    let look = || async {
        let reply = http.get("/v1/operator/autopilot/health").await;
        (reply.status == 200).then(|| reply.json())
    };
    let (health, _) = until("the server is well", Duration::from_secs(30), look).await;
    let server = &health["Servers"][0];
    assert_eq!((&health["Healthy"], &health["FailureTolerance"]), (&true.into(), &0.into()));
    assert_eq!(server["Address"], format!("{}:8300", agent.address()));
    for (name, value) in [("SerfStatus", "alive"), ("LastContact", "0s"), ("Name", "n1")] {
        assert_eq!(server[name], value, "{health}");
    }
    assert_eq!((&server["Leader"], &server["Voter"]), (&true.into(), &true.into()), "{health}");
}

/// A server that is gone is told by 429, on every server alike; settings reach all and outlive it.
#[tokio::test]
async fn autopilot_of_three() {
    if is_consul() {
        return;
    }
    let _turn = beside_others().await;
    let mut cluster = Cluster::start().await;
    cluster.settled().await;
    let limit = Duration::from_secs(30);
    for http in cluster.https() {
        let well = || async {
            let reply = http.get("/v1/operator/autopilot/health").await;
            let tolerates = reply.json()["FailureTolerance"] == 1;
            (reply.status == 200 && tolerates).then_some(())
        };
        until("all three are well", limit, well).await;
    }
    let settings = r#"{"MaxTrailingLogs":77}"#;
    cluster.https()[0].done(CONFIGURATION, settings).await;
    let gone = cluster.followers().await[0];
    cluster.servers[gone].kill().await;
    for (nth, http) in cluster.https().into_iter().enumerate().filter(|(nth, _)| *nth != gone) {
        let ill = || async {
            let reply = http.get("/v1/operator/autopilot/health").await;
            (reply.status == 429 && reply.json()["FailureTolerance"] == 0).then_some(())
        };
        until("the one that is gone is told", limit, ill).await;
        let shown = http.get(CONFIGURATION).await.json();
        assert_eq!(shown["MaxTrailingLogs"], 77, "server {nth}");
    }
}

const KEYRING: &str = "/v1/operator/keyring";

const KEYS: &[Row] = &[
    get("the keys", KEYRING).gives(500, Is(
        "4 errors occurred:\n\t* WAN error: 1/1 nodes reported failure\n\t* n1.dc1: Keyring is empty (encryption \
         not enabled)\n\t* dc1 (LAN) error: 1/1 nodes reported failure\n\t* n1: Keyring is empty (encryption not \
         enabled)\n\n",
    )),
    get("of this pool alone", "/v1/operator/keyring?local-only=1").gives(500, Is(
        "2 errors occurred:\n\t* dc1 (LAN) error: 1/1 nodes reported failure\n\t* n1: Keyring is empty (encryption \
         not enabled)\n\n",
    )),
    get("too many relays", "/v1/operator/keyring?relay-factor=9")
        .gives(400, Is("Bad request: Invalid relay-factor: Relay factor must be in range: [0, 5]")),
    get("relays that are no number", "/v1/operator/keyring?relay-factor=x").gives(400, Is(
        "Bad request: Error parsing relay factor: strconv.Atoi: parsing \"x\": invalid syntax",
    )),
    get("a truth that is none", "/v1/operator/keyring?local-only=x").gives(400, Is(
        "Bad request: Error parsing local-only: strconv.ParseBool: parsing \"x\": invalid syntax",
    )),
    put("no key", KEYRING, "").gives(400, Is("Bad request: Request decode failed: EOF")),
    put("an unknown field", KEYRING, r#"{"Kex":"a"}"#)
        .gives(400, Is("Bad request: Request decode failed: json: unknown field \"Kex\"")),
    put("a key that is none", KEYRING, r#"{"Key":"x"}"#).gives(500, Is(
        "2 errors occurred:\n\t* WAN error: illegal base64 data at input byte 0\n\t* dc1 (LAN) error: illegal base64 \
         data at input byte 0\n\n",
    )),
    put("a change of this pool alone", "/v1/operator/keyring?local-only=1", r#"{"Key":"x"}"#).gives(400, Is(
        "Bad request: Invalid use of local-only: local-only can only be set for list requests",
    )),
    other("a new key needs one", "POST", KEYRING).gives(400, Is("Bad request: Request decode failed: EOF")),
    delete("so does one that goes", KEYRING).gives(400, Is("Bad request: Request decode failed: EOF")),
];

#[tokio::test]
async fn keyring() {
    check(KEYS).await;
}
