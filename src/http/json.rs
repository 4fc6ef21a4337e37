//! JSON exactly as Go writes it, and JSON read as Go reads it: names without regard to case,
//! unknown fields named, Go's texts for what does not fit.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, PrettyFormatter, Serializer};

use super::number;

/// Four spaces, as Go's indented form has.
const INDENT: &[u8] = b"    ";

/// The bytes of `value`; `pretty` indents by four spaces and ends with a line break.
pub(super) fn bytes<T: Serialize + ?Sized>(value: &T, pretty: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let written = if pretty {
        let form = Escaping(PrettyFormatter::with_indent(INDENT));
        value.serialize(&mut Serializer::with_formatter(&mut out, form))
    } else {
        value.serialize(&mut Serializer::with_formatter(&mut out, Escaping(CompactFormatter)))
    };
    written.expect("our own shapes serialise, and a vector takes all");
    if pretty {
        out.push(b'\n');
    }
    out
}

/// Go's escapes around another form: `<`, `>` and `&`, the two line separators, and control
/// characters by number where Go has no short form.
struct Escaping<F>(F);

impl<F: Formatter> Formatter for Escaping<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        text: &str,
    ) -> io::Result<()> {
        let bytes = text.as_bytes();
        let mut done = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let (escape, width): (&[u8], usize) = match byte {
                b'<' => (b"\\u003c", 1),
                b'>' => (b"\\u003e", 1),
                b'&' => (b"\\u0026", 1),
                0xe2 if bytes.get(at + 1..at + 3) == Some(&[0x80, 0xa8]) => (b"\\u2028", 3),
                0xe2 if bytes.get(at + 1..at + 3) == Some(&[0x80, 0xa9]) => (b"\\u2029", 3),
                _ => continue,
            };
            out.write_all(&bytes[done..at])?;
            out.write_all(escape)?;
            done = at + width;
        }
        out.write_all(&bytes[done..])
    }

    /// Go's form: the shortest digits, no point where there is no fraction, an exponent only
    /// below a millionth and from 10^21 on. Source: Go, `encoding/json`.
    fn write_f64<W: ?Sized + io::Write>(&mut self, out: &mut W, number: f64) -> io::Result<()> {
        let size = number.abs();
        if size != 0.0 && !(1e-6..1e21).contains(&size) {
            let text = format!("{number:e}");
            let small = text.contains("e-");
            return out.write_all(if small { text } else { text.replace('e', "e+") }.as_bytes());
        }
        write!(out, "{number}")
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        match escape {
            CharEscape::Backspace => out.write_all(b"\\u0008"),
            CharEscape::FormFeed => out.write_all(b"\\u000c"),
            other => self.0.write_char_escape(out, other),
        }
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

/// The first value of a body, as Go's decoder takes it: what follows is not read.
pub(super) fn parse(body: &[u8]) -> Result<Value, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err("EOF".to_owned());
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    Value::deserialize(&mut reader).map_err(|error| syntax_text(body, &error))
}

/// Go's text for a body that is not JSON, as near as the place of the error tells.
fn syntax_text(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected EOF".to_owned();
    }
    let line = body.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1));
    let found = line.and_then(|line| line.get(error.column().saturating_sub(1)).copied());
    let found = char::from(found.unwrap_or(b' '));
    let said = error.to_string();
    let place = if said.starts_with("expected value") {
        "looking for beginning of value"
    } else if said.starts_with("key must be a string") || said.starts_with("trailing comma") {
        "looking for beginning of object key string"
    } else if said.starts_with("expected `:`") {
        "after object key"
    } else if said.starts_with("expected `,` or `]`") {
        "after array element"
    } else if said.starts_with("expected `,` or `}`") {
        "after object key:value pair"
    } else {
        return format!("invalid character {}: {said}", single_quoted(found));
    };
    format!("invalid character {} {place}", single_quoted(found))
}

fn single_quoted(c: char) -> String {
    if c == '\'' { "'\\''".to_owned() } else { format!("'{c}'") }
}

/// Go's word for the kind of a value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// An object whose fields are taken one by one; names count without case and underscores.
pub(super) struct Fields<'a> {
    fields: Vec<(&'a str, &'a Value, bool)>,
}

