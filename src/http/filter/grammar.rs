//! The grammar of filter expressions: from text to a tree.
//!
//! ```text
//! or       := and ( "or" and )*
//! and      := not ( "and" not )*
//! not      := "not" not | "(" or ")" | match
//! match    := selector ( "==" | "!=" | [ "not" ] "contains" | [ "not" ] "matches" ) value
//!           | selector "is" [ "not" ] "empty"
//!           | value [ "not" ] "in" selector
//! selector := name ( "." name | "[" string "]" )*
//! value    := selector | number | string
//! ```
//!
//! Words are parted by white space, `==` and `!=` need none. No word is reserved: `Node == or`
//! compares with the text "or". A selector as a value stands for its own text.

use crate::limits::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX};

use super::error::FilterError;
use super::quote::unquote;

/// A parsed expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// At least one of them.
    Any(Vec<Self>),
    /// All of them.
    All(Vec<Self>),
    /// The opposite.
    Not(Box<Self>),
    /// One question to a record.
    Match(Match),
}

/// One question to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct Match {
    /// The path to the field, never empty.
    pub(super) selector: Vec<String>,
    /// Where the selector stands.
    pub(super) selector_at: usize,
    /// What is asked of the field.
    pub(super) operator: Operator,
    /// Whether the opposite is asked.
    pub(super) negated: bool,
    /// What the field is compared with; empty for [`Operator::Empty`].
    pub(super) value: String,
    /// Where the value stands.
    pub(super) value_at: usize,
}

/// What is asked of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Operator {
    /// `==`.
    Equal,
    /// `in`, and `contains` the other way round.
    In,
    /// `is empty`.
    Empty,
    /// `matches`.
    Matches,
}

const OPERATORS: &str = "an operator (==, !=, [not] contains, [not] matches, is [not] empty, \
                         [not] in)";

