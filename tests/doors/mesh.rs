//! What belongs to the service mesh: proxies as data, and clean answers where a mesh would act.

use super::table::Want::{Any, Is, Json, Like};
use super::table::{Row, check, delete, get, put};

const NO_MESH: &str = "Connect must be enabled in order to use this endpoint";

const PROXIES: &[Row] = &[
    get("no proxies of a service", "/v1/catalog/connect/web")
        .gives(200, Json("[]"))
        .with(&[("x-consul-index", "*"), ("x-consul-effective-consistency", "leader")]),
    get("of no service", "/v1/catalog/connect/").gives(400, Is("Missing service name")),
    get("with checks, of no service", "/v1/health/connect/").gives(400, Is("Missing service name")),
    put("a node with a service", "/v1/catalog/register",
        r#"{"Node":"far","Address":"10.0.0.1","Service":{"Service":"web","Port":80}}"#)
        .gives(200, Any),
    put("a proxy of it", "/v1/catalog/register",
        r#"{"Node":"far","Address":"10.0.0.1","Service":{"Service":"web-proxy","ID":"p","Port":81,
        "Kind":"connect-proxy","Proxy":{"DestinationServiceName":"web"}}}"#)
        .gives(200, Any),
    put("one that needs no proxy", "/v1/catalog/register",
        r#"{"Node":"far","Address":"10.0.0.1","Service":{"Service":"native","Port":82,
        "Connect":{"Native":true}}}"#)
        .gives(200, Any),
    get("the proxy", "/v1/catalog/connect/web").gives(200, Like(
        r#"[{"Node":"far","ServiceKind":"connect-proxy","ServiceID":"p","ServiceName":"web-proxy",
        "ServiceProxy":{"DestinationServiceName":"web","MeshGateway":{},"Expose":{}},"ServiceConnect":{}}]"#,
    )),
    get("one that needs none, with checks", "/v1/health/connect/native").gives(200, Like(
        r#"[{"Node":{"Node":"far"},"Service":{"Service":"native","Connect":{"Native":true}},"Checks":[]}]"#,
    )),
    get("the service itself is no proxy", "/v1/health/connect/web?passing").gives(200, Like(
        r#"[{"Service":{"Service":"web-proxy"}}]"#,
    )),
    put("a proxy of nothing", "/v1/agent/service/register", r#"{"Name":"bad","Kind":"connect-proxy","Port":2}"#)
        .gives(400, Is(
            "1 error occurred:\n\t* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n\n",
        )),
    put("a proxy on this host", "/v1/agent/service/register",
        r#"{"Name":"own-proxy","Kind":"connect-proxy","Port":2,"Proxy":{"DestinationServiceName":"own"}}"#)
        .gives(200, Any),
    get("… as it is claimed", "/v1/agent/service/own-proxy").gives(200, Json(
        r#"{"Kind":"connect-proxy","ID":"own-proxy","Service":"own-proxy","Tags":[],"Meta":{},"Port":2,"Address":"",
        "Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"ContentHash":"*",
        "Proxy":{"DestinationServiceName":"own","MeshGateway":{},"Expose":{}}}"#,
    )),
];

const NOTHING: &[Row] = &[
    get("no gateway leads there", "/v1/health/ingress/web")
        .gives(200, Json("[]"))
        .with(&[("x-consul-index", "1"), ("x-consul-effective-consistency", "leader")]),
    get("nor anywhere", "/v1/health/ingress/").gives(400, Is("Missing service name")),
    get("a gateway has no services", "/v1/catalog/gateway-services/web")
        .gives(200, Json("null"))
        .with(&[("x-consul-index", "1")]),
    get("nor has one without a name", "/v1/catalog/gateway-services/")
        .gives(400, Is("Missing gateway name")),
    get("entries of a kind", "/v1/config/service-defaults")
        .gives(200, Json("[]"))
        .with(&[("x-consul-index", "1")]),
    get("entries of no kind", "/v1/config/").gives(200, Json("[]")),
    get("entries of an unknown kind", "/v1/config/bogus")
        .gives(500, Is("invalid config entry kind: bogus")),
    get("an entry", "/v1/config/service-defaults/web")
        .gives(404, Is("Config entry not found for \"service-defaults\" / \"web\""))
        .with(&[("x-consul-index", "1")]),
    get("an entry is put, not got", "/v1/config").gives(405, Is("method GET not allowed")),
    put("an entry cannot be put", "/v1/config", r#"{"Kind":"service-defaults","Name":"a"}"#)
        .gives(501, Is(NO_MESH))
        .consul(200, Any),
    delete("nor deleted", "/v1/config/service-defaults/a").gives(501, Is(NO_MESH)).consul(200, Any),
    get("intentions", "/v1/connect/intentions")
        .gives(200, Json("[]"))
        .with(&[("x-consul-index", "1")]),
    get("a match of nothing", "/v1/connect/intentions/match")
        .gives(500, Is("required query parameter 'by' not set")),
    get("a match of nobody", "/v1/connect/intentions/match?by=source")
        .gives(500, Is("required query parameter 'name' not set")),
    get("a match", "/v1/connect/intentions/match?by=source&name=web")
        .gives(200, Json(r#"{"web":null}"#)),
    get("a check of nothing", "/v1/connect/intentions/check")
        .gives(500, Is("required query parameter 'source' not set")),
    get("a check", "/v1/connect/intentions/check?source=a&destination=b")
        .gives(200, Json(r#"{"Allowed":true}"#)),
    get("an intention that is none", "/v1/connect/intentions/abc").gives(
        400,
        Is("Bad request: failed intention lookup: index error: UUID must be 36 characters"),
    ),
    get("roots", "/v1/connect/ca/roots").gives(501, Is(NO_MESH)).consul(200, Any),
    get("roots by the agent", "/v1/agent/connect/ca/roots")
        .gives(501, Is(NO_MESH))
        .consul(200, Any),
    get("a chain", "/v1/discovery-chain/web").gives(501, Is(NO_MESH)).consul(200, Any),
    get("the page's own data", "/v1/internal/ui/services").gives(404, Any).consul(200, Any),
];

#[tokio::test]
async fn proxies_are_data() {
    check(PROXIES).await;
}

#[tokio::test]
async fn where_no_mesh_runs() {
    check(NOTHING).await;
}
