//! `/v1/status`, `/v1/operator/raft` and `/v1/snapshot` of a single node.

use crate::harness::{Agent, beside_others};

use super::table::Want::{Is, Json, Like};
use super::table::{Row, check, get, other};

const ROWS: &[Row] = &[
    get("the leader", "/v1/status/leader").gives(200, Json(r#""{ip}:8300""#)).with(&[("x-consul-index", "-")]),
    get("the peers", "/v1/status/peers").gives(200, Json(r#"["{ip}:8300"]"#)),
    get("the servers as Raft knows them", "/v1/operator/raft/configuration").gives(200, Json(
        r#"{"Servers":[{"ID":"*","Node":"n1","Address":"{ip}:8300","Leader":true,"ProtocolVersion":"3",
        "Voter":true}],"Index":"*"}"#,
    )),
    other("a peer without a name", "DELETE", "/v1/operator/raft/peer").gives(400, Is(
        "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
    )),
    other("a peer that is not there", "DELETE", "/v1/operator/raft/peer?id=x")
        .gives(500, Is("id \"x\" was not found in the Raft configuration")),
    get("ourselves", "/v1/agent/self").gives(200, Like(
        r#"{"Config":{"Datacenter":"dc1","NodeName":"n1","NodeID":"*","Server":true,"Version":"*","Revision":"*"},
        "DebugConfig":{"SerfAdvertiseAddrLAN":"tcp://{ip}:8301"},
        "Member":{"Name":"n1","Addr":"{ip}","Port":8301,"Status":1,"Tags":{"role":"consul","dc":"dc1","port":"8300"}},
        "Stats":{"consul":{"leader":"true"}},"Meta":"*","Coord?":"*"}"#,
    )),
    get("the members", "/v1/agent/members").gives(200, Like(
        r#"[{"Name":"n1","Addr":"{ip}","Port":8301,"Status":1,"Tags":{"role":"consul","id":"*","build":"*"}}]"#,
    )),
    get("the figures", "/v1/agent/metrics").gives(200, Like(
        r#"{"Timestamp":"*","Gauges":"*","Points":"*","Counters":"*","Samples":"*"}"#,
    )),
];

#[tokio::test]
async fn status() {
    check(ROWS).await;
}

#[tokio::test]
async fn a_snapshot_brings_everything_back() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    http.done("/v1/kv/before", "x").await;
    let before = http.get("/v1/kv/before").await;
    let saved = http.get("/v1/snapshot").await;
    assert_eq!(saved.status, 200);
    assert_eq!(saved.body.first_chunk(), Some(&[0x1f, 0x8b]), "not gzip");
    http.done("/v1/kv/after", "x").await;
    http.done("/v1/kv/before", "changed").await;
    let restore = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("http://{}/v1/snapshot", http.address());
    let restored = restore.put(url).body(saved.body).send().await.expect("an answer");
    assert_eq!(restored.status().as_u16(), 200);
    assert_eq!(http.get("/v1/kv/before?raw").await.text(), "x");
    assert_eq!(http.get("/v1/kv/after").await.status, 404);
    let restored = http.get("/v1/kv/before").await;
    assert_eq!(restored.json(), before.json(), "the key is as old as it was");
    let garbage = http.put("/v1/snapshot", "nothing of the kind").await;
    assert_eq!(garbage.status, 500);
    assert_eq!(http.get("/v1/kv/before?raw").await.text(), "x");
}
