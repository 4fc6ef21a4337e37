//! Every mechanism of the lab bites: each test shows the harm, and that nothing else was harmed.

mod clock;
mod disk;
mod harness;
mod limits;
mod network;
mod process;
mod weather;
