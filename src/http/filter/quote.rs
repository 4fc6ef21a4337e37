//! Texts in quotes, with Go's escapes. Source: the Go specification, "String literals".

/// The text inside quotes of this kind; the error has its place inside, in bytes.
///
/// Between back quotes nothing is an escape, and carriage returns are dropped.
pub(super) fn unquote(inside: &str, quote: char) -> Result<String, (usize, String)> {
    if quote == '`' {
        return Ok(inside.replace('\r', ""));
    }
    let mut bytes = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(at) = rest.find(['\\', '\n']) {
        let (plain, behind) = rest.split_at(at);
        bytes.extend(plain.bytes());
        let place = inside.len() - behind.len();
        let (written, after) = escape(behind).map_err(|what| (place, what.to_owned()))?;
        bytes.extend(written);
        rest = after;
    }
    bytes.extend(rest.bytes());
    String::from_utf8(bytes).map_err(|why| {
        let what = "its escapes are no UTF-8 together".to_owned();
        (why.utf8_error().valid_up_to().min(inside.len()), what)
    })
}

/// What an escape at the beginning of `text` stands for, and what follows it.
fn escape(text: &str) -> Result<(Vec<u8>, &str), &'static str> {
    const UNKNOWN: &str = "unknown escape; between back quotes nothing is an escape";
    let mut signs = text.chars();
    if signs.next() != Some('\\') {
        return Err("a line break needs \\n or back quotes");
    }
    let kind = signs.next().ok_or(UNKNOWN)?;
    let behind = signs.as_str();
    let byte = |byte: u8| Ok((vec![byte], behind));
    match kind {
        'a' => byte(0x07),
        'b' => byte(0x08),
        'f' => byte(0x0c),
        'n' => byte(b'\n'),
        'r' => byte(b'\r'),
        't' => byte(b'\t'),
        'v' => byte(0x0b),
        '\\' => byte(b'\\'),
        'x' => {
            let (value, after) = digits(behind, 2, 16).ok_or("\\x needs two digits")?;
            Ok((vec![u8::try_from(value).or(Err(UNKNOWN))?], after))
        }
        '0'..='7' => {
            let from = text.get(1..).unwrap_or_default();
            let (value, after) = digits(from, 3, 8).ok_or("an octal escape has three digits")?;
            let byte = u8::try_from(value).or(Err("an octal escape ends at \\377"))?;
            Ok((vec![byte], after))
        }
        'u' | 'U' => {
            let count = if kind == 'u' { 4 } else { 8 };
            let (value, after) = digits(behind, count, 16).ok_or("\\u needs 4 digits, \\U 8")?;
            let sign = char::from_u32(value).ok_or("no such character")?;
            Ok((sign.to_string().into_bytes(), after))
        }
        _ => Err(UNKNOWN),
    }
}

fn digits(text: &str, count: usize, base: u32) -> Option<(u32, &str)> {
    let (digits, after) = text.split_at_checked(count)?;
    let all = digits.chars().all(|c| c.is_digit(base));
    Some((u32::from_str_radix(digits, base).ok().filter(|_| all)?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_gos() {
        for (inside, want) in [
            (r"a\tb\\\x41\101\u00e9\U0001F600", "a\tb\\AA\u{e9}\u{1f600}"),
            (r"\xc3\xa9", "\u{e9}"),
            ("", ""),
        ] {
            assert_eq!(unquote(inside, '"').as_deref(), Ok(want), "{inside}");
        }
        assert_eq!(unquote("a\\\r\nb", '`').as_deref(), Ok("a\\\nb"));
        for (inside, at) in [
            (r"ab\q", 2),
            ("a\nb", 1),
            (r"\x4", 0),
            (r"\ud800", 0),
            (r"\400", 0),
            (r"a\xff", 1),
            ("\\", 0),
        ] {
            assert_eq!(unquote(inside, '"').unwrap_err().0, at, "{inside}");
        }
    }
}
