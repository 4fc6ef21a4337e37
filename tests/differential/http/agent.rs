//! `/v1/agent/`: the agent itself, its members, metrics, maintenance, what only it can do.

use super::ask::{Ask, get, post, put};
use super::intended::{
    ACL_POLICY, CHECK_FIELDS, FILTER_CHECKED, FILTER_WORDS, NEWER, NO_MESH_SELF, PROMETHEUS,
    WAN_FLAG,
};
use super::run::{Pair, compare};

const ITSELF: &[Ask] = &[
    get("/v1/agent/self")
        .hiding(&["Version", "DebugConfig", "Stats", "Tags", "Meta", "Coord"])
        .differs(&[&NO_MESH_SELF]),
    get("/v1/agent/self?dc=nowhere")
        .hiding(&["Version", "DebugConfig", "Stats", "Tags", "Meta", "Coord"])
        .differs(&[&NO_MESH_SELF]),
    get("/v1/agent/members").hiding(&["Tags"]),
    get("/v1/agent/members?wan").hiding(&["Tags"]).differs(&[&WAN_FLAG]),
    get("/v1/agent/members?wan=1").hiding(&["Tags"]),
    get("/v1/agent/members?segment=nope").hiding(&["Tags"]),
    get("/v1/agent/members?segment=_all").hiding(&["Tags"]),
    get("/v1/agent/host").hiding(&["Memory", "CPU", "Host", "Disk", "CollectionTime", "Errors"]),
    get("/v1/agent/metrics").hiding(&["Timestamp", "Gauges", "Points", "Counters", "Samples"]),
    get("/v1/agent/metrics?format=prometheus").differs(&[&PROMETHEUS]),
    get("/v1/agent/metrics?format=bogus").hiding(&[
        "Timestamp",
        "Gauges",
        "Points",
        "Counters",
        "Samples",
    ]),
    get("/v1/agent/monitor?loglevel=bogus"),
    get("/v1/agent/version").differs(&[&NEWER]),
    get("/v1/agent/services"),
    get("/v1/agent/checks"),
    get("/v1/agent/services?filter=zz%3D%3D").differs(&[&FILTER_WORDS]),
    get("/v1/agent/checks?filter=Bogus==1").differs(&[&FILTER_CHECKED]),
];

const MEMBERSHIP: &[Ask] = &[
    put("/v1/agent/join/127.255.255.254:1", ""),
    put("/v1/agent/join/{ip}", ""),
    put("/v1/agent/force-leave/nobody", ""),
    put("/v1/agent/force-leave/", ""),
    put("/v1/agent/force-leave/nobody?prune", ""),
    get("/v1/agent/join/{ip}"),
    get("/v1/agent/leave"),
    get("/v1/agent/force-leave/x"),
    put("/v1/agent/reload", ""),
    get("/v1/agent/reload"),
    put("/v1/agent/self", ""),
    post("/v1/agent/members", ""),
];

const MAINTENANCE: &[Ask] = &[
    put("/v1/agent/maintenance", ""),
    put("/v1/agent/maintenance?enable=", ""),
    put("/v1/agent/maintenance?enable=maybe", ""),
    put("/v1/agent/maintenance?enable=false", ""),
    put("/v1/agent/maintenance?enable=true", ""),
    get("/v1/agent/checks"),
    get("/v1/health/node/n1").soon().unordered(),
    put("/v1/agent/maintenance?enable=true&reason=other", ""),
    get("/v1/agent/checks"),
    put("/v1/agent/maintenance?enable=0", ""),
    get("/v1/agent/checks"),
    put("/v1/agent/maintenance?enable=1&reason=dry+dock", ""),
    get("/v1/health/state/critical").soon(),
    put("/v1/agent/check/deregister/_node_maintenance", ""),
    get("/v1/agent/checks"),
    put("/v1/agent/maintenance?enable=false", ""),
    get("/v1/health/node/n1").soon(),
];

const TOKENS: &[Ask] = &[
    put("/v1/agent/token/default", r#"{"Token":"x"}"#),
    put("/v1/agent/token/bogus", r#"{"Token":"x"}"#),
    put("/v1/agent/token/", r#"{"Token":"x"}"#),
    put("/v1/agent/token/default", "nope"),
    get("/v1/agent/token/default"),
    put("/v1/acl/bootstrap", ""),
    get("/v1/acl/tokens"),
    get("/v1/acl/token/self"),
    get("/v1/acl/policies"),
    get("/v1/acl/roles"),
    put("/v1/acl/policy", "{}"),
    get("/v1/acl/replication"),
    post("/v1/acl/login", "{}"),
    post("/v1/acl/logout", ""),
];

#[tokio::test]
async fn agent() {
    let rows = [ITSELF, MEMBERSHIP, MAINTENANCE, TOKENS].concat();
    compare("agent", &rows, &[&ACL_POLICY, &CHECK_FIELDS]).await;
}

/// What clients read out of the agent's description of itself.
const READ_BY_CLIENTS: &[&str] = &[
    "/Config/Datacenter",
    "/Config/NodeName",
    "/Config/Server",
    "/Config/Revision",
    "/DebugConfig/Datacenter",
    "/DebugConfig/NodeName",
    "/DebugConfig/ServerPort",
    "/DebugConfig/ServerMode",
    "/DebugConfig/SerfPortLAN",
    "/DebugConfig/KVMaxValueSize",
    "/Stats/consul/leader",
    "/Stats/consul/server",
    "/Stats/consul/known_datacenters",
    "/Stats/raft/state",
    "/Stats/raft/num_peers",
    "/Stats/raft/last_contact",
    "/Stats/agent/checks",
    "/Stats/agent/services",
    "/Stats/agent/check_monitors",
    "/Stats/agent/check_ttls",
    "/Member/Name",
    "/Member/Port",
    "/Member/Status",
    "/Member/Tags/role",
    "/Member/Tags/dc",
    "/Member/Tags/port",
    "/Member/Tags/segment",
    "/Member/Tags/wan_join_port",
    "/Member/Tags/vsn",
    "/Member/Tags/raft_vsn",
];

#[tokio::test]
async fn agent_as_clients_read_it() {
    let Some(mut pair) = Pair::start("agent_as_clients_read_it", &[], &[]).await else { return };
    let [theirs, ours] = pair.clients();
    let (theirs, ours) = (theirs.get("/v1/agent/self").await, ours.get("/v1/agent/self").await);
    let (theirs, ours) = (theirs.json(), ours.json());
    for pointer in READ_BY_CLIENTS {
        let (a, b) = (theirs.pointer(pointer).cloned(), ours.pointer(pointer).cloned());
        pair.same(pointer, &a, &b);
    }
    let [consul, own] = pair.agents();
    let serf = |ip: std::net::Ipv4Addr| format!("tcp://{ip}:8301");
    let (consul, own) = (serf(consul.address()), serf(own.address()));
    assert_eq!(theirs["DebugConfig"]["SerfAdvertiseAddrLAN"], consul.as_str());
    assert_eq!(ours["DebugConfig"]["SerfAdvertiseAddrLAN"], own.as_str());
    pair.end();
}
