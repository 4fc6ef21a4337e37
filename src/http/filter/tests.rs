//! Expressions over fixed records, and nonsense of every kind.

use super::grammar;
use super::sample::record;
use super::{Fields, Filter, catalog_service, check, instance, node, service};
use crate::http::error::Failure;
use crate::limits::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_PATTERNS_MAX};
use crate::model::Instance;

fn keeps<T: 'static>(text: &str, fields: Fields<T>, record: &T) -> bool {
    Filter::parse(text, fields).unwrap_or_else(|why| panic!("{text}: {why}")).keeps(record)
}

fn refused<T: 'static>(text: &str, fields: Fields<T>) -> String {
    match Filter::parse(text, fields) {
        Ok(_) => panic!("{text} was taken"),
        Err(why) => why.to_string(),
    }
}

#[test]
fn the_grammar() {
    let one = record();
    for (text, want) in [
        ("Node == e1", true),
        ("Node==e1", true),
        (" \t\r\nNode == e1 \n", true),
        ("Node == `e1`", true),
        (r#"Node == "\u0065\x31""#, true),
        ("Node != e1", false),
        ("Node == e1.x", false),
        ("Node == e2 or Node == e1 and ServicePort == 80", true),
        ("Node == e2 and ServicePort == 80 or Node == e1", true),
        ("Node == e2 and (ServicePort == 80 or Node == e1)", false),
        ("(Node == e1 or Node == e2) and ServicePort == 81", false),
        ("( ( Node == e1 ) )", true),
        ("not Node == e1", false),
        ("not not Node == e1", true),
        ("not (Node == e2)", true),
        ("not in ServiceTags", true),
        ("not not in ServiceTags", false),
        ("not not not in ServiceTags", true),
        ("Node == or or Node == and", false),
        ("Node == not", false),
        ("(ServicePort==80)", true),
        ("-1 in ServiceTags", false),
        ("1.5 not in ServiceTags", true),
        ("NodeMeta[\"my-key\"] == x", true),
        ("NodeMeta[ `my-key` ] == x", true),
    ] {
        assert_eq!(keeps(text, catalog_service, &one), want, "{text}");
    }
}

#[test]
fn operators_by_kind_of_field() {
    let one = record();
    for (text, want) in [
        ("ServicePort == 80", true),
        ("ServicePort == \"0x50\"", true),
        ("ServicePort != 80", false),
        ("ServiceEnableTagOverride == T", true),
        ("ServiceEnableTagOverride != \"1\"", false),
        ("ServiceTags contains v1", true),
        ("ServiceTags contains V1", false),
        ("v1 not in ServiceTags", false),
        ("ServiceTags is empty", false),
        ("ServiceTags is not empty", true),
        ("ServiceMeta contains env", true),
        ("zone in ServiceMeta", false),
        ("ServiceMeta is not empty", true),
        ("ServiceMeta.env contains ro", true),
        ("ServiceMeta.env not matches `^p.*d$`", false),
        ("ServiceMeta.none == \"\"", true),
        ("ServiceMeta.zone == \"\"", false),
        ("ServiceMeta.zone != prod", true),
        ("x not in ServiceMeta.zone", true),
        ("ServiceMeta.zone matches prod", true),
        ("ServiceMeta.zone not matches prod", true),
        ("ServiceTaggedAddresses.lan.Port == 8000", true),
        ("ServiceTaggedAddresses.wan.Port == 8000", false),
        ("ServiceTaggedAddresses contains lan", true),
        ("TaggedAddresses.wan matches \"^198\\\\.\"", true),
        ("ServiceWeights.Passing == 10 and ServiceWeights.Warning == 2", true),
        ("ServiceProxy.DestinationServiceName == db", true),
        ("ServiceProxy.LocalServicePort == 81", true),
        ("ServiceProxy.LocalServiceAddress == \"\"", true),
        ("ServiceProxy.Upstreams.DestinationName == b", true),
        ("ServiceProxy.Upstreams.DestinationName == c", false),
        ("ServiceProxy.Upstreams.MeshGateway.Mode == \"\"", true),
        ("ServiceProxy.Upstreams is not empty", true),
        ("ServiceProxy.Expose.Paths is empty", true),
        ("ServiceProxy.Expose.Checks == true", false),
        ("ServiceConnect.Native != true", true),
    ] {
        assert_eq!(keeps(text, catalog_service, &one), want, "{text}");
    }
}

#[test]
fn several_checks_match_with_any() {
    let one = record();
    for (text, want) in [
        ("Checks.Status == passing", true),
        ("Checks.Status != passing", true),
        ("not Checks.Status == passing", false),
        ("Checks.Status == critical", false),
        ("Checks.CheckID == c2 and Checks.Status == passing", true),
        ("Checks is empty", false),
        ("Checks.Output matches \"line1.line2\"", false),
        ("Checks.Output matches \"(?s)line1.line2\"", true),
        ("Service.Port == 80 and Node.Meta.rack == r1", true),
        ("Service.Weights.Passing == 10", true),
    ] {
        assert_eq!(keeps(text, instance, &one), want, "{text}");
    }
    assert!(keeps("Checks is empty", instance, &Instance { checks: Vec::new(), ..one.clone() }));
    assert!(keeps("Proxy.DestinationServiceName == db", service, &one.service));
    assert!(keeps("Meta.rack == r1", node, &one.node));
    assert!(keeps("CheckID == c1 and Type == \"\" and Interval == \"\"", check, &one.checks[0]));
}

#[test]
fn nonsense_is_told_with_its_place() {
    for (text, want) in [
        ("Node", "at byte 4: expected an operator (==, !=, [not] contains"),
        ("Node = e1", "at byte 5: expected an operator"),
        ("Node ==", "at byte 7: expected a value, found the end"),
        ("Node == 'e1'", "at byte 8: expected a value, found '\\''"),
        ("Node == 10.0.0.1", "at byte 8: invalid number"),
        ("ServicePort == 007", "at byte 15: invalid number"),
        ("ServicePort==80and Node==e1", "at byte 13: invalid number"),
        ("Node == \"e1", "at byte 8: no quote ends this text"),
        (r#"Node == "e\q""#, "at byte 10: unknown escape"),
        ("Node == e1)", "at byte 10: no \"(\" is open here"),
        ("((Node == e1)", "at byte 13: expected \")\" for the \"(\" at byte 0"),
        ("(Node == e1 x)", "at byte 12: expected \"and\", \"or\" or \")\", found 'x'"),
        ("Node == e1 xor Node == e2", "at byte 11: expected \"and\", \"or\" or the end, found 'x'"),
        ("Node == e1 or", "at byte 11: expected \"and\", \"or\" or the end"),
        ("not(Node == e1)", "at byte 3: expected an operator"),
        ("not", "at byte 3: expected an operator"),
        ("not Bogus ==", "at byte 12: expected a value"),
        ("\"e1\" == Node", "at byte 5: expected \"in\" or \"not in\""),
        ("Node in \"e1\"", "at byte 8: expected a selector"),
        ("Node[x] == y", "at byte 5: expected a key in quotes"),
        ("Node[\"x\" == y", "at byte 9: expected \"]\""),
        ("", "at byte 0: expected a selector, a value"),
        ("  ", "at byte 2: expected a selector"),
        ("node == e1", "at byte 0: Selector \"node\" is not valid"),
        ("Node == e1 and Node.x == y", "at byte 15: Selector \"Node.x\" is not valid"),
        ("NodeMeta.a.b == y", "at byte 0: Selector \"NodeMeta.a.b\" is not valid"),
        ("CreateIndex == 1", "at byte 0: Selector \"CreateIndex\" is not valid"),
        ("ServiceProxy.Config is empty", "at byte 0: Selector \"ServiceProxy.Config\" is not"),
        ("ServiceProxy.Expose.Paths.X == 1", "at byte 0: Selector \"ServiceProxy.Expose.Paths.X\""),
        ("ServiceProxy == x", "at byte 0: Invalid match operator \"Equal\" for selector"),
        ("ServiceTags == v1", "at byte 0: Invalid match operator \"Equal\" for selector \"Ser"),
        ("Node is not empty", "at byte 0: Invalid match operator \"Is Not Empty\" for selector"),
        ("v1 in ServicePort", "at byte 6: Invalid match operator \"In\" for selector"),
        ("ServiceMeta matches x", "at byte 0: Invalid match operator \"Matches\""),
        ("ServiceTaggedAddresses.lan == x", "at byte 0: Invalid match operator \"Equal\""),
        (
            "ServicePort == abc",
            "at byte 15: Failed to coerce value \"abc\" for selector \"ServicePort\": \
             strconv.ParseInt: parsing \"abc\": invalid syntax",
        ),
        (
            "ServiceEnableTagOverride == yes",
            "at byte 28: Failed to coerce value \"yes\" for selector \
             \"ServiceEnableTagOverride\": strconv.ParseBool: parsing \"yes\": invalid syntax",
        ),
        (
            "Node matches \"[\"",
            "at byte 13: Failed to compile regular expression \"[\": error parsing regexp: ",
        ),
    ] {
        let why = refused(text, catalog_service);
        assert!(why.starts_with(want), "{text}: {why}");
    }
    let failure = Failure::from(Filter::parse("x", node).err().unwrap());
    assert_eq!(failure.status.as_u16(), 500);
    assert!(failure.text.starts_with("Failed to create boolean expression evaluator: at byte 1: "));
}

#[test]
fn expressions_are_bounded() {
    let deep = |levels: usize| format!("{}Node == e1{}", "(".repeat(levels), ")".repeat(levels));
    assert!(keeps(&deep(FILTER_DEPTH_MAX), catalog_service, &record()));
    assert!(refused(&deep(FILTER_DEPTH_MAX + 1), catalog_service).contains("nested deeper"));
    let nots = format!("{}Node == e1", "not ".repeat(FILTER_DEPTH_MAX + 1));
    assert!(refused(&nots, catalog_service).contains("nested deeper"));
    let long = "Node == e1 or ".repeat(FILTER_BYTES_MAX / 14) + "Node == e1";
    assert!(refused(&long, catalog_service).contains("longer than"));
    let wide = "Node == e2 or ".repeat(FILTER_BYTES_MAX / 14 - 1) + "Node == e1";
    assert!(keeps(&wide, catalog_service, &record()));
    let patterns = vec!["Node matches e1"; FILTER_PATTERNS_MAX + 1].join(" and ");
    assert!(refused(&patterns, catalog_service).contains("patterns, more than"));
    let heavy = "Node matches \"((x{50}){50}){50}\"";
    assert!(refused(heavy, catalog_service).contains("size limit"), "{heavy}");
}

/// A row of numbers that looks random and is the same in each run.
fn numbers(mut seed: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    }
}

/// Whatever is put together from pieces of the grammar and of other alphabets ends in a filter or
/// in an error whose place is inside the text.
#[test]
fn no_input_panics() {
    let pieces = [
        "Node",
        "ServiceTags",
        "ServiceMeta",
        ".",
        "[",
        "]",
        "\"",
        "`",
        "(",
        ")",
        " ",
        "  ",
        "\n",
        "==",
        "!=",
        "=",
        "not",
        "in",
        "is",
        "empty",
        "contains",
        "matches",
        "and",
        "or",
        "e1",
        "80",
        "-1",
        "1.5",
        "07",
        "\\",
        "\\x4",
        "\\u00e9",
        "\u{e9}",
        "\u{1f600}",
        "\0",
        "a[",
        "^$",
        "Node == e1",
        "ServicePort == 80",
        "ServiceProxy.Upstreams",
        "Checks",
        "%",
        "{2",
        "\\Q",
    ];
    let one = record();
    let mut next = numbers(7);
    let mut taken = 0;
    for _ in 0..20_000 {
        let parts = (0..next(12)).map(|_| pieces[next(pieces.len())]);
        let text: String = parts.collect();
        match Filter::parse(&text, catalog_service) {
            Ok(filter) => taken += usize::from(filter.keeps(&one) || !filter.keeps(&one)),
            Err(why) => assert!(why.at <= text.len(), "{text:?}: {why}"),
        }
        drop(Filter::parse(&text, instance));
    }
    assert!(taken > 50, "only {taken} of the texts were filters");
}

/// A cut anywhere in a good expression is an error or another filter, never a panic.
#[test]
fn every_beginning_of_an_expression_is_handled() {
    let whole =
        r#"not (Node == "é\x41" or ServiceMeta["k"] matches `^\Q[\E$`) and v in ServiceTags"#;
    assert!(grammar::parse(whole).is_ok());
    let cuts = whole.char_indices().map(|(at, _)| whole.get(..at).unwrap());
    // Cut in the last name, or behind the parenthesis, with or without the blank.
    let good = cuts.filter(|cut| grammar::parse(cut).is_ok()).count();
    assert_eq!(good, "ServiceTag".len() + 2);
}
