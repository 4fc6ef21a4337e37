//! The doors, by table: request → status, headers and body, a file for each section of the API.
//!
//! Every table starts a single node of its own and runs its rows in order against it. The rows
//! say what we answer; where the real Consul 1.8.7 is known to answer otherwise, the row says
//! that too, and the table is judged by it when `PORTOLAN_TEST_BINARY` is the real Consul.

mod access;
mod agent;
mod agent_own;
mod blocking;
mod cached;
mod catalog;
mod checks;
mod common;
mod coordinate;
mod dns;
mod docker_store;
mod event;
mod filter;
mod health;
mod kv;
mod limits;
mod mesh;
mod operator;
mod query;
mod session;
mod status;
mod table;
mod txn;
mod txn_records;
