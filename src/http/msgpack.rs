//! MessagePack as Consul writes it, read in place: from bytes to a tree that borrows them.
//!
//! Consul writes texts and bytes alike, as the old kind of raw bytes; all of the newer kinds are
//! understood too. Source: MessagePack specification.

use serde_json::{Map, Number, Value};

/// How deep a value may nest; Consul's records need seven levels.
const DEPTH_MAX: usize = 64;

/// A value; texts and bytes are those of the input.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Packed<'a> {
    /// Nothing.
    Nil,
    /// A truth value.
    Truth(bool),
    /// A number below zero, or any that fits.
    Signed(i64),
    /// A number of at least zero.
    Unsigned(u64),
    /// A number with a fraction.
    Float(f64),
    /// A text or bytes.
    Raw(&'a [u8]),
    /// Values in a row.
    List(Vec<Self>),
    /// Pairs in the order written.
    Map(Vec<(Self, Self)>),
}

/// Reads one value from the front of `rest`; the error says what is wrong with it.
pub(super) fn read<'a>(rest: &mut &'a [u8]) -> Result<Packed<'a>, String> {
    value(rest, 0)
}

/// What is said of a value that goes on behind the end of the input.
pub(super) const CUT: &str = "cut short";

fn value<'a>(rest: &mut &'a [u8], depth: usize) -> Result<Packed<'a>, String> {
    if depth == DEPTH_MAX {
        return Err(format!("nested deeper than {DEPTH_MAX}"));
    }
    let [mark] = array(rest)?;
    Ok(match mark {
        0..=0x7f => Packed::Unsigned(mark.into()),
        0x80..=0x8f => map(rest, (mark & 0x0f).into(), depth)?,
        0x90..=0x9f => list(rest, (mark & 0x0f).into(), depth)?,
        0xa0..=0xbf => raw(rest, (mark & 0x1f).into())?,
        0xc0 => Packed::Nil,
        0xc1 => return Err("byte 0xc1 begins no value".to_owned()),
        0xc2 | 0xc3 => Packed::Truth(mark == 0xc3),
        0xc4 | 0xd9 => sized::<1>(rest)?,
        0xc5 | 0xda => sized::<2>(rest)?,
        0xc6 | 0xdb => sized::<4>(rest)?,
        0xc7 => extension(rest, 1)?,
        0xc8 => extension(rest, 2)?,
        0xc9 => extension(rest, 4)?,
        0xca => Packed::Float(f32::from_be_bytes(array(rest)?).into()),
        0xcb => Packed::Float(f64::from_be_bytes(array(rest)?)),
        0xcc => Packed::Unsigned(u8::from_be_bytes(array(rest)?).into()),
        0xcd => Packed::Unsigned(u16::from_be_bytes(array(rest)?).into()),
        0xce => Packed::Unsigned(u32::from_be_bytes(array(rest)?).into()),
        0xcf => Packed::Unsigned(u64::from_be_bytes(array(rest)?)),
        0xd0 => Packed::Signed(i8::from_be_bytes(array(rest)?).into()),
        0xd1 => Packed::Signed(i16::from_be_bytes(array(rest)?).into()),
        0xd2 => Packed::Signed(i32::from_be_bytes(array(rest)?).into()),
        0xd3 => Packed::Signed(i64::from_be_bytes(array(rest)?)),
        0xd4..=0xd8 => raw(rest, 1 + (1_usize << (mark - 0xd4)))?,
        0xdc => count::<2>(rest).and_then(|count| list(rest, count, depth))?,
        0xdd => count::<4>(rest).and_then(|count| list(rest, count, depth))?,
        0xde => count::<2>(rest).and_then(|count| map(rest, count, depth))?,
        0xdf => count::<4>(rest).and_then(|count| map(rest, count, depth))?,
        0xe0..=0xff => Packed::Signed(i8::from_be_bytes([mark]).into()),
    })
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], String> {
    let (front, behind) = rest.split_first_chunk::<N>().ok_or(CUT)?;
    *rest = behind;
    Ok(*front)
}

/// A length in N bytes.
fn count<const N: usize>(rest: &mut &[u8]) -> Result<usize, String> {
    let bytes: [u8; N] = array(rest)?;
    Ok(bytes.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)))
}

fn raw<'a>(rest: &mut &'a [u8], length: usize) -> Result<Packed<'a>, String> {
    let (front, behind) = rest.split_at_checked(length).ok_or(CUT)?;
    *rest = behind;
    Ok(Packed::Raw(front))
}

fn sized<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<Packed<'a>, String> {
    let length = count::<N>(rest)?;
    raw(rest, length)
}

/// A value of a kind that its writer made up, with one byte for the kind.
fn extension<'a>(rest: &mut &'a [u8], width: usize) -> Result<Packed<'a>, String> {
    let length = match width {
        1 => count::<1>(rest)?,
        2 => count::<2>(rest)?,
        _ => count::<4>(rest)?,
    };
    raw(rest, length.saturating_add(1))
}

/// Nothing is reserved for what is only announced: each value takes a byte at least.
fn list<'a>(rest: &mut &'a [u8], count: usize, depth: usize) -> Result<Packed<'a>, String> {
    let items = (0..count).map(|_| value(rest, depth + 1));
    items.collect::<Result<_, _>>().map(Packed::List)
}

fn map<'a>(rest: &mut &'a [u8], count: usize, depth: usize) -> Result<Packed<'a>, String> {
    let pairs = (0..count).map(|_| Ok((value(rest, depth + 1)?, value(rest, depth + 1)?)));
    pairs.collect::<Result<_, String>>().map(Packed::Map)
}

