//! Sessions as JSON.

use serde::Serialize;

use crate::model::{Behavior, Session, SessionId};

const NANOS_A_MILLI: u64 = 1_000_000;

/// A session; the lock delay in nanoseconds.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct SessionJson<'a> {
    #[serde(rename = "ID")]
    id: &'a SessionId,
    name: &'a str,
    node: &'a str,
    lock_delay: u64,
    behavior: &'static str,
    #[serde(rename = "TTL")]
    ttl: &'a str,
    node_checks: &'a [String],
    service_checks: Option<Vec<ServiceCheckJson<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<&'a [String]>,
    create_index: u64,
    modify_index: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceCheckJson<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    namespace: &'a str,
}

impl<'a> SessionJson<'a> {
    /// The session as every session route shows it.
    pub(in crate::http) fn of(session: &'a Session) -> Self {
        let spec = &session.spec;
        let service_checks = spec.service_checks.as_ref().map(|checks| {
            let shape = |(id, namespace): &'a (String, String)| ServiceCheckJson { id, namespace };
            checks.iter().map(shape).collect()
        });
        Self {
            id: &spec.id,
            name: &spec.name,
            node: &spec.node,
            lock_delay: spec.lock_delay_ms.saturating_mul(NANOS_A_MILLI),
            behavior: match spec.behavior {
                Behavior::Release => "release",
                Behavior::Delete => "delete",
            },
            ttl: &spec.ttl_text,
            node_checks: &spec.node_checks,
            service_checks,
            checks: spec.checks.as_deref(),
            create_index: session.create.0,
            modify_index: session.modify.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json;
    use crate::model::{Index, SessionSpec};
    use uuid::Uuid;

    #[test]
    fn a_session_has_consuls_fields_in_consuls_order() {
        let spec = SessionSpec {
            id: SessionId(Uuid::from_u128(1)),
            name: "n".into(),
            node: "refnode".into(),
            lock_delay_ms: 15_000,
            behavior: Behavior::Release,
            ttl_ms: Some(10_000),
            ttl_text: "10s".into(),
            node_checks: vec!["serfHealth".into()],
            service_checks: None,
            checks: None,
        };
        let session =
            Session { spec, sequence: 0, deadline: None, create: Index(4), modify: Index(5) };
        assert_eq!(
            String::from_utf8(json::bytes(&SessionJson::of(&session), false)).unwrap(),
            concat!(
                r#"{"ID":"00000000-0000-0000-0000-000000000001","Name":"n","Node":"refnode","#,
                r#""LockDelay":15000000000,"Behavior":"release","TTL":"10s","#,
                r#""NodeChecks":["serfHealth"],"ServiceChecks":null,"CreateIndex":4,"#,
                r#""ModifyIndex":5}"#,
            )
        );
    }
}
