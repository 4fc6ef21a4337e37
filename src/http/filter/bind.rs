//! An expression bound to one kind of record: every selector resolved, every value converted, so
//! that asking a record is comparing in place.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::http::call::Call;
use crate::http::number::{self, quoted};
use crate::limits::FILTER_PATTERNS_MAX;

use super::error::FilterError;
use super::grammar::{self, Expression, Match, Operator};
use super::pattern;

/// A question to a record.
pub(super) type Test<T> = Box<dyn Fn(&T) -> bool + Send + Sync>;

/// The fields of a kind of record, by the names that selectors have for them.
pub(in crate::http) type Fields<T> = fn(&str) -> Option<Field<T>>;

/// How a field is read. What may be asked of it follows from its kind, as in Consul.
pub(in crate::http) enum Field<T> {
    /// A text: `==`, `in`, `matches`.
    Text(fn(&T) -> &str),
    /// A text that is put together when it is asked for.
    Made(fn(&T) -> String),
    /// A whole number: `==`.
    Whole(fn(&T) -> i64),
    /// A truth value: `==`.
    Truth(fn(&T) -> bool),
    /// Texts: `in`, `is empty`.
    Texts(fn(&T) -> &[String]),
    /// Pairs: `in` and `is empty` of the names; a value is a text below its name.
    Pairs(fn(&T) -> &BTreeMap<String, String>),
    /// What has fields of its own; binds what is left of the selector.
    Deep(Deep<T>),
}

/// Binds a match from a depth of its selector on.
pub(super) type Deep<T> = Box<dyn FnOnce(&Match, usize) -> Result<Test<T>, FilterError>>;

/// What a caller asked to keep; without an expression, everything.
pub(in crate::http) struct Filter<T>(Option<Test<T>>);

impl<T: 'static> Filter<T> {
    /// The filter of a request, for records with these fields; an empty one counts as none.
    pub(in crate::http) fn of(call: &Call, fields: Fields<T>) -> Result<Self, FilterError> {
        match call.params.get("filter").filter(|text| !text.is_empty()) {
            Some(text) => Self::parse(text, fields),
            None => Ok(Self(None)),
        }
    }

    /// The filter that an expression says.
    pub(super) fn parse(text: &str, fields: Fields<T>) -> Result<Self, FilterError> {
        let expression = grammar::parse(text)?;
        let patterns = patterns(&expression);
        if patterns > FILTER_PATTERNS_MAX {
            let what = format!("{patterns} patterns, more than {FILTER_PATTERNS_MAX}");
            return Err(FilterError::new(0, what));
        }
        Ok(Self(Some(bind(&expression, fields)?)))
    }

    /// Whether everything is kept.
    pub(in crate::http) fn keeps_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether this record is kept.
    pub(in crate::http) fn keeps(&self, record: &T) -> bool {
        self.0.as_ref().is_none_or(|test| test(record))
    }
}

fn patterns(expression: &Expression) -> usize {
    match expression {
        Expression::Any(parts) | Expression::All(parts) => parts.iter().map(patterns).sum(),
        Expression::Not(inner) => patterns(inner),
        Expression::Match(asked) => usize::from(asked.operator == Operator::Matches),
    }
}

fn bind<T: 'static>(expression: &Expression, fields: Fields<T>) -> Result<Test<T>, FilterError> {
    let all = |parts: &[Expression]| -> Result<Vec<Test<T>>, FilterError> {
        parts.iter().map(|part| bind(part, fields)).collect()
    };
    Ok(match expression {
        Expression::Any(parts) => {
            let parts = all(parts)?;
            Box::new(move |record| parts.iter().any(|part| part(record)))
        }
        Expression::All(parts) => {
            let parts = all(parts)?;
            Box::new(move |record| parts.iter().all(|part| part(record)))
        }
        Expression::Not(inner) => {
            let inner = bind(inner, fields)?;
            Box::new(move |record| !inner(record))
        }
        Expression::Match(asked) => bind_match(asked, 0, fields)?,
    })
}

