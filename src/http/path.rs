//! Paths as Consul's server takes them: decoded, printable, cleaned by a redirect.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::params::escapes_are_whole;

/// What Go escapes in a path.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The path with its escapes decoded; `None` when one is broken, when the bytes are no text, or
/// when the text has characters that cannot be printed, unless `any` character is taken.
pub(super) fn decode(raw: &str, any: bool) -> Option<String> {
    let plain = raw.contains('%');
    if plain && !escapes_are_whole(raw) {
        return None;
    }
    let text = percent_decode_str(raw).decode_utf8().ok()?;
    (any || text.chars().all(is_printable)).then(|| text.into_owned())
}

/// Go's idea of it, as near as the standard library tells: no controls, no spaces but the plain
/// one, none of the marks that only format.
fn is_printable(c: char) -> bool {
    let formats = matches!(c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{e000}'..='\u{f8ff}' | '\u{fff9}'..='\u{fffb}' | '\u{f0000}'..);
    c == ' ' || !(c.is_control() || c.is_whitespace() || formats)
}

/// The path without empty, `.` and `..` parts, where that is another one; its last slash stays.
pub(super) fn cleaned(path: &str) -> Option<String> {
    let dirty = path.contains("//") || path.contains("/.") || !path.starts_with('/');
    if !dirty {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    let mut clean = format!("/{}", kept.join("/"));
    if path.ends_with('/') && clean.len() > 1 {
        clean.push('/');
    }
    (clean != path).then_some(clean)
}

/// The path with escapes, and the query behind it, as a `Location` has them.
pub(super) fn location(path: &str, query: Option<&str>) -> String {
    let path = utf8_percent_encode(path, ESCAPED);
    query.map_or_else(|| path.to_string(), |query| format!("{path}?{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_consul_does() {
        for (path, want) in [
            ("/v1/kv/a/b", None),
            ("/v1/kv/a/", None),
            ("/v1/kv/a.b/..c", None),
            ("/v1/kv//a", Some("/v1/kv/a")),
            ("/v1/kv/a//b", Some("/v1/kv/a/b")),
            ("/v1/kv/a/../b", Some("/v1/kv/b")),
            ("/v1/kv/a/./b/", Some("/v1/kv/a/b/")),
            ("/..", Some("/")),
        ] {
            assert_eq!(cleaned(path).as_deref(), want, "{path}");
        }
    }

    #[test]
    fn paths_are_decoded_and_must_be_printable() {
        assert_eq!(decode("/v1/kv/a%2Fb%20c+d", false).as_deref(), Some("/v1/kv/a/b c+d"));
        assert_eq!(decode("/v1/kv/%C3%A9", false).as_deref(), Some("/v1/kv/\u{e9}"));
        assert_eq!(decode("/a%01b", true).as_deref(), Some("/a\u{1}b"));
        assert_eq!(decode("/a%zz", true), None);
        for bad in ["/a%01b", "/a%0a", "/a%zz", "/a%2", "/a%ff", "/a%C2%A0", "/a%E2%80%8B"] {
            assert_eq!(decode(bad, false), None, "{bad}");
        }
    }

    #[test]
    fn locations_are_escaped() {
        assert_eq!(location("/v1/kv/a b/c", Some("x=1")), "/v1/kv/a%20b/c?x=1");
    }
}
