//! The table of endpoints in `README.md` is true: it is written from one list, every route stands
//! in it, every yes has a route and tests that name it.
//!
//! `UPDATE_README=1 cargo test --test all endpoints` writes the table anew.

mod table;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use portolan::http::routes;

use crate::harness::setting;

use table::LATER_PARTS;
pub(crate) use table::{Endpoint, SECTIONS, State, Tier};

/// Routes that Consul does not have.
const OUR_OWN: [&str; 2] = ["/metrics", "/v1/internal/state"];
/// Routes that say of a whole group that it is not there; the table has its rows one by one.
const GROUPS: [&str; 6] = [
    "/v1/acl/",
    "/v1/agent/connect/",
    "/v1/config/",
    "/v1/connect/intentions/",
    "/v1/connect/ca/",
    "/v1/internal/ui/",
];
/// Where the table stands in the README.
const BEGIN: &str = "<!-- endpoints: written by tests/endpoints -->\n";
const END: &str = "<!-- end of endpoints -->\n";

fn all() -> impl Iterator<Item = &'static Endpoint> {
    SECTIONS.iter().flat_map(|section| section.rows)
}

/// Whether a route of the table of routes answers a row's path.
fn answers(route: &str, path: &str) -> bool {
    let sample = path.split('<').next().unwrap_or(path);
    let fixed = path.rsplit_once('>').is_some_and(|(_, behind)| !behind.is_empty());
    // A route that ends with a slash takes what is below it, whatever it looks like.
    if fixed { route == sample } else { route == sample || route == path }
}

#[test]
fn every_route_stands_in_the_table() {
    let mut missing = Vec::new();
    for route in routes().filter(|route| !OUR_OWN.contains(&route.path)) {
        let has = |row: &Endpoint| {
            answers(route.path, row.path) && row.methods.split(' ').any(|one| one == route.method)
        };
        // OPTIONS is answered on every path; a row of its own only says more.
        let grouped = GROUPS.contains(&route.path) || route.method == "OPTIONS";
        if !grouped && !all().any(has) {
            missing.push(format!("{} {}", route.method, route.path));
        }
    }
    assert!(missing.is_empty(), "routes without a row: {missing:#?}");
}

#[test]
fn every_yes_has_a_route_and_tests_that_name_it() {
    let mut wrong = Vec::new();
    for row in all() {
        let State::Yes(tests) = row.state else { continue };
        for method in row.methods.split(' ') {
            let there = |path: &str| answers(path, row.path);
            if !routes().any(|route| route.method == method && there(route.path)) {
                wrong.push(format!("{method} {}: no route", row.path));
            }
        }
        if tests.is_empty() {
            wrong.push(format!("{}: no test", row.path));
        }
        for test in tests.split_whitespace() {
            wrong.extend(unnamed(test, row).map(|why| format!("{}: {why}", row.path)));
        }
    }
    assert!(wrong.is_empty(), "{} rows are not as they say\n{}\n", wrong.len(), wrong.join("\n"));
}

/// Why a module of tests is none for an endpoint, if so.
fn unnamed(module: &str, row: &Endpoint) -> Option<String> {
    let file = root().join("tests").join(module.replace("::", "/")).with_extension("rs");
    let Ok(text) = std::fs::read_to_string(&file) else {
        return Some(format!("there are no tests {module}"));
    };
    if !text.contains("#[tokio::test]") && !text.contains("#[test]") {
        return Some(format!("{module} holds no test"));
    }
    let begin = row.path.split('<').next().unwrap_or(row.path);
    let rest = row.path.rsplit_once('>').map_or("", |(_, rest)| rest);
    let names = |line: &str| {
        line.split_once(begin).is_some_and(|(_, behind)| {
            let more = behind.starts_with(|sign: char| sign.is_alphanumeric() || sign == '-');
            behind.contains(rest) && (begin.ends_with('/') || !more)
        })
    };
    (!text.lines().any(names)).then(|| format!("{module} does not name it"))
}

#[test]
fn what_clients_and_operators_need_is_there() {
    let mut missing = Vec::new();
    for row in all().filter(|row| row.tier != Tier::T3) {
        match row.state {
            State::Yes(_) => {}
            State::Later(with) if LATER_PARTS.contains(&with) => {}
            State::Later(why) | State::No(why) => missing.push(format!("{}: {why}", row.path)),
        }
    }
    assert!(missing.is_empty(), "tiers 1 and 2 are not whole: {missing:#?}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The table as the README shows it.
fn shown() -> String {
    let mut text = String::from("\n| endpoint | tier | state | tests |\n|---|---|---|---|\n");
    for section in SECTIONS {
        writeln!(text, "| **{}** | | | |", section.title).expect("memory");
        for row in section.rows {
            let (state, tests) = match row.state {
                State::Yes(tests) => ("yes".to_owned(), tests.replace(' ', ", ")),
                State::Later(with) => (format!("later, with {with}"), String::new()),
                State::No(why) => (format!("no: {why}"), String::new()),
            };
            let path = row.path;
            writeln!(text, "| {} `{path}` | {:?} | {state} | {tests} |", row.methods, row.tier)
                .expect("memory");
        }
    }
    text.push('\n');
    text
}

#[test]
fn the_readme_shows_the_table() {
    let file = root().join("README.md");
    let readme = std::fs::read_to_string(&file).expect("the README can be read");
    let (before, rest) = readme.split_once(BEGIN).expect("the table has a beginning");
    let (there, after) = rest.split_once(END).expect("the table has an end");
    if setting("UPDATE_README").is_some() {
        let text = format!("{before}{BEGIN}{}{END}{after}", shown());
        std::fs::write(&file, text).expect("the README can be written");
        return;
    }
    assert!(there == shown(), "README.md shows another table; write it with UPDATE_README=1");
}
