//! `/v1/catalog`: what is registered, by node and by service.

use super::table::Want::{Is, Json, Like, Starts};
use super::table::{Row, check, get, put};

const ROWS: &[Row] = &[
    get("datacenters", "/v1/catalog/datacenters").gives(200, Json(r#"["dc1"]"#)),
    get("the node itself", "/v1/catalog/nodes").gives(200, Like(
        r##"[{"ID":"*","Node":"n1","Address":"{ip}","Datacenter":"dc1","TaggedAddresses":"*",
        "Meta":"*","CreateIndex":"#","ModifyIndex":"#"}]"##,
    )),
    get("the servers are a service", "/v1/catalog/services").gives(200, Json(r#"{"consul":[]}"#)),
    put("not JSON", "/v1/catalog/register", "nope").gives(400, Starts("Request decode failed: ")),
    put("an unknown field", "/v1/catalog/register", r#"{"Node":"e1","Address":"10.0.0.1","Bogus":1}"#)
        .gives(400, Starts("Request decode failed: json: unknown field \"Bogus\"")),
    put("no node", "/v1/catalog/register", r#"{"Address":"10.0.0.1"}"#)
        .gives(500, Is("Must provide node")),
    put("no address", "/v1/catalog/register", r#"{"Node":"e1"}"#)
        .gives(500, Is("Must provide address if SkipNodeUpdate is not set")),
    put("a node and a service", "/v1/catalog/register",
        r#"{"Node":"e1","Address":"10.0.0.1","NodeMeta":{"rack":"r1"},"Service":{"ID":"web1",
        "Service":"web","Port":80,"Tags":["v1","Blue"],"Meta":{"k":"v"}}}"#)
        .gives(200, Json("true")),
    put("another, with its own address", "/v1/catalog/register",
        r#"{"node":"e2","address":"10.0.0.2","service":{"service":"web","port":81,
        "address":"10.9.9.9","tags":["v2"]}}"#)
        .gives(200, Json("true")),
    get("services and their tags", "/v1/catalog/services")
        .gives(200, Like(r#"{"consul":[],"web":["*","*","*"]}"#)),
    get("services of nodes with a mark", "/v1/catalog/services?node-meta=rack:r1")
        .gives(200, Like(r#"{"web":["*","*"]}"#)),
    get("a service", "/v1/catalog/service/web?tag=v1").gives(200, Json(
        r##"[{"ID":"","Node":"e1","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":"*",
        "NodeMeta":{"rack":"r1"},"ServiceKind":"","ServiceID":"web1","ServiceName":"web",
        "ServiceTags":["v1","Blue"],"ServiceAddress":"","ServiceTaggedAddresses?":"*",
        "ServiceWeights":{"Passing":1,"Warning":1},"ServiceMeta":{"k":"v"},"ServicePort":80,
        "ServiceEnableTagOverride":false,"ServiceProxy":"*","ServiceConnect":"*",
        "ServiceSocketPath?":"","CreateIndex":"#","ModifyIndex":"#"}]"##,
    )),
    get("all instances", "/v1/catalog/service/web").gives(200, Like(
        r#"[{"Node":"e1","ServicePort":80},{"Node":"e2","ServiceID":"web","ServiceAddress":"10.9.9.9"}]"#,
    )),
    get("a tag in other letters", "/v1/catalog/service/web?tag=blue").gives(200, Like(r#"[{"Node":"e1"}]"#)),
    get("two tags, both needed", "/v1/catalog/service/web?tag=v1&tag=blue")
        .gives(200, Like(r#"[{"Node":"e1"}]"#)),
    get("two tags that nobody has both", "/v1/catalog/service/web?tag=v1&tag=v2").gives(200, Json("[]")),
    get("instances of nodes with a mark", "/v1/catalog/service/web?node-meta=rack:r1")
        .gives(200, Like(r#"[{"Node":"e1"}]"#)),
    get("a name in other letters", "/v1/catalog/service/WEB").gives(200, Like(r"[{},{}]")),
    get("an unknown service", "/v1/catalog/service/none").gives(200, Json("[]")),
    get("no service", "/v1/catalog/service/").gives(400, Is("Missing service name")),
    get("a node", "/v1/catalog/node/e1").gives(200, Like(
        r#"{"Node":{"Node":"e1","Address":"10.0.0.1","Meta":{"rack":"r1"}},
        "Services":{"web1":{"ID":"web1","Service":"web","Port":80,"Tags":["v1","Blue"],"Meta":{"k":"v"},
        "Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Address":""}}}"#,
    )),
    get("an unknown node", "/v1/catalog/node/none").gives(200, Json("null")),
    get("no node", "/v1/catalog/node/").gives(400, Is("Missing node name")),
    get("a node's services as a list", "/v1/catalog/node-services/e1").gives(200, Like(
        r#"{"Node":{"Node":"e1"},"Services":[{"ID":"web1"}]}"#,
    )),
    get("an unknown node's services", "/v1/catalog/node-services/none")
        .gives(200, Json(r#"{"Node":null,"Services":null}"#)),
    get("nodes with a mark", "/v1/catalog/nodes?node-meta=rack:r1").gives(200, Like(r#"[{"Node":"e1"}]"#)),
    put("a check", "/v1/catalog/register",
        r#"{"Node":"e1","Address":"10.0.0.1","Check":{"CheckID":"c1","Name":"c","Status":"passing",
        "ServiceID":"web1"}}"#)
        .gives(200, Json("true")),
    put("several checks", "/v1/catalog/register",
        r#"{"Node":"e1","Address":"10.0.0.1","Checks":[{"CheckID":"c2","Name":"c","Status":"critical"},
        {"CheckID":"c3","Name":"c","Status":"passing"}]}"#)
        .gives(200, Json("true")),
    put("a check of a service that is not there", "/v1/catalog/register",
        r#"{"Node":"e1","Address":"10.0.0.1","Check":{"CheckID":"c4","Name":"c","ServiceID":"x"}}"#)
        .gives(500, Starts("failed inserting check: ")),
    put("a node id that is none", "/v1/catalog/register", r#"{"Node":"e3","ID":"x","Address":"10.0.0.3"}"#)
        .gives(500, Starts("Bad node ID: ")),
    get("a service's own check does not go by itself", "/v1/health/node/e1")
        .gives(200, Like(r#"[{"CheckID":"c1"},{"CheckID":"c2"},{"CheckID":"c3"}]"#)),
    put("take a check away", "/v1/catalog/deregister", r#"{"Node":"e1","CheckID":"c2"}"#)
        .gives(200, Json("true")),
    put("take a service away, and its checks", "/v1/catalog/deregister",
        r#"{"Node":"e1","ServiceID":"web1"}"#)
        .gives(200, Json("true")),
    get("what is left of its checks", "/v1/health/node/e1").gives(200, Like(r#"[{"CheckID":"c3"}]"#)),
    put("take a node away", "/v1/catalog/deregister", r#"{"Node":"e1"}"#).gives(200, Json("true")),
    put("take it away again", "/v1/catalog/deregister", r#"{"Node":"e1"}"#).gives(200, Json("true")),
    put("take nothing away", "/v1/catalog/deregister", "{}").gives(500, Is("Must provide node")),
    get("one instance is left", "/v1/catalog/service/web").gives(200, Like(r#"[{"Node":"e2"}]"#)),
    put("the other node goes", "/v1/catalog/deregister", r#"{"Node":"e2"}"#).gives(200, Json("true")),
    get("the service went with its nodes", "/v1/catalog/services").gives(200, Json(r#"{"consul":[]}"#)),
];

#[tokio::test]
async fn catalogue() {
    check(ROWS).await;
}
