//! `/v1/health/`: checks of nodes and services, states, instances with their checks.

use super::ask::{Ask, get, post, put};
use super::intended::{ACL_POLICY, CHECK_FIELDS, CHECK_FOLLOWS, FRESH, QUERY_BACKEND, WRITE_INDEX};
use super::run::compare_also_at_agents;

const REGISTERED: &[Ask] = &[
    put(
        "/v1/catalog/register",
        r#"{"Node":"h1","Address":"10.0.0.1","NodeMeta":{"rack":"r1"},
        "Service":{"ID":"web1","Service":"web","Port":80,"Tags":["v1"]},
        "Checks":[{"CheckID":"node","Name":"node","Status":"passing"},
        {"CheckID":"web","Name":"web","Status":"passing","ServiceID":"web1"}]}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"h2","Address":"10.0.0.2",
        "Service":{"ID":"web2","Service":"web","Port":81,"Tags":["v2"],"Address":"10.9.9.9"},
        "Checks":[{"CheckID":"node","Name":"node","Status":"warning"},
        {"CheckID":"web","Name":"web","Status":"passing","ServiceID":"web2"}]}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"h3","Address":"10.0.0.3",
        "Service":{"ID":"web3","Service":"web","Port":82},
        "Checks":[{"CheckID":"web","Name":"web","Status":"critical","ServiceID":"web3"}]}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"h3","Address":"10.0.0.3",
        "Service":{"ID":"p","Service":"web-proxy","Kind":"connect-proxy","Port":20000,
        "Proxy":{"DestinationServiceName":"web"}}}"#,
    ),
];

const READ: &[Ask] = &[
    get("/v1/health/node/h1").unordered(),
    get("/v1/health/node/H1").unordered(),
    get("/v1/health/node/h1?filter=ServiceID==web1"),
    get("/v1/health/node/h1?filter=Status!=passing"),
    get("/v1/health/node/none"),
    get("/v1/health/node/"),
    get("/v1/health/node/n1"),
    get("/v1/health/checks/web").unordered(),
    get("/v1/health/checks/WEB").unordered(),
    get("/v1/health/checks/web?node-meta=rack:r1"),
    get("/v1/health/checks/web?filter=Status==critical"),
    get("/v1/health/checks/web?near=h1").unordered(),
    get("/v1/health/checks/none"),
    get("/v1/health/checks/"),
    get("/v1/health/state/any").unordered(),
    get("/v1/health/state/passing").unordered(),
    get("/v1/health/state/warning"),
    get("/v1/health/state/critical"),
    get("/v1/health/state/Critical"),
    get("/v1/health/state/bogus"),
    get("/v1/health/state/"),
    get("/v1/health/state/any?node-meta=rack:r1").unordered(),
    get("/v1/health/state/any?filter=Node==h3"),
    get("/v1/health/service/web").unordered(),
    get("/v1/health/service/web?pretty").unordered(),
    get("/v1/health/service/WEB").unordered(),
    get("/v1/health/service/web?passing"),
    get("/v1/health/service/web?passing=1"),
    get("/v1/health/service/web?passing=true"),
    get("/v1/health/service/web?passing=false").unordered(),
    get("/v1/health/service/web?passing=0").unordered(),
    get("/v1/health/service/web?passing=zz"),
    get("/v1/health/service/web?tag=v1"),
    get("/v1/health/service/web?tag=V2"),
    get("/v1/health/service/web?tag=v1&tag=v2"),
    get("/v1/health/service/web?tag=v1&passing"),
    get("/v1/health/service/web?node-meta=rack:r1"),
    get("/v1/health/service/web?near=h2").unordered(),
    get("/v1/health/service/web?near=_agent").unordered(),
    get("/v1/health/service/web?filter=Service.Port==80"),
    get("/v1/health/service/web?filter=Checks.Status==warning"),
    get("/v1/health/service/web?filter=Node.Meta.rack==r1"),
    get("/v1/health/service/web?filter=Service.Port==80&passing"),
    get("/v1/health/service/none"),
    get("/v1/health/service/"),
    get("/v1/health/service/consul").soon().hiding(&["Meta", "TaggedAddresses"]),
    get("/v1/health/connect/web"),
    get("/v1/health/connect/none"),
    get("/v1/health/connect/"),
    get("/v1/health/ingress/web"),
    post("/v1/health/service/web", ""),
    put("/v1/health/state/any", ""),
];

const BLOCKING: &[Ask] = &[
    get("/v1/health/service/web?passing").keeps_index("i"),
    get("/v1/health/service/web?passing&index={i}&wait=20ms"),
    get("/v1/health/service/web?passing&index={i}&wait=20ms&stale"),
    get("/v1/health/service/none").keeps_index("i"),
    get("/v1/health/service/none?index={i}&wait=20ms"),
    get("/v1/health/node/h1").unordered().keeps_index("i"),
    get("/v1/health/node/h1?index={i}&wait=20ms").unordered(),
    get("/v1/health/checks/web?index={i}&wait=20ms").unordered(),
    get("/v1/health/state/warning?index={i}&wait=20ms&consistent"),
    get("/v1/health/service/web?passing&cached"),
    get("/v1/health/service/web?passing&cached"),
    get("/v1/health/service/web?passing&cached&index={i}&wait=20ms").differs(&[&FRESH]),
    get("/v1/health/service/web?cached&stale"),
    get("/v1/health/service/web?passing&cached").sending(&[("cache-control", "max-age=60")]),
    get("/v1/health/service/web?passing&cached")
        .sending(&[("cache-control", "max-age=1,stale-if-error=60")]),
    get("/v1/health/service/web?passing&cached")
        .sending(&[("cache-control", "no-cache")])
        .differs(&[&FRESH]),
    get("/v1/health/node/h1?cached").unordered(),
    get("/v1/health/state/any?cached").unordered(),
    get("/v1/health/checks/web?cached").unordered(),
];

const CHANGES: &[Ask] = &[
    put(
        "/v1/catalog/register",
        r#"{"Node":"h1","Address":"10.0.0.1","Check":{"CheckID":"node",
        "Name":"node","Status":"critical","Output":"gone"}}"#,
    ),
    get("/v1/health/service/web?passing"),
    get("/v1/health/state/critical").unordered(),
    put(
        "/v1/catalog/register",
        r#"{"Node":"h1","Address":"10.0.0.1","Service":{"ID":"web1",
        "Service":"renamed","Tags":["n"]}}"#,
    ),
    get("/v1/health/node/h1").unordered().differs(&[&CHECK_FOLLOWS]),
    get("/v1/health/service/renamed").differs(&[&CHECK_FOLLOWS]),
    get("/v1/health/checks/renamed").differs(&[&CHECK_FOLLOWS]),
    get("/v1/health/checks/web").unordered().differs(&[&CHECK_FOLLOWS]),
    put("/v1/catalog/deregister", r#"{"Node":"h3"}"#),
    get("/v1/health/state/critical").unordered(),
];

#[tokio::test]
async fn health() {
    let rows = [REGISTERED, READ, BLOCKING, CHANGES].concat();
    compare_also_at_agents(
        "health",
        &rows,
        &[&ACL_POLICY, &WRITE_INDEX, &CHECK_FIELDS, &QUERY_BACKEND],
    )
    .await;
}
