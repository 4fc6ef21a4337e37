//! Bounds at the door: what a caller above them is told, and that raising them needs no restart.

use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Agent, Shape, beside_others, free_address, is_consul, rest, within};

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(10);

fn settings(connections: usize) -> String {
    format!("limits {{ http_max_conns_per_client = {connections} }}")
}

/// A connection that has got an answer and stays open, or what it got instead.
async fn kept(agent: &Agent) -> Result<TcpStream, String> {
    let at = (agent.address(), 8500);
    let mut stream = TcpStream::connect(at).await.map_err(|error| error.to_string())?;
    let asked = stream.write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n").await;
    asked.map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    while !text.ends_with(b"\"\n") && !text.ends_with(b"\"") {
        let mut part = [0; 1024];
        match stream.read(&mut part).await {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&part[..count]),
            Err(error) => return Err(error.to_string()),
        }
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    if text.starts_with("HTTP/1.1 200 ") { Ok(stream) } else { Err(text) }
}

/// As many connections as one address may have; the harness's own are closed by then.
async fn filled(agent: &Agent, most: usize) -> Vec<TcpStream> {
    let look = || async {
        let mut streams = Vec::new();
        for _ in 0..most {
            streams.push(kept(agent).await.ok()?);
        }
        Some(streams)
    };
    within(LIMIT, look).await.expect("every connection within the bound is served")
}

#[tokio::test]
async fn one_address_has_only_so_many_connections_and_a_reload_raises_them() {
    let _turn = beside_others().await;
    let folder = TempDir::with_prefix("portolan-test-").expect("a temporary folder");
    let file = folder.path().join("limits.hcl");
    std::fs::write(&file, settings(3)).expect("the file can be written");
    let mut agent = Agent::new("n1", free_address(), &Shape::Dev, &[]).with_file(&file);
    agent.start();
    agent.serving().await;
    let streams = filled(&agent, 3).await;
    let refused = kept(&agent).await.expect_err("the fourth is refused");
    // Consul 1.8.7 hangs up without a word; later ones say what we say.
    if !is_consul() {
        assert!(refused.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{refused}");
        assert!(refused.contains("\r\nRetry-After: 1\r\n"), "{refused}");
        let body = "Your IP is issuing too many concurrent connections, \
                    please rate limit your calls\n";
        assert!(refused.ends_with(body), "{refused}");
    }
    std::fs::write(&file, settings(4)).expect("the file can be written");
    agent.reload();
    let look = || async { kept(&agent).await.ok() };
    within(LIMIT, look).await.expect("the fourth is served after the reload");
    drop(streams);
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let mut stream = TcpStream::connect((agent.address(), 8500)).await.expect("a connection");
    let head = b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\nX-Long: ";
    let sent = async {
        stream.write_all(head).await?;
        // More than Consul takes, which takes more than we.
        stream.write_all(&vec![b'a'; 1100 * 1024]).await
    };
    // It may be refused, and the connection closed, before all is sent.
    drop(sent.await);
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    let answer = String::from_utf8_lossy(&answer);
    let refused = answer.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n");
    assert!(refused || answer.is_empty(), "{answer}");
}

/// Who still sends when it is refused reads why, and not that the connection is gone.
#[tokio::test]
async fn a_refused_body_is_read_off() {
    let _turn = beside_others().await;
    let agent = Agent::dev().await;
    let mut stream = TcpStream::connect((agent.address(), 8500)).await.expect("it listens");
    let head = b"PUT /v1/kv/large HTTP/1.1\r\nHost: a\r\nContent-Length: 600000\r\n\r\n";
    stream.write_all(head).await.expect("it takes a head");
    for _ in 0..60 {
        stream.write_all(&[b'x'; 10_000]).await.expect("it takes the body");
        rest().await;
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
}
