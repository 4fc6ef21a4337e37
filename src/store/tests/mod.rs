//! The room's tests: golden scripts of commands, and what survives a stop, a copy, a replay.

mod durability;
mod language;
mod scripts;
mod show;
mod undo;
mod walk;
