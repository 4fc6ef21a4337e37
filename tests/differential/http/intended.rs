//! Where we answer otherwise than Consul 1.8.7 on purpose: each difference has a name, a reason and
//! the places of an answer that it covers. A row that names one fails when it no longer differs so.

use super::compare::Difference;

/// A difference that is wanted.
#[derive(Debug)]
pub(super) struct Intended {
    /// What it is called in reports.
    pub(super) name: &'static str,
    /// Why it is so.
    pub(super) reason: &'static str,
    /// Patterns of places: `*` is one name, `**` any number of them, and a pattern covers all
    /// below what it names. One that begins with methods in brackets holds for these only.
    pub(super) places: &'static [&'static str],
    /// What stands in our body, where the body differs; empty, if that says itself: then a status
    /// of 500 or above is not covered, for that may as well be a fault.
    pub(super) ours: &'static str,
    /// Likewise in theirs.
    pub(super) theirs: &'static str,
}

impl Intended {
    /// Whether a difference is this one.
    pub(super) fn covers(&self, method: &str, difference: &Difference) -> bool {
        let Difference { place, theirs, ours } = difference;
        let parts: Vec<&str> = place.split('/').collect();
        let both = || theirs.contains(self.theirs) && ours.contains(self.ours);
        let said = match place.as_str() {
            "status" => !self.ours.is_empty() || !ours.starts_with('5'),
            place => !place.starts_with("body") || both(),
        };
        said && self.places.iter().any(|pattern| {
            let (methods, pattern) = pattern.split_once("] ").unwrap_or(("", pattern));
            let methods = methods.trim_start_matches('[');
            let for_method = methods.is_empty() || methods.split(' ').any(|one| one == method);
            for_method && fits(&pattern.split('/').collect::<Vec<_>>(), &parts)
        })
    }
}

fn fits(pattern: &[&str], place: &[&str]) -> bool {
    match (pattern, place) {
        ([], _) => true,
        (["**", rest @ ..], place) => (0..=place.len()).any(|skip| {
            let place = place.get(skip..).unwrap_or_default();
            fits(rest, place)
        }),
        ([first, rest @ ..], [part, place @ ..]) => {
            (*first == "*" || first == part) && fits(rest, place)
        }
        (_, []) => false,
    }
}

/// The whole answer is another one.
const ANSWER: &[&str] = &["status", "header", "body"];

/// On every answer.
pub(super) const ACL_POLICY: Intended = Intended {
    name: "default policy in a header",
    reason: "Consul since 1.9 says its default policy on every answer",
    places: &["header/x-consul-default-acl-policy"],
    ours: "",
    theirs: "",
};

/// On answers to writes.
pub(super) const WRITE_INDEX: Intended = Intended {
    name: "index of a write",
    reason: "an extension: who wrote knows the index to wait behind",
    places: &["[PUT DELETE POST] header/x-consul-index"],
    ours: "",
    theirs: "",
};

/// In every check.
pub(super) const CHECK_FIELDS: Intended = Intended {
    name: "fields of a check",
    reason: "Consul since 1.10 shows Interval, Timeout and ExposedPort",
    places: &["body/**/Interval", "body/**/Timeout", "body/**/ExposedPort"],
    ours: "",
    theirs: "",
};

/// Deregistering what is not there.
pub(super) const DEREGISTER_UNKNOWN: Intended = Intended {
    name: "deregistering the unknown",
    reason: "404 with a hint, as Consul since 1.11; 1.8 says 200 and hides a mistake",
    places: ANSWER,
    ours: "ID is passed, not the",
    theirs: "",
};

/// A plain write to a key that is or was locked.
pub(super) const LOCK_INDEX: Intended = Intended {
    name: "lock count of a key",
    reason: "a plain write keeps it, so that it never goes back and can serve as a fence",
    places: &["body/*/LockIndex"],
    ours: "",
    theirs: "",
};

/// More operations than Consul 1.8 takes.
pub(super) const TXN_OPERATIONS: Intended = Intended {
    name: "operations of a transaction",
    reason: "128 of them, as Consul since 1.14; 1.8 takes 64",
    places: ANSWER,
    ours: "{\"Results\":[{\"KV\":",
    theirs: "",
};

