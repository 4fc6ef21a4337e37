//! What the tests of the lab share: networks where they can be made, and waiting.

use std::net::UdpSocket;
use std::time::Duration;

use portolan_jepsen::lab::network::{Host, Network};

/// How long a datagram may be on its way.
const DATAGRAM_LIMIT: Duration = Duration::from_millis(600);

/// A network, or a word on stderr, past the test runner's capture, that the test was skipped.
pub(crate) fn network(test: &str, hosts: u8) -> Option<Network> {
    match Network::new(hosts) {
        Ok(network) => Some(network),
        Err(why) => {
            skip(test, &why.to_string());
            None
        }
    }
}

/// Says on stderr, so that nobody takes it for a pass, that a test could not run here.
pub(crate) fn skip(test: &str, why: &str) {
    let text = format!("SKIPPED: {test}: {why}\n");
    let shown = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
    shown.expect("stderr takes a line");
}

/// A datagram socket on this host, which waits for a datagram a moment and no longer.
pub(crate) fn socket(host: &Host) -> UdpSocket {
    let open = || {
        let socket = UdpSocket::bind((host.address, 0)).expect("a free port");
        socket.set_read_timeout(Some(DATAGRAM_LIMIT)).expect("a limit");
        socket
    };
    host.inside(open).expect("a host can be entered")
}

/// Whether a datagram comes from one socket to the other.
pub(crate) fn passes(from: &UdpSocket, to: &UdpSocket) -> bool {
    from.send_to(b"ahoy", to.local_addr().expect("bound")).expect("sending tells nothing");
    to.recv(&mut [0; 8]).is_ok()
}

/// Looks every 10 ms, for 10 s at most.
pub(crate) fn until(what: &str, mut look: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if look() {
            return;
        }
        rest(10);
    }
    panic!("10 s passed, and not yet: {what}");
}

/// Waits this long.
pub(crate) fn rest(ms: u64) {
    std::thread::park_timeout(Duration::from_millis(ms));
}
