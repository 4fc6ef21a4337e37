//! The public test of Portolan and of its peers: workloads, faults, and checkers that judge what
//! the clients saw.
//!
//! A run is a [`history`] of operations that real clients did against real processes while a
//! nemesis broke things. The checkers read nothing else, so that a history of any system, written
//! at any time, can be judged again.

pub mod checkers;
pub mod clients;
pub mod history;
pub mod lab;
pub mod nemesis;
pub mod planted;
pub mod power;
pub mod random;
pub mod report;
pub mod run;
pub mod targets;
pub mod workloads;
