//! `/v1/agent/metrics` in Consul's JSON and in Prometheus's text, and our own `/metrics`.
//! Source: Consul HTTP API, "View Metrics".

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::ACCEPT;
use futures::stream;
use serde::Serialize;
use serde_json::{Number, Value};
use tokio::sync::OwnedSemaphorePermit;

use crate::lifecycle::Shutdown;
use crate::telemetry::{Amount, Metrics, Sample};
use crate::time;

use super::call::{Call, Kind, Outcome, Output};
use super::error::{Advice, Failure};
use super::json;

/// What the names in the table of metrics begin with.
const PREFIX: &str = "consul.";
/// Prometheus's text form.
const TEXT: Kind = Kind::Other("text/plain; version=0.0.4; charset=utf-8");
/// Between two pieces of the stream. Source: Consul, the interval of its metrics in memory.
const STREAM_INTERVAL: Duration = Duration::from_secs(10);

/// How the operator wants metrics to be called.
#[derive(Clone, Debug)]
struct Names {
    prefix: String,
    /// Inside the names of gauges, behind the prefix.
    host: Option<String>,
}

impl Names {
    fn of(call: &Call) -> Self {
        let options = &call.options;
        Self { prefix: options.metrics_prefix.clone(), host: options.gauge_host.clone() }
    }

    /// The name of a metric of the table; only gauges carry the host.
    fn name(&self, sample: &Sample) -> String {
        let Some(rest) = sample.name.strip_prefix(PREFIX) else { return sample.name.clone() };
        let host = self.host.as_deref().filter(|_| matches!(sample.amount, Amount::Gauge(_)));
        let parts = [Some(self.prefix.as_str()).filter(|it| !it.is_empty()), host, Some(rest)];
        parts.into_iter().flatten().collect::<Vec<_>>().join(".")
    }

    fn samples(&self, metrics: &Metrics) -> Vec<Sample> {
        let all = metrics.samples().into_iter();
        all.map(|sample| Sample { name: self.name(&sample), ..sample }).collect()
    }
}

