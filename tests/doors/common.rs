//! The rules that hold for every route: methods, paths, queries, parameters, headers.

use crate::harness::{Agent, beside_others, is_consul};

use super::table::Want::{Any, Empty, Is, Json, Starts};
use super::table::{Row, check, get, other, put};

const BOTH: &str = "Cannot specify ?stale with ?consistent, conflicting semantics.";

const ROWS: &[Row] = &[
    get("an unknown path", "/v1/nope").gives(404, Any).consul(404, Empty),
    other("a method that a route has not", "POST", "/v1/kv/a")
        .gives(405, Is("method POST not allowed"))
        .with(&[("allow", "OPTIONS,GET,PUT,DELETE")]),
    other("HEAD is no GET", "HEAD", "/v1/kv/a").gives(405, Empty),
    other("OPTIONS names the methods", "OPTIONS", "/v1/kv/a")
        .gives(200, Empty)
        .with(&[("allow", "OPTIONS,GET,PUT,DELETE")]),
    other("OPTIONS of a reading route", "OPTIONS", "/v1/catalog/nodes")
        .gives(200, Empty)
        .with(&[("allow", "OPTIONS,GET")]),
    other("a reading route takes no PUT", "PUT", "/v1/catalog/nodes")
        .gives(405, Is("method PUT not allowed")),
    other("a writing route takes no GET", "GET", "/v1/catalog/register")
        .gives(405, Is("method GET not allowed")),
    get("two slashes become one", "/v1/kv/a//c")
        .gives(301, Any)
        .with(&[("location", "/v1/kv/a/c")]),
    get("the root of the keys has a slash", "/v1/kv")
        .gives(301, Any)
        .with(&[("location", "/v1/kv/")]),
    get("a dot segment is taken out", "/v1/./kv/b").gives(404, Any),
    get("an unprintable character in the path", "/v1/kv/a%01b").gives(400, Empty),
    get("a query that cannot be read", "/v1/kv/a?%zz").gives(500, Empty),
    get("another datacenter", "/v1/kv/a?dc=dc9").gives(500, Is("No path to datacenter")),
    get("our own datacenter", "/v1/catalog/nodes?dc=dc1").gives(200, Any),
    get("two consistencies of a key", "/v1/kv/a?stale&consistent").gives(400, Is(BOTH)),
    get("two consistencies of a service", "/v1/health/service/a?stale&consistent")
        .gives(400, Is(BOTH)),
    get("an index that is no number", "/v1/kv/a?index=abc").gives(400, Is("Invalid index")),
    get("an index below zero", "/v1/catalog/nodes?index=-1").gives(400, Is("Invalid index")),
    get("a wait without a unit", "/v1/kv/a?wait=10").gives(400, Is("Invalid wait time")),
    get("a wait that is no duration", "/v1/health/state/any?wait=abc")
        .gives(400, Is("Invalid wait time")),
    get("a staleness that is no duration", "/v1/catalog/nodes?max_stale=xx")
        .gives(400, Is("Invalid max_stale value \"xx\"")),
    get("a filter that cannot be read", "/v1/catalog/nodes?filter=zz%3D")
        .gives(500, Any)
        .consul(500, Starts("Failed to create boolean expression evaluator: ")),
    get("a wait without an index answers at once", "/v1/kv/absent?wait=5s").gives(404, Empty),
    put("a write", "/v1/kv/c/1", "x").gives(200, Json("true")),
    get("pretty JSON ends with a line", "/v1/kv/c/1?keys&pretty")
        .gives(200, Is("[\n    \"c/1\"\n]\n")),
    get("errors are plain text", "/v1/kv/a?index=abc")
        .gives(400, Any)
        .with(&[("content-type", "text/plain; charset=utf-8"), ("vary", "Accept-Encoding")]),
    get("answers are JSON", "/v1/kv/c/1").gives(200, Any).with(&[
        ("content-type", "application/json"),
        ("vary", "Accept-Encoding"),
        ("x-consul-index", "*"),
        ("x-consul-knownleader", "true"),
        ("x-consul-lastcontact", "0"),
        ("x-consul-effective-consistency", "-"),
    ]),
    get("the catalogue says how consistent it was", "/v1/catalog/nodes")
        .gives(200, Any)
        .with(&[("x-consul-effective-consistency", "leader")]),
    get("… consistent", "/v1/catalog/nodes?consistent")
        .gives(200, Any)
        .with(&[("x-consul-effective-consistency", "consistent")]),
    get("… stale", "/v1/health/service/consul?stale")
        .gives(200, Any)
        .with(&[("x-consul-effective-consistency", "stale")]),
    get("a missing key has an index all the same", "/v1/kv/absent")
        .gives(404, Empty)
        .with(&[("x-consul-index", "*"), ("x-consul-knownleader", "true")]),
    get("errors of the catalogue carry the headers", "/v1/catalog/nodes?dc=dc9")
        .gives(500, Is("No path to datacenter"))
        .with(&[("x-consul-index", "*")]),
    get("a token is accepted while there is no access control", "/v1/kv/c/1?token=any")
        .gives(200, Any),
    get("a token in a header", "/v1/kv/c/1").sending(&[("x-consul-token", "any")]).gives(200, Any),
];

#[tokio::test]
async fn common_rules() {
    check(ROWS).await;
}

#[tokio::test]
async fn gzip_unpacks_to_the_same_bytes() {
    use std::io::Read;

    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    http.done("/v1/kv/packed", &"sea ".repeat(500)).await;
    let plain = http.get("/v1/kv/packed").await;
    let asked = [("accept-encoding", "gzip")];
    let packed = http.send("GET", "/v1/kv/packed", &asked, "").await.expect("an answer");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() < plain.body.len(), "packing made nothing smaller");
    let mut unpacked = Vec::new();
    let mut reader = flate2::read::GzDecoder::new(packed.body.as_slice());
    reader.read_to_end(&mut unpacked).expect("gzip");
    assert_eq!(unpacked, plain.body);
}

/// The bound of a value holds for the bytes that come, not for what a header promises.
#[tokio::test]
async fn a_chunked_body_is_bounded_too() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    let value = "x".repeat(524_289);
    let head = "PUT /v1/kv/big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    let request = format!("{head}Transfer-Encoding: chunked\r\n\r\n80001\r\n{value}\r\n0\r\n\r\n");
    let answer = http.raw(request.as_bytes()).await;
    if is_consul() {
        return;
    }
    // The server may hang up while we are still sending: then nothing can be read either.
    if let Ok(answer) = answer {
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
    assert_eq!(http.get("/v1/kv/big").await.status, 404);
}
