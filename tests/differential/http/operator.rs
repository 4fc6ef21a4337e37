//! `/v1/operator/`: the servers, autopilot, the keyring.

use super::ask::{Ask, Payload, delete, get, other, post, put};
use super::intended::{ACL_POLICY, OPERATOR_WORDS, WRITE_INDEX};
use super::run::compare;

const RAFT: &[Ask] = &[
    get("/v1/operator/raft/configuration").hiding(&["ProtocolVersion"]),
    get("/v1/operator/raft/configuration?stale").hiding(&["ProtocolVersion"]),
    get("/v1/operator/raft/configuration?pretty").hiding(&["ProtocolVersion"]),
    get("/v1/operator/raft/configuration?dc=nowhere"),
    put("/v1/operator/raft/configuration", ""),
    delete("/v1/operator/raft/peer"),
    delete("/v1/operator/raft/peer?id="),
    delete("/v1/operator/raft/peer?id=nope"),
    delete("/v1/operator/raft/peer?address=nope"),
    delete("/v1/operator/raft/peer?address=10.9.9.9:8300"),
    delete("/v1/operator/raft/peer?id=nope&address=nope"),
    delete("/v1/operator/raft/peer?id=nope&dc=nowhere"),
    get("/v1/operator/raft/peer"),
];

const AUTOPILOT: &[Ask] = &[
    get("/v1/operator/autopilot/configuration"),
    get("/v1/operator/autopilot/configuration?stale"),
    get("/v1/operator/autopilot/configuration?dc=nowhere"),
    put("/v1/operator/autopilot/configuration", ""),
    put("/v1/operator/autopilot/configuration", "nope"),
    put("/v1/operator/autopilot/configuration", "[]"),
    put("/v1/operator/autopilot/configuration", r#"{"MaxTrailingLogs":"x"}"#),
    put("/v1/operator/autopilot/configuration", r#"{"LastContactThreshold":"abc"}"#),
    put(
        "/v1/operator/autopilot/configuration",
        r#"{"Bogus":1,"CleanupDeadServers":true,
        "LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":0,"ServerStabilizationTime":"10s"}"#,
    ),
    put(
        "/v1/operator/autopilot/configuration",
        r#"{"CleanupDeadServers":false,"LastContactThreshold":"300ms",
        "MaxTrailingLogs":300,"MinQuorum":3,"ServerStabilizationTime":"20s","RedundancyZoneTag":"",
        "DisableUpgradeMigration":false,"UpgradeVersionTag":""}"#,
    ),
    get("/v1/operator/autopilot/configuration").keeps("a", "/ModifyIndex"),
    put("/v1/operator/autopilot/configuration?cas=abc", r#"{"CleanupDeadServers":true}"#),
    put("/v1/operator/autopilot/configuration?cas=1", r#"{"CleanupDeadServers":true}"#),
    put(
        "/v1/operator/autopilot/configuration?cas={a}",
        r#"{"CleanupDeadServers":true,
        "LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":0,"ServerStabilizationTime":"10s"}"#,
    ),
    get("/v1/operator/autopilot/configuration"),
    put("/v1/operator/autopilot/configuration?dc=nowhere", "{}"),
    delete("/v1/operator/autopilot/configuration"),
    get("/v1/operator/autopilot/health").soon().hiding(&[
        "Version",
        "LastTerm",
        "LastIndex",
        "StableSince",
        "LastContact",
    ]),
    get("/v1/operator/autopilot/health?dc=nowhere"),
    put("/v1/operator/autopilot/health", ""),
];

const KEYRING: &[Ask] = &[
    get("/v1/operator/keyring"),
    get("/v1/operator/keyring?relay-factor=x"),
    get("/v1/operator/keyring?relay-factor=6"),
    get("/v1/operator/keyring?local-only=true"),
    get("/v1/operator/keyring?local-only=zz"),
    post("/v1/operator/keyring", ""),
    post("/v1/operator/keyring", "nope"),
    post("/v1/operator/keyring", r#"{"Key":"nope"}"#),
    post("/v1/operator/keyring?local-only=true", r#"{"Key":"nope"}"#),
    put("/v1/operator/keyring", r#"{"Key":"nope"}"#),
    delete("/v1/operator/keyring"),
    other("DELETE", "/v1/operator/keyring", Payload::Text(r#"{"Key":"nope"}"#)),
    other("PATCH", "/v1/operator/keyring", Payload::Text("")),
];

#[tokio::test]
async fn operator() {
    let rows = [RAFT, AUTOPILOT, KEYRING].concat();
    compare("operator", &rows, &[&ACL_POLICY, &WRITE_INDEX, &OPERATOR_WORDS]).await;
}
