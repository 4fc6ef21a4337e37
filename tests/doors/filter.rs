//! `?filter=` on every listing that takes it: the same expressions over the same records go to us
//! and, with `PORTOLAN_TEST_BINARY`, to the real Consul, and the names that come back are compared.

use std::fmt::Write as _;

use serde_json::Value;

use crate::harness::{Agent, Http, beside_others, is_consul};

use super::table::Want::{Json, Like, Starts};
use super::table::{Row, check_on, get, put};

/// What is registered before anything is asked.
const RECORDS: &[Row] = &[
    put("all kinds of fields", "/v1/catalog/register",
        r#"{"Node":"e1","ID":"40e4a748-2192-161a-0510-9bf59fe950b5","Address":"10.0.0.1",
        "TaggedAddresses":{"lan":"10.0.0.1","wan":"198.18.0.1"},
        "NodeMeta":{"rack":"r1","my-key":"x","n":"5"},
        "Service":{"ID":"web1","Service":"web","Port":80,"Tags":["v1","Blue","true"],
        "Meta":{"env":"prod","ver":"1.2.3"},"Weights":{"Passing":10,"Warning":2},
        "EnableTagOverride":true,"Address":"10.1.1.1","TaggedAddresses":
        {"lan":{"Address":"10.1.1.1","Port":8000},"my-net":{"Address":"h","Port":9}}},
        "Checks":[{"CheckID":"c1","Name":"alive","Status":"passing","Notes":"n1","Output":"all good"},
        {"CheckID":"c2","Name":"web check","Status":"warning","ServiceID":"web1",
        "Output":"line1\nline2"}]}"#)
        .gives(200, Json("true")),
    put("few fields", "/v1/catalog/register",
        r#"{"Node":"e2","Address":"10.0.0.2","Service":{"ID":"web2","Service":"web","Port":81,
        "Tags":[],"Meta":{"env":"qa"}},"Check":{"CheckID":"c3","Name":"alive","Status":"critical"}}"#)
        .gives(200, Json("true")),
    put("a proxy", "/v1/catalog/register",
        r#"{"Node":"e2","Address":"10.0.0.2","Service":{"ID":"px","Service":"web",
        "Kind":"connect-proxy","Port":21000,"Tags":["proxy","été"],"Proxy":{
        "DestinationServiceName":"web","DestinationServiceID":"web2",
        "LocalServiceAddress":"127.0.0.1","LocalServicePort":81,"Config":{"a":1},
        "Upstreams":[{"DestinationType":"service","DestinationName":"db","LocalBindPort":9001},
        {"DestinationName":"cache","LocalBindPort":9002}],"MeshGateway":{"Mode":"local"},
        "Expose":{"Checks":true,"Paths":[{"Path":"/h","ListenerPort":5,"LocalPathPort":6,
        "Protocol":"http"}]}}}}"#)
        .gives(200, Json("true")),
    put("a native one", "/v1/catalog/register",
        r#"{"Node":"e3","Address":"10.0.0.3","Service":{"ID":"nat","Service":"web","Port":0,
        "Connect":{"Native":true}}}"#)
        .gives(200, Json("true")),
    put("the agent's own", "/v1/agent/service/register",
        r#"{"ID":"a1","Name":"aweb","Port":90,"Tags":["v1"],"Meta":{"env":"prod"},
        "Check":{"TTL":"30s"}}"#),
    put("another", "/v1/agent/service/register",
        r#"{"ID":"a2","Name":"aweb","Port":91,"Address":"10.9.9.9"}"#),
];