/// A short answer to who takes gzip.
pub(super) const GZIP_SHORT: Intended = Intended {
    name: "short answers are not packed",
    reason: "gzip makes less than a kilobyte longer, not shorter",
    places: &["header/content-encoding", "body"],
    ours: "consul",
    theirs: "",
};

/// What a parser of JSON says of a body that is none, or has a field of another kind.
pub(super) const JSON_WORDS: Intended = Intended {
    name: "words of the JSON parser",
    reason: "Go's parser names its own types and states behind the same beginning",
    places: &["body"],
    ours: "\"Request decode failed: ",
    theirs: "\"Request decode failed: ",
};

/// The same of a transaction.
pub(super) const TXN_JSON_WORDS: Intended = Intended {
    name: "words of the JSON parser in a transaction",
    reason: JSON_WORDS.reason,
    places: &["body"],
    ours: "\"Failed to parse body: ",
    theirs: "\"Failed to parse body: ",
};

/// What is wrong with a filter.
pub(super) const FILTER_WORDS: Intended = Intended {
    name: "words about a filter",
    reason: "we name the position and what is expected there in short words",
    places: &["body"],
    ours: "\"Failed to create boolean expression evaluator: at byte ",
    theirs: "\"Failed to create boolean expression evaluator: ",
};

/// A filter of the services' names.
pub(super) const SERVICES_FILTER: Intended = Intended {
    name: "services are filtered",
    reason: "Consul since 1.17 filters here, 1.8 passes the filter over",
    places: ANSWER,
    ours: "Failed to create boolean expression evaluator",
    theirs: "consul",
};

/// What is wrong with a regular expression.
pub(super) const REGEX_WORDS: Intended = Intended {
    name: "words about a regular expression",
    reason: "Go's parser and ours word the same mistake in their own ways",
    places: &["body"],
    ours: "error parsing regexp: ",
    theirs: "error parsing regexp: ",
};

/// `Allow` below `/v1/query/`.
pub(super) const QUERY_ALLOW: Intended = Intended {
    name: "methods of a prepared query",
    reason: "one route takes all below, and OPTIONS is named as everywhere else",
    places: &["header/allow"],
    ours: "",
    theirs: "",
};

/// The kind of a check that only has a definition.
pub(super) const CHECK_TYPE: Intended = Intended {
    name: "type of a check",
    reason: "a check that does not say its type has the one that its definition shows",
    places: &["body/**/Type"],
    ours: "tcp",
    theirs: "\"\"",
};

/// The name of a node in its coordinate.
pub(super) const REGISTERED_NAME: Intended = Intended {
    name: "a node's registered name",
    reason: "we answer with the name as it is registered, 1.8 as it was asked for",
    places: &["body/*/Node"],
    ours: "far",
    theirs: "FAR",
};

/// How a read of health was answered.
pub(super) const QUERY_BACKEND: Intended = Intended {
    name: "how a read was answered",
    reason: "Consul since 1.10 says in a header whether it blocked or streamed",
    places: &["header/x-consul-query-backend"],
    ours: "",
    theirs: "",
};

/// A body for an operator's endpoint that does not decode.
pub(super) const OPERATOR_WORDS: Intended = Intended {
    name: "words of the JSON parser for operators",
    reason: JSON_WORDS.reason,
    places: &["body"],
    ours: "\"Bad request: ",
    theirs: "\"Bad request: ",
};

/// A node by the beginning of its id.
pub(super) const WHOLE_ID: Intended = Intended {
    name: "a node by its whole id",
    reason: "the beginning of an id names one node today and two tomorrow",
    places: &["body"],
    ours: "null",
    theirs: "22222222",
};

/// A kept answer where the caller wants a fresh one.
pub(super) const FRESH: Intended = Intended {
    name: "fresh rather than kept",
    reason: "must-revalidate asks again, and an index asks of the same kept answer",
    places: &["header/x-cache", "header/age"],
    ours: "",
    theirs: "",
};

/// `?wan` without a value.
pub(super) const WAN_FLAG: Intended = Intended {
    name: "?wan without a value",
    reason: "it asks for the wide pool as any other switch would; 1.8 wants a value",
    places: &["body/*/Name", "body/*/Port"],
    ours: "",
    theirs: "",
};

