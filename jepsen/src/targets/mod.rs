//! Real clusters in the lab: ours, of Consul, of etcd, each from an empty disk to its end.
//!
//! Never: an opinion on how they behave. A cluster that cannot be started is an error of the run.

mod admin;
mod deployment;
mod node;
mod system;

pub use deployment::Deployment;
pub use node::Equipment;
pub use system::{Kind, System, find_binary, find_peer, node_name};