impl<'a> Fields<'a> {
    /// The fields of an object; `go_type` is how Go calls what it should have been.
    pub(super) fn of(value: &'a Value, go_type: &str) -> Result<Self, String> {
        match value {
            Value::Object(map) => {
                let fields = map.iter().map(|(name, value)| (name.as_str(), value, false));
                Ok(Self { fields: fields.collect() })
            }
            Value::Null => Ok(Self { fields: Vec::new() }),
            other => Err(wrong_value(other, go_type)),
        }
    }

    /// The last field of this name; `null` counts as absent.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a Value> {
        let mut found = None;
        for (field, value, taken) in &mut self.fields {
            if same_name(field, name) {
                *taken = true;
                found = (!value.is_null()).then_some(*value);
            }
        }
        found
    }

    /// A text, empty when absent.
    pub(super) fn text(&mut self, name: &str) -> Result<String, String> {
        self.take(name).map_or(Ok(String::new()), |value| text(value, name))
    }

    /// A truth value, false when absent.
    pub(super) fn truth(&mut self, name: &str) -> Result<bool, String> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(other) => Err(mismatch(other, name, "bool")),
        }
    }

    /// A whole number, `None` when absent.
    pub(super) fn whole(&mut self, name: &str) -> Result<Option<i64>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(value @ Value::Number(number)) => {
                number.as_i64().map(Some).ok_or_else(|| mismatch(value, name, "int"))
            }
            Some(other) => Err(mismatch(other, name, "int")),
        }
    }

    /// A number of 64 bits, 0 when absent.
    pub(super) fn unsigned(&mut self, name: &str) -> Result<u64, String> {
        match self.take(name) {
            None => Ok(0),
            Some(value @ Value::Number(number)) => {
                number.as_u64().ok_or_else(|| mismatch(value, name, "uint64"))
            }
            Some(other) => Err(mismatch(other, name, "uint64")),
        }
    }

    /// A list of texts, `None` when absent.
    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(items)) => {
                items.iter().map(|item| text(item, name)).collect::<Result<_, _>>().map(Some)
            }
            Some(other) => Err(mismatch(other, name, "[]string")),
        }
    }

    /// A map of texts, empty when absent.
    pub(super) fn pairs(&mut self, name: &str) -> Result<BTreeMap<String, String>, String> {
        match self.take(name) {
            None => Ok(BTreeMap::new()),
            Some(Value::Object(map)) => {
                map.iter().map(|(key, value)| Ok((key.clone(), text(value, name)?))).collect()
            }
            Some(other) => Err(mismatch(other, name, "map[string]string")),
        }
    }

    /// A list of values, empty when absent.
    pub(super) fn list(&mut self, name: &str) -> Result<&'a [Value], String> {
        match self.take(name) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(mismatch(other, name, "slice")),
        }
    }

    /// A duration as text or as a number of nanoseconds, 0 when absent.
    pub(super) fn duration_nanos(&mut self, name: &str) -> Result<i64, String> {
        match self.take(name) {
            None => Ok(0),
            Some(Value::String(text)) if text.is_empty() => Ok(0),
            Some(Value::String(text)) => number::duration_nanos(text),
            Some(value @ Value::Number(number)) => {
                number.as_i64().ok_or_else(|| mismatch(value, name, "time.Duration"))
            }
            Some(other) => Err(mismatch(other, name, "time.Duration")),
        }
    }

    /// Takes fields that other versions know and that change nothing here.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.take(name);
        }
    }

    /// Names the first field that nobody took.
    pub(super) fn finish(&self) -> Result<(), String> {
        match self.fields.iter().find(|(_, _, taken)| !taken) {
            Some((name, _, _)) => Err(format!("json: unknown field {}", number::quoted(name))),
            None => Ok(()),
        }
    }
}

fn text(value: &Value, name: &str) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        other => Err(mismatch(other, name, "string")),
    }
}

/// Go's text for a whole body, or an item of it, of the wrong kind.
pub(super) fn wrong_value(value: &Value, go_type: &str) -> String {
    format!("json: cannot unmarshal {} into Go value of type {go_type}", kind(value))
}

