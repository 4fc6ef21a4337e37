//! `/v1/status/`, `/v1/coordinate/`: who leads, who follows, and where everybody is.

use super::ask::{Ask, get, put};
use super::intended::{
    ACL_POLICY, JSON_WORDS, OTHER_CENTER, PANICS, REGISTERED_NAME, UNKNOWN_PATH, WRITE_INDEX,
};
use super::run::compare;

const STATUS: &[Ask] = &[
    get("/v1/status/leader"),
    get("/v1/status/leader?pretty"),
    get("/v1/status/leader?dc=dc1"),
    get("/v1/status/leader?dc=nowhere"),
    get("/v1/status/leader?stale"),
    get("/v1/status/leader?index=abc"),
    get("/v1/status/leader/").differs(&[&UNKNOWN_PATH]),
    get("/v1/status/peers"),
    get("/v1/status/peers?dc=nowhere"),
    get("/v1/status/peers?stale&consistent"),
    put("/v1/status/peers", ""),
];

#[tokio::test]
async fn status() {
    compare("status", STATUS, &[&ACL_POLICY]).await;
}

const COORDINATES: &[Ask] = &[
    get("/v1/coordinate/datacenters").hiding(&["Coordinates"]),
    get("/v1/coordinate/datacenters?dc=nowhere").hiding(&["Coordinates"]).differs(&[&OTHER_CENTER]),
    get("/v1/coordinate/nodes?segment=nope"),
    get("/v1/coordinate/nodes?dc=nowhere"),
    get("/v1/coordinate/nodes?stale&consistent"),
    get("/v1/coordinate/nodes?index=abc"),
    get("/v1/coordinate/node/nope"),
    get("/v1/coordinate/node/"),
    get("/v1/coordinate/node/nope?dc=nowhere"),
    put("/v1/catalog/register", r#"{"Node":"far","Address":"10.0.0.9"}"#),
    put("/v1/coordinate/update", ""),
    put("/v1/coordinate/update", "nope"),
    put("/v1/coordinate/update", "[]"),
    put("/v1/coordinate/update", "{}").differs(&[&PANICS]),
    put("/v1/coordinate/update", r#"{"Node":"far","Bogus":1}"#),
    put(
        "/v1/coordinate/update",
        r#"{"Node":"far","Coord":{"Vec":[1,2],"Error":1.5,"Adjustment":0,"Height":0.00001}}"#,
    ),
    put(
        "/v1/coordinate/update?dc=nowhere",
        r#"{"Node":"far","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.00001}}"#,
    ),
    put(
        "/v1/coordinate/update",
        r#"{"Node":"far","Coord":{"Vec":[0.001,0.25,-0.5,0,0,0,0,0],"Error":1.5,
        "Adjustment":-0.0001,"Height":0.00001}}"#,
    ),
    get("/v1/coordinate/node/far").soon(),
    get("/v1/coordinate/node/far?segment=nope"),
    get("/v1/coordinate/node/far?pretty"),
    get("/v1/coordinate/node/FAR").differs(&[&REGISTERED_NAME]),
    get("/v1/coordinate/node/far").keeps_index("i"),
    get("/v1/coordinate/node/far?index={i}&wait=20ms"),
    put(
        "/v1/coordinate/update",
        r#"{"Node":"nowhere","Coord":{"Vec":[0,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.00001}}"#,
    ),
    get("/v1/coordinate/node/nowhere"),
    get("/v1/coordinate/update"),
    put("/v1/coordinate/nodes", ""),
    put("/v1/catalog/deregister", r#"{"Node":"far"}"#),
    get("/v1/coordinate/node/far"),
];

#[tokio::test]
async fn coordinate() {
    compare("coordinate", COORDINATES, &[&ACL_POLICY, &WRITE_INDEX, &JSON_WORDS]).await;
}
