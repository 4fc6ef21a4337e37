//! `?cached`: kept answers, how old they may be, and how they stay fresh.

use std::time::Duration;

use crate::harness::{Agent, Http, Reply, beside_others, is_consul, until};

use super::table::Want::{Any, Is, Json};
use super::table::{Row, check, get};

const MISS: &[(&str, &str)] = &[("x-cache", "MISS"), ("age", "-")];
const HIT: &[(&str, &str)] = &[("x-cache", "HIT"), ("age", "0")];

const ROWS: &[Row] = &[
    get("not asked for", "/v1/health/service/web").gives(200, Json("[]")).with(&[("x-cache", "-")]),
    get("the first to ask", "/v1/health/service/web?cached").gives(200, Json("[]")).with(MISS),
    get("the second", "/v1/health/service/web?cached").gives(200, Json("[]")).with(HIT),
    get("the second has an index too", "/v1/health/service/web?cached")
        .gives(200, Any)
        .with(&[("x-consul-index", "*"), ("x-consul-knownleader", "true")]),
    get("one who takes it as it is", "/v1/health/service/web?cached")
        .sending(&[("cache-control", "max-age=60, stale-if-error=600")])
        .gives(200, Any)
        .with(HIT),
    get("nonsense", "/v1/health/service/web?cached")
        .sending(&[("cache-control", "max-age=x")])
        .gives(400, Is("Invalid Cache-Control header.")),
    get("kept and consistent at once", "/v1/health/service/web?cached&consistent")
        .gives(400, Is("Cannot specify ?cached with ?consistent, conflicting semantics.")),
    get("catalog, first", "/v1/catalog/service/web?cached").gives(200, Any).with(MISS),
    get("catalog, second", "/v1/catalog/service/web?cached").gives(200, Any).with(HIT),
    get("services, first", "/v1/catalog/services?cached").gives(200, Any).with(MISS),
    get("services, second", "/v1/catalog/services?cached").gives(200, Any).with(HIT),
    get("data centers, first", "/v1/catalog/datacenters?cached").gives(200, Any).with(MISS),
    get("data centers, second", "/v1/catalog/datacenters?cached").gives(200, Any).with(HIT),
    get("nodes are never kept", "/v1/catalog/nodes?cached")
        .gives(200, Any)
        .with(&[("x-cache", "-")]),
];

/// Here we do what the directives say; the other one passes them over where it keeps an answer
/// fresh by itself.
const ANEW: &[Row] = &[
    get("the first to ask", "/v1/health/service/web?cached").gives(200, Any).with(MISS),
    get("one who wants it new", "/v1/health/service/web?cached")
        .sending(&[("cache-control", "must-revalidate")])
        .gives(200, Any)
        .with(MISS),
    get("one who wants it not older than now", "/v1/health/service/web?cached")
        .sending(&[("cache-control", "max-age=0")])
        .gives(200, Any)
        .with(MISS),
    get("one who wants it new by another word", "/v1/health/service/web?cached")
        .sending(&[("cache-control", "no-cache")])
        .gives(200, Any)
        .with(MISS),
    get("the next has that one", "/v1/health/service/web?cached").gives(200, Any).with(HIT),
];

#[tokio::test]
async fn answers_are_asked_for_anew_by_who_wants_that() {
    if !is_consul() {
        check(ANEW).await;
    }
}

#[tokio::test]
async fn kept_answers() {
    check(ROWS).await;
}

fn cache(reply: &Reply) -> &str {
    reply.header("x-cache").unwrap_or("-")
}

async fn register(http: &Http, id: &str) {
    let service = format!(
        r#"{{"Node":"far","Address":"10.0.0.1","SkipNodeUpdate":false,
        "Service":{{"Service":"web","ID":"{id}","Port":80}}}}"#
    );
    http.done("/v1/catalog/register", &service).await;
}

/// A change reaches the kept answer by itself, and whoever waits for it with an index.
#[tokio::test]
async fn a_kept_answer_follows_the_catalogue() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    let path = "/v1/health/service/web?cached";
    let first = http.get(path).await;
    assert_eq!((cache(&first), first.text().as_str()), ("MISS", "[]"));
    let waits = format!("{path}&index={}&wait=30s", http.get(path).await.index());
    let (woken, ()) = tokio::join!(http.get(&waits), register(&http, "one"));
    assert_eq!(woken.json().as_array().map(Vec::len), Some(1), "{}", woken.text());
    assert!(woken.index() > first.index() && woken.took < Duration::from_secs(20));
    register(&http, "two").await;
    let limit = Duration::from_secs(10);
    let both = || async {
        let reply = http.get(path).await;
        let found = reply.json().as_array().map(Vec::len) == Some(2);
        (found && cache(&reply) == "HIT").then_some(())
    };
    until("the kept answer has both", limit, both).await;
    // An index that is behind is answered at once, from what is kept.
    let behind = http.get(&format!("{path}&index={}&wait=30s", first.index())).await;
    assert_eq!(cache(&behind), "HIT");
    assert!(behind.took < Duration::from_secs(10));
    // A wait that ends without news gives what is there.
    let last = http.get(&format!("{path}&index={}&wait=1s", behind.index())).await;
    assert_eq!(last.body, behind.body);
    assert!(last.took >= Duration::from_millis(900), "{:?}", last.took);
}

/// One kept answer serves every selection.
#[tokio::test]
async fn selections_share_what_is_kept() {
    if is_consul() {
        return; // it keeps one for each
    }
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    register(&http, "one").await;
    assert_eq!(cache(&http.get("/v1/health/service/web?cached").await), "MISS");
    let tagged = http.get("/v1/health/service/web?cached&tag=none").await;
    assert_eq!((cache(&tagged), tagged.text().as_str()), ("HIT", "[]"));
}
