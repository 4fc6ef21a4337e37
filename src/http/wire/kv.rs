//! Keys as JSON.

use std::sync::Arc;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

use crate::model::{KvEntry, SessionId};

/// A key with its value in base64; an empty value is `null`, as Consul has it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct KvJson<'a> {
    lock_index: u64,
    key: &'a str,
    flags: u64,
    value: Base64<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a SessionId>,
    create_index: u64,
    modify_index: u64,
}

impl<'a> KvJson<'a> {
    /// The entry as a write shows it, without the value.
    pub(in crate::http) fn written(entry: &'a KvEntry) -> Self {
        Self { value: Base64(&[]), ..Self::of(entry) }
    }

    /// The entry with its value.
    pub(in crate::http) fn of(entry: &'a KvEntry) -> Self {
        Self {
            lock_index: entry.lock_index,
            key: &entry.key,
            flags: entry.flags,
            value: Base64(&entry.value),
            session: entry.session.as_ref(),
            create_index: entry.create.0,
            modify_index: entry.modify.0,
        }
    }
}

/// Entries one after the other, without a list of their shapes in between.
pub(in crate::http) struct KvListJson<'a>(pub &'a [Arc<KvEntry>]);

impl Serialize for KvListJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|entry| KvJson::of(entry)))
    }
}

/// Bytes as base64; none at all are `null`.
pub(super) struct Base64<'a>(pub(super) &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() {
            return serializer.serialize_none();
        }
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json;
    use crate::model::Index;
    use bytes::Bytes;
    use uuid::Uuid;

    fn entry(value: &'static str, session: Option<SessionId>) -> KvEntry {
        KvEntry {
            key: "a/b".into(),
            value: Bytes::from_static(value.as_bytes()),
            flags: 3_304_740_253_564_472_344,
            session,
            lock_index: 1,
            create: Index(14),
            modify: Index(15),
        }
    }

    fn text<T: Serialize>(value: &T) -> String {
        String::from_utf8(json::bytes(value, false)).unwrap()
    }

    #[test]
    fn a_key_has_consuls_fields_in_consuls_order() {
        assert_eq!(
            text(&KvJson::of(&entry("x<&>", None))),
            concat!(
                r#"{"LockIndex":1,"Key":"a/b","Flags":3304740253564472344,"Value":"eDwmPg==","#,
                r#""CreateIndex":14,"ModifyIndex":15}"#,
            )
        );
        let holder = SessionId(Uuid::from_u128(1));
        assert_eq!(
            text(&KvListJson(&[Arc::new(entry("", Some(holder)))])),
            concat!(
                r#"[{"LockIndex":1,"Key":"a/b","Flags":3304740253564472344,"Value":null,"#,
                r#""Session":"00000000-0000-0000-0000-000000000001","CreateIndex":14,"#,
                r#""ModifyIndex":15}]"#,
            )
        );
    }
}
