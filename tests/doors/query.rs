//! `/v1/query`: prepared queries, kept, run and explained.

use crate::harness::{Agent, beside_others};

use super::table::Want::{Empty, Is, Json, Like, Starts};
use super::table::{Row, check, check_on, delete, get, other, post, put};

/// Three instances of `web`: one passes, one warns, one is critical.
const INSTANCES: &[Row] = &[
    put(
        "a passing instance",
        "/v1/catalog/register",
        r#"{"Node":"a","Address":"10.0.0.1","NodeMeta":{"r":"1"},"Service":{"Service":"web","Port":80,
        "Tags":["Blue","v1"],"Meta":{"v":"1"}},
        "Checks":[{"CheckID":"c","Name":"c","Status":"passing","ServiceID":"web"}]}"#,
    )
    .gives(200, Json("true")),
    put(
        "a warning one",
        "/v1/catalog/register",
        r#"{"Node":"b","Address":"10.0.0.2","Service":{"Service":"web","Port":80,"Tags":["v1"]},
        "Checks":[{"CheckID":"c2","Name":"c2","Status":"warning","ServiceID":"web"}]}"#,
    )
    .gives(200, Json("true")),
    put(
        "a critical one",
        "/v1/catalog/register",
        r#"{"Node":"c","Address":"10.0.0.3","Service":{"Service":"web","Port":80,"Tags":["Blue"]},
        "Checks":[{"CheckID":"c3","Name":"c3","Status":"critical","ServiceID":"web"}]}"#,
    )
    .gives(200, Json("true")),
];

