//! Every mechanism of the lab bites: each test shows the harm, and that nothing else was harmed.

mod clock;
mod disk;
mod harness;
mod limits;
mod nemesis;
mod network;
mod power;
mod process;
mod weather;
