//! Reads HCL in its first version, which is the one that Consul's files are written in.
//!
//! The second version is stricter: it refuses `service_ttl { "*" = "5s" }` and two attributes on
//! one line, both of which stand in many files. Interpolation is text here, as in Consul.

use serde_json::{Map, Number, Value};

/// Deepest nesting of objects and lists.
const DEPTH_MAX: usize = 32;

/// Reads a body into an object; a block that repeats becomes a list of objects.
///
/// Source: the HCL 1 specification, "Syntax".
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader { rest: text, line: 1, depth: 0 };
    let body = reader.body(None)?;
    Ok(Value::Object(body))
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Entries up to `end`, which is eaten; up to the end of the text for `None`.
    fn body(&mut self, end: Option<char>) -> Result<Map<String, Value>, String> {
        let mut map = Map::new();
        loop {
            self.skip_blanks()?;
            match (self.peek(), end) {
                (Some(c), Some(end)) if c == end => {
                    self.bump(c);
                    return Ok(map);
                }
                (None, None) => return Ok(map),
                (None, Some(end)) => return Err(self.wrong(&format!("{end:?} is missing"))),
                (Some(','), _) if !map.is_empty() => self.bump(','),
                (Some(_), _) => self.entry(&mut map)?,
            }
        }
    }

    /// One attribute or block: keys, then `=` and a value, or an object.
    fn entry(&mut self, map: &mut Map<String, Value>) -> Result<(), String> {
        let first = self.key()?;
        let mut labels = Vec::new();
        loop {
            self.skip_blanks()?;
            match self.peek() {
                Some('=' | ':') if labels.is_empty() => {
                    self.bump('=');
                    let value = self.value()?;
                    put(map, first, value);
                    return Ok(());
                }
                Some('{') => {
                    let mut value = self.value()?;
                    for label in labels.into_iter().rev() {
                        value = Value::Object(Map::from_iter([(label, value)]));
                    }
                    put(map, first, value);
                    return Ok(());
                }
                Some('"') => labels.push(self.string()?),
                Some(c) if is_word(c) => labels.push(self.key()?),
                _ => return Err(self.wrong(&format!("{first:?} needs '=' or '{{' behind it"))),
            }
            if labels.len() > DEPTH_MAX {
                return Err(self.wrong("too many labels"));
            }
        }
    }

    fn key(&mut self) -> Result<String, String> {
        match self.peek() {
            Some('"') => self.string(),
            Some(c) if is_word(c) => Ok(self.word().to_owned()),
            Some(c) => Err(self.wrong(&format!("expected a key, found {c:?}"))),
            None => Err(self.wrong("expected a key, found the end")),
        }
    }

    fn value(&mut self) -> Result<Value, String> {
        self.skip_blanks()?;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.wrong(&format!("nested deeper than {DEPTH_MAX}")));
        }
        let value = match self.peek() {
            Some('"') => Value::String(self.string()?),
            Some('{') => {
                self.bump('{');
                Value::Object(self.body(Some('}'))?)
            }
            Some('[') => {
                self.bump('[');
                self.list()?
            }
            Some('<') => Value::String(self.heredoc()?),
            Some(c) if is_word(c) || c == '+' => self.scalar()?,
            Some(c) => return Err(self.wrong(&format!("expected a value, found {c:?}"))),
            None => return Err(self.wrong("expected a value, found the end")),
        };
        self.depth -= 1;
        Ok(value)
    }

    fn list(&mut self) -> Result<Value, String> {
        let mut items = Vec::new();
        loop {
            self.skip_blanks()?;
            match self.peek() {
                Some(']') => {
                    self.bump(']');
                    return Ok(Value::Array(items));
                }
                Some(_) => items.push(self.value()?),
                None => return Err(self.wrong("']' is missing")),
            }
            self.skip_blanks()?;
            match self.peek() {
                Some(',') => self.bump(','),
                Some(']') => {}
                _ => return Err(self.wrong("expected ',' or ']' in a list")),
            }
        }
    }

    fn scalar(&mut self) -> Result<Value, String> {
        let positive = self.peek() == Some('+');
        if positive {
            self.bump('+');
        }
        let word = self.word();
        match word {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => number(word)
                .map(Value::Number)
                .ok_or_else(|| self.wrong(&format!("{word:?} is no value; put text in quotes"))),
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.bump('"');
        let mut text = String::new();
        loop {
            match self.peek() {
                None | Some('\n') => return Err(self.wrong("a string is not closed")),
                Some('"') => {
                    self.bump('"');
                    return Ok(text);
                }
                Some('\\') => {
                    self.bump('\\');
                    text.push(self.escape()?);
                }
                Some(c) => {
                    self.bump(c);
                    text.push(c);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let Some(c) = self.peek() else { return Err(self.wrong("a string is not closed")) };
        self.bump(c);
        let digits = match c {
            'n' => return Ok('\n'),
            't' => return Ok('\t'),
            'r' => return Ok('\r'),
            'a' => return Ok('\u{7}'),
            'b' => return Ok('\u{8}'),
            'f' => return Ok('\u{c}'),
            'v' => return Ok('\u{b}'),
            '"' | '\\' | '/' => return Ok(c),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return Err(self.wrong(&format!("unknown escape \\{c}"))),
        };
        let code = self.rest.get(..digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let letter = code.and_then(char::from_u32);
        let letter = letter.ok_or_else(|| self.wrong(&format!("\\{c} needs {digits} digits")))?;
        self.rest = self.rest.get(digits..).unwrap_or_default();
        Ok(letter)
    }

    /// `<<END` or `<<-END`, the lines, `END`; with the dash, common leading blanks go.
    fn heredoc(&mut self) -> Result<String, String> {
        let Some(head) = self.rest.strip_prefix("<<") else {
            return Err(self.wrong("expected a value, found '<'"));
        };
        let (mark, _) = head.split_once('\n').ok_or_else(|| self.wrong("<< is not closed"))?;
        let indented = mark.starts_with('-');
        let mark = mark.trim_start_matches('-').trim();
        if mark.is_empty() {
            return Err(self.wrong("<< needs a word behind it"));
        }
        self.next_line();
        let mut lines = Vec::new();
        loop {
            if self.rest.is_empty() {
                return Err(self.wrong(&format!("<<{mark} is not closed")));
            }
            let line = self.rest.lines().next().unwrap_or_default();
            if line.trim() == mark {
                let blanks = line.len() - line.trim_start().len();
                self.rest = self.rest.get(blanks + mark.len()..).unwrap_or_default();
                break;
            }
            lines.push(line);
            self.next_line();
        }
        let blanks = |line: &&str| line.len() - line.trim_start().len();
        let common = lines.iter().map(blanks).min().filter(|_| indented).unwrap_or_default();
        let mut text = String::new();
        for line in lines {
            text.push_str(line.get(common..).unwrap_or(line));
            text.push('\n');
        }
        Ok(text)
    }

    fn skip_blanks(&mut self) -> Result<(), String> {
        loop {
            match self.peek() {
                Some(c) if c.is_whitespace() || c == '\u{feff}' => self.bump(c),
                Some('#') => self.next_line(),
                Some('/') if self.rest.starts_with("//") => self.next_line(),
                Some('/') if self.rest.starts_with("/*") => {
                    let Some(end) = self.rest.find("*/") else {
                        return Err(self.wrong("a comment is not closed"));
                    };
                    let (comment, rest) = self.rest.split_at(end + 2);
                    self.line += comment.matches('\n').count();
                    self.rest = rest;
                }
                _ => return Ok(()),
            }
        }
    }

    fn next_line(&mut self) {
        match self.rest.split_once('\n') {
            Some((_, rest)) => {
                self.rest = rest;
                self.line += 1;
            }
            None => self.rest = "",
        }
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !is_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self, c: char) {
        self.line += usize::from(c == '\n');
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
    }

    fn wrong(&self, what: &str) -> String {
        format!("line {}: {what}", self.line)
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// A number in decimal, hexadecimal (`0x1f`) or with an exponent.
fn number(word: &str) -> Option<Number> {
    if let Some(hex) = word.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok().map(Number::from);
    }
    if let Ok(whole) = word.parse::<i64>() {
        return Some(Number::from(whole));
    }
    let digits = word.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.');
    word.parse::<f64>().ok().filter(|_| digits).and_then(Number::from_f64)
}

/// Objects under one key gather in a list; anything else is replaced.
fn put(map: &mut Map<String, Value>, key: String, value: Value) {
    match (map.get_mut(&key), value) {
        (Some(Value::Array(items)), value @ Value::Object(_)) => items.push(value),
        (Some(one @ Value::Object(_)), value @ Value::Object(_)) => {
            *one = Value::Array(vec![one.take(), value]);
        }
        (_, value) => drop(map.insert(key, value)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_consuls_files_hold() {
        let table = [
            ("", json!({})),
            ("a = 1 b = -2.5, c = 1e3 d=0x10", json!({"a": 1, "b": -2.5, "c": 1000.0, "d": 16})),
            (
                "a = true\nb = false # x\n// y\n/* z\n */ c = \"\"",
                json!({"a": true, "b": false, "c": ""}),
            ),
            ("ttl { \"db*\" = \"3s\" web = \"1s\" }", json!({"ttl": {"db*": "3s", "web": "1s"}})),
            ("\"a\" = [1, \"x\", [], {b = 2},]", json!({"a": [1, "x", [], {"b": 2}]})),
            ("s { n = 1 } s { n = 2 } s { n = 3 }", json!({"s": [{"n": 1}, {"n": 2}, {"n": 3}]})),
            ("s \"web\" \"x\" { n = 1 }", json!({"s": {"web": {"x": {"n": 1}}}})),
            ("a = 1 a = 2", json!({"a": 2})),
            (r#"a = "q\"\\\n\u00e9${x}""#, json!({"a": "q\"\\\né${x}"})),
            ("a = <<E\n  one\n two\nE\nb = 1", json!({"a": "  one\n two\n", "b": 1})),
            ("a = <<-E\n  one\n   two\n  E\n", json!({"a": "one\n two\n"})),
        ];
        for (text, value) in table {
            assert_eq!(parse(text).as_ref(), Ok(&value), "{text}");
        }
    }

    #[test]
    fn errors_name_the_line() {
        let table = [
            ("a", "line 1: \"a\" needs '=' or '{' behind it"),
            ("a = 1\nb {", "line 2: '}' is missing"),
            ("a = \"x", "line 1: a string is not closed"),
            ("\n\na = x", "line 3: \"x\" is no value; put text in quotes"),
            ("a = [1 2]", "line 1: expected ',' or ']' in a list"),
            ("a = }", "line 1: expected a value, found '}'"),
            ("= 1", "line 1: expected a key, found '='"),
            ("a = \"\\q\"", "line 1: unknown escape \\q"),
            ("/* a", "line 1: a comment is not closed"),
            ("a = <<E\nb", "line 2: <<E is not closed"),
        ];
        for (text, error) in table {
            assert_eq!(parse(text), Err(error.to_owned()), "{text}");
        }
        let deep = format!("a = {}", "[".repeat(DEPTH_MAX + 1));
        assert!(parse(&deep).unwrap_err().contains("nested deeper"));
    }
}
