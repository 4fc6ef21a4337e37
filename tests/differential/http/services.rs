//! `/v1/agent/service/`: registering with every field, hashes, maintenance, health, and the end.

use super::ask::{Ask, Payload, get, other, post, put};
use super::intended::{
    ACL_POLICY, CHECK_FIELDS, CHECK_FOLLOWS, CLEANED_UP, DEREGISTER_UNKNOWN, FILTER_WORDS,
    JSON_WORDS, LOCAL_CHECKS, PROXY_AS_DATA, PROXY_UNCHECKED, QUERY_BACKEND, WRONG_KIND,
};
use super::run::compare_also_at_agents;

const REFUSED: &[Ask] = &[
    put("/v1/agent/service/register", ""),
    put("/v1/agent/service/register", "nope"),
    put("/v1/agent/service/register", "null"),
    put("/v1/agent/service/register", "[]"),
    put("/v1/agent/service/register", "{}"),
    put("/v1/agent/service/register", r#"{"ID":"x"}"#),
    put("/v1/agent/service/register", r#"{"Name":7}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Bogus":1}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Port":"80"}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Port":1.5}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Tags":"a"}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Tags":[1]}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Meta":{"a":1}}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Meta":{"a b":"c"}}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Meta":{"":"c"}}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Meta":{"consul-x":"c"}}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Address":"0.0.0.0"}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Address":"::"}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Address":"[::]"}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Weights":{"Passing":0,"Warning":1}}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Weights":{"Passing":1,"Warning":-1}}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Weights":{"Passing":65536,"Warning":1}}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Check":{"HTTP":"http://x"}}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Check":{"Interval":"10s"}}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Check":{"TTL":"10s","Interval":"10s"}}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Check":{"TTL":"abc"}}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Check":{"TTL":"10s","Status":"bogus"}}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Check":{"TTL":"10s","Bogus":1}}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Checks":[{"TTL":"10s"},{}]}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Checks":{"TTL":"10s"}}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Check":{"Args":["true"],"Interval":"10s"}}"#),
    put("/v1/agent/service/register", r#"{"Name":"x","Check":{"Script":"true","Interval":"10s"}}"#),
    put("/v1/agent/service/register?replace-existing-checks=zz", r#"{"Name":"x"}"#)
        .differs(&[&WRONG_KIND]),
    put("/v1/agent/service/register", r#"{"Name":"x","Kind":"bogus"}"#),
    put("/v1/agent/service/register", r#"{"Name":"y","Kind":"connect-proxy"}"#)
        .differs(&[&PROXY_UNCHECKED]),
    put(
        "/v1/agent/service/register",
        r#"{"Name":"y","Kind":"connect-proxy","Proxy":{"DestinationServiceName":"web"}}"#,
    )
    .differs(&[&PROXY_UNCHECKED]),
    get("/v1/agent/service/register"),
    post("/v1/agent/service/register", "{}"),
    other("PUT", "/v1/agent/service/register", Payload::Chunked(10)),
    put("/v1/agent/service/deregister/y", "").differs(&[&CLEANED_UP]),
    get("/v1/agent/services"),
];

const REGISTERED: &[Ask] = &[
    put("/v1/agent/service/register", r#"{"Name":"bare"}"#),
    put(
        "/v1/agent/service/register",
        r#"{"ID":"web1","Name":"web","Tags":["b","a"],"Port":80,
        "Address":"10.1.2.3","Meta":{"k":"v","a":"b"},"EnableTagOverride":true,
        "TaggedAddresses":{"wan":{"Address":"1.2.3.4","Port":8080},"lan":{"Address":"10.1.2.3","Port":81}},
        "Weights":{"Passing":5,"Warning":2},"Check":{"TTL":"30s"}}"#,
    ),
    put(
        "/v1/agent/service/register",
        r#"{"id":"snake","name":"snake","enable_tag_override":true,
        "tagged_addresses":{"wan":{"address":"1.2.3.4","port":1}},
        "check":{"ttl":"30s","deregister_critical_service_after":"10m","status":"passing",
        "service_id":"other","notes":"n"}}"#,
    ),
    put(
        "/v1/agent/service/register",
        r#"{"Name":"many","Checks":[{"TTL":"30s","Name":"first"},
        {"TTL":"30s","CheckID":"own-id","Status":"warning"},{"TTL":"30s","Notes":"third"}]}"#,
    ),
    put("/v1/agent/service/register", r#"{"Name":"six","Address":"::1","Port":6}"#),
    put(
        "/v1/agent/service/register",
        r#"{"Name":"host","Address":"some.host.example","Tags":[],"Meta":{}}"#,
    ),
    put(
        "/v1/agent/service/register",
        r#"{"Name":"null","Tags":null,"Meta":null,"Check":null,"Checks":null,
        "Weights":null,"TaggedAddresses":null,"Proxy":null,"Connect":null}"#,
    ),
    put("/v1/agent/service/register", r#"{"Name":"Upper_Case.dots","Port":0}"#),
    put("/v1/agent/service/register", r#"{"Name":"native","Connect":{"Native":true}}"#),
    put(
        "/v1/agent/service/register",
        r#"{"Name":"proxy","Kind":"connect-proxy","Port":20000,
        "Proxy":{"DestinationServiceName":"web","DestinationServiceID":"web1",
        "LocalServiceAddress":"127.0.0.1","LocalServicePort":80,"Config":{"a":"b"},
        "Upstreams":[{"DestinationName":"db","LocalBindPort":9191}]}}"#,
    ),
    put("/v1/agent/service/register", r#"{"Name":"tok","Token":"secret"}"#),
];

const READ: &[Ask] = &[
    get("/v1/agent/services").differs(&[&PROXY_AS_DATA]),
    get("/v1/agent/services?pretty").differs(&[&PROXY_AS_DATA]),
    get("/v1/agent/services?filter=Service==web"),
    get("/v1/agent/services?filter=Port==80+or+Port==6"),
    get("/v1/agent/services?filter=Meta.k==v"),
    get("/v1/agent/services?filter=a+in+Tags"),
    get("/v1/agent/services?filter=Bogus==1").differs(&[&FILTER_WORDS]),
    get("/v1/agent/service/bare"),
    get("/v1/agent/service/web1").keeps_header("hash", "x-consul-contenthash"),
    get("/v1/agent/service/web1?hash={hash}&wait=20ms"),
    get("/v1/agent/service/web1?hash=other&wait=20ms"),
    get("/v1/agent/service/web1?hash={hash}&wait=abc"),
    get("/v1/agent/service/six"),
    get("/v1/agent/service/proxy").differs(&[&PROXY_AS_DATA]),
    get("/v1/agent/service/native"),
    get("/v1/agent/service/WEB1"),
    get("/v1/agent/service/nope"),
    get("/v1/agent/service/nope?hash=x&wait=20ms"),
    get("/v1/agent/service/"),
    get("/v1/agent/checks"),
    get("/v1/agent/checks?filter=ServiceName==many"),
    get("/v1/agent/checks?filter=Status==critical+and+ServiceID!=many"),
    get("/v1/catalog/service/web").soon(),
    get("/v1/catalog/service/six").soon(),
    get("/v1/catalog/service/native").soon(),
    get("/v1/catalog/service/proxy").soon().differs(&[&PROXY_AS_DATA]),
    get("/v1/health/checks/many").soon().unordered(),
    get("/v1/health/service/snake").soon().hiding(&["Meta", "TaggedAddresses"]).unordered(),
    get("/v1/catalog/services").soon().unordered(),
];

const HEALTH: &[Ask] = &[
    get("/v1/agent/health/service/id/bare"),
    get("/v1/agent/health/service/id/bare?format=text"),
    get("/v1/agent/health/service/id/bare").sending(&[("accept", "text/plain")]),
    get("/v1/agent/health/service/id/web1").differs(&[&LOCAL_CHECKS]),
    get("/v1/agent/health/service/id/web1?format=text"),
    get("/v1/agent/health/service/id/many").unordered().differs(&[&LOCAL_CHECKS]),
    get("/v1/agent/health/service/id/many?format=text"),
    get("/v1/agent/health/service/id/nope"),
    get("/v1/agent/health/service/id/nope?format=text"),
    get("/v1/agent/health/service/id/"),
    get("/v1/agent/health/service/name/web").differs(&[&LOCAL_CHECKS]),
    get("/v1/agent/health/service/name/web?format=text"),
    get("/v1/agent/health/service/name/snake").differs(&[&LOCAL_CHECKS]),
    get("/v1/agent/health/service/name/nope"),
    get("/v1/agent/health/service/name/nope?format=text"),
    get("/v1/agent/health/service/name/"),
    put("/v1/agent/check/pass/service:web1", ""),
    get("/v1/agent/health/service/name/web").differs(&[&LOCAL_CHECKS]),
    put("/v1/agent/check/warn/service:web1", ""),
    get("/v1/agent/health/service/id/web1").differs(&[&LOCAL_CHECKS]),
    get("/v1/agent/health/service/id/web1?format=text"),
];

const MAINTENANCE: &[Ask] = &[
    put("/v1/agent/service/maintenance/web1", ""),
    put("/v1/agent/service/maintenance/web1?enable=maybe", ""),
    put("/v1/agent/service/maintenance/?enable=true", ""),
    put("/v1/agent/service/maintenance/nope?enable=true", ""),
    put("/v1/agent/service/maintenance/nope?enable=false", ""),
    put("/v1/agent/service/maintenance/web1?enable=false", ""),
    put("/v1/agent/service/maintenance/web1?enable=true", ""),
    get("/v1/agent/checks?filter=ServiceID==web1"),
    get("/v1/agent/health/service/id/web1?format=text"),
    get("/v1/agent/health/service/id/web1").hiding(&["Checks"]),
    put("/v1/agent/service/maintenance/web1?enable=true&reason=again", ""),
    put("/v1/agent/service/maintenance/bare?enable=true&reason=dry+dock", ""),
    get("/v1/health/checks/bare").soon(),
    put("/v1/agent/service/maintenance/bare?enable=false", ""),
    put("/v1/agent/service/maintenance/web1?enable=false", ""),
    get("/v1/health/checks/bare").soon(),
    get("/v1/agent/checks?filter=ServiceID==web1"),
];

const AGAIN: &[Ask] = &[
    put("/v1/agent/service/register", r#"{"ID":"web1","Name":"web","Port":90}"#),
    get("/v1/agent/service/web1"),
    get("/v1/agent/checks?filter=ServiceID==web1").differs(&[&CHECK_FOLLOWS]),
    put("/v1/agent/service/register", r#"{"Name":"many","Checks":[{"TTL":"30s","Name":"only"}]}"#),
    get("/v1/agent/checks?filter=ServiceName==many"),
    put(
        "/v1/agent/service/register?replace-existing-checks",
        r#"{"Name":"many","Checks":[{"TTL":"30s","Name":"only"}]}"#,
    ),
    get("/v1/agent/checks?filter=ServiceName==many"),
    put("/v1/agent/service/register?replace-existing-checks=true", r#"{"Name":"many"}"#),
    get("/v1/agent/checks?filter=ServiceName==many"),
    put("/v1/agent/service/register", r#"{"ID":"web1","Name":"renamed"}"#),
    get("/v1/catalog/service/renamed").soon(),
    get("/v1/catalog/service/web").soon(),
];

const DEREGISTERED: &[Ask] = &[
    put("/v1/agent/service/deregister/", ""),
    put("/v1/agent/service/deregister/nope", "").differs(&[&DEREGISTER_UNKNOWN]),
    put("/v1/agent/service/deregister/web1", ""),
    get("/v1/agent/service/web1"),
    get("/v1/agent/checks?filter=ServiceID==web1"),
    put("/v1/agent/service/deregister/web1", "").differs(&[&DEREGISTER_UNKNOWN]),
    put("/v1/agent/service/deregister/many", ""),
    put("/v1/agent/service/deregister/snake", ""),
    get("/v1/catalog/service/renamed").soon(),
    get("/v1/health/node/n1").soon(),
    get("/v1/agent/checks"),
    get("/v1/agent/service/deregister/bare"),
];

#[tokio::test]
async fn agent_service() {
    let rows = [REFUSED, REGISTERED, READ, HEALTH, MAINTENANCE, AGAIN, DEREGISTERED].concat();
    compare_also_at_agents(
        "agent_service",
        &rows,
        &[&ACL_POLICY, &CHECK_FIELDS, &JSON_WORDS, &QUERY_BACKEND],
    )
    .await;
}
