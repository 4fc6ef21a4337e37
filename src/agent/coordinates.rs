//! Tells the catalog where this host lies in the space of round trips.

use std::time::Duration;

use crate::client::Client;
use crate::lifecycle::Shutdown;
use crate::model::{Command, Coordinate, NodeCoordinate};
use crate::time;

/// Between two words of one host. Source: Consul, `sync_coordinate_interval_min`.
const PERIOD_MIN: Duration = Duration::from_secs(15);
/// All hosts together send about so many a second. Source: Consul, `sync_coordinate_rate_target`.
const RATE: u32 = 64;
/// The error of a host that has measured nothing yet: it has nothing to tell.
const ERROR_UNKNOWN: f64 = 1.5;

/// Writes where `node` lies, now and then, until everything stops. `pool` says how many hosts
/// there are, `place` where this one is.
pub async fn tell_coordinates(
    client: Client,
    node: String,
    pool: impl Fn() -> usize,
    place: impl Fn() -> Coordinate,
    mut shutdown: Shutdown,
) {
    loop {
        let period = period(pool());
        let pause = period / 2 + time::jitter(period, 1, time::random());
        // Waiting may be dropped.
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.wait() => return,
        }
        let coordinate = place();
        if coordinate.error.get() >= ERROR_UNKNOWN {
            continue;
        }
        let told = NodeCoordinate { node: node.clone(), segment: String::new(), coordinate };
        if let Err(error) = client.write(Command::CoordinateUpdate(vec![told])).await {
            tracing::debug!(%error, "the network coordinate was not told");
        }
    }
}

fn period(hosts: usize) -> Duration {
    let spread = Duration::from_secs(u64::try_from(hosts).unwrap_or(u64::MAX)) / RATE;
    spread.max(PERIOD_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_hosts_speak_less_often() {
        assert_eq!(period(1), PERIOD_MIN);
        assert_eq!(period(960), PERIOD_MIN);
        assert_eq!(period(6400), Duration::from_secs(100));
    }
}
