//! Templates of prepared queries: `${…}` in their texts, filled in for a name.
//!
//! Of Consul's expressions this takes what templates are made of: a variable, `match` with one
//! argument, a number or a quoted text. Arithmetic and texts within texts are refused.
//!
//! Source: Consul HTTP API, "Prepared Query Templates".

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::prepared::{PreparedQuery, PreparedService};
use crate::limits::{NAME_BYTES_MAX, TEMPLATE_REGEX_BYTES_MAX};

/// A template, ready to be filled in.
#[derive(Clone, Debug)]
pub struct Template {
    query: Arc<PreparedQuery>,
    regex: Option<Regex>,
}

impl Template {
    /// Looks at all texts of a template and fills them in once, with its own name.
    ///
    /// # Errors
    ///
    /// The text says what is wrong and where, in Consul's words.
    pub fn compile(query: Arc<PreparedQuery>) -> Result<Self, String> {
        each_text(&query.service, |path, text| match fill(text, &Names::default()) {
            Err(Wrong::Form) => {
                Err(format!("Bad format '{text}' in Service{path}: parse error: syntax error"))
            }
            Ok(_) | Err(Wrong::Evaluation(_)) => Ok(String::new()),
        })?;
        let pattern = &query.template.regexp;
        let compiled = (!pattern.is_empty()).then(|| {
            let built = RegexBuilder::new(pattern).size_limit(TEMPLATE_REGEX_BYTES_MAX).build();
            built.map_err(|why| format!("Bad Regexp: error parsing regexp: {}", one_line(&why)))
        });
        let template = Self { regex: compiled.transpose()?, query };
        template.render(&template.query.name)?;
        Ok(template)
    }

    /// The query with everything filled in for the name that was asked for, of at most
    /// [`NAME_BYTES_MAX`] bytes: a long one would come as often as the texts name it.
    ///
    /// # Errors
    ///
    /// The text says which part cannot be filled in.
    pub fn render(&self, name: &str) -> Result<PreparedQuery, String> {
        if name.len() > NAME_BYTES_MAX {
            return Err(format!("the name is longer than {NAME_BYTES_MAX} bytes"));
        }
        let own = &self.query.name;
        let matches = self.regex.as_ref().and_then(|regex| regex.captures(name));
        let part = |part: Option<regex::Match<'_>>| {
            part.map_or(String::new(), |it| it.as_str().to_owned())
        };
        let names = Names {
            full: name,
            prefix: own,
            suffix: name.strip_prefix(own.as_str()).unwrap_or(name),
            matches: matches.iter().flat_map(|found| found.iter().map(part)).collect(),
        };
        let mut service = each_text(&self.query.service, |path, text| {
            fill(text, &names).map_err(|wrong| {
                let why = match wrong {
                    Wrong::Form => "parse error: syntax error".to_owned(),
                    Wrong::Evaluation(why) => why,
                };
                format!("Bad evaluation for '{text}' in Service{path}: {why}")
            })
        })?;
        if self.query.template.remove_empty_tags {
            service.tags.get_or_insert_default().retain(|tag| !tag.is_empty());
        }
        Ok(PreparedQuery { service, ..PreparedQuery::clone(&self.query) })
    }
}

/// The last line of an error that shows the pattern above it.
fn one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Puts something in the place of each text, told by its path as Consul names it.
fn each_text(
    service: &PreparedService,
    mut change: impl FnMut(&str, &str) -> Result<String, String>,
) -> Result<PreparedService, String> {
    let mut new = service.clone();
    new.service = change(".Service", &service.service)?;
    list(".Failover.Datacenters", &mut new.failover.datacenters, &mut change)?;
    list(".IgnoreCheckIDs", &mut new.ignore_check_ids, &mut change)?;
    new.near = change(".Near", &service.near)?;
    list(".Tags", &mut new.tags, &mut change)?;
    map(".NodeMeta", &mut new.node_meta, &mut change)?;
    map(".ServiceMeta", &mut new.service_meta, &mut change)?;
    Ok(new)
}

fn list(
    path: &str,
    texts: &mut Option<Vec<String>>,
    change: &mut impl FnMut(&str, &str) -> Result<String, String>,
) -> Result<(), String> {
    for (place, text) in texts.iter_mut().flatten().enumerate() {
        *text = change(&format!("{path}[{place}]"), text)?;
    }
    Ok(())
}

fn map(
    path: &str,
    texts: &mut Option<BTreeMap<String, String>>,
    change: &mut impl FnMut(&str, &str) -> Result<String, String>,
) -> Result<(), String> {
    for (key, text) in texts.iter_mut().flatten() {
        *text = change(&format!("{path}[{key}]"), text)?;
    }
    Ok(())
}

/// What the variables stand for.
#[derive(Default)]
struct Names<'a> {
    full: &'a str,
    prefix: &'a str,
    suffix: &'a str,
    /// The whole match and its groups; empty without a regular expression or a match.
    matches: Vec<String>,
}

