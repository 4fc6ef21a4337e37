//! Refusals that were logged already: a stranger who tries again and again is reported once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::COMPLAINTS_MAX;

/// After this long the same refusal is logged again.
const AGAIN: Duration = Duration::from_hours(1);

/// Who was refused for what, and when that was logged.
#[derive(Debug, Default)]
pub(super) struct Complaints(BTreeMap<(IpAddr, String), Instant>);

impl Complaints {
    /// Logs why somebody is refused, unless that was logged of late.
    pub(super) fn log(&mut self, who: IpAddr, why: &str, now: Instant) {
        if self.is_news(who, why, now) {
            tracing::warn!(from = %who, why, "refused in the pool; not said again for an hour");
        }
    }

    fn is_news(&mut self, who: IpAddr, why: &str, now: Instant) -> bool {
        let key = (who, why.to_owned());
        let said = self.0.get(&key).is_some_and(|at| now.duration_since(*at) < AGAIN);
        if said {
            return false;
        }
        if self.0.len() >= COMPLAINTS_MAX {
            self.0.retain(|_, at| now.duration_since(*at) < AGAIN);
            if self.0.len() >= COMPLAINTS_MAX {
                return false; // a flood of strangers fills no log
            }
        }
        self.0.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::time;

    #[test]
    fn the_same_is_said_once_an_hour_and_a_flood_is_bounded() {
        let now = time::now();
        let mut complaints = Complaints::default();
        let who = IpAddr::from([10, 0, 0, 1]);
        assert!(complaints.is_news(who, "wrong key", now));
        assert!(!complaints.is_news(who, "wrong key", now));
        assert!(complaints.is_news(who, "another data center", now));
        assert!(complaints.is_news(who, "wrong key", now + AGAIN));
        for number in 0..2 * COMPLAINTS_MAX {
            let stranger = Ipv4Addr::from_bits(u32::try_from(number).unwrap());
            complaints.is_news(stranger.into(), "x", now + AGAIN);
        }
        assert!(complaints.0.len() <= COMPLAINTS_MAX);
    }
}
