//! Leases and locks at etcd's door. A lock is a key that the holder's lease made; its token is the
//! revision that made it.

use serde_json::{Value, json};

use crate::history::Answer;

use super::client::Trouble;
use super::etcd::{EtcdClient, encoded, number, store_of};
use super::etcd_kv::{delete, unchanged};

const MILLIS_A_SECOND: u64 = 1000;

impl EtcdClient {
    pub(super) async fn grant(&mut self, ttl: u64) -> Result<Answer, Trouble> {
        let seconds = ttl.div_ceil(MILLIS_A_SECOND).to_string();
        let answer = self.ask("/v3/lease/grant", &json!({ "TTL": seconds })).await?;
        let session = answer["ID"].as_str().map(str::to_owned);
        let session = session.ok_or_else(|| Trouble::Unknown(format!("no id: {answer}")))?;
        Ok(Answer::Opened { session })
    }

    pub(super) async fn keep_alive(&mut self, session: &str) -> Result<Answer, Trouble> {
        let answer = self.ask("/v3/lease/keepalive", &json!({ "ID": session })).await?;
        let left = number(&answer["result"]["TTL"]);
        Ok(Answer::Alive { alive: left.is_some_and(|seconds| seconds > 0) })
    }

    pub(super) async fn revoke(&mut self, session: &str) -> Result<Answer, Trouble> {
        let answer = self.ask("/v3/lease/revoke", &json!({ "ID": session })).await?;
        Ok(Answer::Written { revision: store_of(&answer) })
    }

    pub(super) async fn time_to_live(&mut self, session: &str) -> Result<Answer, Trouble> {
        let answer = self.ask("/v3/lease/timetolive", &json!({ "ID": session })).await?;
        // Of a lease that is gone it is -1, which is no unsigned number.
        Ok(Answer::Alive { alive: number(&answer["TTL"]).is_some() })
    }

    pub(super) async fn acquire(&mut self, key: &str, session: &str) -> Result<Answer, Trouble> {
        let put = json!({
            "request_put": { "key": encoded(key), "value": encoded(session), "lease": session }
        });
        let body = json!({ "compare": [unchanged(key, 0)], "success": [put] });
        let answer = self.ask("/v3/kv/txn", &body).await?;
        let token = store_of(&answer).filter(|_| answer["succeeded"] == true);
        Ok(Answer::Held { token })
    }

    pub(super) async fn release(&mut self, key: &str, session: &str) -> Result<Answer, Trouble> {
        let held = json!({
            "key": encoded(key), "target": "LEASE", "result": "EQUAL", "lease": session
        });
        let body = json!({ "compare": [held], "success": [delete(key)] });
        let answer = self.ask("/v3/kv/txn", &body).await?;
        let store = store_of(&answer);
        Ok(match &answer["succeeded"] {
            Value::Bool(true) => Answer::Written { revision: store },
            _ => Answer::Refused { store },
        })
    }
}
