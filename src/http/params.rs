//! The query part of a request: parsed as Go does, and turned into how a read is done.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::CACHE_CONTROL;
use percent_encoding::percent_decode_str;

use crate::model::{Check, CheckStatus, Consistency, Index, Instance, Node, ReadOptions, Service};

use super::cache::{Cached, Wish};
use super::error::Failure;
use super::number;

/// The parameters in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Parses what stands behind `?`; `None` for an escape that is none (Consul: 500, no body).
    pub(super) fn parse(query: Option<&str>) -> Option<Self> {
        let pairs = query.unwrap_or_default().split(['&', ';']).filter(|part| !part.is_empty());
        let pairs = pairs.map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Some((unescape(name)?, unescape(value)?))
        });
        pairs.collect::<Option<_>>().map(Self)
    }

    /// The first value of a parameter; `None` when it is absent, empty when it has no value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Whether the parameter is there, with or without a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All parameters by name and value, in the order given.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Every value of a parameter.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Fails when two of these parameters are given; the text lists all parameters, sorted.
    pub(super) fn conflict(&self, names: &[&str]) -> Result<(), Failure> {
        if names.iter().filter(|name| self.has(name)).count() < 2 {
            return Ok(());
        }
        Err(Failure::bad(format!("Conflicting flags: {}", self.encoded())))
    }

    fn encoded(&self) -> String {
        let mut pairs: Vec<_> = self.0.iter().collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        let parts: Vec<_> = pairs
            .iter()
            .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
            .collect();
        parts.join("&")
    }
}

/// What Go leaves as it is in a query.
const KEPT: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn escape(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, KEPT).to_string().replace("%20", "+")
}

fn unescape(text: &str) -> Option<String> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Some(text.to_owned());
    }
    if !escapes_are_whole(text) {
        return None;
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Whether two hexadecimal digits follow each percent sign.
pub(super) fn escapes_are_whole(text: &str) -> bool {
    let mut parts = text.as_bytes().split(|byte| *byte == b'%');
    parts.next();
    let whole =
        |part: &[u8]| part.get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    parts.all(whole)
}

/// What the configuration says about reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadDefaults {
    /// Makes plain reads of catalog and health stale within this bound.
    pub discovery_max_stale: Option<Duration>,
    /// How long a read blocks that does not say.
    pub wait: Duration,
    /// The longest that a read may block.
    pub wait_max: Duration,
}

/// How a read is done, and how its answer calls that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadPlan {
    /// For the client.
    pub options: ReadOptions,
    /// For `X-Consul-Effective-Consistency`.
    pub word: &'static str,
    /// What is asked of a kept answer, where one is asked for.
    pub wish: Wish,
    /// How the answer came about; `None` where no kept one was asked for.
    pub cached: Option<Cached>,
}

/// Reads `stale`, `consistent`, `cached`, `leader`, `max_stale`, `index` and `wait`.
pub(super) fn read_plan(
    params: &Params,
    headers: &HeaderMap,
    defaults: &ReadDefaults,
) -> Result<ReadPlan, Failure> {
    let (consistency, word) = consistency(params, defaults.discovery_max_stale)?;
    let wish = cache_control(headers)?;
    let (after, wait) = blocking(params)?;
    let wait = wait.unwrap_or(defaults.wait).min(defaults.wait_max);
    let wait = after.map(|_| wait);
    Ok(ReadPlan { options: ReadOptions { consistency, after, wait }, word, wish, cached: None })
}

fn consistency(
    params: &Params,
    discovery: Option<Duration>,
) -> Result<(Consistency, &'static str), Failure> {
    let consistent = params.has("consistent");
    let mut stale = params.has("stale");
    let mut max_stale = None;
    if let Some(text) = params.get("max_stale").filter(|text| !text.is_empty()) {
        let nanos = number::duration_nanos(text).ok().ok_or_else(|| {
            Failure::bad(format!("Invalid max_stale value {}", number::quoted(text)))
        })?;
        if nanos > 0 {
            stale = true;
            max_stale = Some(Duration::from_millis(number::millis(nanos)));
        }
    }
    let chosen = stale || consistent || params.has("leader") || params.has("cached");
    if stale && consistent {
        return Err(Failure::bad("Cannot specify ?stale with ?consistent, conflicting semantics."));
    }
    if consistent && params.has("cached") {
        return Err(Failure::bad(
            "Cannot specify ?cached with ?consistent, conflicting semantics.",
        ));
    }
    let discovery = discovery.filter(|bound| !chosen && !bound.is_zero());
    Ok(match (max_stale.or(discovery), stale) {
        (Some(bound), _) => (Consistency::StaleWithin(bound), "stale"),
        (None, true) => (Consistency::Stale, "stale"),
        (None, false) if consistent => (Consistency::Linearizable, "consistent"),
        (None, false) => (Consistency::Linearizable, "leader"),
    })
}

