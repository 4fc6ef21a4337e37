//! `/v1/query`: prepared queries. Source: Consul HTTP API, "Prepared Queries".

use axum::http::header::ALLOW;
use axum::http::{HeaderValue, StatusCode};
use serde_json::json;
use uuid::Uuid;

use crate::limits::PREPARED_BYTES_MAX;
use crate::model::{
    Answer, Arrangement, Command, Index, PreparedId, Query, Read, ReadOptions, Unresolved, arrange,
};
use crate::time;

use super::cache::Refresh;
use super::call::{Call, Discovery, Kind, Outcome, Output, wrong_answer};
use super::error::Failure;
use super::params::ReadPlan;
use super::session::parse_id as session_id;
use super::wire::{AboutJson, ExecutionJson, ExplainedJson, PreparedJson};
use super::{json as body, near, number, prepared_definition};

/// What nobody finds.
const NOT_FOUND: &str = "Query not found";
const EXECUTE: &str = "/execute";
const EXPLAIN: &str = "/explain";

/// `POST /v1/query`: a new one.
pub(super) async fn create(mut call: Call) -> Outcome {
    call.check_datacenter()?;
    let bytes = call.body(PREPARED_BYTES_MAX, "limits").await?;
    let value = body::parse(&bytes).map_err(|text| Failure::decode(&text))?;
    let id = PreparedId(Uuid::new_v4());
    let query = prepared_definition::new(&value, id)?;
    let written = call.write(Command::PreparedCreate(Box::new(query))).await?;
    Ok(call.json(&json!({"ID": id.to_string()})).written(written.index))
}

/// `GET /v1/query`.
pub(super) async fn list(call: Call) -> Outcome {
    let (read, plan) = read(&call, Query::AllPrepared).await?;
    Ok(shown(&call, &read, &plan))
}

/// `GET /v1/query/<id>`, or `/v1/query/<id or name>/execute` and `…/explain`.
pub(super) async fn get(call: Call) -> Outcome {
    if let Some(name) = call.rest.strip_suffix(EXECUTE) {
        let name = name.to_owned();
        return execute(&call, name).await;
    }
    if let Some(name) = call.rest.strip_suffix(EXPLAIN) {
        let name = name.to_owned();
        return explain(&call, name).await;
    }
    call.read_plan(Discovery::No)?;
    call.check_datacenter().map_err(Failure::indexed)?;
    let id = parse_id(&call.rest).map_err(|text| Failure::internal(text).indexed())?;
    let (read, plan) = read(&call, Query::Prepared(id)).await?;
    let Answer::Prepared(found) = &*read.answer else { wrong_answer() };
    if found.is_empty() {
        return Err(Failure::new(StatusCode::NOT_FOUND, NOT_FOUND));
    }
    Ok(shown(&call, &read, &plan))
}

fn shown(call: &Call, read: &Read, plan: &ReadPlan) -> Output {
    let Answer::Prepared(found) = &*read.answer else { wrong_answer() };
    let shown: Vec<_> = found.iter().map(|query| PreparedJson::of(query)).collect();
    call.read_json(&shown, read).consistency(plan)
}

/// `PUT /v1/query/<id>`. The id in the path is the one that counts.
pub(super) async fn update(mut call: Call) -> Outcome {
    if let Some(refused) = only_read(&call, "PUT") {
        return Ok(refused);
    }
    call.check_datacenter()?;
    let bytes = call.body(PREPARED_BYTES_MAX, "limits").await?;
    let value = if bytes.is_empty() {
        json!({})
    } else {
        body::parse(&bytes).map_err(|text| Failure::decode(&text))?
    };
    // What does not decode is told before the id is looked at, and what makes no sense after it.
    let id = modified_id(&call);
    let known = id.as_ref().map_or(PreparedId(Uuid::nil()), |id| *id);
    let query = match (prepared_definition::changed(&value, known), id) {
        (Err(failure), _) if failure.status == StatusCode::BAD_REQUEST => return Err(failure),
        (_, Err(failure)) => return Err(failure),
        (query, Ok(_)) => query?,
    };
    let written = call.write(Command::PreparedUpdate(Box::new(query))).await?;
    Ok(Output::empty().written(written.index))
}

