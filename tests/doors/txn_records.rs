//! `/v1/txn`: nodes, services and checks, alone and together with keys.

use super::table::Want::{Any, Is, Json, Like};
use super::table::{Row, check, get, put};

#[rustfmt::skip]
static RECORDS: &[Row] = &[
    put("a node", "/v1/txn", r#"[{"Node":{"Verb":"set","Node":{"Node":"a","Address":"10.0.0.1","Meta":{"k":"v"}}}}]"#)
        .gives(200, Json(r##"{"Results":[{"Node":{"ID":"","Node":"a","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":null,"Meta":{"k":"v"},"CreateIndex":"#","ModifyIndex":"#"}}],"Errors":null}"##))
        .keeps(&[("na", "/Results/0/Node/ModifyIndex")]),
    put("a node set again as it was", "/v1/txn", r#"[{"Node":{"Verb":"set","Node":{"Node":"a","Address":"10.0.0.1","Meta":{"k":"v"}}}}]"#)
        .gives(200, Like(r#"{"Results":[{"Node":{"ModifyIndex":{na}}}]}"#)),
    put("a node read, whatever its case", "/v1/txn", r#"[{"Node":{"Verb":"get","Node":{"Node":"A"}}}]"#)
        .gives(200, Json(r##"{"Results":[{"Node":{"ID":"","Node":"a","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":null,"Meta":{"k":"v"},"CreateIndex":"#","ModifyIndex":"#"}}],"Errors":null,"Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":""}"##)),
    put("a node that is not there", "/v1/txn", r#"[{"Node":{"Verb":"get","Node":{"Node":"zz"}}}]"#)
        .gives(409, Json(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"node \"zz\" doesn't exist"}],"Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":""}"#)),
    put("a node without a name is none", "/v1/txn", r#"[{"Node":{"Verb":"get","Node":{}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"node \"\" doesn't exist"}]}"#)),
    put("a node set without a name", "/v1/txn", r#"[{"Node":{"Verb":"set","Node":{"Address":"1.1.1.1"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Must provide node"}]}"#)),
    put("a node that is nothing", "/v1/txn", r#"[{"Node":{"Verb":"set"}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Must provide node"}]}"#)),
    put("an id that is none", "/v1/txn", r#"[{"Node":{"Verb":"set","Node":{"Node":"b","ID":"xx","Address":"1.1.1.1"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Bad node ID: uuid string is wrong length"}]}"#)),
    put("an id that is none, read", "/v1/txn", r#"[{"Node":{"Verb":"get","Node":{"Node":"b","ID":"xx"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"node lookup by ID failed, wrong UUID: uuid string is wrong length for 'xx'"}]}"#)),
    put("a node without an address", "/v1/txn", r#"[{"Node":{"Verb":"set","Node":{"Node":"bare"}}}]"#)
        .gives(200, Like(r#"{"Results":[{"Node":{"Node":"bare","Address":""}}]}"#)),
    put("a node of an id", "/v1/txn", r#"[{"Node":{"Verb":"set","Node":{"Node":"idn","ID":"aaaaaaaa-1111-1111-1111-111111111111","Address":"1.1.1.1"}}}]"#)
        .gives(200, Like(r#"{"Results":[{"Node":{"ID":"aaaaaaaa-1111-1111-1111-111111111111"}}]}"#)),
    put("a node is found by its id first", "/v1/txn", r#"[{"Node":{"Verb":"get","Node":{"Node":"zz","ID":"aaaaaaaa-1111-1111-1111-111111111111"}}}]"#)
        .gives(200, Like(r#"{"Results":[{"Node":{"Node":"idn"}}]}"#)),
    put("… and not by its name then", "/v1/txn", r#"[{"Node":{"Verb":"get","Node":{"Node":"idn","ID":"bbbbbbbb-1111-1111-1111-111111111111"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"node \"idn\" doesn't exist"}]}"#)),
    get("this node", "/v1/agent/self").gives(200, Any).keeps(&[("n1", "/Config/NodeID")]),
    put("a living node keeps its name", "/v1/txn", r#"[{"Node":{"Verb":"set","Node":{"Node":"n1","ID":"11111111-1111-1111-1111-111111111111","Address":"1.1.1.1"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Error while renaming Node ID: \"11111111-1111-1111-1111-111111111111\": Node name n1 is reserved by node {n1} with name n1 ({ip})"}]}"#)),
    put("a node of another index", "/v1/txn", r#"[{"Node":{"Verb":"cas","Node":{"Node":"a","Address":"10.0.0.2","ModifyIndex":1}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"failed to set node \"a\", index is stale"}]}"#)),
    put("a node that should not be there and is", "/v1/txn", r#"[{"Node":{"Verb":"cas","Node":{"Node":"a","Address":"10.0.0.2"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"failed to set node \"a\", index is stale"}]}"#)),
    put("a node that should be there and is not", "/v1/txn", r#"[{"Node":{"Verb":"cas","Node":{"Node":"c","Address":"10.0.0.2","ModifyIndex":7}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"failed to set node \"c\", index is stale"}]}"#)),
    put("a node if there is none", "/v1/txn", r#"[{"Node":{"Verb":"cas","Node":{"Node":"c","Address":"10.0.0.2"}}}]"#)
        .gives(200, Like(r#"{"Results":[{"Node":{"Node":"c"}}]}"#)),
    put("a node of its index", "/v1/txn", r#"[{"Node":{"Verb":"cas","Node":{"Node":"a","Address":"10.0.0.2","ModifyIndex":{na}}}}]"#)
        .gives(200, Like(r#"{"Results":[{"Node":{"Address":"10.0.0.2","Meta":null}}]}"#)),
    put("deletions of nodes that are guarded", "/v1/txn", r#"[{"Node":{"Verb":"delete-cas","Node":{"Node":"c","ModifyIndex":1}}},
        {"Node":{"Verb":"delete-cas","Node":{"Node":"nosuch","ModifyIndex":1}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"failed to delete node \"c\", index is stale"},{"OpIndex":1,"What":"failed to delete node \"nosuch\", index is stale"}]}"#)),
    put("deletions of nodes", "/v1/txn", r#"[{"Node":{"Verb":"delete","Node":{"Node":"c"}}},
        {"Node":{"Verb":"delete","Node":{"Node":"nosuch"}}}]"#)
        .gives(200, Json(r#"{"Results":[],"Errors":null}"#)),
    put("a deletion of no node", "/v1/txn", r#"[{"Node":{"Verb":"delete","Node":{}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Must provide node"}]}"#)),
    put("an unknown verb of a node", "/v1/txn", r#"[{"Node":{"Verb":"bogus","Node":{"Node":"a"}}}]"#)
        .gives(409, Json(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"unknown Node verb \"bogus\""}]}"#)),
    put("no verb of a node", "/v1/txn", r#"[{"Node":{"Node":{"Node":"a"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"unknown Node verb \"\""}]}"#)),
    put("an unknown field of a node", "/v1/txn", r#"[{"Node":{"Verb":"set","Node":{"Node":"a","Bogus":1}}}]"#)
        .gives(400, Is(r#"Failed to parse body: json: unknown field "Bogus""#)),
    put("an unknown field beside a node", "/v1/txn", r#"[{"Node":{"Verb":"set","Bogus":1}}]"#)
        .gives(400, Is(r#"Failed to parse body: json: unknown field "Bogus""#)),
    put("a service", "/v1/txn", r#"[{"Service":{"Verb":"set","Node":"a","Service":{"Service":"web","Port":80,"Tags":["x"]}}}]"#)
        .gives(200, Json(r##"{"Results":[{"Service":{"ID":"web","Service":"web","Tags":["x"],"Address":"","Meta":null,"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"MeshGateway":{},"Expose":{}},"Connect":{},"CreateIndex":"#","ModifyIndex":"#"}}],"Errors":null}"##))
        .keeps(&[("sw", "/Results/0/Service/ModifyIndex")]),
    put("a service set again as it was", "/v1/txn", r#"[{"Service":{"Verb":"set","Node":"a","Service":{"Service":"web","Port":80,"Tags":["x"]}}}]"#)
        .gives(200, Like(r#"{"Results":[{"Service":{"ModifyIndex":{sw}}}]}"#)),
    put("a service read", "/v1/txn", r#"[{"Service":{"Verb":"get","Node":"a","Service":{"ID":"web"}}}]"#)
        .gives(200, Json(r##"{"Results":[{"Service":{"ID":"web","Service":"web","Tags":["x"],"Address":"","Meta":null,"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"MeshGateway":{},"Expose":{}},"Connect":{},"CreateIndex":"#","ModifyIndex":"#"}}],"Errors":null,"Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":""}"##)),
    put("a service is read by its id alone", "/v1/txn", r#"[{"Service":{"Verb":"get","Node":"a","Service":{"Service":"web"}}},
        {"Service":{"Verb":"get","Node":"a","Service":{"ID":"nope"}}},
        {"Service":{"Verb":"get","Node":"zz","Service":{"ID":"web"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"service \"\" on node \"a\" doesn't exist"},{"OpIndex":1,"What":"service \"nope\" on node \"a\" doesn't exist"},{"OpIndex":2,"What":"service \"web\" on node \"zz\" doesn't exist"}]}"#)),
    put("a service of no node", "/v1/txn", r#"[{"Service":{"Verb":"set","Node":"zz","Service":{"ID":"web","Service":"web"}}},
        {"Service":{"Verb":"set","Node":"","Service":{"Service":"web"}}},
        {"Service":{"Verb":"cas","Node":"zz","Service":{"Service":"web"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Missing node registration"},{"OpIndex":1,"What":"Missing node registration"},{"OpIndex":2,"What":"Missing node registration"}]}"#)),
    put("a service without a name", "/v1/txn", r#"[{"Service":{"Verb":"set","Node":"a","Service":{"ID":"web"}}},
        {"Service":{"Verb":"delete","Node":"a","Service":{"ID":"web"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Must provide service name with ID"},{"OpIndex":1,"What":"Must provide service name with ID"}]}"#)),
    put("a service that is nothing", "/v1/txn", r#"[{"Service":{"Verb":"set","Node":"a","Service":{}}}]"#)
        .gives(409, Like(r#"{"Errors":[{"What":"failed inserting service: Must provide service name"}]}"#))
        .consul(409, Like(r#"{"Errors":[{"What":"failed inserting service: object missing primary index"}]}"#)),
    put("a service everywhere", "/v1/txn", r#"[{"Service":{"Verb":"set","Node":"a","Service":{"Service":"any","Address":"0.0.0.0"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Invalid service address"}]}"#)),
    put("a service of another index", "/v1/txn", r#"[{"Service":{"Verb":"cas","Node":"a","Service":{"Service":"web","Port":81,"ModifyIndex":1}}},
        {"Service":{"Verb":"cas","Node":"a","Service":{"Service":"new","ModifyIndex":1}}},
        {"Service":{"Verb":"delete-cas","Node":"a","Service":{"Service":"web","ModifyIndex":1}}},
        {"Service":{"Verb":"delete-cas","Node":"a","Service":{"ID":"nope","Service":"x","ModifyIndex":3}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"failed to set service \"web\" on node \"a\", index is stale"},{"OpIndex":1,"What":"failed to set service \"new\" on node \"a\", index is stale"},{"OpIndex":2,"What":"failed to delete service \"web\" on node \"a\", index is stale"},{"OpIndex":3,"What":"failed to delete service \"nope\" on node \"a\", index is stale"}]}"#)),
    put("a service of its index", "/v1/txn", r#"[{"Service":{"Verb":"cas","Node":"a","Service":{"Service":"web","Port":81,"ModifyIndex":{sw}}}},
        {"Service":{"Verb":"cas","Node":"a","Service":{"Service":"new"}}}]"#)
        .gives(200, Like(r#"{"Results":[{"Service":{"Port":81,"Tags":null}},{"Service":{"ID":"new"}}]}"#)),
    put("deletions of services", "/v1/txn", r#"[{"Service":{"Verb":"delete","Node":"a","Service":{"Service":"new"}}},
        {"Service":{"Verb":"delete","Node":"a","Service":{"ID":"nope","Service":"x"}}},
        {"Service":{"Verb":"delete","Node":"zz","Service":{"ID":"nope","Service":"x"}}}]"#)
        .gives(200, Json(r#"{"Results":[],"Errors":null}"#)),
    put("an unknown verb of a service", "/v1/txn", r#"[{"Service":{"Verb":"bogus","Node":"a","Service":{"ID":"web","Service":"web"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"unknown Service verb \"bogus\""}]}"#)),
    put("a service with everything", "/v1/txn", r#"[{"Service":{"Verb":"set","Node":"a","Service":{"Service":"full","ID":"f1","Port":80,"Tags":["x"],"Meta":{"a":"b"},"Weights":{"Passing":5,"Warning":2},"EnableTagOverride":true,"Address":"1.2.3.4"}}}]"#)
        .gives(200, Like(r#"{"Results":[{"Service":{"ID":"f1","Service":"full","Meta":{"a":"b"},"Weights":{"Passing":5,"Warning":2},"EnableTagOverride":true,"Address":"1.2.3.4"}}]}"#)),
    put("addresses by purpose are kept", "/v1/txn", r#"[{"Service":{"Verb":"set","Node":"a","Service":{"Service":"ta","TaggedAddresses":{"lan":{"Address":"1.2.3.4","Port":8}}}}}]"#)
        .gives(200, Like(r#"{"Results":[{"Service":{"TaggedAddresses":{"lan":{"Address":"1.2.3.4","Port":8}}}}]}"#))
        .consul(200, Like(r#"{"Results":[{"Service":{"ID":"ta"}}]}"#)),
    put("a check", "/v1/txn", r#"[{"Check":{"Verb":"set","Check":{"Node":"a","CheckID":"c1","Name":"C 1","Status":"passing"}}}]"#)
        .gives(200, Json(r##"{"Results":[{"Check":{"Node":"a","CheckID":"c1","Name":"C 1","Status":"passing","Notes":"","Output":"","ServiceID":"","ServiceName":"","ServiceTags":null,"Type":"","Interval?":"*","Timeout?":"*","ExposedPort?":"*","Definition":{},"CreateIndex":"#","ModifyIndex":"#"}}],"Errors":null}"##))
        .keeps(&[("cc", "/Results/0/Check/ModifyIndex")]),
    put("a check set again as it was", "/v1/txn", r#"[{"Check":{"Verb":"set","Check":{"Node":"a","CheckID":"c1","Name":"C 1","Status":"passing"}}}]"#)
        .gives(200, Like(r#"{"Results":[{"Check":{"ModifyIndex":{cc}}}]}"#)),
    put("a check read", "/v1/txn", r#"[{"Check":{"Verb":"get","Check":{"Node":"a","CheckID":"c1"}}}]"#)
        .gives(200, Json(r##"{"Results":[{"Check":{"Node":"a","CheckID":"c1","Name":"C 1","Status":"passing","Notes":"","Output":"","ServiceID":"","ServiceName":"","ServiceTags":null,"Type":"","Interval?":"*","Timeout?":"*","ExposedPort?":"*","Definition":{},"CreateIndex":"#","ModifyIndex":"#"}}],"Errors":null,"Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":""}"##)),
    put("a check that is not there", "/v1/txn", r#"[{"Check":{"Verb":"get","Check":{"Node":"a","CheckID":"nope"}}},
        {"Check":{"Verb":"get","Check":{"Node":"zz","CheckID":"nope"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"check \"nope\" on node \"a\" doesn't exist"},{"OpIndex":1,"What":"check \"nope\" on node \"zz\" doesn't exist"}]}"#)),
    put("a check of no node", "/v1/txn", r#"[{"Check":{"Verb":"set","Check":{"Node":"zz","CheckID":"c1"}}},
        {"Check":{"Verb":"set","Check":{"CheckID":"c1"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Missing node registration"},{"OpIndex":1,"What":"Missing node registration"}]}"#)),
    put("a check if absent, of no node", "/v1/txn", r#"[{"Check":{"Verb":"cas","Check":{"Node":"zz","CheckID":"c1"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Missing node registration"}]}"#))
        .consul(200, Like(r#"{"Results":[],"Errors":null}"#)),
    put("a check of a service", "/v1/txn", r#"[{"Check":{"Verb":"set","Check":{"Node":"a","Name":"named","Status":"passing","ServiceID":"f1"}}}]"#)
        .gives(200, Like(r#"{"Results":[{"Check":{"CheckID":"named","ServiceID":"f1","ServiceName":"full","ServiceTags":["x"]}}]}"#)),
    put("a check of no service", "/v1/txn", r#"[{"Check":{"Verb":"set","Check":{"Node":"a","CheckID":"z","ServiceID":"nope"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Missing service registration"}]}"#)),
    put("a check that is nothing", "/v1/txn", r#"[{"Check":{"Verb":"set","Check":{"Node":"a","Status":"passing"}}}]"#)
        .gives(409, Like(r#"{"Errors":[{"What":"failed inserting check: Must provide check id or name on node \"a\""}]}"#))
        .consul(409, Like(r#"{"Errors":[{"What":"failed inserting check: object missing primary index"}]}"#)),
    put("a state of any word", "/v1/txn", r#"[{"Check":{"Verb":"set","Check":{"Node":"a","CheckID":"weird","Status":"weird"}}},
        {"Check":{"Verb":"set","Check":{"Node":"a","CheckID":"none"}}}]"#)
        .gives(200, Like(r#"{"Results":[{"Check":{"Status":"weird"}},{"Check":{"Status":"critical"}}]}"#)),
    put("a check of another index", "/v1/txn", r#"[{"Check":{"Verb":"cas","Check":{"Node":"a","CheckID":"c1","ModifyIndex":1}}},
        {"Check":{"Verb":"cas","Check":{"Node":"a","CheckID":"c9","ModifyIndex":1}}},
        {"Check":{"Verb":"delete-cas","Check":{"Node":"a","CheckID":"c1","ModifyIndex":1}}},
        {"Check":{"Verb":"delete-cas","Check":{"Node":"a","CheckID":"nope","ModifyIndex":1}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"failed to set check \"c1\" on node \"a\", index is stale"},{"OpIndex":1,"What":"failed to set check \"c9\" on node \"a\", index is stale"},{"OpIndex":2,"What":"failed to delete check \"c1\" on node \"a\", index is stale"},{"OpIndex":3,"What":"failed to delete check \"nope\" on node \"a\", index is stale"}]}"#)),
    put("a check of its index", "/v1/txn", r#"[{"Check":{"Verb":"cas","Check":{"Node":"a","CheckID":"c1","Status":"warning","ModifyIndex":{cc}}}},
        {"Check":{"Verb":"cas","Check":{"Node":"a","CheckID":"c9"}}}]"#)
        .gives(200, Like(r#"{"Results":[{"Check":{"Status":"warning"}},{"Check":{"CheckID":"c9"}}]}"#)),
    put("deletions of checks", "/v1/txn", r#"[{"Check":{"Verb":"delete","Check":{"Node":"a","CheckID":"c9"}}},
        {"Check":{"Verb":"delete","Check":{"Node":"a","CheckID":"nope"}}},
        {"Check":{"Verb":"delete","Check":{"Node":"zz","CheckID":"nope"}}}]"#)
        .gives(200, Json(r#"{"Results":[],"Errors":null}"#)),
    put("an unknown verb of a check", "/v1/txn", r#"[{"Check":{"Verb":"bogus","Check":{"Node":"a","CheckID":"c1"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"unknown Check verb \"bogus\""}]}"#)),
    put("a definition", "/v1/txn", r#"[{"Check":{"Verb":"set","Check":{"Node":"a","CheckID":"d","Notes":"n","Output":"o","Definition":{"HTTP":"http://x","Interval":"10s","Timeout":"2s","TLSSkipVerify":true,"Header":{"a":["b"]},"Method":"PUT","DeregisterCriticalServiceAfter":"1m","IntervalDuration":"10s"}}}}]"#)
        .gives(200, Like(r#"{"Results":[{"Check":{"Notes":"n","Output":"o","Definition":{"Interval":"10s","Timeout":"2s","DeregisterCriticalServiceAfter":"1m0s","HTTP":"http://x","TLSSkipVerify":true,"Header":{"a":["b"]},"Method":"PUT"}}}]}"#)),
    put("keys and records together", "/v1/txn", r#"[{"KV":{"Verb":"set","Key":"mk","Value":"eA=="}},
        {"Node":{"Verb":"set","Node":{"Node":"mix","Address":"1.1.1.1"}}},
        {"Service":{"Verb":"set","Node":"mix","Service":{"Service":"m"}}},
        {"Check":{"Verb":"set","Check":{"Node":"mix","CheckID":"c","ServiceID":"m","Status":"passing"}}},
        {"KV":{"Verb":"get","Key":"mk"}},
        {"Service":{"Verb":"get","Node":"mix","Service":{"ID":"m"}}}]"#)
        .gives(200, Like(r#"{"Results":[{"KV":{"Key":"mk","Value":null}},{"Node":{"Node":"mix"}},{"Service":{"ID":"m"}},{"Check":{"ServiceName":"m"}},{"KV":{"Value":"eA=="}},{"Service":{"ID":"m"}}],"Errors":null}"#)),
    put("… or none of them", "/v1/txn", r#"[{"KV":{"Verb":"set","Key":"mk2","Value":"eA=="}},
        {"Node":{"Verb":"set","Node":{"Node":"mix2","Address":"1.1.1.1"}}},
        {"Service":{"Verb":"set","Node":"mix9","Service":{"Service":"m"}}},
        {"Check":{"Verb":"get","Check":{"Node":"mix","CheckID":"zz"}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":2,"What":"Missing node registration"},{"OpIndex":3,"What":"check \"zz\" on node \"mix\" doesn't exist"}]}"#)),
    put("… and nothing of it is left", "/v1/txn", r#"[{"Node":{"Verb":"get","Node":{"Node":"mix2"}}},
        {"KV":{"Verb":"get","Key":"mk"}},
        {"KV":{"Verb":"get","Key":"mk2"}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"node \"mix2\" doesn't exist"},{"OpIndex":2,"What":"key \"mk2\" doesn't exist"}]}"#)),
    put("an operation of two kinds is of the first", "/v1/txn", r#"[{"KV":{"Verb":"get","Key":"mk"},"Node":{"Verb":"get","Node":{"Node":"zz"}}}]"#)
        .gives(200, Like(r#"{"Results":[{"KV":{"Key":"mk"}}]}"#)),
    put("what is looked at first stops all", "/v1/txn", r#"[{"KV":{"Verb":"lock","Key":"mk"}},
        {"KV":{"Verb":"get","Key":"nope"}},
        {"Service":{"Verb":"set","Node":"a","Service":{"ID":"x"}}},
        {"Node":{"Verb":"set","Node":{}}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":2,"What":"Must provide service name with ID"},{"OpIndex":3,"What":"Must provide node"}]}"#)),
    put("what fails by itself fails beside the others", "/v1/txn", r#"[{"KV":{"Verb":"lock","Key":"mk"}},
        {"KV":{"Verb":"unlock","Key":"mk"}},
        {"KV":{"Verb":"unlock","Key":"mk","Session":"x"}},
        {"KV":{"Verb":"lock","Key":"mk","Session":"x"}},
        {"KV":{"Verb":"bogus","Key":"q"}},
        {"KV":{"Verb":"get","Key":"nope"}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"missing session"},{"OpIndex":1,"What":"missing session"},{"OpIndex":2,"What":"failed to unlock key \"mk\", lock isn't held, or is held by another session"},{"OpIndex":3,"What":"failed session lookup: index error: UUID must be 36 characters"},{"OpIndex":4,"What":"unknown KV verb \"bogus\""},{"OpIndex":5,"What":"key \"nope\" doesn't exist"}]}"#)),
    put("an unknown verb of a key reads", "/v1/txn", r#"[{"KV":{"Verb":"bogus","Key":"q"}},
        {"KV":{"Verb":"get","Key":"nope"}}]"#)
        .gives(409, Json(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"unknown KV verb \"bogus\""},{"OpIndex":1,"What":"key \"nope\" doesn't exist"}],"Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":""}"#)),
    put("guards of sessions compare words", "/v1/txn", r#"[{"KV":{"Verb":"check-session","Key":"mk","Session":"x"}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"failed session check for key \"mk\", current session \"\" != \"x\""}]}"#)),
    put("… the empty one too", "/v1/txn", r#"[{"KV":{"Verb":"check-session","Key":"mk","Session":""}}]"#)
        .gives(200, Like(r#"{"Results":[{"KV":{"Key":"mk"}}]}"#)),
    put("guards of a key that is not there", "/v1/txn", r#"[{"KV":{"Verb":"check-session","Key":"nope","Session":"x"}},
        {"KV":{"Verb":"check-index","Key":"nope","Index":3}}]"#)
        .gives(409, Like(r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"failed to check session, key \"nope\" doesn't exist"},{"OpIndex":1,"What":"failed to check index, key \"nope\" doesn't exist"}]}"#)),
    put("a stale read", "/v1/txn?stale", r#"[{"Service":{"Verb":"get","Node":"a","Service":{"ID":"web"}}}]"#)
        .gives(200, Like(r#"{"Results":[{"Service":{"ID":"web"}}]}"#)),
    put("sessions are no part of it", "/v1/txn", r#"[{"Session":{"Verb":"delete","Session":{"ID":"x"}}}]"#)
        .gives(400, Is(r#"Failed to parse body: json: unknown field "Session""#)),
    put("an empty body", "/v1/txn", "").gives(400, Is("Failed to parse body: EOF")),
    put("a body of nothing", "/v1/txn", "null").gives(200, Json(r#"{"Results":[],"Errors":null,"Index":0,"LastContact":0,"KnownLeader":true,"ConsistencyLevel":""}"#)),
    put("a body of an object", "/v1/txn", "{}").gives(400, Is("Failed to parse body: json: cannot unmarshal object into Go value of type api.TxnOps")),
    put("a body of a text", "/v1/txn", "\"x\"").gives(400, Is("Failed to parse body: json: cannot unmarshal string into Go value of type api.TxnOps")),
    put("an operation of a number", "/v1/txn", "[1]").gives(400, Is("Failed to parse body: json: cannot unmarshal number into Go value of type api.TxnOp")),
];

#[tokio::test]
async fn transactions_on_the_catalog() {
    check(RECORDS).await;
}