/// The directives that Consul reads, and `no-cache`, which means what `must-revalidate` is taken
/// for here: ask anew. Unknown ones are passed over, numbers that are none refused.
fn cache_control(headers: &HeaderMap) -> Result<Wish, Failure> {
    let mut wish = Wish::default();
    let Some(header) = headers.get(CACHE_CONTROL) else { return Ok(wish) };
    let text = header.to_str().unwrap_or_default().to_ascii_lowercase();
    let seconds = |value: &str| {
        let number = number::unsigned(value).ok();
        let number = number.ok_or_else(|| Failure::bad("Invalid Cache-Control header."))?;
        Ok::<_, Failure>(Duration::from_secs(number))
    };
    for part in text.split(',').map(str::trim) {
        if part == "must-revalidate" || part == "no-cache" {
            wish.revalidate = true;
        } else if let Some(value) = part.strip_prefix("max-age=") {
            let age = seconds(value)?;
            // Zero is the same wish in other words.
            wish.revalidate |= age.is_zero();
            wish.max_age = Some(age);
        } else if let Some(value) = part.strip_prefix("stale-if-error=") {
            wish.stale_if_error = Some(seconds(value)?);
        }
    }
    Ok(wish)
}

fn blocking(params: &Params) -> Result<(Option<Index>, Option<Duration>), Failure> {
    let mut wait = None;
    if let Some(text) = params.get("wait").filter(|text| !text.is_empty()) {
        let nanos =
            number::duration_nanos(text).ok().ok_or_else(|| Failure::bad("Invalid wait time"))?;
        wait = Some(Duration::from_millis(number::millis(nanos))).filter(|wait| !wait.is_zero());
    }
    let mut after = None;
    if let Some(text) = params.get("index").filter(|text| !text.is_empty()) {
        let index = number::unsigned(text).ok().ok_or_else(|| Failure::bad("Invalid index"))?;
        after = Some(Index(index)).filter(|index| index.0 > 0);
    }
    Ok((after, wait))
}

/// The filters that a caller may put on nodes and services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    node_meta: Vec<(String, String)>,
    tags: Vec<String>,
    passing: bool,
}

impl Selection {
    /// Reads `node-meta`, `tag` and `passing`.
    pub(super) fn of(params: &Params) -> Result<Self, Failure> {
        let node_meta = params.all("node-meta").map(|pair| {
            let (name, value) = pair.split_once(':').unwrap_or((pair, ""));
            (name.to_owned(), value.to_owned())
        });
        let passing = match params.get("passing") {
            None => false,
            Some("") => true,
            Some(text) => {
                number::truth(text).ok_or_else(|| Failure::bad("Invalid value for ?passing"))?
            }
        };
        Ok(Self {
            node_meta: node_meta.collect(),
            tags: params.all("tag").map(str::to_lowercase).collect(),
            passing,
        })
    }

    /// Whether nodes are chosen by their metadata.
    pub(super) fn by_node(&self) -> bool {
        !self.node_meta.is_empty()
    }

    /// Whether the node has all the metadata asked for.
    pub(super) fn node(&self, node: &Node) -> bool {
        self.node_meta.iter().all(|(name, value)| node.meta.get(name) == Some(value))
    }

    /// Whether the service has all the tags asked for, in any case.
    pub(super) fn service(&self, service: &Service) -> bool {
        let has = |tag: &String| service.tags.iter().any(|own| own.to_lowercase() == *tag);
        self.tags.iter().all(has)
    }

