//! `/v1/event/`: firing, and the list of what was seen.

use super::ask::{Ask, Payload, get, other, post, put};
use super::intended::{ACL_POLICY, REGEX_WORDS};
use super::run::compare;

const EVENTS: &[Ask] = &[
    get("/v1/event/list"),
    put("/v1/event/fire/", ""),
    put("/v1/event/fire/deploy", ""),
    get("/v1/event/list").soon(),
    put("/v1/event/fire/deploy", "1.2.3"),
    put("/v1/event/fire/filtered?node=n.*&service=web&tag=v1", "x"),
    put("/v1/event/fire/nobody?node=%5Eother%24", "x"),
    put("/v1/event/fire/bad?node=%28", "x").differs(&[&REGEX_WORDS]),
    put("/v1/event/fire/bad?service=%28", "x").differs(&[&REGEX_WORDS]),
    put("/v1/event/fire/bad?service=web&tag=%28", "x").differs(&[&REGEX_WORDS]),
    put("/v1/event/fire/bad?tag=v1", "x"),
    put("/v1/event/fire/dc?dc=nowhere", "x"),
    put("/v1/event/fire/dc?dc=dc1", "x"),
    put("/v1/event/fire/slash/ed%20name", "x"),
    put("/v1/event/fire/bytes", "\u{0}\u{1}\u{e9}"),
    other("PUT", "/v1/event/fire/large", Payload::Fill(300)),
    other("PUT", "/v1/event/fire/large", Payload::Fill(600)),
    other("PUT", "/v1/event/fire/large", Payload::Fill(100_000)),
    get("/v1/event/list").soon(),
    get("/v1/event/list?name=deploy").soon().keeps_index("i"),
    get("/v1/event/list?name=none"),
    get("/v1/event/list?name="),
    get("/v1/event/list?node=n1"),
    get("/v1/event/list?service=none"),
    get("/v1/event/list?pretty&name=deploy"),
    get("/v1/event/list?name=deploy&index={i}&wait=20ms"),
    get("/v1/event/list?name=deploy&index=1&wait=20ms"),
    get("/v1/event/list?index=abc"),
    get("/v1/event/list?index=1&wait=abc"),
    get("/v1/event/fire/deploy"),
    post("/v1/event/fire/deploy", ""),
    put("/v1/event/list", ""),
];

#[tokio::test]
async fn event() {
    compare("event", EVENTS, &[&ACL_POLICY]).await;
}