impl Names<'_> {
    fn variable(&self, name: &str) -> Option<&str> {
        Some(match name {
            "name.full" => self.full,
            "name.prefix" => self.prefix,
            "name.suffix" => self.suffix,
            // There are no segments here: the one that all nodes are in has no name.
            "agent.segment" => "",
            _ => return None,
        })
    }

    /// A part of the match; empty where there is none.
    fn matched(&self, text: &str) -> Result<String, String> {
        let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
        let place: i64 = whole.parse().map_err(|_invalid: std::num::ParseIntError| {
            format!("__builtin_StringToInt: strconv.ParseInt: parsing \"{text}\": invalid syntax")
        })?;
        let found = usize::try_from(place).ok().and_then(|place| self.matches.get(place));
        Ok(found.cloned().unwrap_or_default())
    }
}

/// What is wrong with a text.
enum Wrong {
    /// It does not parse.
    Form,
    /// It parses and names what is not there.
    Evaluation(String),
}

/// A text with its expressions filled in; `$${` stands for `${`.
fn fill(text: &str, names: &Names<'_>) -> Result<String, Wrong> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = from.strip_prefix("${").unwrap_or_default();
            continue;
        }
        out.push_str(before);
        let mut expression = Expression { text, at: text.len() - from.len() + 2 };
        out.push_str(&expression.value(names)?);
        expression.expect('}')?;
        rest = expression.rest();
    }
    out.push_str(rest);
    Ok(out)
}

