//! A check that its owner tells: critical unless it is told in time.

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::super::claim::Claim;
use super::super::registry::Judged;

/// What an expired check says. Source: Consul, observed.
const EXPIRED: &str = "TTL expired";

/// Expires the check whenever `due` passes without having been moved. Returns once nobody can
/// move it any more, that is: once the check is gone.
pub(super) async fn watch(
    claim: &Claim,
    (id, run): (&str, u64),
    mut due: watch::Receiver<Instant>,
) {
    loop {
        let moment = *due.borrow_and_update();
        match timeout_at(moment, due.changed()).await {
            Ok(Ok(())) => continue,
            Ok(Err(_gone)) => return,
            Err(_elapsed) => {}
        }
        if claim.expire((id, run)) == Judged::Status {
            claim.keep_verdict(id).await;
        }
        if due.changed().await.is_err() {
            return;
        }
    }
}

/// The output of a check that expired, after its last one.
pub(in super::super) fn expired(last: &str) -> String {
    if last.is_empty() {
        EXPIRED.to_owned()
    } else if last.starts_with(EXPIRED) {
        last.to_owned()
    } else {
        format!("{EXPIRED} (last output before timeout follows): {last}")
    }
}

/// An output that an owner told, cut to its first `max` bytes. Source: Consul, observed.
pub(in super::super) fn told(output: String, max: usize) -> String {
    if output.len() <= max {
        return output;
    }
    let kept = output.floor_char_boundary(max);
    let (head, _) = output.split_at(kept);
    format!("{head} ... (captured {kept} of {} bytes)", output.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_worded_as_consul_words_them() {
        assert_eq!(expired(""), "TTL expired");
        assert_eq!(expired("fine"), "TTL expired (last output before timeout follows): fine");
        assert_eq!(expired(&expired("fine")), expired("fine"));
        assert_eq!(told("abc".to_owned(), 3), "abc");
        assert_eq!(told("abcde".to_owned(), 3), "abc ... (captured 3 of 5 bytes)");
        assert_eq!(told("aé".to_owned(), 2), "a ... (captured 1 of 3 bytes)");
    }
}
