//! The process tests: real servers as child processes, driven over HTTP, DNS and signals.
//!
//! All tests live in one program, so that they compile and link once. Every server gets a
//! loopback address of its own and keeps Consul's default ports there, so no test names a port.
//! `PORTOLAN_TEST_BINARY=/path/to/consul` runs the same expectations against another program
//! with Consul's command line: the tables were checked that way against the real Consul 1.8.7.

#[cfg(test)]
mod agents;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod docker;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod encryption;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod failpoints;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod import;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod load;
#[cfg(test)]
mod membership;
#[cfg(test)]
mod partition;
#[cfg(test)]
mod pool;
#[cfg(test)]
mod real_clients;
#[cfg(test)]
mod recover;
#[cfg(test)]
mod resize;
#[cfg(test)]
mod rolling;
#[cfg(test)]
mod tidy;
