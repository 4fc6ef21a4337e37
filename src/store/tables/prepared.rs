//! Prepared queries by id, by name, by what their templates take, and by session.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use uuid::Uuid;

use super::catalog::fold;
use crate::model::{PreparedId, PreparedQuery, SessionId, Template, Unresolved};

/// A query, with its template once somebody has asked for it.
#[derive(Debug)]
struct Kept {
    query: Arc<PreparedQuery>,
    /// Compiled by the first who runs it: what commands do hangs on no regular expression.
    template: OnceLock<Result<Template, String>>,
}

/// The prepared queries. Names stand in lower case.
#[derive(Debug, Default)]
pub(crate) struct PreparedTable {
    queries: BTreeMap<PreparedId, Kept>,
    by_name: BTreeMap<String, PreparedId>,
    /// Also the one without a name, which takes every name.
    templates: BTreeMap<String, PreparedId>,
    of_sessions: BTreeMap<SessionId, BTreeSet<PreparedId>>,
}

impl PreparedTable {
    /// The query of this id.
    pub(crate) fn get(&self, id: PreparedId) -> Option<&Arc<PreparedQuery>> {
        self.queries.get(&id).map(|kept| &kept.query)
    }

    /// All queries in the order of their ids.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<PreparedQuery>> {
        self.queries.values().map(|kept| &kept.query)
    }

    /// The query that has this name, if the name is not empty.
    pub(crate) fn named(&self, name: &str) -> Option<PreparedId> {
        self.by_name.get(&fold(name)).copied()
    }

    /// The template without a name.
    pub(crate) fn catch_all(&self) -> Option<PreparedId> {
        self.templates.get("").copied()
    }

    /// Stores a query, also in place of an older state of itself. Nobody else has its name.
    pub(crate) fn insert(&mut self, query: Arc<PreparedQuery>) {
        let id = query.id;
        self.remove(id);
        let name = fold(&query.name);
        if query.is_template() {
            let former = self.templates.insert(name.clone(), id);
            assert!(former.is_none(), "one template takes the names that begin with {name:?}");
        }
        if !name.is_empty() {
            let former = self.by_name.insert(name, id);
            assert!(former.is_none(), "prepared query {id} has its name alone");
        }
        if let Some(session) = query.session {
            self.of_sessions.entry(session).or_default().insert(id);
        }
        self.queries.insert(id, Kept { query, template: OnceLock::new() });
    }

    /// Removes a query.
    pub(crate) fn remove(&mut self, id: PreparedId) -> Option<Arc<PreparedQuery>> {
        let query = self.queries.remove(&id)?.query;
        let name = fold(&query.name);
        self.by_name.remove(&name);
        if query.is_template() {
            self.templates.remove(&name);
        }
        if let Some(session) = query.session {
            let ids = self.of_sessions.get_mut(&session).expect("it is listed by its session");
            ids.remove(&id);
            if ids.is_empty() {
                self.of_sessions.remove(&session);
            }
        }
        Some(query)
    }

    /// The queries that end with a session.
    pub(crate) fn of_session(&self, session: SessionId) -> Vec<PreparedId> {
        self.of_sessions.get(&session).map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }

    /// The query that a name or an id leads to, filled in: the one of this id, the one of this
    /// name, then the template with the longest name that the name begins with.
    ///
    /// Source: Consul HTTP API, "Prepared Query Templates".
    pub(crate) fn resolve(&self, name: &str) -> Result<Arc<PreparedQuery>, Unresolved> {
        if name.is_empty() {
            return Err(Unresolved::NotFound); // a template may take every name, but none is none
        }
        let by_id = Uuid::try_parse(name).ok().filter(|_| name.len() == UUID_LENGTH);
        if let Some(kept) = by_id.and_then(|id| self.queries.get(&PreparedId(id))) {
            if kept.query.is_template() {
                return Err(Unresolved::TemplateById);
            }
            return Ok(Arc::clone(&kept.query));
        }
        let folded = fold(name);
        let found = self.by_name.get(&folded).copied().or_else(|| self.longest(&folded));
        let kept = found.and_then(|id| self.queries.get(&id)).ok_or(Unresolved::NotFound)?;
        if !kept.query.is_template() {
            return Ok(Arc::clone(&kept.query));
        }
        let compiled = kept.template.get_or_init(|| Template::compile(Arc::clone(&kept.query)));
        let rendered = compiled.as_ref().map_err(Clone::clone).and_then(|it| it.render(name));
        rendered.map(Arc::new).map_err(Unresolved::Template)
    }

    /// The template with the longest name that `name`, in lower case, begins with.
    fn longest(&self, name: &str) -> Option<PreparedId> {
        let mut upto = name;
        loop {
            let below = (Bound::Unbounded, Bound::Included(upto));
            let (found, id) = self.templates.range::<str, _>(below).next_back()?;
            let common = common_prefix(found, name);
            if common.len() == found.len() {
                return Some(*id);
            }
            // All that is between shares no more with the name than this one does.
            upto = common;
        }
    }

    /// How many entries the indexes by name, by template and by session have.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn listed(&self) -> [usize; 3] {
        let by_session = self.of_sessions.values().map(BTreeSet::len).sum();
        [self.by_name.len(), self.templates.len(), by_session]
    }
}

/// Signs of a UUID in the form that names an id.
const UUID_LENGTH: usize = 36;

fn common_prefix<'a>(a: &'a str, b: &str) -> &'a str {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b);
    let length = same.map(|(sign, _)| sign.len_utf8()).sum::<usize>();
    a.get(..length).expect("it ends behind a sign")
}
