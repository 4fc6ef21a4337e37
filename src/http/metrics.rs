//! Metrics in the form of Consul's `/v1/agent/metrics`.

use serde::Serialize;
use serde_json::{Number, Value};

use crate::telemetry::{Amount, Sample};
use crate::time;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GaugeJson<'a> {
    name: &'a str,
    value: Number,
    labels: serde_json::Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CountJson<'a> {
    name: &'a str,
    count: u64,
    sum: Number,
    mean: Number,
    labels: serde_json::Map<String, Value>,
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
            Amount::Counter(count) => shown.counters.push(CountJson {
                name,
                count,
                sum: count.into(),
                mean: 1.into(),
                labels,
            }),
            Amount::Histogram { count, sum } => {
                let mean = if count == 0 { 0.0 } else { sum / as_float(count) };
                let (sum, mean) = (number(sum), number(mean));
                shown.samples.push(CountJson { name, count, sum, mean, labels });
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
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} +0000 UTC")
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
    use crate::http::json;

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
                r#""Counters":[{"Name":"c","Count":3,"Sum":3,"Mean":1,"Labels":{}}],"#,
                r#""Samples":[{"Name":"h","Count":2,"Sum":1,"Mean":0.5,"Labels":{}}]}"#,
            )
        );
    }
}