const KEPT: &[Row] = &[
    get("none yet", "/v1/query").gives(200, Json("[]")).with(&[
        ("x-consul-index", "*"),
        ("x-consul-effective-consistency", "leader"),
        ("x-consul-knownleader", "true"),
    ]),
    post("a plain one", "/v1/query", r#"{"Name":"q1","Service":{"Service":"web"}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("q1", "/ID")]),
    get("as it was given, filled up", "/v1/query/{q1}").gives(200, Json(
        r##"[{"ID":"{q1}","Name":"q1","Session":"","Token":"",
        "Template":{"Type":"","Regexp":"","RemoveEmptyTags":false},
        "Service":{"Service":"web","Failover":{"NearestN":0,"Datacenters":null},"OnlyPassing":false,
            "IgnoreCheckIDs":null,"Near":"","Tags":null,"NodeMeta":null,"ServiceMeta":null,
            "Connect":false},
        "DNS":{"TTL":""},"CreateIndex":"#","ModifyIndex":"#"}]"##,
    )).with(&[("x-consul-index", "*"), ("x-consul-effective-consistency", "leader")]),
    post("one with everything", "/v1/query",
        r#"{"name":"full","Token":"secret","Service":{"Service":"web","OnlyPassing":true,"Near":"a",
        "Failover":{"NearestN":2,"Datacenters":["dc9"]},"IgnoreCheckIDs":["x"],"Tags":["v1","!old"],
        "NodeMeta":{"r":"1"},"ServiceMeta":{"v":"1"},"Connect":false},"DNS":{"TTL":"10s"}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("full", "/ID")]),
    get("it is kept whole", "/v1/query/{full}").gives(200, Like(
        r#"[{"Name":"full","Token":"secret","Service":{"Service":"web","OnlyPassing":true,"Near":"a",
        "Failover":{"NearestN":2,"Datacenters":["dc9"]},"IgnoreCheckIDs":["x"],"Tags":["v1","!old"],
        "NodeMeta":{"r":"1"},"ServiceMeta":{"v":"1"}},"DNS":{"TTL":"10s"}}]"#,
    )),
    get("both", "/v1/query").gives(200, Like("[{},{}]")),
    post("empty lists are not none", "/v1/query",
        r#"{"Name":"lists","Service":{"Service":"web","Tags":[],"NodeMeta":{},"Failover":{"Datacenters":[]}}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("lists", "/ID")]),
    get("they are shown apart", "/v1/query/{lists}").gives(200, Like(
        r#"[{"Service":{"Tags":[],"NodeMeta":{},"ServiceMeta":null,"Failover":{"Datacenters":[]}}}]"#,
    )),
    put("changed", "/v1/query/{lists}", r#"{"ID":"other","Name":"lists2","Service":{"Service":"db"}}"#)
        .gives(200, Empty),
    get("under its old id", "/v1/query/{lists}")
        .gives(200, Like(r#"[{"ID":"{lists}","Name":"lists2","Service":{"Service":"db"}}]"#)),
    delete("removed", "/v1/query/{lists}").gives(200, Empty),
    get("it is gone", "/v1/query/{lists}").gives(404, Is("Query not found")).with(&[("x-consul-index", "-")]),
    delete("removed again", "/v1/query/{lists}")
        .gives(500, Is("Cannot modify non-existent prepared query: '{lists}'")),
    put("changed too late", "/v1/query/{lists}", r#"{"Name":"x","Service":{"Service":"db"}}"#)
        .gives(500, Is("Cannot modify non-existent prepared query: '{lists}'")),
];

const REFUSED: &[Row] = &[
    post("one", "/v1/query", r#"{"Name":"q1","Service":{"Service":"web"}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("q1", "/ID")]),
    post("nothing", "/v1/query", "{}")
        .gives(500, Is("Invalid prepared query: Must be bound to a session")),
    post("no service", "/v1/query", r#"{"Name":"x"}"#)
        .gives(500, Is("Invalid prepared query: Must provide a Service name to query")),
    post("an id of its own", "/v1/query", r#"{"ID":"x","Name":"x","Service":{"Service":"web"}}"#)
        .gives(500, Is("ID must be empty when creating a new prepared query")),
    post("a name that is taken", "/v1/query", r#"{"Name":"Q1","Service":{"Service":"web"}}"#)
        .gives(500, Is("name 'Q1' aliases an existing query name")),
    post("a name that is an id", "/v1/query", r#"{"Name":"{q1}","Service":{"Service":"web"}}"#)
        .gives(500, Is("name '{q1}' aliases an existing query ID")),
    post("an unknown field", "/v1/query", r#"{"Name":"x","Bogus":1,"Service":{"Service":"web"}}"#)
        .gives(400, Is(r#"Request decode failed: json: unknown field "Bogus""#)),
    post("a field with an underscore, as definitions have", "/v1/query", r#"{"Name":"x","Service":{"Service":"web","only_passing":true}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .consul(400, Is(r#"Request decode failed: json: unknown field "only_passing""#)),
    post("what newer clients always send", "/v1/query",
        r#"{"Name":"newer","Service":{"Service":"web","Namespace":"","Failover":{"Targets":null}}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .consul(400, Is(r#"Request decode failed: json: unknown field "Namespace""#)),
    post("what would be lost", "/v1/query",
        r#"{"Name":"z","Service":{"Service":"web","Failover":{"Targets":[{"Peer":"p"}]}}}"#)
        .gives(400, Is("Request decode failed: failover to targets and sameness groups is not supported"))
        .consul(400, Is(r#"Request decode failed: json: unknown field "Targets""#)),
    post("a field of another kind", "/v1/query", r#"{"Name":"y","Service":{"Service":"web"},"DNS":{"TTL":10}}"#)
        .gives(400, Starts("Request decode failed: json: cannot unmarshal number into Go struct field")),
    post("no JSON", "/v1/query", "").gives(400, Is("Request decode failed: EOF")),
    post("a list", "/v1/query", "[]").gives(400, Is(
        "Request decode failed: json: cannot unmarshal array into Go value of type structs.PreparedQuery",
    )),
    post("a TTL that is none", "/v1/query", r#"{"Name":"y","Service":{"Service":"web"},"DNS":{"TTL":"bogus"}}"#)
        .gives(500, Is(r#"Invalid prepared query: Bad DNS TTL 'bogus': time: invalid duration "bogus""#)),
    post("a TTL below zero", "/v1/query", r#"{"Name":"y","Service":{"Service":"web"},"DNS":{"TTL":"-1s"}}"#)
        .gives(500, Is("Invalid prepared query: DNS TTL '-1000000000', must be >=0")),
    post("fewer than no data centers", "/v1/query",
        r#"{"Name":"y","Service":{"Service":"web","Failover":{"NearestN":-1}}}"#)
        .gives(500, Is("Invalid prepared query: Bad NearestN '-1', must be >= 0")),
    post("metadata without a key", "/v1/query", r#"{"Name":"y","Service":{"Service":"web","NodeMeta":{"":"x"}}}"#)
        .gives(500, Is("Invalid prepared query: Couldn't load metadata pair ('', 'x'): Key cannot be blank")),
    post("a token that hides one", "/v1/query", r#"{"Name":"y","Token":"<hidden>","Service":{"Service":"web"}}"#)
        .gives(500, Is("Invalid prepared query: Bad Token '<hidden>', it looks like a query definition \
            with a redacted token was submitted")),
    post("a session that is no UUID", "/v1/query", r#"{"Name":"y","Session":"nope","Service":{"Service":"web"}}"#)
        .gives(500, Is("invalid session: index error: UUID must be 36 characters")),
    post("a session that never was", "/v1/query",
        r#"{"Name":"y","Session":"11111111-1111-1111-1111-111111111111","Service":{"Service":"web"}}"#)
        .gives(500, Is(r#"invalid session "11111111-1111-1111-1111-111111111111""#)),
    get("an id that is none", "/v1/query/nope")
        .gives(500, Is("failed prepared query lookup: index error: UUID must be 36 characters"))
        .with(&[("x-consul-index", "1"), ("x-consul-knownleader", "false")]),
    get("an id with a strange digit", "/v1/query/zzzzzzzz-1111-1111-1111-111111111111").gives(500, Is(
        "failed prepared query lookup: index error: Invalid UUID: encoding/hex: invalid byte: U+007A 'z'",
    )),
    get("no id at all", "/v1/query/")
        .gives(500, Is("failed prepared query lookup: index error: UUID must be 36 characters")),
    put("changed under no id", "/v1/query/nope", r#"{"Name":"y","Service":{"Service":"web"}}"#)
        .gives(500, Is("Prepared Query lookup failed: failed prepared query lookup: index error: \
            UUID must be 36 characters")),
    delete("removed under no id", "/v1/query/nope")
        .gives(500, Starts("Prepared Query lookup failed: ")),
    put("changed into nothing", "/v1/query/{q1}", "")
        .gives(500, Is("Invalid prepared query: Must be bound to a session")),
    get("another data center", "/v1/query?dc=zz").gives(500, Is("No path to datacenter"))
        .with(&[("x-consul-index", "1")]),
    get("run in another data center", "/v1/query/q1/execute?dc=zz")
        .gives(500, Is("No path to datacenter")).with(&[("x-consul-index", "1")]),
    post("made in another data center", "/v1/query?dc=zz", r#"{"Name":"y","Service":{"Service":"web"}}"#)
        .gives(500, Is("No path to datacenter")).with(&[("x-consul-index", "-")]),
    get("stale and consistent", "/v1/query/q1/execute?stale&consistent")
        .gives(400, Is("Cannot specify ?stale with ?consistent, conflicting semantics.")),
    put("another method", "/v1/query", "{}")
        .gives(405, Is("method PUT not allowed")).with(&[("allow", "OPTIONS,GET,POST")]),
    put("writing where it runs", "/v1/query/q1/execute", "{}")
        .gives(405, Is("method PUT not allowed")).with(&[("allow", "GET")]),
    delete("removing where it is explained", "/v1/query/q1/explain")
        .gives(405, Is("method DELETE not allowed")).with(&[("allow", "GET")]),
    other("the methods", "OPTIONS", "/v1/query/q1")
        .gives(200, Json("{}")).with(&[("allow", "OPTIONS,GET,PUT,DELETE")]),
    other("the methods of a run", "OPTIONS", "/v1/query/q1/execute")
        .gives(200, Json("{}")).with(&[("allow", "OPTIONS,GET")]),
    other("the methods of all", "OPTIONS", "/v1/query")
        .gives(200, Empty).with(&[("allow", "OPTIONS,GET,POST")]),
];

/// What a plain run says beside its instances.
const RUN: &[Row] = &[
    post("one", "/v1/query", r#"{"Name":"one","Service":{"Service":"web","OnlyPassing":true},"DNS":{"TTL":"5s"}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("one", "/ID")]),
    get("runs by name", "/v1/query/one/execute").gives(200, Json(
        r##"{"Service":"web","Nodes":[{
            "Node":{"ID":"","Node":"a","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":null,
                "Meta":{"r":"1"},"CreateIndex":"#","ModifyIndex":"#"},
            "Service":{"ID":"web","Service":"web","Tags":["Blue","v1"],"Address":"","Meta":{"v":"1"},
                "Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,
                "Proxy":"*","Connect":{},"CreateIndex":"#","ModifyIndex":"#"},
            "Checks":[{"Node":"a","CheckID":"c","Name":"c","Status":"passing","Notes":"","Output":"",
                "ServiceID":"web","ServiceName":"web","ServiceTags":["Blue","v1"],"Type":"",
                "Interval?":"*","Timeout?":"*","ExposedPort?":"*","Definition":{},
                "CreateIndex":"#","ModifyIndex":"#"}]}],
        "DNS":{"TTL":"5s"},"Datacenter":"dc1","Failovers":0,"Index":0,"LastContact":0,
        "KnownLeader":true,"ConsistencyLevel":"leader"}"##,
    )).with(&[
        ("x-consul-index", "1"),
        ("x-consul-effective-consistency", "leader"),
        ("x-consul-knownleader", "true"),
        ("x-cache", "-"),
    ]),
    get("runs by its name in any case", "/v1/query/ONE/execute").gives(200, Like(r#"{"Nodes":[{}]}"#)),
    get("runs by id", "/v1/query/{one}/execute").gives(200, Like(r#"{"Service":"web","Nodes":[{}]}"#)),
    get("never blocks", "/v1/query/one/execute?index=100000&wait=60s")
        .gives(200, Like(r#"{"Nodes":[{}]}"#)).with(&[("x-consul-index", "1")]),
    get("stale", "/v1/query/one/execute?stale")
        .gives(200, Like(r#"{"ConsistencyLevel":"stale"}"#))
        .with(&[("x-consul-effective-consistency", "stale")]),
    get("consistent", "/v1/query/one/execute?consistent")
        .gives(200, Like(r#"{"ConsistencyLevel":"consistent"}"#)),
    get("cached: we ask anew", "/v1/query/one/execute?cached")
        .gives(200, Like(r#"{"Nodes":[{}]}"#)).with(&[("x-cache", "MISS")]),
    get("of a mesh: there is none", "/v1/query/one/execute?connect=true")
        .gives(200, Like(r#"{"Service":"web","Nodes":[]}"#)),
    get("a truth value that is none", "/v1/query/one/execute?connect=zz").gives(500, Is(
        r#"Error parsing 'connect' value: strconv.ParseBool: parsing "zz": invalid syntax"#,
    )),
    get("a limit that is none", "/v1/query/one/execute?limit=x")
        .gives(500, Is(r#"Bad limit: strconv.Atoi: parsing "x": invalid syntax"#))
        .with(&[("x-consul-index", "-")]),
    get("nobody", "/v1/query/nobody/execute").gives(404, Is("Query not found")).with(&[("x-consul-index", "-")]),
    get("nobody explained", "/v1/query/nobody/explain").gives(404, Is("Query not found")),
    get("explained", "/v1/query/one/explain").gives(200, Json(
        r##"{"Query":{"ID":"{one}","Name":"one","Session":"","Token":"",
            "Template":{"Type":"","Regexp":"","RemoveEmptyTags":false},
            "Service":{"Service":"web","Failover":{"NearestN":0,"Datacenters":null},"OnlyPassing":true,
                "IgnoreCheckIDs":null,"Near":"","Tags":null,"NodeMeta":null,"ServiceMeta":null,
                "Connect":false},
            "DNS":{"TTL":"5s"},"CreateIndex":"#","ModifyIndex":"#"},
        "Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":"leader"}"##,
    )).with(&[("x-consul-index", "1")]),
    post("warnings count as fit", "/v1/query", r#"{"Name":"fit","Service":{"Service":"web"}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#)),
    get("two are", "/v1/query/fit/execute").gives(200, Like(r#"{"Nodes":[{},{}]}"#)),
    get("one at most", "/v1/query/fit/execute?limit=1").gives(200, Like(r#"{"Nodes":[{}]}"#)),
    get("less than none is all", "/v1/query/fit/execute?limit=-1").gives(200, Like(r#"{"Nodes":[{},{}]}"#)),
    get("the nearest is the own node", "/v1/query/fit/execute?near=b&limit=1")
        .gives(200, Like(r#"{"Nodes":[{"Node":{"Node":"b"}}]}"#)),
    get("near an unknown node", "/v1/query/fit/execute?near=zz").gives(200, Like(r#"{"Nodes":[{},{}]}"#)),
    get("near this agent", "/v1/query/fit/execute?near=_agent").gives(200, Like(r#"{"Nodes":[{},{}]}"#)),
    get("near who asks, who is no node", "/v1/query/fit/execute?near=_ip").gives(200, Like(r#"{"Nodes":[{},{}]}"#)),
    get("near who asks through a proxy", "/v1/query/fit/execute?near=_ip&limit=1")
        .sending(&[("x-forwarded-for", "10.0.0.2, 127.0.0.1")])
        .gives(200, Like(r#"{"Nodes":[{"Node":{"Node":"b"}}]}"#)),
    post("by tags", "/v1/query", r#"{"Name":"tags","Service":{"Service":"web","Tags":["V1","!blue"]}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#)),
    get("one has them", "/v1/query/tags/execute").gives(200, Like(r#"{"Nodes":[{"Node":{"Node":"b"}}]}"#)),
    post("by metadata", "/v1/query",
        r#"{"Name":"meta","Service":{"Service":"web","NodeMeta":{"r":"1"},"ServiceMeta":{"v":"1"}}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#)),
    get("one has it", "/v1/query/meta/execute").gives(200, Like(r#"{"Nodes":[{"Node":{"Node":"a"}}]}"#)),
    post("past a check", "/v1/query",
        r#"{"Name":"blind","Service":{"Service":"web","IgnoreCheckIDs":["c3"],"Tags":["Blue"]}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#)),
    get("all that have the tag", "/v1/query/blind/execute").gives(200, Like(r#"{"Nodes":[{},{}]}"#)),
    post("where nothing is, with other data centers", "/v1/query",
        r#"{"Name":"far","Service":{"Service":"none","Failover":{"NearestN":3,"Datacenters":["dc9"]}}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#)),
    get("no other is known", "/v1/query/far/execute").gives(200, Json(
        r#"{"Service":"none","Nodes":[],"DNS":{"TTL":""},"Datacenter":"dc1","Failovers":0,"Index":0,
        "LastContact":0,"KnownLeader":true,"ConsistencyLevel":"leader"}"#,
    )),
];

const TEMPLATES: &[Row] = &[
    post("one for a prefix", "/v1/query",
        r#"{"Name":"geo-","Template":{"Type":"name_prefix_match","Regexp":"^geo-(.*?)-([^\\-]+)$",
        "RemoveEmptyTags":true},"Service":{"Service":"${match(1)}","Tags":["${match(2)}","${match(9)}"],
        "Near":"${name.suffix}","NodeMeta":{"k":"${agent.segment}|${name.prefix}"}}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("geo", "/ID")]),
    get("shown as it is", "/v1/query/{geo}").gives(200, Like(
        r#"[{"Name":"geo-","Template":{"Type":"name_prefix_match","RemoveEmptyTags":true},
        "Service":{"Service":"${match(1)}","Tags":["${match(2)}","${match(9)}"]}}]"#,
    )),
    get("filled in", "/v1/query/geo-db-main/explain").gives(200, Like(
        r#"{"Query":{"ID":"{geo}","Name":"geo-","Service":{"Service":"db","Tags":["main"],
        "Near":"db-main","NodeMeta":{"k":"|geo-"}}}}"#,
    )),
    get("without a match", "/v1/query/geo-db/explain")
        .gives(200, Like(r#"{"Query":{"Service":{"Service":"","Tags":[]}}}"#)),
    get("not by its id", "/v1/query/{geo}/execute")
        .gives(500, Is("prepared query templates can only be resolved up by name, not by ID"))
        .with(&[("x-consul-index", "1"), ("x-consul-knownleader", "false")]),
    post("a longer prefix", "/v1/query",
        r#"{"Name":"geo-db","Template":{"Type":"name_prefix_match"},"Service":{"Service":"x${name.suffix}"}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#)),
    get("it goes before", "/v1/query/geo-db-main/explain")
        .gives(200, Like(r#"{"Query":{"Service":{"Service":"x-main"}}}"#)),
    get("in any case, though the suffix is cut off as written", "/v1/query/GEO-DB-main/explain")
        .gives(200, Like(r#"{"Query":{"Service":{"Service":"xGEO-DB-main"}}}"#)),
    post("an exact name", "/v1/query", r#"{"Name":"geo-db-main","Service":{"Service":"exact"}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#)),
    get("it goes before both", "/v1/query/geo-db-main/explain")
        .gives(200, Like(r#"{"Query":{"Service":{"Service":"exact"}}}"#)),
    get("no template takes this", "/v1/query/web/explain").gives(404, Is("Query not found")),
    post("one for all names", "/v1/query",
        r#"{"Template":{"Type":"name_prefix_match"},"Service":{"Service":"${name.full}"}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#)),
    post("a second one for all", "/v1/query",
        r#"{"Template":{"Type":"name_prefix_match"},"Service":{"Service":"${name.full}"}}"#)
        .gives(500, Is("a query template with an empty name already exists")),
    get("it runs for any name", "/v1/query/web/execute?limit=1")
        .gives(200, Like(r#"{"Service":"web","Nodes":[{}]}"#)),
    post("a kind that is none", "/v1/query",
        r#"{"Name":"t","Template":{"Type":"bogus"},"Service":{"Service":"web"}}"#)
        .gives(500, Is("failed compiling template: Bad Template.Type 'bogus'")),
    post("a broken expression", "/v1/query",
        r#"{"Name":"t","Template":{"Type":"name_prefix_match","Regexp":"(("},"Service":{"Service":"web"}}"#)
        .gives(500, Starts("failed compiling template: Bad Regexp: error parsing regexp: ")),
    post("a variable that is none", "/v1/query",
        r#"{"Name":"t","Template":{"Type":"name_prefix_match"},"Service":{"Service":"${nope}"}}"#)
        .gives(500, Is("failed compiling template: Bad evaluation for '${nope}' in Service.Service: \
            1:3: unknown variable accessed: nope")),
    post("one inside a list", "/v1/query",
        r#"{"Name":"t","Template":{"Type":"name_prefix_match"},"Service":{"Service":"x","Tags":["a","${nope}"]}}"#)
        .gives(500, Is("failed compiling template: Bad evaluation for '${nope}' in Service.Tags[1]: \
            1:3: unknown variable accessed: nope")),
    post("one inside a map", "/v1/query",
        r#"{"Name":"t","Template":{"Type":"name_prefix_match"},"Service":{"Service":"x","NodeMeta":{"k":"a${nope}"}}}"#)
        .gives(500, Is("failed compiling template: Bad evaluation for 'a${nope}' in Service.NodeMeta[k]: \
            1:4: unknown variable accessed: nope")),
    post("one among data centers", "/v1/query",
        r#"{"Name":"t","Template":{"Type":"name_prefix_match"},
        "Service":{"Service":"x","Failover":{"Datacenters":["${nope()}"]}}}"#)
        .gives(500, Is("failed compiling template: Bad evaluation for '${nope()}' in \
            Service.Failover.Datacenters[0]: 1:3: unknown function called: nope")),
    post("an open bracket", "/v1/query",
        r#"{"Name":"t","Template":{"Type":"name_prefix_match"},"Service":{"Service":"${name.full"}}"#)
        .gives(500, Is("failed compiling template: Bad format '${name.full' in Service.Service: \
            parse error: syntax error")),
    post("sums are not built", "/v1/query",
        r#"{"Name":"t","Template":{"Type":"name_prefix_match"},"Service":{"Service":"${match(1+1)}"}}"#)
        .gives(500, Starts("failed compiling template: Bad format "))
        .consul(200, Json(r#"{"ID":"*"}"#)),
    post("no template, so nothing is looked at", "/v1/query",
        r#"{"Name":"r","Template":{"Regexp":"(("},"Service":{"Service":"${name.full"}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#)),
    get("nor filled in", "/v1/query/r/explain").gives(200, Like(
        r#"{"Query":{"Template":{"Type":"","Regexp":"(("},"Service":{"Service":"${name.full"}}}"#,
    )),
];

const SESSIONS: &[Row] = &[
    put("a session", "/v1/session/create", r#"{"NodeChecks":[]}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("s", "/ID")]),
    post("bound, without a name", "/v1/query", r#"{"Session":"{s}","Service":{"Service":"web"}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#))
        .keeps(&[("bound", "/ID")]),
    post(
        "bound, with a name",
        "/v1/query",
        r#"{"Name":"named","Session":"{s}","Service":{"Service":"web"}}"#,
    )
    .gives(200, Json(r#"{"ID":"*"}"#)),
    post("free", "/v1/query", r#"{"Name":"free","Service":{"Service":"web"}}"#)
        .gives(200, Json(r#"{"ID":"*"}"#)),
    get("the session is shown", "/v1/query/{bound}")
        .gives(200, Like(r#"[{"Name":"","Session":"{s}"}]"#)),
    put("the session ends", "/v1/session/destroy/{s}", "").gives(200, Json("true")),
    get("and so do they", "/v1/query").gives(200, Like(r#"[{"Name":"free"}]"#)),
    get("nobody finds it", "/v1/query/{bound}").gives(404, Is("Query not found")),
    get("nor the other", "/v1/query/named/execute").gives(404, Is("Query not found")),
];

#[tokio::test]
async fn queries_are_kept() {
    check(KEPT).await;
}

#[tokio::test]
async fn bad_queries_are_refused() {
    check(REFUSED).await;
}

#[tokio::test]
async fn queries_run() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    check_on(&agent, INSTANCES).await;
    check_on(&agent, RUN).await;
}

#[tokio::test]
async fn templates_are_filled_in() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    check_on(&agent, INSTANCES).await;
    check_on(&agent, TEMPLATES).await;
}

#[tokio::test]
async fn queries_end_with_their_session() {
    check(SESSIONS).await;
}

/// Whoever waits for the list of queries is told of a new one.
#[tokio::test]
async fn the_list_blocks() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let http = agent.http();
    let index = http.get("/v1/query").await.header("x-consul-index").expect("an index").to_owned();
    let path = format!("/v1/query?index={index}&wait=60s");
    let body = r#"{"Name":"new","Service":{"Service":"web"}}"#;
    let (told, made) = tokio::join!(http.get(&path), http.send("POST", "/v1/query", &[], body));
    assert_eq!(made.expect("a reply").status, 200);
    let told = told.json();
    assert_eq!(told[0]["Name"], "new");
}
