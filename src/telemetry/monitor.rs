//! Log lines for whoever listens: each listener has a level and a form of its own, and a bounded
//! buffer that drops lines rather than hold anything up.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::{Context, Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

/// How a listener wants its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineForm {
    /// Text, as Consul's log has it: time, level, place, message, fields.
    Text,
    /// One JSON object a line, with Consul's names.
    Json,
}

/// Bounds of listening.
#[derive(Clone, Copy, Debug)]
pub struct MonitorLimits {
    /// Listeners at once.
    pub listeners: usize,
    /// Lines that wait for one listener; what does not fit is dropped and counted.
    pub lines: usize,
}

/// As many listen as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} callers listen to the log already")]
pub struct TooManyListeners(usize);

/// Where log lines can be listened to. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LogMonitor {
    listeners: Arc<RwLock<Vec<Listener>>>,
}

#[derive(Debug)]
struct Listener {
    id: u64,
    level: Level,
    form: LineForm,
    lines: mpsc::Sender<String>,
    /// Lines that did not fit since one did last.
    dropped: Arc<std::sync::atomic::AtomicU64>,
}

/// A listener's end: the lines as they come. Dropped, it listens no more.
#[derive(Debug)]
pub struct LogLines {
    monitor: LogMonitor,
    id: u64,
    lines: mpsc::Receiver<String>,
    dropped: Arc<std::sync::atomic::AtomicU64>,
}

/// The level that a word names: `trace`, `debug`, `info`, `warn`, `err` or `error`, in any case.
pub fn log_level(word: &str) -> Option<Level> {
    match word.to_ascii_lowercase().as_str() {
        "trace" => Some(Level::TRACE),
        "debug" => Some(Level::DEBUG),
        "info" => Some(Level::INFO),
        "warn" => Some(Level::WARN),
        "err" | "error" => Some(Level::ERROR),
        _ => None,
    }
}

impl LogMonitor {
    /// Begins to listen: from now on, to lines of this level and above.
    ///
    /// # Errors
    ///
    /// [`TooManyListeners`].
    pub fn listen(
        &self,
        level: Level,
        form: LineForm,
        limits: MonitorLimits,
    ) -> Result<LogLines, TooManyListeners> {
        let (sender, lines) = mpsc::channel(limits.lines.max(1));
        let dropped = Arc::<std::sync::atomic::AtomicU64>::default();
        let id = {
            let mut all = self.listeners.write();
            if all.len() >= limits.listeners {
                return Err(TooManyListeners(all.len()));
            }
            let id = all.last().map_or(0, |last| last.id + 1);
            let listener =
                Listener { id, level, form, lines: sender, dropped: Arc::clone(&dropped) };
            all.push(listener);
            id
        };
        // Places that nobody wanted to hear of may be wanted now.
        tracing::callsite::rebuild_interest_cache();
        Ok(LogLines { monitor: self.clone(), id, lines, dropped })
    }

    /// The layer that hears every event that somebody listens for.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        Hearing(self.clone()).with_filter(Wanted(self.clone()))
    }

    fn widest(&self) -> LevelFilter {
        let levels = self.listeners.read().iter().map(|it| LevelFilter::from(it.level)).max();
        levels.unwrap_or(LevelFilter::OFF)
    }
}

impl LogLines {
    /// The next line, with its line break; waits for it. Where lines were lost before it, a line
    /// that says how many comes first. May be dropped at any time; no line is lost by that.
    pub async fn next(&mut self) -> String {
        let next = self.lines.recv().await.unwrap_or_default();
        match self.dropped.swap(0, std::sync::atomic::Ordering::Relaxed) {
            0 => next,
            lost => format!("{lost} log lines were lost: the listener is too slow\n{next}"),
        }
    }
}

impl Drop for LogLines {
    fn drop(&mut self) {
        self.monitor.listeners.write().retain(|listener| listener.id != self.id);
        tracing::callsite::rebuild_interest_cache();
    }
}

/// What is heard only while somebody listens for it, so that it costs nothing otherwise.
struct Wanted(LogMonitor);

/// Libraries whose finer words are a page for each request.
const LOUD: [&str; 6] = ["h2", "hyper", "hyper_util", "reqwest", "rustls", "openraft"];

impl Wanted {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let root = metadata.target().split("::").next().unwrap_or_default();
        let loud = *metadata.level() > Level::WARN && LOUD.contains(&root);
        !loud && LevelFilter::from(*metadata.level()) <= self.0.widest()
    }
}

impl<S> Filter<S> for Wanted {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.widest())
    }
}

/// Formats an event once for each form that is wanted, and hands it out.
struct Hearing(LogMonitor);

