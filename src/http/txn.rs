//! `/v1/txn`: several operations on keys and on the catalog, together or not at all.
//! Source: Consul HTTP API, "Transactions".

use axum::http::{HeaderValue, StatusCode};

use crate::model::{Answer, Command, Query, Reply, TxnError, TxnResult, Written};

use super::call::{Call, Discovery, KNOWN_LEADER, LAST_CONTACT, Outcome, truth, wrong_answer};
use super::error::{Failure, txn_text};
use super::json;
use super::operations::{Asking, operations};
use super::wire::{TxnErrorJson, TxnJson, TxnReadJson, TxnResultJson};

/// `PUT /v1/txn`.
pub(super) async fn put(mut call: Call) -> Outcome {
    let max = call.options.txn_bytes_max.max(call.options.value_bytes_max);
    let body = call.body(max, "txn_max_req_len").await?;
    let parse = |text: String| Failure::bad(format!("Failed to parse body: {text}"));
    let value = json::parse(&body).map_err(parse)?;
    let (value_max, datacenter) = (call.options.value_bytes_max, &call.options.datacenter);
    let Asking { ops, errors, only_reads } = operations(&value, value_max, datacenter)?;
    let plan = call.read_plan(Discovery::No)?;
    call.check_datacenter()?;
    if !errors.is_empty() {
        let meta = only_reads.then_some((0, true));
        return Ok(answer(&call, Err(errors), meta));
    }
    if !only_reads {
        let Written { reply, index } = call.write(Command::Txn(ops)).await?;
        let Reply::Txn(outcome) = reply else { wrong_answer() };
        return Ok(answer(&call, shown(&outcome), None).written(index));
    }
    let plan = super::params::ReadPlan {
        options: crate::model::ReadOptions { after: None, wait: None, ..plan.options },
        ..plan
    };
    let read = call.read(Query::Txn(ops), &plan).await?;
    let Answer::Txn(outcome) = &*read.answer else { wrong_answer() };
    let contact = u64::try_from(read.last_contact.as_millis()).unwrap_or(u64::MAX);
    Ok(answer(&call, shown(outcome), Some((contact, read.known_leader))).written(read.index))
}

type Shown<'a> = Result<Vec<TxnResultJson<'a>>, Vec<TxnErrorJson>>;

fn shown(outcome: &Result<Vec<TxnResult>, Vec<TxnError>>) -> Shown<'_> {
    match outcome {
        Ok(results) => Ok(results.iter().map(TxnResultJson::of).collect()),
        Err(errors) => Err(errors
            .iter()
            .map(|error| TxnErrorJson { op_index: error.op, what: txn_text(&error.what) })
            .collect()),
    }
}

/// The answer; one that only read also has last contact and known leader.
fn answer(call: &Call, outcome: Shown<'_>, read: Option<(u64, bool)>) -> super::call::Output {
    let status = if outcome.is_ok() { StatusCode::OK } else { StatusCode::CONFLICT };
    let txn = match outcome {
        Ok(results) => TxnJson { results: Some(results), errors: None },
        Err(errors) => TxnJson { results: None, errors: Some(errors) },
    };
    let Some((last_contact, known_leader)) = read else { return call.json(&txn).status(status) };
    let shape = TxnReadJson { txn, index: 0, last_contact, known_leader, consistency_level: "" };
    let mut output = call.json(&shape).status(status);
    output.headers.push((KNOWN_LEADER, truth(known_leader)));
    output.headers.push((LAST_CONTACT, HeaderValue::from(last_contact)));
    output
}