/// Expressions over the instances of `web`, and which are kept: ids sorted, a blank between.
const SERVICE: &[(&str, &str)] = &[
    ("ServicePort == 80", "web1"),
    (r#"ServicePort=="0x50""#, "web1"),
    (r#"ServicePort=="0b1010000""#, "web1"),
    (r#"ServicePort=="8_0""#, "web1"),
    (r#"ServicePort=="0120""#, "web1"),
    (r#"ServicePort=="+80""#, "web1"),
    ("ServicePort==-1", ""),
    ("ServiceTags contains v1", "web1"),
    ("ServiceTags contains V1", ""),
    (r#"ServiceTags contains "été""#, "px"),
    ("v1 in ServiceTags", "web1"),
    ("v1 not in ServiceTags", "nat px web2"),
    ("true in ServiceTags", "web1"),
    ("80 in ServiceTags", ""),
    (r#""" in ServiceTags"#, ""),
    ("ServiceTags is empty", "nat web2"),
    ("ServiceTags is  not\tempty", "px web1"),
    ("ServiceMeta.env == prod", "web1"),
    ("ServiceMeta.env != prod", "nat px web2"),
    ("ServiceMeta.env matches prod", "nat px web1"),
    ("ServiceMeta.env not matches prod", "nat px web2"),
    (r#"ServiceMeta.ver matches "[0-9]""#, "nat px web1 web2"),
    (r#"ServiceMeta.ver contains "2.""#, "web1"),
    (r#"ServiceMeta.ver not contains "2.""#, "nat px web2"),
    ("env in ServiceMeta", "web1 web2"),
    ("ServiceMeta contains ver", "web1"),
    ("ServiceMeta not contains ver", "nat px web2"),
    ("ServiceMeta is empty", "nat px"),
    (r#"NodeMeta["my-key"] == x"#, "web1"),
    ("NodeMeta[ `my-key` ] == x", "web1"),
    ("NodeMeta.n == 5", "web1"),
    (r#"NodeMeta.zzz == """#, ""),
    (r#"NodeMeta.zzz matches "^$""#, "nat px web1 web2"),
    ("r not in NodeMeta.zzz", "nat px web1 web2"),
    (r#"TaggedAddresses.wan == "198.18.0.1""#, "web1"),
    ("TaggedAddresses is empty", "nat px web2"),
    ("ServiceTaggedAddresses.lan.Port == 8000", "web1"),
    (r#"ServiceTaggedAddresses["my-net"].Address == h"#, "web1"),
    ("ServiceTaggedAddresses.lan.Port != 1", "nat px web1 web2"),
    ("ServiceTaggedAddresses contains lan", "web1"),
    ("ServiceWeights.Passing == 10", "web1"),
    ("ServiceWeights.Warning != 2", "nat px web2"),
    ("ServiceEnableTagOverride == true", "web1"),
    (r#"ServiceEnableTagOverride != "1""#, "nat px web2"),
    (r#"ServiceKind == """#, "nat web1 web2"),
    ("ServiceProxy.DestinationServiceName == web", "px"),
    ("ServiceProxy.LocalServicePort == 0", "nat web1 web2"),
    ("ServiceProxy.Upstreams is empty", "nat web1 web2"),
    ("ServiceProxy.Upstreams.DestinationName == cache", "px"),
    ("ServiceProxy.Upstreams.DestinationName != cache", "px"),
    ("ServiceProxy.Upstreams.LocalBindPort == 9001", "px"),
    (r#"ServiceProxy.Upstreams.MeshGateway.Mode == """#, "px"),
    ("ServiceProxy.MeshGateway.Mode == local", "px"),
    ("ServiceProxy.Expose.Checks == true", "px"),
    ("ServiceProxy.Expose.Paths.ListenerPort == 5", "px"),
    ("ServiceProxy.Expose.Paths.ParsedFromCheck == false", "px"),
    ("ServiceConnect.Native == true", "nat"),
    (r#"ID == """#, "nat px web2"),
    (r#"ID matches "^40e4""#, "web1"),
    ("Datacenter == dc1", "nat px web1 web2"),
    (r#"Address matches "^10\\.0\\.0\\.[12]$""#, "px web1 web2"),
    (r"Address matches `^10\.0\.0\.\d$`", "nat px web1 web2"),
    (r#"Address contains """#, "nat px web1 web2"),
    (r#"Node matches "(?i)E""#, "nat px web1 web2"),
    (r"ServiceID matches `^[[:alpha:]]+$`", "nat px"),
    (r"ServiceID matches `^\Qweb1\E\b`", "web1"),
    (r"ServiceID matches `web[^\D]`", "web1 web2"),
    ("e1 in Node", "web1"),
    ("Node == e1 or Node == e2 and ServicePort == 81", "web1 web2"),
    ("(Node == e1 or Node == e2) and ServicePort == 81", "web2"),
    ("not Node == e1", "nat px web2"),
    ("not not Node == e1", "web1"),
    ("not (Node == e1)", "nat px web2"),
    ("not in ServiceTags", ""),
    ("not not in ServiceTags", "nat px web1 web2"),
    ("Node == not", ""),
    ("Node == or or Node == and", ""),
    ("(Node == e1) and (ServicePort == 80)", "web1"),
    ("( ( Node == e1 ) )", "web1"),
    (r#"Node == "\u0065\x31""#, "web1"),
    ("Node == e1.x", ""),
    ("  Node == e1  ", "web1"),
    ("Node == ServiceID", ""),
];

/// Other listings: the path, the expression, what is kept.
const LISTINGS: &[(&str, &str, &str)] = &[
    ("/v1/catalog/nodes", "Meta.rack == r1", "e1"),
    ("/v1/catalog/nodes", "Address matches `^10`", "e1 e2 e3"),
    ("/v1/catalog/node/e2", "Service == web", "px web2"),
    ("/v1/catalog/node/e2", "Proxy.DestinationServiceID == web2", "px"),
    ("/v1/catalog/node/e3", "Connect.Native == true", "nat"),
    ("/v1/catalog/node/e2", "Weights.Passing == 2", ""),
    ("/v1/catalog/node-services/e2", "Port == 81", "web2"),
    ("/v1/health/node/e1", "Status == passing", "c1"),
    ("/v1/health/node/e1", "ServiceTags contains v1", "c2"),
    ("/v1/health/node/e1", "Output contains line2 or Notes == n1", "c1 c2"),
    ("/v1/health/checks/web", "Status == warning", "c2"),
    ("/v1/health/state/any", "Node == e2", "c3"),
    ("/v1/health/service/web", "Checks.Status == passing", "web1"),
    ("/v1/health/service/web", "Checks.Status != passing", "px web1 web2"),
    ("/v1/health/service/web", "not Checks.Status == passing", "nat px web2"),
    ("/v1/health/service/web", "Checks is empty", "nat"),
    ("/v1/health/service/web", "Checks.CheckID == c2 and Checks.Status == passing", "web1"),
    ("/v1/health/service/web", "Node.Meta.rack == r1 and Service.Port == 80", "web1"),
    ("/v1/health/service/web", "Service.Proxy.Upstreams.DestinationName == db", "px"),
    ("/v1/health/service/web?passing", "Service.Port != 80", "nat"),
    ("/v1/agent/services", "Service == aweb", "a1 a2"),
    ("/v1/agent/services", "Tags contains v1 and Meta.env == prod", "a1"),
    ("/v1/agent/services", "Port == 91", "a2"),
    ("/v1/agent/checks", "Type == ttl and Status == critical", "service:a1"),
    ("/v1/agent/checks", "ServiceName != aweb", ""),
];

/// Expressions that filter nothing by being none; both answer 500 to each.
const NONSENSE: &[&str] = &[
    "ServicePort",
    "ServicePort=abc",
    "ServicePort==abc",
    "ServicePort==99999999999999999999",
    "ServicePort==80.5",
    "ServicePort==007",
    "ServicePort is empty",
    "ServicePort > 80",
    "ServicePort==80and Node==e1",
    "ServiceTags == v1",
    "ServiceTags matches v",
    "ServiceTags is",
    "ServiceTags is emptyfoo",
    "ServiceTags containsv1",
    "ServiceTags contains été",
    "ServiceMeta == x",
    "ServiceMeta.env.x == y",
    "ServiceMeta.env is empty",
    "NodeMeta.my-key == x",
    "ServiceTaggedAddresses.lan == x",
    "ServiceWeights is empty",
    "ServiceEnableTagOverride == yes",
    "ServiceEnableTagOverride",
    "ServiceProxy.Config is empty",
    "ServiceConnect.SidecarService is empty",
    "CreateIndex == 1",
    "1 + 1",
    "not(Node == e1)",
    "Node==\"e1\"and ServicePort==80",
    "(Node == e1)and(ServicePort == 80)",
    "((Node == e1)",
    "Node == e1)",
    "Node == \"e1",
    "Node == `e1",
    r#"Node == "e\"1""#,
    "Node == 'e1'",
    "Node == e1-x",
    "Node == 10.0.0.1",
    "Node matches \"[\"",
    "Node matches \"(?=x)\"",
    "Node is empty",
    "node == e1",
    "Node.x == y",
    "Node[x] == y",
    "Node == e1 or",
    "Node == e1 xor Node == e2",
    "Node in \"e1\"",
    "e1 == Node",
    "Node == ",
    "Node === e1",
    "Node != e1 != e2",
    "()",
    "not",
];

const ERRORS: &[Row] = &[
    get("an empty filter is none", "/v1/catalog/nodes?filter=").gives(200, Like("[{},{},{},{}]")),
    get("an error of the catalog has an index", "/v1/catalog/nodes?filter=bad")
        .gives(500, Starts("Failed to create boolean expression evaluator: "))
        .with(&[("x-consul-index", "1"), ("x-consul-knownleader", "false")]),
    get("an error of the agent has none", "/v1/agent/services?filter=bad")
        .gives(500, Starts("Failed to create boolean expression evaluator: "))
        .with(&[("x-consul-index", "-")]),
    get("a field that is none, told by its path", "/v1/health/service/web?filter=Service.port==1")
        .gives(500, Starts(
            "Failed to create boolean expression evaluator: at byte 0: \
             Selector \"Service.port\" is not valid",
        ))
        .consul(500, Starts(
            "Failed to create boolean expression evaluator: Selector \"Service.port\" is not valid",
        )),
    get("the data center is judged first", "/v1/catalog/nodes?dc=zz&filter=bad")
        .gives(500, Starts("No path to datacenter")),
    get("and the index before all", "/v1/catalog/nodes?index=abc&filter=bad")
        .gives(400, Starts("Invalid index")),
    get("services by their instances", "/v1/catalog/services?filter=ServiceMeta.env==qa")
        .gives(200, Json(r#"{"web":[]}"#))
        .consul(200, Like(r#"{"web":"*","aweb":"*","consul":[]}"#)),
    get("with the tags of those alone", "/v1/catalog/services?filter=ServiceTags+contains+Blue")
        .gives(200, Like(r#"{"web":["*","*","*"]}"#))
        .consul(200, Like(r#"{"web":"*","aweb":"*","consul":[]}"#)),
    get("beside a node's mark", "/v1/catalog/services?node-meta=rack:r1&filter=ServicePort==81")
        .gives(200, Json("{}"))
        .consul(200, Like(r#"{"web":"*"}"#)),
    get("a member is no record of ours", "/v1/agent/members?filter=bad").gives(200, Like("[{}]")),
];

/// The path with a filter, every byte that is not plain escaped.
fn filtered(path: &str, expression: &str) -> String {
    let joint = if path.contains('?') { '&' } else { '?' };
    let mut out = format!("{path}{joint}filter=");
    for byte in expression.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a string takes all");
        }
    }
    out
}

/// What an answer lists, sorted: the ids of instances or checks, or names of nodes.
fn listed(body: &Value) -> String {
    let of = |one: &Value| {
        let own = if one["Service"].is_string() { "/ID" } else { "/Node" };
        let places = ["/Service/ID", "/CheckID", "/ServiceID", own];
        let id = places.iter().find_map(|place| one.pointer(place).and_then(Value::as_str));
        id.unwrap_or("?").to_owned()
    };
    let body = body.pointer("/Services").unwrap_or(body);
    let mut names: Vec<String> = match body {
        Value::Array(items) => items.iter().map(of).collect(),
        Value::Object(fields) => fields.keys().cloned().collect(),
        _ => vec![body.to_string()],
    };
    names.sort();
    names.join(" ")
}

async fn differs(http: &Http, path: &str, expression: &str, want: &str) -> Option<String> {
    let reply = http.get(&filtered(path, expression)).await;
    let found = if reply.status == 200 {
        listed(&reply.json())
    } else {
        format!("{} {}", reply.status, reply.text())
    };
    (found != want).then(|| format!("{path} {expression}: {found:?}, not {want:?}"))
}

#[tokio::test]
async fn filters() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    check_on(&agent, RECORDS).await;
    let http = agent.http();
    let mut wrong = Vec::new();
    for (expression, want) in SERVICE {
        wrong.extend(differs(&http, "/v1/catalog/service/web", expression, want).await);
    }
    for (path, expression, want) in LISTINGS {
        wrong.extend(differs(&http, path, expression, want).await);
    }
    for expression in NONSENSE {
        let reply = http.get(&filtered("/v1/catalog/service/web", expression)).await;
        let prefix = "Failed to create boolean expression evaluator: ";
        let placed = is_consul() || reply.text().contains(": at byte ");
        if reply.status != 500 || !reply.text().starts_with(prefix) || !placed {
            wrong.push(format!("{expression}: {} {}", reply.status, reply.text()));
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}\n", wrong.len(), wrong.join("\n"));
    check_on(&agent, ERRORS).await;
}
