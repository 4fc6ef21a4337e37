//! The catalog: instances come and go and change their health, and are looked up at every level.

use crate::history::{Action, Instance, Level};

use super::driver::Driver;

/// Services of a run.
const SERVICES: u64 = 6;
/// Nodes that instances are registered on.
const NODES: u64 = 4;
/// Instances of one service: as many as an answer over DNS has room for.
const INSTANCES: u64 = 3;

/// By which door instances are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Http,
    Dns,
}

pub(super) async fn step(door: Door, driver: &mut Driver) {
    let (dice, service, instance) =
        (driver.below(100), service(driver.below(SERVICES)), driver.below(INSTANCES));
    let action = match dice {
        0..30 => register(driver, service, instance),
        30..40 => Some(Action::Deregister {
            node: node(&service, instance),
            id: id(&service, instance),
            service,
        }),
        40..90 if door == Door::Dns => Some(Action::Resolve { service }),
        _ => {
            let level = [driver.level(), Level::Strong, Level::Stale];
            let level =
                level[if driver.chance(50) { 0 } else { 1 + usize::from(driver.chance(50)) }];
            Some(Action::Lookup { service, level })
        }
    };
    match action {
        Some(action) => drop(driver.answer(action).await),
        // All ports are used.
        None => tokio::task::yield_now().await,
    }
}

fn register(driver: &mut Driver, service: String, instance: u64) -> Option<Action> {
    let port = driver.common.port()?;
    // Over DNS nobody sees what does not pass, so that a look can only miss what never passes.
    let passing = driver.chance(80);
    let (node, id) = (node(&service, instance), id(&service, instance));
    Some(Action::Register { service, instance: Instance { node, id, port, passing } })
}

/// Everything there is, to be read at the end.
pub(super) fn everything(door: Door) -> Vec<Action> {
    let lookups = (0..SERVICES).flat_map(|number| {
        let over_dns = Action::Resolve { service: service(number) };
        let over_http = [Level::Strong, Level::Stale]
            .map(|level| Action::Lookup { service: service(number), level });
        over_http.into_iter().chain((door == Door::Dns).then_some(over_dns))
    });
    lookups.collect()
}

fn service(number: u64) -> String {
    format!("svc{number}")
}

/// An instance is always on the same node: its id is unique only there.
fn node(service: &str, instance: u64) -> String {
    let sum = service.bytes().map(u64::from).sum::<u64>() + instance;
    format!("ext{}", sum % NODES)
}

fn id(service: &str, instance: u64) -> String {
    format!("{service}-{instance}")
}
