//! What every process test stands on: children that die with their test, clusters of them,
//! clients for both protocols, and waiting with a deadline instead of sleeping.

mod capture;
mod cluster;
mod dns;
mod http;
mod network;
mod process;
mod wait;
mod writes;

pub(crate) use capture::{Capture, Captured};
pub(crate) use cluster::Cluster;
pub(crate) use dns::{Asked, Over, ask};
pub(crate) use http::{Http, Reply};
pub(crate) use network::{Host, Network, on_network};
pub(crate) use process::{Agent, Shape, free_address, is_consul, program, say, setting, skip};
pub(crate) use wait::{alone, beside_others, rest, until, within};
pub(crate) use writes::{Load, Outcome, decoded, surely_refused, write};
