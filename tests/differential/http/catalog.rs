//! `/v1/catalog/`: registering, every way of reading it back, deregistering.

use super::ask::{Ask, Payload, get, other, post, put};
use super::intended::{
    ACL_POLICY, CHECK_FIELDS, FILTER_WORDS, FRESH, JSON_WORDS, NAME_HOLDER, NODE_ID_STAYS,
    OTHER_CENTER, WHOLE_ID, WRITE_INDEX,
};
use super::run::{compare, compare_also_at_agents};

const REFUSED: &[Ask] = &[
    put("/v1/catalog/register", ""),
    put("/v1/catalog/register", "nope"),
    put("/v1/catalog/register", "null"),
    put("/v1/catalog/register", "[]"),
    put("/v1/catalog/register", "{}"),
    put("/v1/catalog/register", r#"{"Node":7,"Address":"10.0.0.1"}"#),
    put("/v1/catalog/register", r#"{"Node":"e1","Address":"10.0.0.1","Bogus":1}"#),
    put("/v1/catalog/register", r#"{"Node":"e1","Address":"10.0.0.1","Service":{"Bogus":1}}"#),
    put("/v1/catalog/register", r#"{"Node":"e1","Address":"10.0.0.1","Check":{"Bogus":1}}"#),
    put("/v1/catalog/register", r#"{"Node":"e1"}"#),
    put("/v1/catalog/register", r#"{"Address":"10.0.0.1"}"#),
    put("/v1/catalog/register", r#"{"Node":"e1","ID":"x","Address":"10.0.0.1"}"#),
    put(
        "/v1/catalog/register",
        r#"{"Node":"e1","ID":"not-a-uuid-but-as-long-as-one-has-to","Address":"10.0.0.1"}"#,
    ),
    put("/v1/catalog/register", r#"{"Node":"e1","Address":"10.0.0.1","Datacenter":"nowhere"}"#),
    put("/v1/catalog/register?dc=nowhere", r#"{"Node":"e1","Address":"10.0.0.1"}"#)
        .differs(&[&OTHER_CENTER]),
    put("/v1/catalog/register", r#"{"Node":"e1","Address":"10.0.0.1","Service":{"ID":"x"}}"#),
    put(
        "/v1/catalog/register",
        r#"{"Node":"e1","Address":"10.0.0.1","Service":{"Service":"x","Port":"80"}}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"e1","Address":"10.0.0.1","Service":{"Service":"x","Tags":"a"}}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"e1","Address":"10.0.0.1","Service":{"Service":"x","Weights":{"Passing":-1}}}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"e1","Address":"10.0.0.1","Check":{"CheckID":"c","ServiceID":"x"}}"#,
    ),
    put("/v1/catalog/register", r#"{"Node":"e1","SkipNodeUpdate":true,"Service":{"Service":"x"}}"#),
    put(
        "/v1/catalog/register",
        r#"{"Node":"never","SkipNodeUpdate":true,"Service":{"Service":"x"}}"#,
    ),
    get("/v1/catalog/register"),
    post("/v1/catalog/register", "{}"),
];

const REGISTERED: &[Ask] = &[
    put("/v1/catalog/register", r#"{"Node":"e1","Address":"10.0.0.1"}"#),
    put(
        "/v1/catalog/register",
        r#"{"Node":"e2","ID":"22222222-2222-2222-2222-222222222222",
        "Address":"10.0.0.2","Datacenter":"dc1","TaggedAddresses":{"lan":"10.0.0.2","wan":"1.2.3.4"},
        "NodeMeta":{"rack":"r1","own-key":"v"}}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"e1","Address":"10.0.0.1","Service":{"ID":"web1","Service":"web",
        "Port":80,"Tags":["v1","Blue"],"Meta":{"k":"v"}}}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"node":"e2","id":"22222222-2222-2222-2222-222222222222",
        "address":"10.0.0.2","nodemeta":{"rack":"r1","own-key":"v"},
        "taggedaddresses":{"lan":"10.0.0.2","wan":"1.2.3.4"},"service":{"service":"web","port":81,
        "address":"10.9.9.9","tags":["v2"],"enabletagoverride":true,
        "taggedaddresses":{"wan":{"address":"1.2.3.4","port":82}},"weights":{"passing":3,"warning":2}}}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"e2","SkipNodeUpdate":true,"Service":{"Service":"db",
        "TaggedAddresses":{"lan_ipv6":{"Address":"::1","Port":1}}}}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"e2","ID":"22222222-2222-2222-2222-222222222222",
        "Address":"10.0.0.2","Service":{"ID":"proxy1",
        "Service":"web-proxy","Kind":"connect-proxy","Port":20000,"Proxy":{"DestinationServiceName":"web",
        "DestinationServiceID":"web1","LocalServiceAddress":"127.0.0.1","LocalServicePort":80,
        "Config":{"a":1}}}}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"e2","ID":"22222222-2222-2222-2222-222222222222","Address":"10.0.0.2","Service":{"ID":"native",
        "Service":"native","Connect":{"Native":true}}}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"e1","Address":"10.0.0.1","Check":{"CheckID":"c1","Name":"c",
        "Status":"passing","ServiceID":"web1","Notes":"n","Output":"o"}}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"e1","Address":"10.0.0.1","Checks":[
        {"CheckID":"c2","Name":"c","Status":"critical"},{"Name":"named","Status":"weird"},
        {"Node":"e1","CheckID":"c3","Status":"warning","Definition":{"HTTP":"http://x/","Method":"POST",
        "Header":{"a":["b"]},"Interval":"10s","Timeout":"1s","DeregisterCriticalServiceAfter":"90s"}}]}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"e1","Address":"10.0.0.1","Check":{"CheckID":"c4","Status":""},
        "Checks":[{"CheckID":"c5","Status":"passing"}]}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"e1","Address":"10.0.0.1","Check":{"Node":"e2","CheckID":"c6"}}"#,
    ),
];

const READ: &[Ask] = &[
    get("/v1/catalog/datacenters"),
    get("/v1/catalog/datacenters?pretty"),
    get("/v1/catalog/datacenters?dc=nowhere"),
    get("/v1/catalog/nodes").soon().hiding(&["Meta", "TaggedAddresses"]),
    get("/v1/catalog/nodes?node-meta=rack:r1"),
    get("/v1/catalog/nodes?node-meta=rack:r1&node-meta=own-key:v"),
    get("/v1/catalog/nodes?node-meta=rack:r2"),
    get("/v1/catalog/nodes?node-meta=rack"),
    get("/v1/catalog/nodes?node-meta="),
    get("/v1/catalog/nodes?filter=Node==e2"),
    get("/v1/catalog/nodes?filter=Meta.rack==r1"),
    get("/v1/catalog/nodes?filter=Meta.rack+is+empty+and+Node+!=+n1").differs(&[&FILTER_WORDS]),
    get("/v1/catalog/nodes?filter=Meta+is+empty+and+Node+!=+n1"),
    get("/v1/catalog/nodes?filter=Address+matches+%60%5E10%60"),
    get("/v1/catalog/nodes?filter=Node==nowhere"),
    get("/v1/catalog/nodes?near=e1&filter=Node!=n1").unordered(),
    get("/v1/catalog/nodes?stale&filter=Node==e2"),
    get("/v1/catalog/nodes?consistent&filter=Node==e2"),
    get("/v1/catalog/services").unordered(),
    get("/v1/catalog/services?node-meta=rack:r1").unordered(),
    get("/v1/catalog/services?node-meta=rack:none"),
    get("/v1/catalog/service/web").unordered(),
    get("/v1/catalog/service/WEB").unordered(),
    get("/v1/catalog/service/web?tag=v1"),
    get("/v1/catalog/service/web?tag=blue"),
    get("/v1/catalog/service/web?tag=v1&tag=Blue"),
    get("/v1/catalog/service/web?tag=v1&tag=v2"),
    get("/v1/catalog/service/web?tag=").unordered(),
    get("/v1/catalog/service/web?node-meta=rack:r1"),
    get("/v1/catalog/service/web?filter=ServicePort==80"),
    get("/v1/catalog/service/web?filter=v2+in+ServiceTags"),
    get("/v1/catalog/service/web?filter=ServiceMeta.k==v"),
    get("/v1/catalog/service/web?near=e1").unordered(),
    get("/v1/catalog/service/web?near=_agent").unordered(),
    get("/v1/catalog/service/db"),
    get("/v1/catalog/service/web-proxy"),
    get("/v1/catalog/service/native"),
    get("/v1/catalog/service/none"),
    get("/v1/catalog/service/"),
    get("/v1/catalog/service/web%2Fx"),
    get("/v1/catalog/connect/web"),
    get("/v1/catalog/connect/none"),
    get("/v1/catalog/connect/"),
    get("/v1/catalog/node/e1"),
    get("/v1/catalog/node/e2"),
    get("/v1/catalog/node/E2"),
    get("/v1/catalog/node/22222222-2222-2222-2222-222222222222"),
    get("/v1/catalog/node/22222222").differs(&[&WHOLE_ID]),
    get("/v1/catalog/node/none"),
    get("/v1/catalog/node/"),
    get("/v1/catalog/node/e1?filter=Port==80"),
    get("/v1/catalog/node/e1?filter=Port==81"),
    get("/v1/catalog/node-services/e1"),
    get("/v1/catalog/node-services/e2").unordered(),
    get("/v1/catalog/node-services/e1?filter=Service==none"),
    get("/v1/catalog/node-services/none"),
    get("/v1/catalog/node-services/"),
    get("/v1/catalog/gateway-services/none"),
    get("/v1/health/node/e1"),
    get("/v1/health/node/e2"),
    get("/v1/health/checks/web"),
];

const BLOCKING: &[Ask] = &[
    get("/v1/catalog/nodes?filter=Node==e2").keeps_index("i"),
    get("/v1/catalog/nodes?index={i}&wait=20ms&filter=Node==e2"),
    get("/v1/catalog/services").unordered().keeps_index("i"),
    get("/v1/catalog/services?index={i}&wait=20ms").unordered(),
    get("/v1/catalog/service/web").unordered().keeps_index("i"),
    get("/v1/catalog/service/web?index={i}&wait=20ms&stale").unordered(),
    get("/v1/catalog/service/none").keeps_index("i"),
    get("/v1/catalog/service/none?index={i}&wait=20ms"),
    get("/v1/catalog/node/e1").keeps_index("i"),
    get("/v1/catalog/node/e1?index={i}&wait=20ms&consistent"),
    get("/v1/catalog/node/none").keeps_index("i"),
    get("/v1/catalog/node/none?index={i}&wait=20ms"),
    get("/v1/catalog/node-services/e1?index={i}&wait=20ms"),
    get("/v1/catalog/service/web?cached").unordered(),
    get("/v1/catalog/service/web?cached").unordered(),
    get("/v1/catalog/service/web?cached&stale"),
    get("/v1/catalog/service/web?cached&consistent"),
    get("/v1/catalog/services?cached").unordered(),
    get("/v1/catalog/services?cached").unordered(),
    get("/v1/catalog/datacenters?cached"),
    get("/v1/catalog/nodes?cached&filter=Node==e2"),
    get("/v1/catalog/service/web?cached").unordered().sending(&[("cache-control", "max-age=60")]),
    get("/v1/catalog/service/web?cached")
        .unordered()
        .sending(&[("cache-control", "must-revalidate")])
        .differs(&[&FRESH]),
    get("/v1/catalog/service/web?cached").sending(&[("cache-control", "max-age=x")]),
    get("/v1/catalog/service/web").unordered().sending(&[("cache-control", "max-age=x")]),
    get("/v1/catalog/service/web?stale&max_stale=10s").unordered(),
    get("/v1/catalog/service/web?max_stale=10s").unordered(),
    get("/v1/catalog/service/web?max_stale=").unordered(),
    get("/v1/catalog/service/web?leader").unordered(),
];

const DEREGISTERED: &[Ask] = &[
    put("/v1/catalog/deregister", ""),
    put("/v1/catalog/deregister", "nope"),
    put("/v1/catalog/deregister", "{}"),
    put("/v1/catalog/deregister", r#"{"Node":"e1","Bogus":1}"#),
    put("/v1/catalog/deregister", r#"{"Node":"e1","Datacenter":"nowhere"}"#),
    put("/v1/catalog/deregister?dc=nowhere", r#"{"Node":"none"}"#).differs(&[&OTHER_CENTER]),
    put("/v1/catalog/deregister", r#"{"Node":"e1","CheckID":"c2"}"#),
    put("/v1/catalog/deregister", r#"{"Node":"e1","CheckID":"c2"}"#),
    put("/v1/catalog/deregister", r#"{"node":"e1","serviceid":"web1"}"#),
    put("/v1/catalog/deregister", r#"{"Node":"e1","ServiceID":"web1"}"#),
    get("/v1/health/node/e1"),
    get("/v1/catalog/node/e1"),
    put("/v1/catalog/deregister", r#"{"Node":"e2","ServiceID":"db","CheckID":"none"}"#),
    get("/v1/catalog/node-services/e2").unordered(),
    put("/v1/catalog/deregister", r#"{"Node":"e1"}"#),
    put("/v1/catalog/deregister", r#"{"Node":"e2"}"#),
    put("/v1/catalog/deregister", r#"{"Node":"e2"}"#),
    get("/v1/catalog/node/e2"),
    get("/v1/catalog/services"),
    get("/v1/health/state/critical"),
    other("POST", "/v1/catalog/deregister", Payload::Text("{}")),
];

#[tokio::test]
async fn catalog() {
    let rows = [REFUSED, REGISTERED, READ, BLOCKING, DEREGISTERED].concat();
    compare_also_at_agents(
        "catalog",
        &rows,
        &[&ACL_POLICY, &WRITE_INDEX, &CHECK_FIELDS, &JSON_WORDS],
    )
    .await;
}

/// One name, another id: a node that is alive keeps its name; one id, another name: a new name.
const RENAMED: &[Ask] = &[
    put(
        "/v1/catalog/register",
        r#"{"Node":"r1","ID":"33333333-3333-3333-3333-333333333333",
        "Address":"10.0.0.1","Service":{"Service":"web"}}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"r1","ID":"33333333-3333-3333-3333-333333333333",
        "Address":"10.0.0.2"}"#,
    ),
    get("/v1/catalog/node/r1"),
    put(
        "/v1/catalog/register",
        r#"{"Node":"r2","ID":"33333333-3333-3333-3333-333333333333",
        "Address":"10.0.0.2"}"#,
    ),
    get("/v1/catalog/node/r1"),
    get("/v1/catalog/node/r2"),
    put(
        "/v1/catalog/register",
        r#"{"Node":"r2","ID":"44444444-4444-4444-4444-444444444444",
        "Address":"10.0.0.3"}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"n1","ID":"44444444-4444-4444-4444-444444444444",
        "Address":"10.0.0.3"}"#,
    )
    .differs(&[&NAME_HOLDER]),
    put("/v1/catalog/register", r#"{"Node":"R2","Address":"10.0.0.4"}"#),
    get("/v1/catalog/node/R2").differs(&[&NODE_ID_STAYS]),
    get("/v1/catalog/node/r2").differs(&[&NODE_ID_STAYS]),
];

#[tokio::test]
async fn catalog_names() {
    compare("catalog_names", RENAMED, &[&ACL_POLICY, &WRITE_INDEX]).await;
}
