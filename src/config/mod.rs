//! What this process was told: one table of options, read from flags, JSON and HCL files.
//!
//! *Never*: opened by a room other than `node` and `cli`; every other room takes small options of
//! its own, so that none of them knows where a number came from.
//!
//! *Why*: Consul's key paths and flags are kept, so that a migration starts with the same files.
//! A key that asks for protection we do not give is an error, never a warning: an agent that
//! starts without the encryption it was told to use is worse than one that does not start.

mod autopilot;
mod definitions;
mod duration;
mod encrypt;
mod environment;
mod flags;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod hcl;
mod http;
mod layer;
mod load;
mod options;
mod reference;
mod values;
mod watch_view;
mod watches;

pub use autopilot::AutopilotOptions;
pub use definitions::{read_checks, read_services};
pub use duration::{format as format_duration, parse as parse_duration};
pub use encrypt::EncryptOptions;
pub use environment::{Environment, environment, host_name};
pub use http::HttpOptions;
pub use layer::ConfigError;
pub use load::{Format, validate};
pub use options::{Kind, OPTIONS, Setting, State};
pub use reference::reference;
pub use values::{
    Addresses, Config, DnsOptions, LimitOptions, Listen, LogRotationOptions, PerformanceOptions,
    Ports, RecursorStrategy, Soa, TelemetryOptions,
};
pub use watch_view::{WatchTarget, WatchView};
pub use watches::{WatchCall, WatchHandler, WatchOptions};
