//! Workloads, faults and checkers that judge Portolan and its peers. Starts empty: until they are
//! here, `tests/crash.rs` and `tests/cluster.rs` kill, pause and compare real processes.
