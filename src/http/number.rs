//! Go's spelling of numbers, truth values and durations, with Go's texts when one does not parse.

use std::fmt::Write as _;

const NANOS_A_MILLI: i64 = 1_000_000;

/// Units of a Go duration, longest spelling first where one begins another.
const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", NANOS_A_MILLI),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A decimal number of 64 bits; the error is Go's text.
pub(super) fn unsigned(text: &str) -> Result<u64, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(format!("strconv.ParseUint: parsing {}: invalid syntax", quoted(text)));
    }
    text.parse()
        .ok()
        .ok_or_else(|| format!("strconv.ParseUint: parsing {}: value out of range", quoted(text)))
}

/// A whole number of 64 bits, decimal or with Go's prefixes `0x`, `0o`, `0b` and `0`, digits
/// parted by `_` where Go allows it; the error is Go's text.
pub(super) fn whole(text: &str) -> Result<i64, String> {
    let fail = |why| format!("strconv.ParseInt: parsing {}: {why}", quoted(text));
    let (negative, plain) = match text.strip_prefix('-') {
        Some(plain) => (true, plain),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = plain.to_ascii_lowercase();
    let prefixes = [("0x", 16), ("0o", 8), ("0b", 2)];
    let known = prefixes
        .iter()
        .find_map(|(prefix, base)| lower.strip_prefix(prefix).map(|digits| (digits, *base, true)));
    let octal = || lower.strip_prefix('0').filter(|digits| !digits.is_empty());
    let (digits, base, prefixed) = known
        .or_else(|| octal().map(|digits| (digits, 8, true)))
        .unwrap_or((lower.as_str(), 10, false));
    let digits = match digits.strip_prefix('_') {
        Some(behind) if prefixed => behind,
        _ => digits,
    };
    let fine = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_digit(base));
    if !digits.split('_').all(fine) {
        return Err(fail("invalid syntax"));
    }
    let sign = if negative { "-" } else { "" };
    let number = i64::from_str_radix(&format!("{sign}{}", digits.replace('_', "")), base);
    number.map_err(|_why| fail("value out of range"))
}

/// A truth value in one of the spellings that Go takes.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A duration such as `1m30s` in nanoseconds, may be negative; the error is Go's text.
pub(super) fn duration_nanos(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quoted(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, behind) = rest.split_at(end);
        if number.bytes().all(|byte| byte == b'.') || number.matches('.').count() > 1 {
            return Err(invalid());
        }
        let end = behind.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quoted(text)));
        }
        let scale = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
        let scale = scale.ok_or_else(|| {
            format!("time: unknown unit {} in duration {}", quoted(unit), quoted(text))
        })?;
        let part = scaled(number, scale).ok_or_else(invalid)?;
        total = total.checked_add(part).ok_or_else(invalid)?;
        rest = behind;
    }
    Ok(if negative { -total } else { total })
}

/// `number` times `scale`, a fraction cut below one.
fn scaled(number: &str, scale: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.bytes() {
        place /= 10;
        total = total.checked_add(place.checked_mul(i64::from(digit - b'0'))?)?;
    }
    Some(total)
}

/// Milliseconds of a duration of at least zero; what is below one but above zero counts as one.
pub(super) fn millis(nanos: i64) -> u64 {
    u64::try_from(nanos).map_or(0, |nanos| nanos.div_ceil(NANOS_A_MILLI.unsigned_abs()))
}

/// A duration as Go prints it: `1m0s`, `1.5s`, `10ms`.
pub(super) fn duration_text(millis: u64) -> String {
    if millis == 0 {
        return "0s".to_owned();
    }
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, rest) = (millis / 1000 % 60, millis % 1000);
    let mut text = String::new();
    if hours > 0 {
        text = format!("{hours}h");
    }
    if hours > 0 || minutes > 0 {
        write!(text, "{minutes}m").expect("a string takes all");
    }
    write!(text, "{seconds}").expect("a string takes all");
    if rest > 0 {
        let fraction = format!(".{rest:03}");
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push('s');
    text
}

/// The text in double quotes, as Go's `%q` for printable text.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                write!(out, "\\x{:02x}", u32::from(c)).expect("a string takes all");
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_parse_as_go_does() {
        assert_eq!(unsigned("0"), Ok(0));
        assert_eq!(unsigned("18446744073709551615"), Ok(u64::MAX));
        for (text, want) in [
            ("abc", r#"strconv.ParseUint: parsing "abc": invalid syntax"#),
            ("-1", r#"strconv.ParseUint: parsing "-1": invalid syntax"#),
            ("", r#"strconv.ParseUint: parsing "": invalid syntax"#),
            (
                "99999999999999999999999",
                "strconv.ParseUint: parsing \
             \"99999999999999999999999\": value out of range",
            ),
        ] {
            assert_eq!(unsigned(text), Err(want.to_owned()));
        }
        for (text, want) in [
            ("80", 80),
            ("+80", 80),
            ("-1", -1),
            ("0", 0),
            ("0x50", 80),
            ("0X5_0", 80),
            ("0b1010000", 80),
            ("0o120", 80),
            ("0120", 80),
            ("0_120", 80),
            ("8_0", 80),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(whole(text), Ok(want), "{text}");
        }
        for text in ["", "-", "80.5", "_80", "80_", "8__0", "0x", "08", "0b2", "+-1", "1e3"] {
            let want = format!("strconv.ParseInt: parsing \"{text}\": invalid syntax");
            assert_eq!(whole(text), Err(want));
        }
        let big = "99999999999999999999";
        let want = format!("strconv.ParseInt: parsing \"{big}\": value out of range");
        assert_eq!(whole(big), Err(want));
        assert_eq!(truth("T"), Some(true));
        assert_eq!(truth("0"), Some(false));
        assert_eq!(truth("yes"), None);
    }

    #[test]
    fn durations_parse_as_go_does() {
        for (text, want) in [
            ("10s", 10_000_000_000),
            ("1m30s", 90_000_000_000),
            ("15000ms", 15_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("10us", 10_000),
            ("-1.5s", -1_500_000_000),
            ("0", 0),
            (".5s", 500_000_000),
            ("1h0.25s", 3_600_250_000_000),
        ] {
            assert_eq!(duration_nanos(text), Ok(want), "{text}");
        }
        for (text, want) in [
            ("abc", r#"time: invalid duration "abc""#),
            ("", r#"time: invalid duration """#),
            ("10", r#"time: missing unit in duration "10""#),
            ("10x", r#"time: unknown unit "x" in duration "10x""#),
            (".s", r#"time: invalid duration ".s""#),
            ("9999999999h", r#"time: invalid duration "9999999999h""#),
        ] {
            assert_eq!(duration_nanos(text), Err(want.to_owned()), "{text}");
        }
    }

    #[test]
    fn durations_print_as_go_does() {
        for (millis, want) in [
            (0, "0s"),
            (2, "2ms"),
            (10_000, "10s"),
            (60_000, "1m0s"),
            (1_500, "1.5s"),
            (3_600_000, "1h0m0s"),
            (3_601_050, "1h0m1.05s"),
        ] {
            assert_eq!(duration_text(millis), want);
        }
        assert_eq!((millis(1), millis(1_000_000), millis(-5)), (1, 1, 0));
    }

    #[test]
    fn quotes_escape() {
        assert_eq!(quoted("a\"b\\\n\u{1}"), "\"a\\\"b\\\\\\n\\x01\"");
    }
}