/// `DELETE /v1/query/<id>`.
pub(super) async fn delete(call: Call) -> Outcome {
    if let Some(refused) = only_read(&call, "DELETE") {
        return Ok(refused);
    }
    call.check_datacenter()?;
    let written = call.write(Command::PreparedDelete(modified_id(&call)?)).await?;
    Ok(Output::empty().written(written.index))
}

/// `OPTIONS /v1/query/…`: the methods, and an empty object, which no other path has.
pub(super) fn options(call: &Call) -> Output {
    let methods = if is_run(&call.rest) { "OPTIONS,GET" } else { "OPTIONS,GET,PUT,DELETE" };
    let mut output = call.json(&json!({}));
    output.headers.push((ALLOW, HeaderValue::from_static(methods)));
    output
}

fn is_run(rest: &str) -> bool {
    rest.ends_with(EXECUTE) || rest.ends_with(EXPLAIN)
}

/// What a writing method gets where a query is run.
fn only_read(call: &Call, method: &str) -> Option<Output> {
    if !is_run(&call.rest) {
        return None;
    }
    let mut output = Output::empty().status(StatusCode::METHOD_NOT_ALLOWED);
    output.kind = Kind::Other("text/plain; charset=utf-8");
    output.body = format!("method {method} not allowed").into();
    output.headers.push((ALLOW, HeaderValue::from_static("GET")));
    Some(output)
}

async fn read(call: &Call, query: Query) -> Result<(Read, ReadPlan), Failure> {
    let plan = call.read_plan(Discovery::No)?;
    call.check_datacenter().map_err(Failure::indexed)?;
    let read = call.read(query, &plan).await.map_err(|why| Failure::from(why).indexed())?;
    Ok((read, plan))
}

/// A read that never blocks and shows no index.
async fn read_now(call: &Call, query: Query) -> Result<(Read, ReadPlan), Failure> {
    let plan = call.read_plan(Discovery::No)?;
    let options = ReadOptions { after: None, wait: None, ..plan.options };
    let plan = ReadPlan { options, ..plan };
    call.check_datacenter().map_err(Failure::indexed)?;
    let read = call.read(query, &plan).await.map_err(|why| Failure::from(why).indexed())?;
    Ok((Read { index: Index(0), ..read }, plan))
}

/// What a query found, kept for those who ask for that. What it did not find is never kept.
async fn found_or_kept(call: &Call, query: Query) -> Result<(Read, ReadPlan), Failure> {
    if !call.wants_cached() {
        return read_now(call, query).await;
    }
    let plan = call.read_plan(Discovery::No)?;
    let options = ReadOptions { after: None, wait: None, ..plan.options };
    let plan = ReadPlan { options, ..plan };
    call.check_datacenter().map_err(Failure::indexed)?;
    let read = call.read_cached(query.clone(), Refresh::Never, &plan).await;
    let (read, cached) = read.map_err(|why| Failure::from(why).indexed())?;
    if matches!(&*read.answer, Answer::Executed(Err(_))) {
        return read_now(call, query).await;
    }
    Ok((Read { index: Index(0), ..read }, ReadPlan { cached: Some(cached), ..plan }))
}

/// Runs a query: its instances shuffled, nearest first where that is asked, cut off. No other
/// data center is known here, so that nothing fails over: Consul's answer without a path.
async fn execute(call: &Call, name: String) -> Outcome {
    call.read_plan(Discovery::No)?;
    let limit = limit(call.params.get("limit").unwrap_or_default())?;
    let connect = match call.params.get("connect").unwrap_or_default() {
        "" => false,
        text => number::truth(text).ok_or_else(|| {
            let text = number::quoted(text);
            let why = format!("strconv.ParseBool: parsing {text}: invalid syntax");
            Failure::internal(format!("Error parsing 'connect' value: {why}"))
        })?,
    };
    let (read, plan) = found_or_kept(call, Query::Execute { name, connect }).await?;
    let Answer::Executed(found) = &*read.answer else { wrong_answer() };
    let execution = found.as_ref().map_err(unresolved)?;
    let near = near::source(call, execution).await?;
    let nodes = execution.instances.iter().map(|one| one.node.name.as_str());
    let coordinates =
        if near.is_empty() { Vec::new() } else { near::coordinates(call, &near, nodes).await? };
    let how = Arrangement { seed: time::random(), near: &near, coordinates: &coordinates, limit };
    let instances = arrange(execution.instances.clone(), &how);
    let about = about(&read, &plan);
    let shown = ExecutionJson::of(execution, &instances, &call.options.datacenter, about);
    // Shuffled anew for each caller: nobody shares it.
    Ok(call.json(&shown).about(&read).consistency(&plan))
}

