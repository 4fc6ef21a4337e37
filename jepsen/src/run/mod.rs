//! One run: a cluster is started, driven, broken, mended, read to the end, and judged.
//!
//! Never: a pass for a run that lacked its faults or its load.

mod drive;
mod files;
mod judge;
mod once;
mod samples;
mod settings;

pub use files::{read_faults, read_history};
pub use judge::{Broken, Judgement, Promise, judge};
pub use once::run;
pub use settings::Settings;
