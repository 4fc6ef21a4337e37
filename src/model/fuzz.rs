//! Templates of prepared queries under a fuzzer.

use std::sync::Arc;

use uuid::Uuid;

use super::prepared::{PreparedId, PreparedQuery, PreparedService, PreparedTemplate, TemplateKind};
use super::template::Template;
use super::{Index, NodeCoordinate, Real};
use crate::codec;
use crate::fuzz::{Input, Target, pieces};
use crate::limits::{NAME_BYTES_MAX, PREPARED_BYTES_MAX};

/// What callers write into templates, and numbers that travel as they are.
pub const TARGETS: &[Target] = &[
    Target {
        name: "template",
        about: "a template and a name: what is filled in is bounded, what has no mark stays as it is",
        memory: 64 * 1024 * 1024,
        run: template,
        seeds: template_seeds,
    },
    Target {
        name: "coordinate",
        about: "a coordinate between our processes: only finite numbers are read, a distance is one",
        memory: 32 * 1024 * 1024,
        run: coordinate,
        seeds: coordinate_seeds,
    },
];

fn query(name: &str, service: &str, tag: &str, regexp: &str) -> PreparedQuery {
    PreparedQuery {
        id: PreparedId(Uuid::nil()),
        name: name.to_owned(),
        session: None,
        token: String::new(),
        template: PreparedTemplate {
            kind: TemplateKind::NamePrefixMatch,
            regexp: regexp.to_owned(),
            remove_empty_tags: true,
        },
        service: PreparedService {
            service: service.to_owned(),
            tags: Some(vec![tag.to_owned()]),
            ..PreparedService::default()
        },
        dns_ttl: String::new(),
        dns_ttl_ms: None,
        create: Index(0),
        modify: Index(0),
    }
}

fn template(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let texts: [_; 5] =
        std::array::from_fn(|_| String::from_utf8_lossy(input.piece()).into_owned());
    let [name, service, tag, regexp, asked] = texts;
    let query = query(&name, &service, &tag, &regexp);
    if query.text_bytes() > PREPARED_BYTES_MAX {
        return;
    }
    let Ok(template) = Template::compile(Arc::new(query)) else { return };
    let Ok(filled) = template.render(&asked) else { return };
    // The shortest expression that says the name has eleven signs.
    let most = service.len() + service.len() / 11 * NAME_BYTES_MAX;
    assert!(filled.service.service.len() <= most, "a text is filled in as often as it says so");
    if !service.contains("${") {
        assert_eq!(filled.service.service, service, "a plain text stays as it is");
    }
    let none = filled.service.tags.iter().flatten().all(|tag| !tag.is_empty());
    assert!(none, "empty tags are left out");
}

fn template_seeds() -> Vec<Vec<u8>> {
    let seed = |service: &str, tag: &str, regexp: &str, asked: &str| {
        pieces(&["geo-", service, tag, regexp, asked])
    };
    vec![
        seed("${name.full}-x", "${name.suffix}", "", "geo-db"),
        seed("${match(1)}", "${match(2)}", "^geo-(.*?)-([^\\-]+?)$", "geo-db-eu"),
        seed("$${x} ${ match(\"0\") }", "${match(1.5)}", "(a|b)*", "geo-ab"),
        seed("${name.prefix}${agent.segment}", "", "[[:alpha:]]{1,3}", "geo-"),
        seed("plain", "t", "((((a{9}){9}){9}){9})", "geo-a"),
        seed("${match(name.full)}", "", "", "geo-7"),
    ]
}

fn coordinate(bytes: &[u8]) {
    let Ok(read) = codec::decode::<(NodeCoordinate, NodeCoordinate)>(bytes) else { return };
    for one in [&read.0, &read.1] {
        let place = &one.coordinate;
        let numbers = place.vec.iter().chain([&place.error, &place.adjustment, &place.height]);
        numbers.for_each(|number| assert!(number.get().is_finite(), "a coordinate is of numbers"));
    }
    let apart = read.0.coordinate.nanos_to(&read.1.coordinate);
    assert_eq!(apart, read.0.coordinate.nanos_to(&read.1.coordinate), "a distance is one");
}

fn coordinate_seeds() -> Vec<Vec<u8>> {
    let at = |number: f64| {
        let mut one = NodeCoordinate { node: "n".to_owned(), ..NodeCoordinate::default() };
        one.coordinate.vec[0] = Real::of(number).unwrap_or_default();
        one.coordinate.adjustment = Real::of(-number).unwrap_or_default();
        one
    };
    let pairs = [(0.0, 0.5), (1e300, -1e300), (f64::MIN_POSITIVE, 3.0)];
    pairs.iter().map(|(one, other)| codec::encode(&(at(*one), at(*other)))).collect()
}
