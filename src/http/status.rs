//! `/v1/status` and our own `/v1/internal/state`: what this server knows without asking, or the
//! one that this agent asks.

use serde_json::json;

use super::call::{Call, Discovery, Outcome};

/// `GET /v1/status/leader`: empty without one.
pub(super) async fn leader(call: Call) -> Outcome {
    call.read_plan(Discovery::No)?;
    call.check_datacenter()?;
    let leader = call.client().status().await?.leader.unwrap_or_default();
    Ok(call.json(&leader))
}

/// `GET /v1/status/peers`: the servers' addresses.
pub(super) async fn peers(call: Call) -> Outcome {
    call.read_plan(Discovery::No)?;
    call.check_datacenter()?;
    let servers = call.client().status().await?.servers;
    let mut addresses: Vec<_> = servers.into_iter().map(|server| server.address).collect();
    addresses.sort();
    Ok(call.json(&addresses))
}

/// `GET /v1/internal/state`: a hash of this server's state, to compare replicas by.
pub(super) async fn state(call: Call) -> Outcome {
    let digest = call.client().digest().await?;
    let hash = format!("{:016x}", digest.hash);
    let shown = json!({"Index": digest.index.0, "Hash": hash, "Applied": digest.applied});
    Ok(call.json(&shown))
}
