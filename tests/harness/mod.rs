//! What every process test stands on: children that die with their test, clusters of them,
//! clients for both protocols, and waiting with a deadline instead of sleeping.

mod cluster;
mod dns;
mod http;
mod process;
mod wait;

pub(crate) use cluster::Cluster;
pub(crate) use dns::{Asked, Over, ask};
pub(crate) use http::{Http, Reply};
pub(crate) use process::{Agent, Shape, free_address, is_consul, program, say, setting, skip};
pub(crate) use wait::{alone, beside_others, rest, until, within};
