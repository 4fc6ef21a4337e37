//! `/v1/snapshot`: saving, what an archive holds, restoring, and what cannot be restored.

use std::io::Read as _;

use crate::harness::{Http, Reply};

use super::ask::{Ask, Payload, get, other, post, put};
use super::intended::{ACL_POLICY, ARCHIVE_WORDS, STRICT};
use super::run::Pair;

const REFUSED: &[Ask] = &[
    get("/v1/snapshot?dc=nowhere"),
    put("/v1/snapshot?dc=nowhere", "x"),
    put("/v1/snapshot", "").differs(&[&ARCHIVE_WORDS]),
    put("/v1/snapshot", "nope"),
    other("PUT", "/v1/snapshot", Payload::Fill(1000)).differs(&[&ARCHIVE_WORDS]),
    post("/v1/snapshot", ""),
    other("DELETE", "/v1/snapshot", Payload::Text("")),
    get("/v1/snapshot?stale&consistent").differs(&[&STRICT]),
];

const BACK: &[Ask] = &[
    get("/v1/kv/kept"),
    get("/v1/kv/later"),
    get("/v1/catalog/node/far"),
    get("/v1/status/leader"),
];

/// What is to be seen of an archive: the headers of its answer, the names in it, in order, and
/// the names of the fields of its description.
fn seen(reply: &Reply) -> (Vec<String>, Vec<String>, Vec<String>) {
    let names = reply.headers.keys().filter(|name| *name != "x-consul-default-acl-policy");
    let names = names.filter(|name| *name != "date" && *name != "content-length");
    let names: Vec<String> = names.filter(|name| *name != "transfer-encoding").cloned().collect();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(reply.body.as_slice()));
    let (mut files, mut fields) = (Vec::new(), Vec::new());
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").display().to_string();
        if name == "meta.json" {
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("text");
            let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            fields.extend(json.as_object().expect("an object").keys().cloned());
        }
        files.push(name);
    }
    (names, files, fields)
}

async fn filled(http: &Http) -> Reply {
    http.done("/v1/kv/kept", "x").await;
    let far = r#"{"Node":"far","Address":"10.0.0.9","Service":{"Service":"web"}}"#;
    http.done("/v1/catalog/register", far).await;
    let saved = http.get("/v1/snapshot").await;
    http.done("/v1/kv/later", "x").await;
    http.done("/v1/kv/kept", "changed").await;
    saved
}

#[tokio::test]
async fn snapshot() {
    let Some(mut pair) = Pair::start("snapshot", &[&ACL_POLICY], &[]).await else { return };
    let [consul, own] = pair.clients().map(Clone::clone);
    let (theirs, ours) = (filled(&consul).await, filled(&own).await);
    pair.same("status of an archive", &theirs.status, &ours.status);
    let (a, b) = (seen(&theirs), seen(&ours));
    pair.same("headers of an archive", &a.0, &b.0);
    pair.same("files of an archive", &a.1, &b.1);
    pair.same("fields of an archive's description", &a.2, &b.2);
    let a = consul.send_bytes("PUT", "/v1/snapshot", theirs.body.clone()).await;
    let b = own.send_bytes("PUT", "/v1/snapshot", ours.body.clone()).await;
    pair.same("restored", &(a.status, a.text()), &(b.status, b.text()));
    pair.ask_all(BACK).await;
    let cut = |bytes: &[u8]| bytes.get(..bytes.len() / 2).unwrap_or_default().to_vec();
    let a = consul.send_bytes("PUT", "/v1/snapshot", cut(&theirs.body)).await;
    let b = own.send_bytes("PUT", "/v1/snapshot", cut(&ours.body)).await;
    let said = |reply: &Reply| (reply.status, reply.text().starts_with("failed to "));
    pair.same("half an archive", &said(&a), &said(&b));
    pair.ask_all(REFUSED).await;
    pair.ask_all(BACK).await;
    pair.end();
}