    /// Whether the instance has what is asked for, and passes all its checks where that is asked.
    pub(super) fn instance(&self, instance: &Instance) -> bool {
        let fit = |check: &std::sync::Arc<Check>| check.status == CheckStatus::Passing;
        self.node(&instance.node)
            && self.service(&instance.service)
            && (!self.passing || instance.checks.iter().all(fit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const DEFAULTS: ReadDefaults = ReadDefaults {
        discovery_max_stale: None,
        wait: Duration::from_mins(5),
        wait_max: Duration::from_mins(10),
    };

    fn params(query: &str) -> Params {
        Params::parse(Some(query)).unwrap()
    }

    fn plan(query: &str) -> Result<ReadPlan, String> {
        read_plan(&params(query), &HeaderMap::new(), &DEFAULTS)
            .map_err(|failure| failure.text.into_owned())
    }

    #[test]
    fn parses_as_go_does() {
        let given = params("a=1&b&c=x%20y+z&a=2&d=%C3%A9");
        assert_eq!(given.get("a"), Some("1"));
        assert_eq!(given.get("b"), Some(""));
        assert_eq!(given.get("c"), Some("x y z"));
        assert_eq!(given.get("d"), Some("\u{e9}"));
        assert_eq!(given.get("e"), None);
        assert_eq!(given.all("a").collect::<Vec<_>>(), ["1", "2"]);
        for bad in ["%zz", "a=%", "a=%2"] {
            assert_eq!(Params::parse(Some(bad)), None, "{bad}");
        }
    }

    #[test]
    fn conflicts_list_everything_sorted() {
        for (query, want) in [
            ("cas=1&acquire=x", Some("Conflicting flags: acquire=x&cas=1")),
            ("release=1&acquire=x%20y", Some("Conflicting flags: acquire=x+y&release=1")),
            ("cas=1&dc=a", None),
        ] {
            let found = params(query).conflict(&["cas", "acquire", "release"]);
            assert_eq!(found.err().map(|failure| failure.text.into_owned()).as_deref(), want);
        }
    }

    #[test]
    fn consistency_follows_consul() {
        let second = Duration::from_secs(1);
        for (query, want, word) in [
            ("", Consistency::Linearizable, "leader"),
            ("consistent", Consistency::Linearizable, "consistent"),
            ("consistent=", Consistency::Linearizable, "consistent"),
            ("stale", Consistency::Stale, "stale"),
            ("max_stale=1s", Consistency::StaleWithin(second), "stale"),
            ("max_stale=0s", Consistency::Linearizable, "leader"),
            ("cached", Consistency::Linearizable, "leader"),
        ] {
            let plan = plan(query).unwrap();
            assert_eq!((plan.options.consistency, plan.word), (want, word), "{query}");
        }
        let stale_by_default = ReadDefaults { discovery_max_stale: Some(second), ..DEFAULTS };
        let read = |query| read_plan(&params(query), &HeaderMap::new(), &stale_by_default).unwrap();
        assert_eq!(read("").options.consistency, Consistency::StaleWithin(second));
        assert_eq!(read("leader").options.consistency, Consistency::Linearizable);
    }

    #[test]
    fn nonsense_has_consuls_texts() {
        for (query, want) in [
            ("stale&consistent", "Cannot specify ?stale with ?consistent, conflicting semantics."),
            ("index=abc", "Invalid index"),
            ("index=-1", "Invalid index"),
            ("index=1&wait=10", "Invalid wait time"),
            ("wait=abc", "Invalid wait time"),
            ("max_stale=xx", "Invalid max_stale value \"xx\""),
        ] {
            assert_eq!(plan(query), Err(want.to_owned()), "{query}");
        }
        let headers = HeaderMap::from_iter([(CACHE_CONTROL, "max-age=x".parse().unwrap())]);
        let failure = read_plan(&params(""), &headers, &DEFAULTS).unwrap_err();
        assert_eq!(failure.text, "Invalid Cache-Control header.");
    }

    #[test]
    fn wishes_are_read_from_cache_control() {
        let wish = |text: &str| {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, text.parse().unwrap())]);
            cache_control(&headers).unwrap()
        };
        let second = Some(Duration::from_secs(1));
        for (text, want) in [
            ("private", Wish::default()),
            ("Max-Age=1", Wish { max_age: second, ..Wish::default() }),
            ("no-cache", Wish { revalidate: true, ..Wish::default() }),
            (
                "must-revalidate, stale-if-error=1",
                Wish { stale_if_error: second, revalidate: true, ..Wish::default() },
            ),
            (
                "max-age=0",
                Wish { max_age: Some(Duration::ZERO), revalidate: true, ..Wish::default() },
            ),
        ] {
            assert_eq!(wish(text), want, "{text}");
        }
    }

    #[test]
    fn blocking_needs_an_index_and_is_bounded() {
        let waits = |query: &str| {
            let options = plan(query).unwrap().options;
            (options.after.map(|index| index.0), options.wait.map(|wait| wait.as_secs()))
        };
        assert_eq!(waits("wait=15000ms"), (None, None));
        assert_eq!(waits("index=0&wait=1s"), (None, None));
        assert_eq!(waits("index=7"), (Some(7), Some(300)));
        assert_eq!(waits("index=7&wait=15000ms"), (Some(7), Some(15)));
        assert_eq!(waits("index=7&wait=2h"), (Some(7), Some(600)));
        assert_eq!(waits("index=7&wait=-2h"), (Some(7), Some(300)));
    }

    #[test]
    fn selection_holds_all_it_was_asked_for() {
        let node = Node { meta: [("a".to_owned(), "b".to_owned())].into(), ..Node::default() };
        let service = Service { tags: vec!["X".into(), "y".into()], ..Service::default() };
        let select = |query: &str| Selection::of(&params(query)).unwrap();
        for (query, want) in [("node-meta=a:b", true), ("node-meta=a", false), ("", true)] {
            assert_eq!(select(query).node(&node), want, "{query}");
        }
        for (query, want) in [("tag=x&tag=Y", true), ("tag=x&tag=z", false), ("", true)] {
            assert_eq!(select(query).service(&service), want, "{query}");
        }
        let check = |status| Arc::new(Check { status, ..Check::default() });
        let instance = Instance {
            node: Arc::new(node),
            service: Arc::new(service),
            checks: vec![check(CheckStatus::Passing), check(CheckStatus::Warning)],
        };
        assert!(select("").instance(&instance));
        assert!(select("passing=false").instance(&instance));
        assert!(!select("passing").instance(&instance));
        assert_eq!(
            Selection::of(&params("passing=zz")).unwrap_err().text,
            "Invalid value for ?passing"
        );
    }
}
