//! `/v1/query`: prepared queries, templates, executing and explaining.

use super::ask::{Ask, Payload, delete, get, other, post, put};
use super::intended::{
    ACL_POLICY, CHECK_FIELDS, JSON_WORDS, QUERY_ALLOW, REGEX_WORDS, WRITE_INDEX,
};
use super::run::compare;

const REFUSED: &[Ask] = &[
    get("/v1/query"),
    get("/v1/query/"),
    post("/v1/query", ""),
    post("/v1/query", "nope"),
    post("/v1/query", "{}"),
    post("/v1/query", "[]"),
    post("/v1/query", r#"{"Name":7}"#),
    post("/v1/query", r#"{"Name":"q"}"#),
    post("/v1/query", r#"{"Service":{"Service":"web"}}"#),
    post("/v1/query", r#"{"Name":"q","Bogus":1,"Service":{}}"#),
    post("/v1/query", r#"{"Name":"q","Session":"nope","Service":{"Service":"web"}}"#),
    post(
        "/v1/query",
        r#"{"Name":"q","Session":"11111111-1111-1111-1111-111111111111","Service":{"Service":"web"}}"#,
    ),
    post("/v1/query", r#"{"Name":"q","Service":{"Service":"web"},"DNS":{"TTL":"bogus"}}"#),
    post("/v1/query", r#"{"Name":"q","Service":{"Service":"web"},"DNS":{"TTL":"-1s"}}"#),
    post("/v1/query", r#"{"Name":"q","Service":{"Service":"web","Failover":{"NearestN":-1}}}"#),
    post("/v1/query", r#"{"Name":"q","Template":{"Type":"bogus"},"Service":{"Service":"web"}}"#),
    post(
        "/v1/query",
        r#"{"Name":"q","Template":{"Type":"name_prefix_match","Regexp":"("},"Service":{"Service":"web"}}"#,
    )
    .differs(&[&REGEX_WORDS]),
    post(
        "/v1/query",
        r#"{"Name":"q","Template":{"Type":"name_prefix_match"},"Service":{"Service":"${match(1)"}}"#,
    ),
    post("/v1/query", r#"{"Name":"q","Service":{"Service":"web","NodeMeta":{"a b":"c"}}}"#),
    post(
        "/v1/query",
        r#"{"Name":"11111111-1111-1111-1111-111111111111","Service":{"Service":"web"}}"#,
    ),
    post(
        "/v1/query",
        r#"{"ID":"11111111-1111-1111-1111-111111111111","Name":"q","Service":{"Service":"web"}}"#,
    ),
    post("/v1/query?dc=nowhere", r#"{"Name":"q","Service":{"Service":"web"}}"#),
    put("/v1/query", "{}"),
    get("/v1/query/nope"),
    get("/v1/query/11111111-1111-1111-1111-111111111111"),
    put(
        "/v1/query/11111111-1111-1111-1111-111111111111",
        r#"{"Name":"q","Service":{"Service":"web"}}"#,
    ),
    put("/v1/query/nope", r#"{"Name":"q","Service":{"Service":"web"}}"#),
    delete("/v1/query/11111111-1111-1111-1111-111111111111"),
    delete("/v1/query/nope"),
    get("/v1/query/nope/execute"),
    get("/v1/query/nope/explain"),
    get("/v1/query/11111111-1111-1111-1111-111111111111/execute"),
    get("/v1/query/nope/bogus"),
    other("OPTIONS", "/v1/query", Payload::Text("")),
    other("OPTIONS", "/v1/query/x", Payload::Text("")),
    other("OPTIONS", "/v1/query/x/execute", Payload::Text("")),
    other("OPTIONS", "/v1/query/x/explain", Payload::Text("")),
    other("POST", "/v1/query/x/execute", Payload::Text("")).differs(&[&QUERY_ALLOW]),
    other("PUT", "/v1/query/x/explain", Payload::Text("")),
];

const MADE: &[Ask] = &[
    put(
        "/v1/catalog/register",
        r#"{"Node":"q1","Address":"10.0.0.1","NodeMeta":{"rack":"r1"},
        "Service":{"ID":"web1","Service":"web","Port":80,"Tags":["v1","a"],"Meta":{"k":"v"}},
        "Check":{"CheckID":"c","Name":"c","Status":"passing","ServiceID":"web1"}}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"q2","Address":"10.0.0.2",
        "Service":{"ID":"web2","Service":"web","Port":81,"Tags":["v2","a"]},
        "Check":{"CheckID":"c","Name":"c","Status":"warning","ServiceID":"web2"}}"#,
    ),
    put(
        "/v1/catalog/register",
        r#"{"Node":"q3","Address":"10.0.0.3",
        "Service":{"ID":"web3","Service":"web","Port":82,"Tags":["v3"]},
        "Check":{"CheckID":"c","Name":"c","Status":"critical","ServiceID":"web3"}}"#,
    ),
    post("/v1/query", r#"{"Name":"all","Service":{"Service":"web"}}"#).keeps("all", "/ID"),
    get("/v1/query/{all}"),
    get("/v1/query/{all}?pretty"),
    get("/v1/query").unordered(),
    post("/v1/query", r#"{"Name":"all","Service":{"Service":"db"}}"#),
    post(
        "/v1/query",
        r#"{"name":"full","token":"","service":{"service":"web","failover":{"nearestn":2,
        "datacenters":["dc2"]},"onlypassing":true,"ignorecheckids":["c"],"near":"_agent",
        "tags":["a","!v3"],"nodemeta":{"rack":"r1"},"servicemeta":{"k":"v"}},"dns":{"ttl":"10s"}}"#,
    )
    .keeps("full", "/ID"),
    get("/v1/query/{full}"),
    get("/v1/query").unordered(),
    get("/v1/query?stale").unordered(),
    get("/v1/query").unordered().keeps_index("i"),
    get("/v1/query?index={i}&wait=20ms").unordered(),
    get("/v1/query/{all}?index={i}&wait=20ms"),
    put(
        "/v1/query/{full}",
        r#"{"Name":"full","Service":{"Service":"web","OnlyPassing":true},"DNS":{"TTL":"5s"}}"#,
    ),
    get("/v1/query/{full}"),
    put("/v1/query/{full}", r#"{"Name":"all","Service":{"Service":"web"}}"#),
    put(
        "/v1/query/{full}",
        r#"{"ID":"{all}","Name":"full","Service":{"Service":"web","OnlyPassing":true}}"#,
    ),
    get("/v1/query/{full}"),
];

const EXECUTED: &[Ask] = &[
    get("/v1/query/all/execute").unordered(),
    get("/v1/query/ALL/execute").unordered(),
    get("/v1/query/{all}/execute").unordered(),
    get("/v1/query/{all}/execute?pretty").unordered(),
    get("/v1/query/full/execute"),
    get("/v1/query/all/execute?limit=1").hiding(&["Nodes"]),
    get("/v1/query/all/execute?limit=0").unordered(),
    get("/v1/query/all/execute?limit=x"),
    get("/v1/query/all/execute?limit=-1").unordered(),
    get("/v1/query/all/execute?near=q1").unordered(),
    get("/v1/query/all/execute?near=_agent").unordered(),
    get("/v1/query/all/execute?near=nowhere").unordered(),
    get("/v1/query/all/execute?connect=true"),
    get("/v1/query/all/execute?connect=maybe").unordered(),
    get("/v1/query/all/execute?dc=nowhere"),
    get("/v1/query/all/execute?stale").unordered(),
    get("/v1/query/all/execute?consistent").unordered(),
    get("/v1/query/all/execute?stale&consistent"),
    get("/v1/query/all/execute?index=1&wait=20ms").unordered(),
    get("/v1/query/all/execute?cached").unordered(),
    get("/v1/query/all/execute?cached").unordered(),
    get("/v1/query/all/explain"),
    get("/v1/query/{all}/explain"),
    get("/v1/query/none/execute"),
    post("/v1/query", r#"{"Name":"tags","Service":{"Service":"web","Tags":["a","!v2"]}}"#).keeps("t", "/ID"),
    get("/v1/query/tags/execute"),
    post("/v1/query", r#"{"Name":"meta","Service":{"Service":"web","NodeMeta":{"rack":"r1"}}}"#).keeps("m", "/ID"),
    get("/v1/query/meta/execute"),
    post("/v1/query", r#"{"Name":"smeta","Service":{"Service":"web","ServiceMeta":{"k":"v"}}}"#).keeps("sm", "/ID"),
    get("/v1/query/smeta/execute"),
    post("/v1/query", r#"{"Name":"ignore","Service":{"Service":"web","IgnoreCheckIDs":["c"],"OnlyPassing":true}}"#)
        .keeps("ig", "/ID"),
    get("/v1/query/ignore/execute").unordered(),
    post("/v1/query", r#"{"Name":"away","Service":{"Service":"none","Failover":{"Datacenters":["dc9"]}}}"#)
        .keeps("aw", "/ID"),
    get("/v1/query/away/execute"),
];

const TEMPLATES: &[Ask] = &[
    post("/v1/query", r#"{"Name":"geo-","Template":{"Type":"name_prefix_match"},
        "Service":{"Service":"${name.suffix}","Tags":["${name.full}","${name.prefix}"]}}"#).keeps("g", "/ID"),
    get("/v1/query/geo-web/explain"),
    get("/v1/query/geo-web/execute"),
    get("/v1/query/geo-/explain"),
    post("/v1/query", r#"{"Name":"geo-x-","Template":{"Type":"name_prefix_match",
        "Regexp":"^geo-x-(.*?)-([^\\-]+?)$","RemoveEmptyTags":true},
        "Service":{"Service":"${match(1)}","Tags":["${match(2)}","${match(7)}","${agent.segment}"]}}"#)
        .keeps("gx", "/ID"),
    get("/v1/query/geo-x-web-v1/explain"),
    get("/v1/query/geo-x-web-v1/execute"),
    get("/v1/query/geo-x-/explain"),
    get("/v1/query/{gx}/explain"),
    get("/v1/query/{gx}/execute"),
    get("/v1/query/unknown/explain"),
    post("/v1/query", r#"{"Name":"","Template":{"Type":"name_prefix_match"},"Service":{"Service":"${name.full}"}}"#)
        .keeps("any", "/ID"),
    get("/v1/query/web/explain"),
    get("/v1/query/web/execute").unordered(),
    post("/v1/query", r#"{"Template":{"Type":"name_prefix_match"},"Service":{"Service":"x"}}"#),
    delete("/v1/query/{any}"),
    delete("/v1/query/{any}"),
    get("/v1/query/web/explain"),
];

const BOUND: &[Ask] = &[
    put("/v1/session/create", "").keeps("s", "/ID"),
    post("/v1/query", r#"{"Session":"{s}","Service":{"Service":"web"}}"#).keeps("b", "/ID"),
    get("/v1/query/{b}"),
    get("/v1/query/{b}/execute").unordered(),
    put("/v1/session/destroy/{s}", ""),
    get("/v1/query/{b}"),
    delete("/v1/query/{all}"),
    delete("/v1/query/{all}"),
    get("/v1/query/{all}"),
    get("/v1/query/all/execute"),
];

#[tokio::test]
async fn query() {
    let rows = [REFUSED, MADE, EXECUTED, TEMPLATES, BOUND].concat();
    compare("query", &rows, &[&ACL_POLICY, &WRITE_INDEX, &CHECK_FIELDS, &JSON_WORDS]).await;
}
