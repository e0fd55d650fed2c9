//! `POST /api/call/kindred.v1.JobService/GetJob`: any call of the API, as JSON.

use axum::{
    extract::{Path, State},
    response::Response,
};
use prost::bytes::Bytes;
use serde_json::Value;

use super::{
    App,
    caller::Credentials,
    refusal::{self, Refusal},
};

/// Passes the call on, and its answer back.
pub async fn call(
    State(app): State<App>,
    credentials: Credentials,
    Path((service, method)): Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let request = read(&body)?;
    let answer = app.api.call(&credentials, &format!("/{service}/{method}"), request).await?;
    Ok(refusal::json(&answer))
}

/// No body is an empty request.
pub fn read(body: &[u8]) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    serde_json::from_slice(body).map_err(|error| Refusal::invalid(format!("the body is no JSON: {error}")))
}
