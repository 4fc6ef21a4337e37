//! Programs and libraries that were written for Consul, unmodified, against three of our servers.
//!
//! `tests/peers/get --clients` installs them. Each test says loudly that it was skipped where its
//! program is missing.

mod haproxy;
mod libraries;
mod patroni;
mod program;
mod prometheus;