/// One expression of a text, read from the left.
struct Expression<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Expression<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn expect(&mut self, sign: char) -> Result<(), Wrong> {
        if self.takes(sign) { Ok(()) } else { Err(Wrong::Form) }
    }

    fn takes(&mut self, sign: char) -> bool {
        self.skip_space();
        let there = self.rest().starts_with(sign);
        self.at += if there { sign.len_utf8() } else { 0 };
        there
    }

    /// The longest beginning whose signs are all of a kind.
    fn word(&mut self, of_kind: fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|sign| !of_kind(sign)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    /// A variable, a call of `match`, or what [`Expression::literal`] takes.
    fn value(&mut self, names: &Names<'_>) -> Result<String, Wrong> {
        self.skip_space();
        let start = self.at;
        let name = self.name();
        if name.is_empty() {
            return self.literal();
        }
        if !self.takes('(') {
            return self.variable(name, start, names);
        }
        let arguments = self.arguments(names)?;
        let wrong = |what: String| Wrong::Evaluation(format!("{}: {what}", self.place(start)));
        if name != "match" {
            return Err(wrong(format!("unknown function called: {name}")));
        }
        match arguments.as_slice() {
            [argument] => names.matched(argument).map_err(Wrong::Evaluation),
            others => Err(wrong(format!("match: expected 1 arguments, got {}", others.len()))),
        }
    }

    fn name(&mut self) -> &'a str {
        if self.rest().starts_with(|sign: char| sign.is_alphabetic() || sign == '_') {
            self.word(|sign| sign.is_alphanumeric() || "._-*:".contains(sign))
        } else {
            ""
        }
    }

    fn variable(&self, name: &str, at: usize, names: &Names<'_>) -> Result<String, Wrong> {
        let found = names.variable(name).map(str::to_owned);
        found.ok_or_else(|| {
            let place = self.place(at);
            Wrong::Evaluation(format!("{place}: unknown variable accessed: {name}"))
        })
    }

    /// The arguments behind an opening bracket: variables and literals, no calls.
    fn arguments(&mut self, names: &Names<'_>) -> Result<Vec<String>, Wrong> {
        let mut arguments = Vec::new();
        if self.takes(')') {
            return Ok(arguments);
        }
        loop {
            self.skip_space();
            let start = self.at;
            arguments.push(match self.name() {
                "" => self.literal()?,
                name => self.variable(name, start, names)?,
            });
            if self.takes(')') {
                return Ok(arguments);
            }
            self.expect(',')?;
        }
    }

    /// A number, or a text in quotes that holds no expression.
    fn literal(&mut self) -> Result<String, Wrong> {
        if self.takes('"') {
            return self.quoted();
        }
        let sign = if self.takes('-') { "-" } else { "" };
        let digits = self.word(|sign| sign.is_ascii_digit() || sign == '.');
        let number = digits.parse::<f64>().is_ok() && digits.starts_with(|c: char| c != '.');
        if number { Ok(format!("{sign}{digits}")) } else { Err(Wrong::Form) }
    }

    fn quoted(&mut self) -> Result<String, Wrong> {
        let mut out = String::new();
        let mut signs = self.rest().char_indices();
        while let Some((at, sign)) = signs.next() {
            match sign {
                '"' if out.contains("${") => return Err(Wrong::Form),
                '"' => {
                    self.at += at + 1;
                    return Ok(out);
                }
                '\\' => match signs.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, escaped @ ('"' | '\\'))) => out.push(escaped),
                    _ => return Err(Wrong::Form),
                },
                sign => out.push(sign),
            }
        }
        Err(Wrong::Form)
    }

    /// Line and column, both from 1.
    fn place(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{line}:{column}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Index, PreparedId, PreparedTemplate, TemplateKind};
    use uuid::Uuid;

    fn query(name: &str, service: &str, regexp: &str) -> PreparedQuery {
        let template = PreparedTemplate {
            kind: TemplateKind::NamePrefixMatch,
            regexp: regexp.to_owned(),
            remove_empty_tags: false,
        };
        PreparedQuery {
            id: PreparedId(Uuid::from_u128(1)),
            name: name.to_owned(),
            session: None,
            token: String::new(),
            template,
            service: PreparedService { service: service.to_owned(), ..PreparedService::default() },
            dns_ttl: String::new(),
            dns_ttl_ms: None,
            create: Index(1),
            modify: Index(1),
        }
    }

    fn rendered(service: &str, regexp: &str, name: &str) -> Result<String, String> {
        let template = Template::compile(Arc::new(query("geo-", service, regexp)))?;
        template.render(name).map(|query| query.service.service)
    }

    #[test]
    fn names_and_matches_are_filled_in() {
        const CUT: &str = "^geo-(.*?)-([^-]*)$";
        for (text, want) in [
            ("plain", "plain"),
            ("${name.full}", "geo-db-main"),
            ("a${ name.prefix }b", "ageo-b"),
            ("${name.suffix}${agent.segment}", "db-main"),
            ("${match(1)}.${match(2)}", "db.main"),
            ("${match(0)}|${match(7)}|${match(-1)}", "geo-db-main||"),
            ("${match(\"1\")}${match(2.0)}", "dbmain"),
            ("$${name.full}", "${name.full}"),
            ("$${${name.suffix}", "${db-main"),
            ("${1}${\"x}\\\"\"}$y}", "1x}\"$y}"),
            ("", ""),
        ] {
            assert_eq!(rendered(text, CUT, "geo-db-main").as_deref(), Ok(want), "{text}");
        }
        assert_eq!(rendered("x${match(1)}", CUT, "geo-db").as_deref(), Ok("x"));
        assert_eq!(rendered("x${match(0)}", "", "geo-db").as_deref(), Ok("x"));
        assert_eq!(rendered("${name.suffix}", "", "GEO-db").as_deref(), Ok("GEO-db"));
    }

    #[test]
    fn a_name_that_is_too_long_multiplies_nothing() {
        let at = |length: usize| rendered("${name.full}", "", &"n".repeat(length));
        assert_eq!(at(NAME_BYTES_MAX).map(|text| text.len()), Ok(NAME_BYTES_MAX));
        assert_eq!(at(NAME_BYTES_MAX + 1), Err("the name is longer than 512 bytes".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_told_in_consuls_words() {
        let form = |text: &str| {
            format!("Bad format '{text}' in Service.Service: parse error: syntax error")
        };
        let evaluation = |text: &str, why: &str| {
            format!("Bad evaluation for '{text}' in Service.Service: {why}")
        };
        for text in ["${name.full", "${}", "${1+}", "${\"a${name.full}\"}", "${match(1}", "${\"x"] {
            assert_eq!(rendered(text, "", "geo-x"), Err(form(text)), "{text}");
        }
        for (text, why) in [
            ("${nope}", "1:3: unknown variable accessed: nope"),
            ("${match(x)}", "1:9: unknown variable accessed: x"),
            ("${match()}", "1:3: match: expected 1 arguments, got 0"),
            ("${foo(1)}", "1:3: unknown function called: foo"),
            (
                "${match(\"x\")}",
                "__builtin_StringToInt: strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
        ] {
            assert_eq!(rendered(text, "", "geo-x"), Err(evaluation(text, why)), "{text}");
        }
        let bad = rendered("x", "((", "geo-x").unwrap_err();
        assert!(bad.starts_with("Bad Regexp: error parsing regexp: "), "{bad}");
        let huge = rendered("x", "(a{1000}){1000}", "geo-x").unwrap_err();
        assert!(huge.starts_with("Bad Regexp: "), "{huge}");
    }

    #[test]
    fn every_text_is_filled_in_and_empty_tags_can_go() {
        let texts = |list: &[&str]| Some(list.iter().map(|text| (*text).to_owned()).collect());
        let mut query = query("", "${name.full}", "");
        query.service.tags = texts(&["${match(0)}", "${name.suffix}"]);
        query.service.near = "${name.full}".to_owned();
        query.service.failover.datacenters = texts(&["dc-${name.full}"]);
        query.service.node_meta = Some([("k".to_owned(), "${name.full}".to_owned())].into());
        let render = |query: &PreparedQuery| {
            Template::compile(Arc::new(query.clone())).unwrap().render("web").unwrap().service
        };
        let kept = render(&query);
        assert_eq!(kept.tags, texts(&["", "web"]));
        assert_eq!((kept.near.as_str(), kept.failover.datacenters), ("web", texts(&["dc-web"])));
        assert_eq!(kept.node_meta.unwrap()["k"], "web");
        query.template.remove_empty_tags = true;
        assert_eq!(render(&query).tags, texts(&["web"]));
        query.service.tags = texts(&["a", "${nope}"]);
        let wrong = Template::compile(Arc::new(query)).map(|_| ()).unwrap_err();
        assert!(wrong.contains("in Service.Tags[1]: 1:3: unknown variable"), "{wrong}");
    }
}
