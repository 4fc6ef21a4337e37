//! One HTTP request on a connection of its own. Version 1.0, so that the answer ends where the
//! connection does.

use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Asks, and gives the status and the body of the answer. Each step may take this long.
pub(super) fn ask(
    server: SocketAddr,
    (method, path): (&str, &str),
    body: &str,
    limit: Duration,
) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&server, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    stream.set_nodelay(true)?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\nHost: {server}\r\nContent-Length: {length}");
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let broken = || Error::new(ErrorKind::InvalidData, "no HTTP answer");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let told = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    // An answer that broke off must not be taken for a short one.
    if told.is_some_and(|told| told != body.len()) {
        return Err(broken());
    }
    Ok((status.ok_or_else(broken)?, body.to_owned()))
}