impl<S: Subscriber> Layer<S> for Hearing {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        let (mut text, mut json) = (None, None);
        for listener in self.0.listeners.read().iter().filter(|it| level <= it.level) {
            let line = match listener.form {
                LineForm::Text => text.get_or_insert_with(|| text_line(event)),
                LineForm::Json => json.get_or_insert_with(|| json_line(event)),
            };
            if listener.lines.try_send(line.clone()).is_err() {
                listener.dropped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }
}

/// The words of an event.
#[derive(Default)]
struct Words {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.fields.push((name, value.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

fn words(event: &Event<'_>) -> Words {
    let mut words = Words::default();
    event.record(&mut words);
    words
}

fn timestamp() -> String {
    let mut text = String::new();
    // A clock that cannot be printed leaves the line without a time, and the line still tells.
    match SystemTime.format_time(&mut Writer::new(&mut text)) {
        Ok(()) => text,
        Err(_) => String::new(),
    }
}

/// The place of an event without the program's own name.
fn place(event: &Event<'_>) -> &'static str {
    let target = event.metadata().target();
    target.split_once("::").map_or(target, |(_, place)| place)
}

fn text_line(event: &Event<'_>) -> String {
    let words = words(event);
    let level = format!("[{}]", event.metadata().level());
    let mut line = format!("{} {level:<7} {}: {}", timestamp(), place(event), words.message);
    for (nth, (name, value)) in words.fields.iter().enumerate() {
        let before = if nth == 0 { ": " } else { " " };
        let plain = !value.is_empty() && !value.contains([' ', '"', '\n']);
        let written = if plain {
            write!(line, "{before}{name}={value}")
        } else {
            write!(line, "{before}{name}={value:?}")
        };
        written.expect("a string takes all");
    }
    line.push('\n');
    line
}

fn json_line(event: &Event<'_>) -> String {
    let words = words(event);
    let mut line = serde_json::Map::new();
    let level = event.metadata().level().as_str().to_ascii_lowercase();
    for (name, value) in [
        ("@level", level),
        ("@message", words.message),
        ("@module", place(event).to_owned()),
        ("@timestamp", timestamp()),
    ] {
        line.insert(name.to_owned(), value.into());
    }
    for (name, value) in words.fields {
        line.insert(name.to_owned(), value.into());
    }
    format!("{}\n", serde_json::Value::Object(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    const LIMITS: MonitorLimits = MonitorLimits { listeners: 2, lines: 2 };

    fn heard(lines: &mut LogLines) -> Vec<String> {
        std::iter::from_fn(|| lines.lines.try_recv().ok()).collect()
    }

    #[test]
    fn each_listener_hears_its_own_level_and_form() {
        let monitor = LogMonitor::default();
        let subscriber = tracing_subscriber::registry().with(monitor.layer());
        tracing::subscriber::with_default(subscriber, || {
            let mut text = monitor.listen(Level::INFO, LineForm::Text, LIMITS).unwrap();
            let mut json = monitor.listen(Level::DEBUG, LineForm::Json, LIMITS).unwrap();
            assert!(monitor.listen(Level::INFO, LineForm::Text, LIMITS).is_err());
            tracing::info!(port = 80, name = "a b", "door opens");
            tracing::debug!("whisper");
            tracing::trace!("nothing");
            let lines = heard(&mut text);
            assert_eq!(lines.len(), 1, "{lines:?}");
            let wanted = " [INFO]  telemetry::monitor::tests: door opens: port=80 name=\"a b\"\n";
            assert!(lines[0].ends_with(wanted), "{lines:?}");
            let lines = heard(&mut json);
            assert_eq!(lines.len(), 2, "{lines:?}");
            let shown: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
            assert_eq!(shown["@message"], "door opens");
            assert_eq!((&shown["@level"], &shown["port"]), (&"info".into(), &"80".into()));
        });
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted_and_told() {
        let monitor = LogMonitor::default();
        let subscriber = tracing_subscriber::registry().with(monitor.layer());
        let _current = tracing::subscriber::set_default(subscriber);
        let mut lines = monitor.listen(Level::INFO, LineForm::Text, LIMITS).unwrap();
        for number in 0..5 {
            tracing::info!(number, "a line");
        }
        let first = lines.next().await;
        assert!(first.starts_with("3 log lines were lost"), "{first}");
        assert!(first.ends_with("number=0\n"), "{first}");
        assert!(lines.next().await.ends_with("number=1\n"));
        drop(lines);
        assert_eq!(monitor.widest(), LevelFilter::OFF);
    }

    #[test]
    fn levels_are_consuls() {
        assert_eq!(log_level("ERR"), Some(Level::ERROR));
        assert_eq!(log_level("Debug"), Some(Level::DEBUG));
        assert_eq!(log_level("loud"), None);
    }
}