/// A wrong filter of nothing.
pub(super) const FILTER_CHECKED: Intended = Intended {
    name: "a wrong filter of nothing",
    reason: "it is refused whether or not there is something to filter",
    places: ANSWER,
    ours: "is not valid",
    theirs: "{}",
};

/// A key whose bytes are no UTF-8.
pub(super) const KEYS_ARE_TEXT: Intended = Intended {
    name: "keys are text",
    reason: "a key that is no UTF-8 could not be shown in JSON, so it is refused",
    places: ANSWER,
    ours: "",
    theirs: "",
};

/// The web interface.
pub(super) const NO_UI: Intended = Intended {
    name: "no web interface",
    reason: "there is none yet, so nothing leads to it",
    places: ANSWER,
    ours: "Invalid URL path",
    theirs: "",
};

/// A number of nanoseconds.
pub(super) const WHOLE_MILLIS: Intended = Intended {
    name: "delays in milliseconds",
    reason: "a lock delay is kept in whole milliseconds, rounded up",
    places: &["body/*/LockDelay"],
    ours: "1000000",
    theirs: "1000",
};

/// A value of a wrong kind that Consul passes over.
pub(super) const WRONG_KIND: Intended = Intended {
    name: "a value of a wrong kind",
    reason: "what cannot be meant is refused and not passed over",
    places: ANSWER,
    ours: "",
    theirs: "",
};

/// Registering for another data center in the query.
pub(super) const OTHER_CENTER: Intended = Intended {
    name: "another data center",
    reason: "1.8 passes over ?dc here and does at home what was meant for elsewhere",
    places: ANSWER,
    ours: "No path to datacenter",
    theirs: "",
};

/// A registration without an id for a node that has one.
pub(super) const NODE_ID_STAYS: Intended = Intended {
    name: "a node's id stays",
    reason: "a registration that names no id takes away none",
    places: &["body/Node/ID"],
    ours: "4444",
    theirs: "\"\"",
};

/// The holder of a node's name.
pub(super) const NAME_HOLDER: Intended = Intended {
    name: "who holds a name",
    reason: "we name the holder by its id alone",
    places: &["body"],
    ours: "is reserved by node {node-id}",
    theirs: "is reserved by node {node-id} with name",
};

/// A proxy of the mesh.
pub(super) const PROXY_AS_DATA: Intended = Intended {
    name: "proxies are data",
    reason: "without a mesh a proxy's description is kept as it came, nothing added or checked",
    places: &["body/**/Proxy", "body/**/ServiceProxy"],
    ours: "",
    theirs: "",
};

/// A proxy that could not work.
pub(super) const PROXY_UNCHECKED: Intended = Intended {
    name: "a proxy that could not work",
    reason: PROXY_AS_DATA.reason,
    places: ANSWER,
    ours: "",
    theirs: "Connect proxy",
};

/// An endpoint of later versions.
pub(super) const NEWER: Intended = Intended {
    name: "endpoints of later versions",
    reason: "Consul has them since 1.10 or later",
    places: ANSWER,
    ours: "HumanVersion",
    theirs: "",
};

/// Taking away what only we took.
pub(super) const CLEANED_UP: Intended = Intended {
    name: "taking away what only we took",
    reason: "Consul says 200 to that as well, because it does so to everything",
    places: ANSWER,
    ours: "",
    theirs: "",
};

/// The checks of `/v1/agent/health/`.
pub(super) const LOCAL_CHECKS: Intended = Intended {
    name: "checks of local health",
    reason: "they are shown as everywhere else; 1.8 has a form of its own here, without types",
    places: &["body/**/Definition", "body/**/Type", "body/**/ServiceTags"],
    ours: "",
    theirs: "",
};

/// A check of a service that was renamed.
pub(super) const CHECK_FOLLOWS: Intended = Intended {
    name: "a check follows its service",
    reason: "it says the present name and tags of its service, and is found by them",
    places: &["body"],
    ours: "",
    theirs: "",
};

/// Nonsense in the parameters of a read that needs none.
pub(super) const STRICT: Intended = Intended {
    name: "nonsense is refused everywhere",
    reason: "1.8 looks at the parameters of a read here only in part",
    places: ANSWER,
    ours: "",
    theirs: "",
};

