//! `/v1/event`: words thrown into the pool, and the last of them that came to this agent.
//! Source: Consul HTTP API, "Event".

use std::sync::Arc;

use axum::http::HeaderValue;
use bytes::Bytes;
use uuid::Uuid;

use crate::limits::{BODY_BYTES_MAX, EVENT_BYTES_MAX, WAIT_JITTER_PART};
use crate::model::Event;
use crate::time;

use super::call::{Call, Discovery, INDEX, Outcome};
use super::error::Failure;
use super::wire::EventJson;

/// What Consul's first look at an event leaves out of [`Event::fits`]'s account, in bytes.
const FIRST_LOOK_BYTES: usize = 30;

/// `PUT /v1/event/fire/<name>`: the event as it was fired, before it has its time.
pub(super) async fn fire(mut call: Call) -> Outcome {
    let name = call.required("Missing name")?.to_owned();
    call.check_datacenter()?;
    let text = |name| call.params.get(name).unwrap_or_default().to_owned();
    let event = Event {
        id: Uuid::new_v4(),
        name,
        node_filter: text("node"),
        service_filter: text("service"),
        tag_filter: text("tag"),
        payload: Bytes::new(),
        ltime: 0,
    };
    let event = Event { payload: call.body(BODY_BYTES_MAX, "limits").await?, ..event };
    let wrong = call.rooms.agent.check_event(&event).err();
    if let Some(error) = wrong {
        return Err(Failure::internal(error.to_string()));
    }
    if !event.fits() {
        return Err(Failure::internal(too_long(event)));
    }
    let output = call.json(&EventJson::of(&event));
    call.rooms.gossip.fire(event);
    Ok(output)
}

/// Consul looks twice, and has a text for each.
fn too_long(event: Event) -> String {
    let rest = event.payload.len().saturating_sub(FIRST_LOOK_BYTES);
    let first = Event { payload: event.payload.slice(..rest), ..event };
    let max = EVENT_BYTES_MAX;
    let why = if first.fits() {
        format!("encoded user event exceeds configured limit of {max} bytes after encoding")
    } else {
        format!("user event exceeds configured limit of {max} bytes before encoding")
    };
    format!("1 error occurred:\n\t* error broadcasting event to segment \"\": {why}\n\n")
}

/// `GET /v1/event/list`: with `index` it waits until the newest event is another one.
///
/// The index does not grow, so that only equality says anything.
pub(super) async fn list(call: Call) -> Outcome {
    let plan = call.read_plan(Discovery::No)?;
    let name = call.params.get("name").unwrap_or_default();
    // The place is taken before the first look, so that nothing comes in between.
    let mut count = call.rooms.agent.event_count();
    let wait = plan.options.wait.unwrap_or(call.options.wait_default);
    let until = time::now() + wait + time::jitter(wait, WAIT_JITTER_PART, time::random());
    let mut stopping = call.rooms.stopping.clone();
    loop {
        let mut events = call.rooms.agent.events();
        events.retain(|event| name.is_empty() || event.name == name);
        let index = events.last().map_or(1, |event| event.index().max(1));
        if plan.options.after.is_none_or(|after| after.0 != index) {
            return Ok(shown(&call, &events, index));
        }
        let woken = tokio::select! {
            changed = count.changed() => changed.is_ok(),
            () = tokio::time::sleep_until(until) => false,
            () = stopping.wait() => false,
        };
        if !woken {
            return Ok(shown(&call, &events, index));
        }
    }
}

fn shown(call: &Call, events: &[Arc<Event>], index: u64) -> super::call::Output {
    let shapes: Vec<_> = events.iter().map(|event| EventJson::of(event)).collect();
    let mut output = call.json(&shapes);
    output.headers.push((INDEX, HeaderValue::from(index)));
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_event_is_told_in_consuls_words() {
        let told = |bytes: usize| {
            let payload = Bytes::from(vec![b'x'; bytes]);
            let event = Event { name: "e".into(), payload, ..Event::default() };
            if event.fits() { String::new() } else { too_long(event) }
        };
        assert_eq!(told(414), "");
        assert!(
            told(415).contains(": encoded user event exceeds configured limit of 512 bytes after")
        );
        assert!(told(600).contains(": user event exceeds configured limit of 512 bytes before"));
    }
}
