//! Events as JSON.

use serde::Serialize;
use uuid::Uuid;

use super::kv::Base64;
use crate::model::Event;

/// The version of Consul's event format.
const VERSION: u32 = 1;

/// An event.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct EventJson<'a> {
    #[serde(rename = "ID")]
    id: Uuid,
    name: &'a str,
    payload: Base64<'a>,
    node_filter: &'a str,
    service_filter: &'a str,
    tag_filter: &'a str,
    version: u32,
    #[serde(rename = "LTime")]
    ltime: u64,
}

impl<'a> EventJson<'a> {
    /// The event; an empty payload is `null`.
    pub(in crate::http) fn of(event: &'a Event) -> Self {
        Self {
            id: event.id,
            name: &event.name,
            payload: Base64(&event.payload),
            node_filter: &event.node_filter,
            service_filter: &event.service_filter,
            tag_filter: &event.tag_filter,
            version: VERSION,
            ltime: event.ltime,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json;

    #[test]
    fn an_event_has_consuls_fields_in_consuls_order() {
        let event =
            Event { name: "a".into(), payload: "hello".into(), ltime: 2, ..Event::default() };
        assert_eq!(
            String::from_utf8(json::bytes(&EventJson::of(&event), false)).unwrap(),
            concat!(
                r#"{"ID":"00000000-0000-0000-0000-000000000000","Name":"a","Payload":"aGVsbG8=","#,
                r#""NodeFilter":"","ServiceFilter":"","TagFilter":"","Version":1,"LTime":2}"#,
            )
        );
    }
}