/// Shows the query that a name leads to, filled in, without running it.
async fn explain(call: &Call, name: String) -> Outcome {
    let (read, plan) = read_now(call, Query::Resolve(name)).await?;
    let Answer::Resolved(found) = &*read.answer else { wrong_answer() };
    let query = found.as_ref().map_err(unresolved)?;
    let shown = ExplainedJson::of(query, about(&read, &plan));
    Ok(call.json(&shown).about(&read).consistency(&plan))
}

fn about(read: &Read, plan: &ReadPlan) -> AboutJson {
    AboutJson::of(read.known_leader, read.last_contact, plan.word)
}

fn unresolved(why: &Unresolved) -> Failure {
    match why {
        Unresolved::NotFound => Failure::new(StatusCode::NOT_FOUND, NOT_FOUND),
        Unresolved::TemplateById => {
            Failure::internal("prepared query templates can only be resolved up by name, not by ID")
                .indexed()
        }
        Unresolved::Template(why) => Failure::internal(why.clone()).indexed(),
    }
}

/// How many instances; 0 for all. A negative number is none, as in Consul.
fn limit(text: &str) -> Result<usize, Failure> {
    if text.is_empty() {
        return Ok(0);
    }
    let wrong = |why| {
        let text = number::quoted(text);
        Failure::internal(format!("Bad limit: strconv.Atoi: parsing {text}: {why}"))
    };
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong("invalid syntax"));
    }
    let number: i64 = text.parse().ok().ok_or_else(|| wrong("value out of range"))?;
    Ok(usize::try_from(number).unwrap_or_default())
}

/// An id; the error is Consul's text.
fn parse_id(text: &str) -> Result<PreparedId, String> {
    let id =
        session_id(text).map_err(|why| why.replace("session lookup", "prepared query lookup"))?;
    Ok(PreparedId(id.0))
}

/// The id in the path of a request that changes a query.
fn modified_id(call: &Call) -> Result<PreparedId, Failure> {
    parse_id(&call.rest)
        .map_err(|why| Failure::internal(format!("Prepared Query lookup failed: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(failure: Failure) -> String {
        failure.text.into_owned()
    }

    #[test]
    fn limits_are_read_as_go_reads_them() {
        for (given, want) in [("", 0), ("3", 3), ("+3", 3), ("-1", 0), ("0", 0)] {
            assert_eq!(limit(given).map_err(text), Ok(want), "{given}");
        }
        for (given, why) in [
            ("x", "invalid syntax"),
            ("-", "invalid syntax"),
            ("1.5", "invalid syntax"),
            ("99999999999999999999", "value out of range"),
        ] {
            let want = format!("Bad limit: strconv.Atoi: parsing \"{given}\": {why}");
            assert_eq!(limit(given).map_err(text), Err(want));
        }
    }

    #[test]
    fn ids_are_told_in_consuls_words() {
        let upper = "11111111-1111-1111-1111-1111111111AB";
        assert_eq!(parse_id(upper).unwrap().to_string(), upper.to_lowercase());
        let short = "failed prepared query lookup: index error: UUID must be 36 characters";
        assert_eq!(parse_id("nope").unwrap_err(), short);
    }

    #[test]
    fn only_runs_are_read_only() {
        assert!(is_run("q1/execute") && is_run("q1/explain") && !is_run("q1"));
    }
}