impl<'a> Packed<'a> {
    /// The field of this name; nil where there is none.
    pub(super) fn field(&self, name: &str) -> &Self {
        const NIL: &Packed<'_> = &Packed::Nil;
        let Self::Map(pairs) = self else { return NIL };
        let found = pairs.iter().find(|(key, _)| *key == Packed::Raw(name.as_bytes()));
        found.map_or(NIL, |(_, value)| value)
    }

    /// The bytes of a text or of bytes; none for anything else.
    pub(super) fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Raw(bytes) => bytes,
            _ => &[],
        }
    }

    /// A number of at least zero; zero for anything else.
    pub(super) fn unsigned(&self) -> u64 {
        match self {
            Self::Unsigned(number) => *number,
            Self::Signed(number) => u64::try_from(*number).unwrap_or_default(),
            _ => 0,
        }
    }

    /// The same as Go's encoder writes it in JSON; what is no UTF-8 is replaced by U+FFFD.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Nil => Value::Null,
            Self::Truth(truth) => Value::Bool(*truth),
            Self::Signed(number) => (*number).into(),
            Self::Unsigned(number) => (*number).into(),
            Self::Float(number) => float(*number),
            Self::Raw(_) => Value::String(self.text()),
            Self::List(items) => items.iter().map(Self::json).collect(),
            Self::Map(pairs) => {
                let pairs = pairs.iter().map(|(key, value)| (key.text(), value.json()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

/// A number without a fraction is written without one.
fn float(number: f64) -> Value {
    let whole = format!("{number}").parse::<i64>().ok().map(Number::from);
    whole.or_else(|| Number::from_f64(number)).map_or(Value::Null, Value::Number)
}

/// Writes a value as Consul packs; lengths in four bytes do as well as its shorter ones.
#[cfg(any(test, feature = "fuzz"))]
pub(super) fn pack(value: &Value, out: &mut Vec<u8>) {
    let length = |count: usize| u32::try_from(count).expect("it is short").to_be_bytes();
    match value {
        Value::Null => out.push(0xc0),
        Value::Bool(truth) => out.push(if *truth { 0xc3 } else { 0xc2 }),
        Value::Number(number) => {
            out.push(0xd3);
            out.extend(number.as_i64().expect("it is whole").to_be_bytes());
        }
        Value::String(text) => {
            out.push(0xdb);
            out.extend(length(text.len()));
            out.extend(text.bytes());
        }
        Value::Array(items) => {
            out.push(0xdd);
            out.extend(length(items.len()));
            for item in items {
                pack(item, out);
            }
        }
        Value::Object(fields) => {
            out.push(0xdf);
            out.extend(length(fields.len()));
            for (name, value) in fields {
                pack(&Value::String(name.clone()), out);
                pack(value, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(mut bytes: &[u8]) -> Result<Value, String> {
        let value = read(&mut bytes)?.json();
        if bytes.is_empty() { Ok(value) } else { Err(format!("{} bytes left", bytes.len())) }
    }

    #[test]
    fn every_kind_of_value_is_read() {
        for (bytes, want) in [
            (&b"\x07"[..], json!(7)),
            (b"\xff", json!(-1)),
            (b"\xc0", json!(null)),
            (b"\xc3", json!(true)),
            (b"\xa2hi", json!("hi")),
            (b"\xd9\x02hi", json!("hi")),
            (b"\xc4\x02hi", json!("hi")),
            (b"\xda\x00\x02hi", json!("hi")),
            (b"\xdb\x00\x00\x00\x02hi", json!("hi")),
            (b"\xcc\xc8", json!(200)),
            (b"\xcd\x01\x00", json!(256)),
            (b"\xce\x00\x01\x00\x00", json!(65536)),
            (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", json!(u64::MAX)),
            (b"\xd0\x80", json!(-128)),
            (b"\xd1\xff\x00", json!(-256)),
            (b"\xd2\xff\xff\xff\xff", json!(-1)),
            (b"\xd3\x00\x00\x00\x02\x54\x0b\xe4\x00", json!(10_000_000_000_i64)),
            (b"\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", json!(1)),
            (b"\xca\x3f\x00\x00\x00", json!(0.5)),
            (b"\x92\x01\x02", json!([1, 2])),
            (b"\xdc\x00\x01\x01", json!([1])),
            (b"\xdd\x00\x00\x00\x01\x01", json!([1])),
            (b"\x81\xa1a\x80", json!({"a": {}})),
            (b"\xde\x00\x01\xa1a\xc2", json!({"a": false})),
            (b"\xdf\x00\x00\x00\x01\xa1a\xc2", json!({"a": false})),
            (b"\xd4\x01x", json!("\u{1}x")),
            (b"\xc7\x01\x05x", json!("\u{5}x")),
            (b"\xa1\xff", json!("\u{fffd}")),
        ] {
            assert_eq!(shown(bytes), Ok(want), "{bytes:?}");
        }
    }

    #[test]
    fn damage_is_told_and_reserves_nothing() {
        for bytes in [
            &b""[..],
            b"\xa5hi",
            b"\xdb\xff\xff\xff\xffx",
            b"\xdd\xff\xff\xff\xff\x01",
            b"\xdf\xff\xff\xff\xff\x01\x01",
            b"\xc9\xff\xff\xff\xff\x01",
            b"\xc1",
            b"\x81\xa1a",
            b"\xcf\x00",
        ] {
            assert!(shown(bytes).is_err(), "{bytes:?}");
        }
        assert!(shown(&[0x91; 100]).unwrap_err().contains("nested deeper"));
    }
}