/// Go's text for a field of the wrong kind.
pub(super) fn mismatch(value: &Value, name: &str, wanted: &str) -> String {
    let found = match value {
        Value::Number(number) if wanted != "string" && wanted != "bool" => {
            format!("number {number}")
        }
        other => kind(other).to_owned(),
    };
    format!("json: cannot unmarshal {found} into Go struct field .{name} of type {wanted}")
}

/// Whether two names are the same without case and underscores.
pub(super) fn same_name(field: &str, name: &str) -> bool {
    let plain = |text: &'_ str| -> Vec<u8> {
        text.bytes().filter(|byte| *byte != b'_').map(|byte| byte.to_ascii_lowercase()).collect()
    };
    field == name || plain(field) == plain(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn compact(value: &Value) -> String {
        String::from_utf8(bytes(value, false)).unwrap()
    }

    #[test]
    fn writes_as_go_does() {
        assert_eq!(compact(&json!("x<&>y")), r#""x\u003c\u0026\u003ey""#);
        assert_eq!(compact(&json!("\u{2028}\u{2029}\u{20ac}")), "\"\\u2028\\u2029\u{20ac}\"");
        assert_eq!(compact(&json!("\u{8}\u{c}\n\t\u{1}\"\\")), r#""\u0008\u000c\n\t\u0001\"\\""#);
        assert_eq!(compact(&json!({"b<": 1, "a": [1, null]})), r#"{"b\u003c":1,"a":[1,null]}"#);
    }

    #[test]
    fn numbers_are_written_as_go_does() {
        for (number, want) in [
            (0.0, "0"),
            (-2.0, "-2"),
            (1.5, "1.5"),
            (1e-5, "0.00001"),
            (1.5e-7, "1.5e-7"),
            (1e20, "100000000000000000000"),
            (2.5e21, "2.5e+21"),
        ] {
            assert_eq!(compact(&json!(number)), want);
        }
    }

    #[test]
    fn indents_as_go_does() {
        let value = json!({"a": [], "b": {}, "c": [1]});
        let want = "{\n    \"a\": [],\n    \"b\": {},\n    \"c\": [\n        1\n    ]\n}\n";
        assert_eq!(String::from_utf8(bytes(&value, true)).unwrap(), want);
    }

    #[test]
    fn tells_bad_bodies_in_gos_words() {
        for (body, want) in [
            ("", "EOF"),
            (" \n", "EOF"),
            ("{\"a\":", "unexpected EOF"),
            ("xx", "invalid character 'x' looking for beginning of value"),
            ("{1:2}", "invalid character '1' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{\"a\":1 2}", "invalid character '2' after object key:value pair"),
        ] {
            assert_eq!(parse(body.as_bytes()), Err(want.to_owned()), "{body}");
        }
        assert_eq!(parse(b"{} trailing"), Ok(json!({})));
    }

    #[test]
    fn takes_fields_without_case_and_names_unknown_ones() {
        let value = json!({"NAME": "x", "enable_tag_override": true, "Bogus": 1});
        let mut fields = Fields::of(&value, "T").unwrap();
        assert_eq!(fields.text("Name"), Ok("x".to_owned()));
        assert_eq!(fields.truth("EnableTagOverride"), Ok(true));
        assert_eq!(fields.finish(), Err("json: unknown field \"Bogus\"".to_owned()));
    }

    #[test]
    fn tells_wrong_kinds_in_gos_words() {
        let value = json!({"Name": 5, "Port": "80", "T": "x"});
        let mut fields = Fields::of(&value, "T").unwrap();
        assert_eq!(
            fields.text("Name"),
            Err("json: cannot unmarshal number into Go struct field .Name of type string"
                .to_owned())
        );
        assert_eq!(
            fields.whole("Port"),
            Err("json: cannot unmarshal string into Go struct field .Port of type int".to_owned())
        );
        assert_eq!(fields.duration_nanos("T"), Err("time: invalid duration \"x\"".to_owned()));
        let Err(text) = Fields::of(&json!([]), "structs.RegisterRequest") else {
            panic!("an array is no object")
        };
        assert_eq!(
            text,
            "json: cannot unmarshal array into Go value of type structs.RegisterRequest"
        );
    }
}