/// Parses a whole expression.
pub(super) fn parse(text: &str) -> Result<Expression, FilterError> {
    if text.len() > FILTER_BYTES_MAX {
        let what = format!("longer than {FILTER_BYTES_MAX} bytes");
        return Err(FilterError::new(FILTER_BYTES_MAX, what));
    }
    let mut reader = Reader { text, at: 0, depth: 0 };
    reader.spaces();
    let expression = reader.or()?;
    reader.spaces();
    match reader.rest() {
        "" => Ok(expression),
        rest if rest.starts_with(')') => Err(reader.fail("no \"(\" is open here")),
        _ => Err(reader.expected("\"and\", \"or\" or the end")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fail(&self, what: impl Into<String>) -> FilterError {
        FilterError::new(self.at, what)
    }

    fn expected(&self, what: &str) -> FilterError {
        match self.rest().chars().next() {
            Some(found) => self.fail(format!("expected {what}, found {found:?}")),
            None => self.fail(format!("expected {what}, found the end")),
        }
    }

    /// Takes white space; whether there was some.
    fn spaces(&mut self) -> bool {
        let rest = self.rest();
        let behind = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.at += rest.len() - behind.len();
        behind.len() < rest.len()
    }

    /// Takes exactly this.
    fn take(&mut self, word: &str) -> bool {
        let there = self.rest().starts_with(word);
        if there {
            self.at += word.len();
        }
        there
    }

    /// Takes these words, white space before each of them, or nothing.
    fn words(&mut self, words: &[&str]) -> bool {
        let from = self.at;
        let all = words.iter().all(|word| self.spaces() && self.take(word));
        if !all {
            self.at = from;
        }
        all
    }

    /// Takes words as [`Reader::words`] does, and white space behind them.
    fn words_and_space(&mut self, words: &[&str]) -> bool {
        let from = self.at;
        let all = self.words(words) && self.spaces();
        if !all {
            self.at = from;
        }
        all
    }

    fn or(&mut self) -> Result<Expression, FilterError> {
        let mut parts = vec![self.and()?];
        while self.words_and_space(&["or"]) {
            parts.push(self.and()?);
        }
        Ok(one_or(parts, Expression::Any))
    }

    fn and(&mut self) -> Result<Expression, FilterError> {
        let mut parts = vec![self.not()?];
        while self.words_and_space(&["and"]) {
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Expression::All))
    }

    /// `not` is no reserved word: where it negates nothing it is read as a name or a value.
    fn not(&mut self) -> Result<Expression, FilterError> {
        let from = self.at;
        if !(self.take("not") && self.spaces()) {
            self.at = from;
            return self.group();
        }
        let error = match self.deeper(Self::not) {
            Ok(inner) => return Ok(Expression::Not(Box::new(inner))),
            Err(error) => error,
        };
        self.at = from;
        self.matching().or(Err(error))
    }

    fn group(&mut self) -> Result<Expression, FilterError> {
        let from = self.at;
        if !self.take("(") {
            return self.matching();
        }
        self.spaces();
        let inner = self.deeper(Self::or)?;
        self.spaces();
        if self.take(")") {
            return Ok(inner);
        }
        if self.rest().is_empty() {
            return Err(self.fail(format!("expected \")\" for the \"(\" at byte {from}")));
        }
        Err(self.expected("\"and\", \"or\" or \")\""))
    }

    fn deeper<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, FilterError>,
    ) -> Result<T, FilterError> {
        if self.depth == FILTER_DEPTH_MAX {
            return Err(self.fail(format!("nested deeper than {FILTER_DEPTH_MAX}")));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn matching(&mut self) -> Result<Expression, FilterError> {
        let from = self.at;
        let selector = self.selector()?;
        let (operator, negated) = match &selector {
            Some(_) => self.operator_behind_selector().unzip(),
            None => (None, None),
        };
        if let (Some(selector), Some(operator), Some(negated)) = (&selector, operator, negated) {
            let value_at = self.at;
            let value = match operator {
                Operator::Empty => String::new(),
                _ => self.value()?.ok_or_else(|| self.expected("a value"))?,
            };
            let selector = selector.clone();
            let asked = Match { selector, selector_at: from, operator, negated, value, value_at };
            return Ok(Expression::Match(asked));
        }
        self.at = from;
        let Some(value) = self.value()? else {
            return Err(self.expected("a selector, a value, \"not\" or \"(\""));
        };
        let negated = self.words_and_space(&["not", "in"]);
        if !negated && !self.words_and_space(&["in"]) {
            let behind = self.at;
            self.spaces();
            let operators = if selector.is_some() { OPERATORS } else { "\"in\" or \"not in\"" };
            let at = if self.rest().is_empty() { behind } else { self.at };
            return Err(FilterError { at, ..self.expected(operators) });
        }
        let selector_at = self.at;
        let selector = self.selector()?.ok_or_else(|| self.expected("a selector"))?;
        let operator = Operator::In;
        let asked = Match { selector, selector_at, operator, negated, value, value_at: from };
        Ok(Expression::Match(asked))
    }

    fn operator_behind_selector(&mut self) -> Option<(Operator, bool)> {
        let from = self.at;
        self.spaces();
        for (sign, negated) in [("==", false), ("!=", true)] {
            if self.take(sign) {
                self.spaces();
                return Some((Operator::Equal, negated));
            }
        }
        self.at = from;
        for (word, operator) in [("contains", Operator::In), ("matches", Operator::Matches)] {
            if self.words_and_space(&[word]) {
                return Some((operator, false));
            }
            if self.words_and_space(&["not", word]) {
                return Some((operator, true));
            }
        }
        if self.words(&["is", "empty"]) {
            return Some((Operator::Empty, false));
        }
        self.words(&["is", "not", "empty"]).then_some((Operator::Empty, true))
    }

    /// A path to a field; `None`, and nothing taken, where there is none.
    fn selector(&mut self) -> Result<Option<Vec<String>>, FilterError> {
        let Some(first) = self.name() else { return Ok(None) };
        let mut path = vec![first];
        loop {
            let from = self.at;
            if self.take(".") {
                let Some(name) = self.name() else {
                    self.at = from;
                    return Ok(Some(path));
                };
                path.push(name);
            } else if self.take("[") {
                self.spaces();
                let key = self.string()?.ok_or_else(|| self.expected("a key in quotes"))?;
                path.push(key);
                self.spaces();
                if !self.take("]") {
                    return Err(self.expected("\"]\""));
                }
            } else {
                return Ok(Some(path));
            }
        }
    }

    fn name(&mut self) -> Option<String> {
        let rest = self.rest();
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let name = rest.get(..end.unwrap_or(rest.len()))?;
        self.at += name.len();
        Some(name.to_owned())
    }

    /// A value; `None`, and nothing taken, where there is none.
    fn value(&mut self) -> Result<Option<String>, FilterError> {
        if let Some(path) = self.selector()? {
            return Ok(Some(path.join(".")));
        }
        match self.rest().chars().next() {
            Some(c) if c.is_ascii_digit() || c == '-' => self.number().map(Some),
            _ => self.string(),
        }
    }

    /// A decimal number, with white space, `)` or the end behind it.
    fn number(&mut self) -> Result<String, FilterError> {
        let rest = self.rest();
        let end = rest.find([' ', '\t', '\r', '\n', ')']).unwrap_or(rest.len());
        let number = rest.get(..end).unwrap_or_default();
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let plain = number.strip_prefix('-').unwrap_or(number);
        let (whole, fraction) = plain.split_once('.').unwrap_or((plain, "0"));
        let padded = whole.len() > 1 && whole.starts_with('0');
        if !digits(whole) || padded || !digits(fraction) {
            return Err(self.fail("invalid number; a text that begins like one needs quotes"));
        }
        self.at += number.len();
        Ok(number.to_owned())
    }

    /// A text in double quotes or back quotes; `None`, and nothing taken, where there is none.
    fn string(&mut self) -> Result<Option<String>, FilterError> {
        let rest = self.rest();
        let Some(quote) = rest.chars().next().filter(|c| ['"', '`'].contains(c)) else {
            return Ok(None);
        };
        let inside = rest.get(1..).unwrap_or_default();
        let Some((inside, _)) = inside.split_once(quote) else {
            return Err(self.fail("no quote ends this text"));
        };
        let text = unquote(inside, quote)
            .map_err(|(at, what)| FilterError::new(self.at + 1 + at, what))?;
        self.at += inside.len() + 2;
        Ok(Some(text))
    }
}

/// The only one of them, or all of them together.
fn one_or(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            join(parts)
        }
    }
}
