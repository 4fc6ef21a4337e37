//! HTTP against the real Consul 1.8.7: tables of requests, a file for each section of the API.
//!
//! Each test starts both programs with one name and the same settings, sends its rows to both in
//! order, and compares status, headers and bodies; what is unique to a run is masked on both
//! sides. A difference that is wanted has a name and a reason in `intended.rs`, its row says so,
//! and it must still be there. With `PORTOLAN_TEST_BINARY` naming the real Consul too, it is
//! compared with itself, which shows what the masks miss.

mod agent;
mod ask;
mod catalog;
mod checks;
mod common;
mod compare;
mod event;
mod health;
mod intended;
mod kv;
mod operator;
mod query;
mod run;
mod services;
mod session;
mod snapshot;
mod status;
mod txn;