/// Binds a match to the field that its selector names at this depth.
pub(super) fn bind_match<T: 'static>(
    asked: &Match,
    depth: usize,
    fields: Fields<T>,
) -> Result<Test<T>, FilterError> {
    let field = asked.selector.get(depth).and_then(|name| fields(name));
    let field = field.ok_or_else(|| no_such_field(asked, depth))?;
    if !matches!(field, Field::Pairs(_) | Field::Deep(_)) {
        ends_at(asked, depth)?;
    }
    Ok(match field {
        Field::Text(get) => {
            let hit = text_test(asked)?;
            Box::new(move |record| hit(get(record)))
        }
        Field::Made(get) => {
            let hit = text_test(asked)?;
            Box::new(move |record| hit(&get(record)))
        }
        Field::Whole(get) => {
            let hit = whole_test(asked)?;
            Box::new(move |record| hit(get(record)))
        }
        Field::Truth(get) => {
            let hit = truth_test(asked)?;
            Box::new(move |record| hit(get(record)))
        }
        Field::Texts(get) => {
            let hit = texts_test(asked)?;
            Box::new(move |record| hit(get(record)))
        }
        Field::Pairs(get) if is_last(asked, depth) => {
            let hit = names_test(asked)?;
            Box::new(move |record| hit(get(record)))
        }
        Field::Pairs(get) => {
            ends_at(asked, depth + 1)?;
            let hit = text_test(asked)?;
            let (name, missing) = below(asked, depth);
            Box::new(move |record| get(record).get(&name).map_or(missing, |value| hit(value)))
        }
        Field::Deep(deep) => deep(asked, depth)?,
    })
}

/// A field that is a record itself: nothing is asked of it but its own fields.
pub(super) fn inside<T: 'static, U: 'static>(get: fn(&T) -> &U, fields: Fields<U>) -> Field<T> {
    Field::Deep(Box::new(move |asked, depth| {
        let hit = bind_match(asked, below_struct(asked, depth)?, fields)?;
        Ok(Box::new(move |record| hit(get(record))))
    }))
}

/// A field of several records: `is empty`, and a match is one of any of them.
pub(super) fn each<T: 'static, U: 'static>(
    get: fn(&T) -> &[Arc<U>],
    fields: Fields<U>,
) -> Field<T> {
    Field::Deep(Box::new(move |asked, depth| {
        if is_last(asked, depth) {
            let empty = empty_test(asked)?;
            return Ok(Box::new(move |record| empty(get(record).is_empty())));
        }
        let hit = bind_match(asked, depth + 1, fields)?;
        Ok(Box::new(move |record| get(record).iter().any(|one| hit(one))))
    }))
}

/// A field of records by name: `in` and `is empty` of the names; fields below a name.
pub(super) fn named<T: 'static, U: 'static>(
    get: fn(&T) -> &BTreeMap<String, U>,
    fields: Fields<U>,
) -> Field<T> {
    Field::Deep(Box::new(move |asked, depth| {
        if is_last(asked, depth) {
            let hit = names_test(asked)?;
            return Ok(Box::new(move |record| hit(get(record))));
        }
        let hit = bind_match(asked, below_struct(asked, depth + 1)?, fields)?;
        let (name, missing) = below(asked, depth);
        Ok(Box::new(move |record| get(record).get(&name).map_or(missing, &hit)))
    }))
}

fn is_last(asked: &Match, depth: usize) -> bool {
    depth + 1 == asked.selector.len()
}

/// The depth below a record that is not asked for itself.
pub(super) fn below_struct(asked: &Match, depth: usize) -> Result<usize, FilterError> {
    if is_last(asked, depth) { Err(wrong_operator(asked)) } else { Ok(depth + 1) }
}

/// The name below `depth`, and what is said of a record that has nothing of that name.
///
/// Whatever is asked, a missing thing differs; Consul also takes it to match every pattern.
fn below(asked: &Match, depth: usize) -> (String, bool) {
    let name = asked.selector.get(depth + 1).cloned().unwrap_or_default();
    (name, asked.negated || asked.operator == Operator::Matches)
}

/// Fails when the selector goes on below a field that has no fields.
pub(super) fn ends_at(asked: &Match, depth: usize) -> Result<(), FilterError> {
    if is_last(asked, depth) { Ok(()) } else { Err(no_such_field(asked, depth + 1)) }
}

