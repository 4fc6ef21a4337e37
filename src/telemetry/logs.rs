//! Logs: one line or one JSON object an event, to the error stream or to a file; the level can be
//! changed while the program runs.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::sync::Arc;

use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use super::monitor::LogMonitor;
use super::rotate::{LogRotation, Rotating};

/// Longest level text, in bytes.
const LEVEL_BYTES_MAX: usize = 256;

/// How logs are written.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// `trace`, `debug`, `info`, `warn`, `error`, in any case, Consul's `err` too; or directives
    /// by target such as `info,raft=debug`.
    pub level: String,
    /// One JSON object a line instead of text.
    pub json: bool,
    /// A file to append to; `None` means the error stream.
    pub file: Option<PathBuf>,
    /// When that file is begun anew; `None` is never.
    pub rotation: Option<LogRotation>,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is none.
    #[error("log level {0:?} is none of trace, debug, info, warn, error")]
    Level(String),
    /// The file cannot be opened.
    #[error("cannot open the log file: {0}")]
    File(#[from] std::io::Error),
    /// Logs were started before in this process.
    #[error("logs were started already")]
    Started,
    /// Logs have ended.
    #[error("logs have ended")]
    Ended,
}

/// Changes the level while the program runs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogHandle(reload::Handle<EnvFilter, Registry>);

impl LogHandle {
    /// Sets another level, at once.
    ///
    /// # Errors
    ///
    /// [`LogError::Level`] leaves the level as it was.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        self.0.reload(filter(level)?).ok().ok_or(LogError::Ended)
    }
}

/// Starts logs for the whole process; once. Gives what changes the level, and where lines can be
/// listened to.
///
/// # Errors
///
/// [`LogError`] for a level or a file that makes no sense, or a second start.
pub fn init_logs(options: &LogOptions) -> Result<(LogHandle, LogMonitor), LogError> {
    let (level, handle) = reload::Layer::new(filter(&options.level)?);
    let writer = match (&options.file, options.rotation) {
        (None, _) => BoxMakeWriter::new(std::io::stderr),
        (Some(path), None) => BoxMakeWriter::new(Arc::new(open(path)?)),
        (Some(path), Some(rotation)) => {
            let files = Rotating::open(path.clone(), rotation)?;
            BoxMakeWriter::new(move || files.clone())
        }
    };
    let lines = fmt::layer().with_ansi(false);
    // The level is the file's alone: who listens has one of its own.
    let lines = lines.with_writer(writer);
    let lines = if options.json { lines.json().boxed() } else { lines.boxed() };
    let monitor = LogMonitor::default();
    let registry = tracing_subscriber::registry().with(lines.with_filter(level));
    registry.with(monitor.layer()).try_init().ok().ok_or(LogError::Started)?;
    Ok((LogHandle(handle), monitor))
}

fn open(path: &PathBuf) -> Result<File, LogError> {
    Ok(OpenOptions::new().create(true).append(true).open(path)?)
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let wrong = || LogError::Level(level.chars().take(LEVEL_BYTES_MAX).collect());
    if level.len() > LEVEL_BYTES_MAX {
        return Err(wrong());
    }
    let word = level.trim().to_ascii_lowercase();
    let word = match word.as_str() {
        "" => "info",
        "err" => "error",
        other => other,
    };
    let known = ["trace", "debug", "info", "warn", "error", "off"].contains(&word);
    if !known && !word.contains('=') && !word.contains(',') {
        return Err(wrong());
    }
    let directives = if known { quiet(word) } else { word.to_owned() };
    EnvFilter::try_new(directives).ok().ok_or_else(wrong)
}

/// `level` for this program, and the libraries below it quieter: what consensus tells at `info` is
/// a page for each election.
fn quiet(level: &str) -> String {
    let below = match level {
        "trace" => "info",
        "debug" | "info" => "warn",
        quieter => quieter,
    };
    let libraries = ["openraft", "hyper", "hyper_util", "reqwest", "rustls"];
    let lines = libraries.iter().map(|library| format!(",{library}={below}"));
    std::iter::once(level.to_owned()).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_consuls_and_directives() {
        for level in ["INFO", "debug", "Err", "", "info,raft=debug"] {
            assert!(filter(level).is_ok(), "{level}");
        }
        for level in ["loud", "info=what=x"] {
            assert!(matches!(filter(level), Err(LogError::Level(_))), "{level}");
        }
    }
}
