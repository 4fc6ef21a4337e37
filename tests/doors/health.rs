//! `/v1/health`: checks, and instances together with their checks.

use super::table::Want::{Is, Json, Like};
use super::table::{Row, check, get, put};

const ROWS: &[Row] = &[
    put("an instance that is well", "/v1/catalog/register",
        r#"{"Node":"e1","Address":"10.0.0.1","NodeMeta":{"rack":"r1"},
        "Service":{"ID":"web1","Service":"web","Port":80,"Tags":["v1"]},
        "Checks":[{"CheckID":"c1","Name":"own","Status":"passing","ServiceID":"web1","Output":"fine",
        "Notes":"n"},{"CheckID":"node","Name":"node","Status":"passing"}]}"#)
        .gives(200, Json("true")),
    put("an instance that is not", "/v1/catalog/register",
        r#"{"Node":"e2","Address":"10.0.0.2","Service":{"ID":"web2","Service":"web","Port":81,
        "Tags":["v2"]},"Checks":[{"CheckID":"c2","Name":"own","Status":"critical","ServiceID":"web2"}]}"#)
        .gives(200, Json("true")),
    put("an instance on a bad node", "/v1/catalog/register",
        r#"{"Node":"e3","Address":"10.0.0.3","Service":{"ID":"web3","Service":"web","Port":82},
        "Checks":[{"CheckID":"node","Name":"node","Status":"warning"}]}"#)
        .gives(200, Json("true")),
    get("a node's checks", "/v1/health/node/e1").gives(200, Json(
        r##"[{"Node":"e1","CheckID":"c1","Name":"own","Status":"passing","Notes":"n","Output":"fine",
        "ServiceID":"web1","ServiceName":"web","ServiceTags":["v1"],"Type":"","Definition":{},
        "Interval?":"*","Timeout?":"*","ExposedPort?":"*","CreateIndex":"#","ModifyIndex":"#"},
        {"Node":"e1","CheckID":"node","Name":"node","Status":"passing","Notes":"","Output":"",
        "ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Definition":{},
        "Interval?":"*","Timeout?":"*","ExposedPort?":"*","CreateIndex":"#","ModifyIndex":"#"}]"##,
    )),
    get("checks of an unknown node", "/v1/health/node/none").gives(200, Json("[]")),
    get("no node", "/v1/health/node/").gives(400, Is("Missing node name")),
    get("a service's checks", "/v1/health/checks/web")
        .gives(200, Like(r#"[{"CheckID":"c1"},{"CheckID":"c2"}]"#)),
    get("checks of an unknown service", "/v1/health/checks/none").gives(200, Json("[]")),
    get("no service", "/v1/health/checks/").gives(400, Is("Missing service name")),
    get("all that is critical", "/v1/health/state/critical").gives(200, Like(r#"[{"CheckID":"c2"}]"#)),
    get("all that warns", "/v1/health/state/warning").gives(200, Like(r#"[{"Node":"e3"}]"#)),
    get("all checks", "/v1/health/state/any")
        .gives(200, Like(r"[{},{},{},{},{}]")),
    get("all checks of nodes with a mark", "/v1/health/state/any?node-meta=rack:r1")
        .gives(200, Like(r#"[{"Node":"e1"},{"Node":"e1"}]"#)),
    get("an unknown state", "/v1/health/state/weird").gives(200, Json("[]")),
    get("no state", "/v1/health/state/").gives(400, Is("Missing check state")),
    get("instances with node and checks", "/v1/health/service/web?tag=v1").gives(200, Like(
        r##"[{"Node":{"ID":"","Node":"e1","Address":"10.0.0.1","Datacenter":"dc1","Meta":{"rack":"r1"}},
        "Service":{"ID":"web1","Service":"web","Tags":["v1"],"Address":"","Port":80,
        "Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"CreateIndex":"#"},
        "Checks":[{"CheckID":"*"},{"CheckID":"*"}]}]"##,
    )),
    get("all instances", "/v1/health/service/web").gives(200, Like(r"[{},{},{}]")),
    get("only what passes, its node too", "/v1/health/service/web?passing")
        .gives(200, Like(r#"[{"Node":{"Node":"e1"}}]"#)),
    get("passing said to be off", "/v1/health/service/web?passing=false").gives(200, Like(r"[{},{},{}]")),
    get("passing that is neither", "/v1/health/service/web?passing=zz")
        .gives(400, Is("Invalid value for ?passing")),
    get("instances of nodes with a mark", "/v1/health/service/web?node-meta=rack:r1")
        .gives(200, Like(r#"[{"Node":{"Node":"e1"}}]"#)),
    get("an unknown service", "/v1/health/service/none").gives(200, Json("[]")),
    get("no service's instances", "/v1/health/service/").gives(400, Is("Missing service name")),
    get("the servers themselves", "/v1/health/service/consul?passing").gives(200, Like(
        r#"[{"Node":{"Node":"n1"},"Service":{"ID":"consul","Service":"consul","Port":8300},
        "Checks":[{"CheckID":"serfHealth","Name":"Serf Health Status","Status":"passing",
        "Output":"Agent alive and reachable"}]}]"#,
    )),
];

#[tokio::test]
async fn health() {
    check(ROWS).await;
}
