//! The HTTP door: Consul's API, byte for byte where clients look, over the client, the agent and
//! the pool of members.
//!
//! *Never*: the store or the replica; a body, a head or a connection without a bound; JSON names
//! outside `wire` and the readers of bodies.
//! *Why* no router of axum: Consul cleans paths, redirects and answers 404, 405 and OPTIONS in a
//! way of its own, and keys are paths; one table and one scan say all of it.

mod agent;
mod archive;
mod call;
mod catalog;
mod coordinate;
mod definition;
mod door;
mod error;
mod health;
mod json;
mod kv;
mod local_health;
mod metrics;
mod near;
mod number;
mod operator;
mod params;
mod path;
mod prepared;
mod prepared_definition;
mod routes;
mod server;
mod session;
mod snapshot;
mod status;
mod txn;
mod wire;

pub use definition::{parse_check, parse_service};
pub use door::{Options, ReloadAsked, Rooms, serve};
pub use routes::{RouteText, routes};
