//! `GET /api/stream/kindred.v1.JobService/WatchJob?request={…}`: a stream of the API as server-sent events.
//!
//! Each event carries the stream's own resume marker as its id. A browser that reconnects sends the last one, and the stream goes on
//! there: nothing is lost or repeated.

use std::{convert::Infallible, time::Duration};

use async_stream::stream;
use axum::{
    extract::{Path, Query, State},
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use kindred_proto::json::Method;
use prost::bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use tonic::{Status, Streaming};

use super::{App, caller::Credentials, calls::read, refusal::Refusal};

/// Proxies cut what is silent for longer.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where a stream's marker is: in its answers, and in the request that goes on after it.
const MARKERS: [(&str, &str, &str); 3] = [
    ("/kindred.v1.JobService/WatchJob", "resume_marker", "after"),
    ("/kindred.v1.JobService/ReadLogs", "last_line", "after_line"),
    ("/kindred.v1.EventService/WatchEvents", "resume_marker", "after_number"),
];

/// The query of a stream's address.
#[derive(Deserialize)]
pub struct Asked {
    /// The request, as JSON.
    #[serde(default)]
    request: String,
}

/// Opens the stream. A refusal is an event as well: a browser shows no script the body of an answer that is no stream.
pub async fn stream(
    State(app): State<App>,
    credentials: Credentials,
    Path((service, method)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let path = format!("/{service}/{method}");
    let mut request = read(asked.request.as_bytes())?;
    let marker = MARKERS.iter().find(|(known, ..)| *known == path);
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    if let (Some((_, _, field)), Some(last), Value::Object(fields)) = (marker, last, &mut request) {
        fields.insert((*field).to_owned(), Value::from(last));
    }
    let opened = app.api.stream(&credentials, &path, request).await;
    let marker = marker.map(|(_, of_answer, _)| *of_answer);
    let events = stream! {
        match opened {
            Err(status) => yield Ok::<_, Infallible>(failure(status)),
            Ok((method, mut answers)) => loop {
                let next = tokio::select! {
                    biased;
                    // The service ends its streams as well; what is said of that does not matter.
                    () = app.shutdown.cancelled() => break,
                    next = next(&method, &mut answers, marker) => next,
                };
                match next {
                    Ok(Some(event)) => yield Ok(event),
                    Ok(None) => {
                        yield Ok(Event::default().event("end").data("{}"));
                        break;
                    }
                    Err(status) => {
                        yield Ok(failure(status));
                        break;
                    }
                }
            },
        }
    };
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

async fn next(
    method: &Method,
    answers: &mut Streaming<Bytes>,
    marker: Option<&str>,
) -> Result<Option<Event>, Status> {
    let Some(bytes) = answers.message().await? else { return Ok(None) };
    let answer = method.answer(&bytes).map_err(Status::internal)?;
    let event = Event::default().data(answer.to_string());
    let id = marker.map(|field| match &answer[field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    Ok(Some(match id {
        Some(id) => event.id(id),
        None => event,
    }))
}

fn failure(status: Status) -> Event {
    Event::default().event("failure").data(Refusal::from(status).to_json().to_string())
}
