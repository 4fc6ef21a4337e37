//! Durations as Go writes them (`1m30s`, `15000ms`, `1.5h`): a pure pair of functions.

use std::time::Duration;

/// Longest duration that Go's signed 64-bit nanoseconds can hold, about 292 years.
const NANOS_MAX: u64 = i64::MAX as u64;

/// Most digits read after the decimal point; the rest cannot change a nanosecond.
const FRACTION_DIGITS_MAX: usize = 15;

/// Reads a duration: one or more numbers, each with a unit of `ns us µs ms s m h`, or a bare `0`.
///
/// # Errors
///
/// Says what is wrong with `text`: no unit, an unknown unit, a negative value, or more than
/// 292 years.
///
/// Source: Go standard library, `time.ParseDuration`.
pub fn parse(text: &str) -> Result<Duration, String> {
    let bad = |why: &str| format!("invalid duration {text:?}: {why}");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.starts_with('-') {
        return Err(bad("it is negative"));
    }
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(bad("it is empty"));
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (whole, after_whole) = split_digits(rest);
        let (fraction, after) = match after_whole.strip_prefix('.') {
            Some(tail) => split_digits(tail),
            None => ("", after_whole),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(bad("a number is missing"));
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, tail) = after.split_at(end);
        let nanos = unit_nanos(unit).ok_or_else(|| match unit {
            "" => bad("a unit is missing (ns, us, ms, s, m or h)"),
            _ => bad("unknown unit (use ns, us, ms, s, m or h)"),
        })?;
        let part = part_nanos(whole, fraction, nanos).ok_or_else(|| bad("it is too long"))?;
        total = total.checked_add(part).ok_or_else(|| bad("it is too long"))?;
        rest = tail;
    }
    match u64::try_from(total) {
        Ok(nanos) if nanos <= NANOS_MAX => Ok(Duration::from_nanos(nanos)),
        _ => Err(bad("it is too long")),
    }
}

/// Writes a duration as Go does: `1h0m0s`, `1.5s`, `15ms`, `0s`.
///
/// What [`parse`] reads back is equal to what was written.
///
/// Source: Go standard library, `time.Duration.String`.
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => decimal(nanos, 1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(nanos, 1_000_000, "ms"),
        _ => clock(nanos),
    }
}

fn clock(nanos: u128) -> String {
    const SECOND: u128 = 1_000_000_000;
    let seconds = decimal(nanos % (60 * SECOND), SECOND, "s");
    let (hours, minutes) = (nanos / (3600 * SECOND), nanos / (60 * SECOND) % 60);
    match (hours, minutes) {
        (0, 0) => seconds,
        (0, _) => format!("{minutes}m{seconds}"),
        _ => format!("{hours}h{minutes}m{seconds}"),
    }
}

/// `nanos / unit`, with as many decimals as needed and no more.
fn decimal(nanos: u128, unit: u128, name: &str) -> String {
    let (whole, fraction) = (nanos / unit, nanos % unit);
    if fraction == 0 {
        return format!("{whole}{name}");
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{fraction:0width$}");
    format!("{whole}.{}{name}", digits.trim_end_matches('0'))
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

fn part_nanos(whole: &str, fraction: &str, unit: u128) -> Option<u128> {
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: String = fraction.chars().take(FRACTION_DIGITS_MAX).collect();
    let below = match fraction.len() {
        0 => 0,
        digits => {
            let scale = 10u128.pow(u32::try_from(digits).expect("at most FRACTION_DIGITS_MAX"));
            fraction.parse::<u128>().ok()? * unit / scale
        }
    };
    whole.checked_mul(unit)?.checked_add(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_what_go_does() {
        let table = [
            ("0", 0, "0s"),
            ("5s", 5_000_000_000, "5s"),
            ("1m30s", 90_000_000_000, "1m30s"),
            ("15000ms", 15_000_000_000, "15s"),
            ("1.5h", 5_400_000_000_000, "1h30m0s"),
            ("10us", 10_000, "10µs"),
            ("10µs", 10_000, "10µs"),
            (".5s", 500_000_000, "500ms"),
            ("+1.250s", 1_250_000_000, "1.25s"),
            ("7ns", 7, "7ns"),
            ("72h0m0s", 259_200_000_000_000, "72h0m0s"),
            ("1h0.000000001s", 3_600_000_000_001, "1h0m0.000000001s"),
        ];
        for (text, nanos, written) in table {
            let read = parse(text).unwrap();
            assert_eq!(read, Duration::from_nanos(nanos), "{text}");
            assert_eq!(format(read), written, "{text}");
            assert_eq!(parse(written).unwrap(), read, "{written}");
        }
    }

    #[test]
    fn refuses_what_go_refuses_and_negatives() {
        for text in ["", "10", "s", "1x", "1s2", "-5s", "1.s.", "99999999999h", "1 s", "1d", "."] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with("invalid duration"), "{text}: {error}");
        }
    }
}