/// Two bodies in one answer.
pub(super) const ONE_BODY: Intended = Intended {
    name: "one body",
    reason: "1.8 writes the answer behind the error",
    places: &["body"],
    ours: "",
    theirs: "dc1",
};

/// Metrics for Prometheus.
pub(super) const PROMETHEUS: Intended = Intended {
    name: "Prometheus needs no setting",
    reason: "the metrics are there anyway",
    places: ANSWER,
    ours: "# HELP",
    theirs: "Prometheus is not enabled",
};

/// Fields of configuration files over HTTP.
pub(super) const FILE_FIELDS: Intended = Intended {
    name: "fields of files over HTTP",
    reason: "names that a file takes are taken over HTTP as well",
    places: ANSWER,
    ours: "",
    theirs: "unknown field",
};

/// The agent's description of itself.
pub(super) const NO_MESH_SELF: Intended = Intended {
    name: "no mesh in the agent's description",
    reason: "there is no Envoy to support",
    places: &["body/xDS"],
    ours: "no such field",
    theirs: "",
};

/// What a damaged archive is told.
pub(super) const ARCHIVE_WORDS: Intended = Intended {
    name: "words of the unpacker",
    reason: "Go's gzip and tar word damage in their own ways",
    places: &["body"],
    ours: "failed to ",
    theirs: "failed to ",
};

/// A coordinate that Consul's handler panics at.
pub(super) const PANICS: Intended = Intended {
    name: "a coordinate that Consul panics at",
    reason: "Consul closes the connection without an answer; we say what is wrong",
    places: ANSWER,
    ours: "incompatible coordinate",
    theirs: "no answer",
};

/// A prepared query that Consul's handler panics at.
pub(super) const QUERY_PANICS: Intended = Intended {
    name: "a prepared query that Consul panics at",
    reason: PANICS.reason,
    places: ANSWER,
    ours: "Must be bound to a session",
    theirs: "no answer",
};

/// An operation of a transaction that Consul's handler panics at.
pub(super) const TXN_PANICS: Intended = Intended {
    name: "an operation that Consul panics at",
    reason: "Consul closes the connection without an answer; we pass over what asks for nothing",
    places: ANSWER,
    ours: "\"Results\":[]",
    theirs: "no answer",
};

/// A path that no route takes.
pub(super) const UNKNOWN_PATH: Intended = Intended {
    name: "hint for an unknown path",
    reason: "Consul since 1.11 says in the 404 what is wrong",
    places: &["header/content-type", "body"],
    ours: "Invalid URL path: not a recognized HTTP API endpoint",
    theirs: "",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_they_name() {
        for (pattern, method, place, want) in [
            ("status", "GET", "status", true),
            ("status", "GET", "body", false),
            ("header", "GET", "header/x", true),
            ("header/x", "GET", "header/y", false),
            ("body/*/A", "GET", "body/0/A", true),
            ("body/*/A", "GET", "body/0/B/A", false),
            ("body/**/A", "GET", "body/0/B/A", true),
            ("body/**/A", "GET", "body/A/0", true),
            ("body/**/A", "GET", "body/0/B", false),
            ("[PUT DELETE] header/x", "PUT", "header/x", true),
            ("[PUT DELETE] header/x", "GET", "header/x", false),
        ] {
            let places: &'static [&'static str] = vec![pattern].leak();
            let one = Intended { name: "", reason: "", places, ours: "o", theirs: "" };
            let differs = |ours: &str| Difference {
                place: place.to_owned(),
                theirs: String::new(),
                ours: ours.to_owned(),
            };
            assert_eq!(one.covers(method, &differs("ours")), want, "{pattern} {method} {place}");
            let other = one.covers(method, &differs("x"));
            assert_eq!(other, want && !place.starts_with("body"), "{pattern} {method} {place}");
        }
    }

    #[test]
    fn a_fault_of_ours_is_covered_only_by_its_text() {
        let status = |ours: &str| Difference {
            place: "status".to_owned(),
            theirs: "404".to_owned(),
            ours: ours.to_owned(),
        };
        assert!(KEYS_ARE_TEXT.covers("GET", &status("400")));
        assert!(!KEYS_ARE_TEXT.covers("GET", &status("500")));
        assert!(OTHER_CENTER.covers("GET", &status("500")));
    }
}
