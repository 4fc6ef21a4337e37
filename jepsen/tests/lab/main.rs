//! Every mechanism of the lab bites: each test shows the harm, and that nothing else was harmed.

mod harness;
mod network;
mod process;