/// `GET /v1/agent/metrics`: JSON, or the text where it is asked for and turned on.
pub(super) fn metrics(call: &Call) -> Outcome {
    let accepts = call.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let wants_text = call.params.get("format") == Some("prometheus")
        || accepts.is_some_and(accepts_open_metrics);
    let names = Names::of(call);
    if !wants_text {
        return Ok(call.json(&shape(&names.samples(&call.rooms.metrics))));
    }
    if !call.options.prometheus {
        let text = "Prometheus is not enabled since its retention time is not positive";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    // Both spellings: graphs that were made for Consul go on, and nothing of ours is missing.
    let mut body = call.rooms.metrics.text();
    body.push_str(&text(&names.samples(&call.rooms.metrics)));
    Ok(Output { kind: TEXT, body: body.into(), ..Output::empty() })
}

/// `GET /metrics`: the text that Prometheus reads, under our own names, always on.
pub(super) fn prometheus(call: &Call) -> Output {
    Output { kind: TEXT, body: call.rooms.metrics.text().into(), ..Output::empty() }
}

/// Whether `Accept` asks for Prometheus's text.
fn accepts_open_metrics(accept: &str) -> bool {
    accept.split(',').any(|part| {
        let mut words = part.split(';').map(str::trim);
        match words.next().map(str::to_ascii_lowercase).as_deref() {
            Some("application/openmetrics-text") => true,
            Some("text/plain") => words.next() == Some("version=0.4.0"),
            _ => false,
        }
    })
}

/// The samples as Prometheus's text, dots and dashes turned into what its names may hold.
fn text(samples: &[Sample]) -> String {
    let mut out = String::new();
    let mut last = String::new();
    for sample in samples {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' };
        let name: String = sample.name.chars().map(plain).collect();
        let (kind, lines) = match sample.amount {
            Amount::Gauge(value) => ("gauge", vec![("", number(value))]),
            Amount::Counter(count) => ("counter", vec![("", count.into())]),
            Amount::Histogram { count, sum } => {
                ("summary", vec![("_sum", number(sum)), ("_count", count.into())])
            }
        };
        if name != last {
            writeln!(out, "# TYPE {name} {kind}").expect("a string takes all");
        }
        let labels = labels(&sample.labels);
        for (end, value) in lines {
            writeln!(out, "{name}{end}{labels} {value}").expect("a string takes all");
        }
        last = name;
    }
    out
}

fn labels(labels: &[(String, String)]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let escaped =
        |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

/// `GET /v1/agent/metrics/stream`: the JSON again and again, until the caller hangs up or the
/// doors stop.
pub(super) fn stream(call: &Call) -> Outcome {
    let seat = std::sync::Arc::clone(&call.rooms.streams).try_acquire_owned();
    let seat = seat.map_err(|_full| Failure {
        advice: Advice::RetryAfter(1),
        ..Failure::new(StatusCode::TOO_MANY_REQUESTS, "too many streams of metrics")
    })?;
    let streamed = Streamed {
        metrics: call.rooms.metrics.clone(),
        names: Names::of(call),
        stopping: call.rooms.stopping.clone(),
        pretty: call.params.has("pretty"),
        wait: Duration::ZERO,
        seat,
    };
    let pieces = Body::from_stream(stream::unfold(streamed, next_piece));
    Ok(Output { kind: Kind::Json, stream: Some(pieces), ..Output::empty() })
}

/// A stream of metrics under way.
struct Streamed {
    metrics: Metrics,
    names: Names,
    stopping: Shutdown,
    pretty: bool,
    /// Until the next piece.
    wait: Duration,
    /// Given back when the stream ends.
    seat: OwnedSemaphorePermit,
}

async fn next_piece(mut streamed: Streamed) -> Option<(Result<Bytes, Infallible>, Streamed)> {
    // Both may be dropped.
    tokio::select! {
        () = tokio::time::sleep(streamed.wait) => {}
        () = streamed.stopping.wait() => {
            drop(streamed.seat);
            return None;
        }
    }
    let samples = streamed.names.samples(&streamed.metrics);
    let mut piece = json::bytes(&shape(&samples), streamed.pretty);
    if !streamed.pretty {
        piece.push(b'\n');
    }
    streamed.wait = STREAM_INTERVAL;
    Some((Ok(piece.into()), streamed))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GaugeJson<'a> {
    name: &'a str,
    value: Number,
    labels: serde_json::Map<String, Value>,
}

/// Consul's fields of a count. The smallest, the largest and the spread are not kept: they are
/// the mean and none.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CountJson<'a> {
    name: &'a str,
    count: u64,
    rate: Number,
    sum: Number,
    min: Number,
    max: Number,
    mean: Number,
    stddev: Number,
    labels: serde_json::Map<String, Value>,
}

impl<'a> CountJson<'a> {
    fn of(name: &'a str, count: u64, sum: f64, labels: serde_json::Map<String, Value>) -> Self {
        let mean = number(if count == 0 { 0.0 } else { sum / as_float(count) });
        Self {
            name,
            count,
            rate: 0.into(),
            sum: number(sum),
            min: mean.clone(),
            max: mean.clone(),
            mean,
            stddev: 0.into(),
            labels,
        }
    }
}

/// All metrics at once.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MetricsJson<'a> {
    timestamp: String,
    gauges: Vec<GaugeJson<'a>>,
    points: [u8; 0],
    counters: Vec<CountJson<'a>>,
    samples: Vec<CountJson<'a>>,
}

/// The samples sorted by their kind. Counts are since the start, not of the last ten seconds.
pub(super) fn shape(samples: &[Sample]) -> MetricsJson<'_> {
    let mut shown = MetricsJson {
        timestamp: timestamp(time::wall_seconds()),
        gauges: Vec::new(),
        points: [],
        counters: Vec::new(),
        samples: Vec::new(),
    };
    for sample in samples {
        let pairs = sample.labels.iter();
        let labels = pairs.map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        let labels = labels.collect();
        let name = sample.name.as_str();
        match sample.amount {
            Amount::Gauge(value) => {
                shown.gauges.push(GaugeJson { name, value: number(value), labels });
            }
            Amount::Counter(count) => {
                shown.counters.push(CountJson::of(name, count, as_float(count), labels));
            }
            Amount::Histogram { count, sum } => {
                shown.samples.push(CountJson::of(name, count, sum, labels));
            }
        }
    }
    shown
}

#[expect(clippy::cast_precision_loss, reason = "a mean for display")]
fn as_float(count: u64) -> f64 {
    count as f64
}

