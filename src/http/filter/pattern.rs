//! Patterns in Go's dialect, run by an engine of linear time.
//!
//! The `regex` crate follows RE2 as Go does. Where the two spell things differently, a pattern is
//! spelled anew: Go's `\d \s \w \b` know ASCII only, `\Q…\E` is literal, a brace that repeats
//! nothing is a brace, and inside brackets there are neither further brackets nor set operations.
//! Source: Go package regexp/syntax, "Syntax".

use regex::{Regex, RegexBuilder};

use crate::limits::FILTER_PATTERN_BYTES_MAX;

/// Compiles a pattern; the error is one line.
pub(super) fn compile(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(&respelled(pattern))
        .size_limit(FILTER_PATTERN_BYTES_MAX)
        .dfa_size_limit(FILTER_PATTERN_BYTES_MAX)
        .build();
    built.map_err(|error| {
        let text = error.to_string();
        let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        line.trim().trim_start_matches("error: ").to_owned()
    })
}

/// Go's classes by their letter; each is the inside of brackets.
fn class(letter: char) -> Option<&'static str> {
    match letter.to_ascii_lowercase() {
        'd' => Some("0-9"),
        's' => Some(r"\t\n\x0C\r "),
        'w' => Some("0-9A-Za-z_"),
        _ => None,
    }
}

/// The pattern as the `regex` crate spells it.
fn respelled(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    while let Some(sign) = rest.chars().next() {
        rest = rest.get(sign.len_utf8()..).unwrap_or_default();
        match sign {
            '\\' => rest = escape(rest, &mut out),
            '[' => rest = brackets(rest, &mut out),
            '{' if !repeats(rest) => out.push_str(r"\{"),
            other => out.push(other),
        }
    }
    out
}

/// Whether `{` before this begins a count: `n}`, `n,}` or `n,m}`.
fn repeats(rest: &str) -> bool {
    let Some((counts, _)) = rest.split_once('}') else { return false };
    let (low, high) = counts.split_once(',').unwrap_or((counts, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !low.is_empty() && digits(low) && digits(high)
}

/// Spells what follows a backslash outside of brackets; gives back what is behind it.
fn escape<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let Some(sign) = rest.chars().next() else {
        out.push('\\');
        return rest;
    };
    let behind = rest.get(sign.len_utf8()..).unwrap_or_default();
    match sign {
        'Q' => {
            let (literal, after) = behind.split_once(r"\E").unwrap_or((behind, ""));
            out.push_str(&regex::escape(literal));
            return after;
        }
        'b' => out.push_str(r"(?-u:\b)"),
        'B' => out.push_str(r"(?-u:\B)"),
        '<' | '>' => out.push(sign),
        letter => match class(letter) {
            Some(inside) => {
                out.push_str(if letter.is_ascii_uppercase() { "[^" } else { "[" });
                out.push_str(inside);
                out.push(']');
            }
            None => return braced(letter, behind, out),
        },
    }
    behind
}

/// Spells an escape of which nothing is known but its letter, with the braces that belong to it, as
/// in `\x{1F600}`, `\p{Greek}` and its opposite `\p{^Greek}`; gives back what is behind it.
fn braced<'a>(letter: char, behind: &'a str, out: &mut String) -> &'a str {
    let braces = behind.strip_prefix('{').filter(|_| matches!(letter, 'x' | 'p' | 'P'));
    let Some((name, after)) = braces.and_then(|inside| inside.split_once('}')) else {
        out.extend(['\\', letter]);
        return behind;
    };
    let (letter, name) = match (letter, name.strip_prefix('^')) {
        ('p', Some(name)) => ('P', name),
        ('P', Some(name)) => ('p', name),
        (letter, _) => (letter, name),
    };
    out.extend(['\\', letter]);
    out.extend(["{", name, "}"]);
    after
}

/// Spells a class in brackets from behind its `[`; gives back what is behind its `]`.
fn brackets<'a>(mut rest: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    for first in ['^', ']'] {
        if let Some(behind) = rest.strip_prefix(first) {
            if first == ']' {
                out.push('\\');
            }
            out.push(first);
            rest = behind;
        }
    }
    let mut before = ' ';
    while let Some(sign) = rest.chars().next() {
        let named = rest.strip_prefix("[:").and_then(|inside| inside.split_once(":]"));
        if let Some((name, after)) = named {
            out.extend(["[:", name, ":]"]);
            (before, rest) = (' ', after);
            continue;
        }
        rest = rest.get(sign.len_utf8()..).unwrap_or_default();
        match sign {
            ']' => {
                out.push(']');
                return rest;
            }
            '\\' => {
                let Some(letter) = rest.chars().next() else {
                    out.push('\\');
                    return rest;
                };
                rest = rest.get(letter.len_utf8()..).unwrap_or_default();
                match class(letter) {
                    Some(inside) if letter.is_ascii_uppercase() => {
                        out.extend(["[^", inside, "]"]);
                    }
                    Some(inside) => out.push_str(inside),
                    None => rest = braced(letter, rest, out),
                }
                before = ' ';
                continue;
            }
            '[' | '&' | '~' => out.extend(['\\', sign]),
            '-' if before == '-' => out.push_str(r"\-"),
            other => out.push(other),
        }
        before = sign;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, text, want) in [
            ("^web-[0-9]+$", "web-12", true),
            (r"^\d$", "\u{663}", false),
            (r"^\w+$", "a_1", true),
            (r"^\w$", "\u{e9}", false),
            (r"\bweb\b", "a web b", true),
            (r"a\Bb", "ab", true),
            (r"^[\d.]+$", "1.2", true),
            (r"^[\D]+$", "ab", true),
            (r"^[^\s]$", " ", false),
            (r"^[[a]$", "[", true),
            ("^[a&&b]+$", "&ab", true),
            ("^[]a]+$", "a]", true),
            ("^[[:alpha:]]+$", "ab", true),
            ("^[+--]+$", "+,-", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"\<a\>", "<a>", true),
            ("^a{,2}$", "a{,2}", true),
            ("^a{1,2}$", "aa", true),
            ("^{x}$", "{x}", true),
            (r"^\x{1F600}\x41$", "\u{1f600}A", true),
            (r"^\p{Greek}\P{Greek}\pL$", "\u{3b1}ab", true),
            (r"^\p{^Greek}[\P{^Greek}]$", "a\u{3b1}", true),
            (r"^[\x{41}-\x{43}\p{Greek}]+$", "AC\u{3b1}", true),
            (r"^\x41{2}$", "AA", true),
            ("a.b", "a\nb", false),
            ("(?s)a.b", "a\nb", true),
            ("(?i)WEB", "web", true),
            ("(?P<n>x)", "x", true),
            ("", "anything", true),
        ] {
            let built = compile(pattern).unwrap_or_else(|why| panic!("{pattern}: {why}"));
            assert_eq!(built.is_match(text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn bad_patterns_are_refused_in_one_line() {
        for pattern in ["[", "(?=x)", "a)", "*", r"\", r"[\", r"\1", "x{100}{100}{100}{100}"] {
            let why = compile(pattern).unwrap_err();
            assert!(!why.is_empty() && !why.contains('\n'), "{pattern}: {why}");
        }
    }
}