/// Consul's text for a selector that leads nowhere from this depth on.
pub(super) fn no_such_field(asked: &Match, depth: usize) -> FilterError {
    let path = asked.selector.get(..=depth).unwrap_or(&asked.selector).join(".");
    FilterError::new(asked.selector_at, format!("Selector {} is not valid", quoted(&path)))
}

/// Consul's text for an operator that the field's kind does not have.
pub(super) fn wrong_operator(asked: &Match) -> FilterError {
    let word = match (asked.operator, asked.negated) {
        (Operator::Equal, false) => "Equal",
        (Operator::Equal, true) => "Not Equal",
        (Operator::In, false) => "In",
        (Operator::In, true) => "Not In",
        (Operator::Empty, false) => "Is Empty",
        (Operator::Empty, true) => "Is Not Empty",
        (Operator::Matches, false) => "Matches",
        (Operator::Matches, true) => "Not Matches",
    };
    let path = quoted(&asked.selector.join("."));
    let what = format!("Invalid match operator {} for selector {path}", quoted(word));
    FilterError::new(asked.selector_at, what)
}

fn no_such_value(asked: &Match, why: &str) -> FilterError {
    let path = quoted(&asked.selector.join("."));
    let value = quoted(&asked.value);
    let what = format!("Failed to coerce value {value} for selector {path}: {why}");
    FilterError::new(asked.value_at, what)
}

/// What is asked of a text.
pub(super) fn text_test(asked: &Match) -> Result<Test<str>, FilterError> {
    let (value, negated) = (asked.value.clone(), asked.negated);
    Ok(match asked.operator {
        Operator::Equal => Box::new(move |text| (text == value) != negated),
        Operator::In => Box::new(move |text| text.contains(&value) != negated),
        Operator::Matches => {
            let pattern = pattern::compile(&value).map_err(|why| {
                let what = format!("Failed to compile regular expression {}", quoted(&value));
                FilterError::new(asked.value_at, format!("{what}: error parsing regexp: {why}"))
            })?;
            Box::new(move |text| pattern.is_match(text) != negated)
        }
        Operator::Empty => return Err(wrong_operator(asked)),
    })
}

/// What is asked of a whole number.
pub(super) fn whole_test(asked: &Match) -> Result<impl Fn(i64) -> bool + use<>, FilterError> {
    if asked.operator != Operator::Equal {
        return Err(wrong_operator(asked));
    }
    let value = number::whole(&asked.value).map_err(|why| no_such_value(asked, &why))?;
    let negated = asked.negated;
    Ok(move |whole| (whole == value) != negated)
}

/// What is asked of a truth value.
pub(super) fn truth_test(asked: &Match) -> Result<impl Fn(bool) -> bool + use<>, FilterError> {
    if asked.operator != Operator::Equal {
        return Err(wrong_operator(asked));
    }
    let value = number::truth(&asked.value).ok_or_else(|| {
        let why = format!("strconv.ParseBool: parsing {}: invalid syntax", quoted(&asked.value));
        no_such_value(asked, &why)
    })?;
    let negated = asked.negated;
    Ok(move |truth| (truth == value) != negated)
}

/// What is asked of something of which only emptiness counts.
pub(super) fn empty_test(asked: &Match) -> Result<impl Fn(bool) -> bool + use<>, FilterError> {
    if asked.operator != Operator::Empty {
        return Err(wrong_operator(asked));
    }
    let negated = asked.negated;
    Ok(move |empty| empty != negated)
}

fn texts_test(asked: &Match) -> Result<Test<[String]>, FilterError> {
    let (value, negated) = (asked.value.clone(), asked.negated);
    Ok(match asked.operator {
        Operator::In => Box::new(move |texts| texts.contains(&value) != negated),
        Operator::Empty => Box::new(move |texts| texts.is_empty() != negated),
        Operator::Equal | Operator::Matches => return Err(wrong_operator(asked)),
    })
}

fn names_test<U: 'static>(asked: &Match) -> Result<Test<BTreeMap<String, U>>, FilterError> {
    let (value, negated) = (asked.value.clone(), asked.negated);
    Ok(match asked.operator {
        Operator::In => Box::new(move |names| names.contains_key(&value) != negated),
        Operator::Empty => Box::new(move |names| names.is_empty() != negated),
        Operator::Equal | Operator::Matches => return Err(wrong_operator(asked)),
    })
}
