//! The HTTP door: Consul's API, byte for byte where clients look.
//!
//! *Never*: the store or the replica; anything unbounded; JSON names outside `wire` and readers.
//! *Why* no router of axum: Consul cleans paths, redirects and answers 404, 405 and OPTIONS in a
//! way of its own, and keys are paths; one table and one scan say all of it.

mod access;
mod agent;
mod archive;
mod autopilot;
mod cache;
mod call;
mod catalog;
mod check_definition;
mod connection;
mod consul_state;
mod coordinate;
mod definition;
mod door;
mod encodings;
mod error;
mod event;
mod filter;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod health;
mod host;
mod json;
mod keyring;
mod kv;
mod line;
mod local_health;
mod mesh;
mod metrics;
mod monitor;
mod msgpack;
mod near;
mod number;
mod operations;
mod operator;
mod own;
mod params;
mod path;
mod pool;
mod prepared;
mod prepared_definition;
mod routes;
mod server;
mod session;
mod snapshot;
mod status;
mod txn;
mod wire;

pub use access::{Access, Network};
pub use cache::Cache;
pub use check_definition::parse_check;
pub use definition::parse_service;
pub use door::{LeaveAsked, Options, ReloadAsked, Rooms, serve};
pub use routes::{RouteText, routes};
