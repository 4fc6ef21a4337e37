//! What checks say: reasons and spans in the words that operators know from Consul.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use crate::model::CheckStatus;

use super::super::disk::Verdict;

/// A critical verdict.
pub(super) fn critical(output: impl Into<String>) -> Verdict {
    Verdict { status: CheckStatus::Critical, output: output.into() }
}

/// A passing verdict.
pub(super) fn passing(output: impl Into<String>) -> Verdict {
    Verdict { status: CheckStatus::Passing, output: output.into() }
}

/// Why no connection came about.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "connect: connection timed out".to_owned(),
        _ => plain(error),
    }
}

/// Why `host:port` could not be dialed over `network`, as Go says it.
pub(super) fn dial_failed(network: &str, address: &str, error: &io::Error) -> String {
    const UNKNOWN: &str = "failed to lookup address information: ";
    let text = error.to_string();
    let Some(why) = text.strip_prefix(UNKNOWN) else {
        return format!("dial {network} {address}: {}", reason(error));
    };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let unknown = ["Name or service not known", "No address associated with hostname"];
    let why = if unknown.contains(&why) { "no such host" } else { why };
    format!("dial {network}: lookup {host}: {why}")
}

/// What the system says, without Rust's capital letter and number.
pub(in super::super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let Some((bare, _)) = text.split_once(" (os error") else { return text };
    let mut letters = bare.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// A span as Go writes it: `30s`, `1m30s`, `1.5s`, `500ms`.
pub(super) fn span_text(span: Duration) -> String {
    if span < Duration::from_secs(1) {
        return format!("{}ms", span.as_millis());
    }
    let (hours, minutes) = (span.as_secs() / 3600, span.as_secs() / 60 % 60);
    let mut text = String::new();
    if hours > 0 {
        text = format!("{hours}h");
    }
    if hours > 0 || minutes > 0 {
        write!(text, "{minutes}m").expect("writing to a string does not fail");
    }
    let rest = format!("{}.{:03}", span.as_secs() % 60, span.subsec_millis());
    text.push_str(rest.trim_end_matches('0').trim_end_matches('.'));
    text.push('s');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_go_writes_them() {
        for (millis, text) in [
            (1, "1ms"),
            (999, "999ms"),
            (1500, "1.5s"),
            (10_000, "10s"),
            (30_000, "30s"),
            (90_000, "1m30s"),
            (60_000, "1m0s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(span_text(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_host_that_nobody_knows_is_named() {
        let error =
            io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(dial_failed("tcp", "a.b:1", &error), "dial tcp: lookup a.b: no such host");
        let error = io::Error::from(io::ErrorKind::ConnectionRefused);
        let refused = "dial tcp a.b:1: connect: connection refused";
        assert_eq!(dial_failed("tcp", "a.b:1", &error), refused);
    }

    #[test]
    fn the_systems_words_stand_alone() {
        let error = io::Error::from_raw_os_error(2);
        assert_eq!(plain(&error), "no such file or directory");
        assert_eq!(plain(&io::Error::other("Own Words")), "Own Words");
    }
}
