//! `GET /v1/agent/monitor`: log lines as they come. Source: Consul HTTP API, "Stream Logs".

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use futures::stream;

use crate::lifecycle::Shutdown;
use crate::limits::{MONITOR_LINES_MAX, MONITORS_MAX};
use crate::telemetry::{LineForm, LogLines, MonitorLimits, log_level};

use super::call::{Call, Kind, Outcome, Output};
use super::error::{Advice, Failure};

/// What begins the stream, so that the caller has the head of the answer before the first line.
const NOTHING: Bytes = Bytes::new();

/// `GET /v1/agent/monitor?loglevel=…&logjson`: goes on until the caller hangs up or the doors stop.
pub(super) fn monitor(call: &Call) -> Outcome {
    let word = call.params.get("loglevel").filter(|word| !word.is_empty()).unwrap_or("INFO");
    let level = log_level(word)
        .ok_or_else(|| Failure::bad(format!("Bad request: Unknown log level: {word}")))?;
    let form = if call.params.has("logjson") { LineForm::Json } else { LineForm::Text };
    let limits = MonitorLimits { listeners: MONITORS_MAX, lines: MONITOR_LINES_MAX };
    let lines = call.rooms.monitor.listen(level, form, limits).map_err(|full| Failure {
        advice: Advice::RetryAfter(1),
        ..Failure::new(StatusCode::TOO_MANY_REQUESTS, full.to_string())
    })?;
    let begin = (lines, call.rooms.stopping.clone());
    let pieces = stream::unfold(begin, next);
    let first = stream::iter([Ok(NOTHING)]);
    let stream = futures::StreamExt::chain(first, pieces);
    let kind = Kind::Other("text/plain; charset=utf-8");
    Ok(Output { kind, stream: Some(Body::from_stream(stream)), ..Output::empty() })
}

type Listening = (LogLines, Shutdown);

async fn next(
    (mut lines, mut stopping): Listening,
) -> Option<(Result<Bytes, std::convert::Infallible>, Listening)> {
    // Both may be dropped: a line that was not taken stays in the buffer.
    let line = tokio::select! {
        line = lines.next() => line,
        () = stopping.wait() => return None,
    };
    Some((Ok(line.into()), (lines, stopping)))
}
