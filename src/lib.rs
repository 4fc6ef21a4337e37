#![doc = include_str!("ARCHITECTURE.md")]

// The marks in the code, each nothing in a usual build: `failpoint!` and `planted!`.
#[macro_use(failpoint, planted)]
extern crate raft;

pub mod failpoint;
#[cfg(feature = "fuzz")]
pub mod fuzz;

pub mod limits;
pub mod time;

pub mod codec;
pub mod lifecycle;
pub mod seal;
pub mod telemetry;

pub mod model;

pub mod config;
pub mod gossip;
pub mod store;
pub mod watch;

pub mod replica;

pub mod client;

pub mod agent;

pub mod dns;
pub mod http;

pub mod node;

pub mod cli;