/// A number as Go prints it: whole ones without a point.
#[expect(clippy::cast_possible_truncation, reason = "only where nothing is cut")]
#[expect(clippy::cast_precision_loss, reason = "compared with what it came from")]
fn number(value: f64) -> Number {
    let whole = value as i64;
    if whole as f64 - value == 0.0 && whole.unsigned_abs() < 1 << 53 {
        return whole.into();
    }
    Number::from_f64(value).unwrap_or_else(|| 0.into())
}

/// Wall-clock seconds as Go prints a time: `2026-11-23 12:32:00 +0000 UTC`.
fn timestamp(seconds: u64) -> String {
    let (date, clock) = date_and_clock(seconds);
    format!("{date} {clock} +0000 UTC")
}

/// Wall-clock seconds as JSON has a time: `2026-11-23T12:32:00Z`.
pub(super) fn rfc3339(seconds: u64) -> String {
    let (date, clock) = date_and_clock(seconds);
    format!("{date}T{clock}Z")
}

fn date_and_clock(seconds: u64) -> (String, String) {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    (format!("{year:04}-{month:02}-{day:02}"), format!("{hour:02}:{minute:02}:{second:02}"))
}

/// The date of a day counted from 1970-01-01: eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_operators_beginning_and_gauges_the_host() {
        let sample = |amount| Sample { name: "consul.raft.term".into(), labels: vec![], amount };
        let names = |prefix: &str, host: Option<&str>| Names {
            prefix: prefix.into(),
            host: host.map(str::to_owned),
        };
        let gauge = sample(Amount::Gauge(1.0));
        assert_eq!(names("consul", None).name(&gauge), "consul.raft.term");
        assert_eq!(names("sea", Some("h")).name(&gauge), "sea.h.raft.term");
        let counter = sample(Amount::Counter(1));
        assert_eq!(names("consul", Some("h")).name(&counter), "consul.raft.term");
    }

    #[test]
    fn the_text_is_prometheuss() {
        let labels = vec![("route".to_owned(), "a\"b".to_owned())];
        let samples = [
            Sample { name: "c.x-y".into(), labels: vec![], amount: Amount::Gauge(0.5) },
            Sample { name: "c.n".into(), labels: labels.clone(), amount: Amount::Counter(3) },
            Sample {
                name: "c.s".into(),
                labels: vec![],
                amount: Amount::Histogram { count: 2, sum: 1.5 },
            },
        ];
        assert_eq!(
            text(&samples),
            "# TYPE c_x_y gauge\nc_x_y 0.5\n# TYPE c_n counter\nc_n{route=\"a\\\"b\"} 3\n\
             # TYPE c_s summary\nc_s_sum 1.5\nc_s_count 2\n"
        );
    }

    #[test]
    fn open_metrics_are_asked_for_by_accept() {
        for (accept, want) in [
            ("application/openmetrics-text", true),
            ("text/html, application/openmetrics-text; version=1", true),
            ("text/plain; version=0.4.0", true),
            ("text/plain", false),
            ("*/*", false),
        ] {
            assert_eq!(accepts_open_metrics(accept), want, "{accept}");
        }
    }

    #[test]
    fn times_print_as_go_does() {
        assert_eq!(timestamp(0), "1970-01-01 00:00:00 +0000 UTC");
        assert_eq!(timestamp(951_827_696), "2000-02-29 12:34:56 +0000 UTC");
        assert_eq!(timestamp(1_795_437_120), "2026-11-23 12:32:00 +0000 UTC");
    }

    #[test]
    fn samples_are_sorted_by_kind() {
        let sample = |name: &str, amount| Sample { name: name.into(), labels: vec![], amount };
        let samples = [
            sample("g", Amount::Gauge(2.0)),
            sample("c", Amount::Counter(3)),
            sample("h", Amount::Histogram { count: 2, sum: 1.0 }),
        ];
        let shown = MetricsJson { timestamp: "t".into(), ..shape(&samples) };
        assert_eq!(
            String::from_utf8(json::bytes(&shown, false)).unwrap(),
            concat!(
                r#"{"Timestamp":"t","Gauges":[{"Name":"g","Value":2,"Labels":{}}],"Points":[],"#,
                r#""Counters":[{"Name":"c","Count":3,"Rate":0,"Sum":3,"Min":1,"Max":1,"Mean":1,"#,
                r#""Stddev":0,"Labels":{}}],"#,
                r#""Samples":[{"Name":"h","Count":2,"Rate":0,"Sum":1,"Min":0.5,"Max":0.5,"#,
                r#""Mean":0.5,"Stddev":0,"Labels":{}}]}"#,
            )
        );
    }
}
