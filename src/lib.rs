#![doc = include_str!("ARCHITECTURE.md")]

#[macro_use]
pub mod failpoint;
#[macro_use]
mod planted;

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
