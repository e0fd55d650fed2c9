//! `GET /api/departures/JOB`: a job's file as it counts, and where it departs from the defaults.

use axum::{
    extract::{Path, State},
    response::Response,
};
use kindred_proto::{
    job_spec::{departures as find, from_yaml, to_yaml},
    v1,
};
use serde_json::{Value, json};
use tonic::Status;

use super::{
    App,
    caller::Credentials,
    refusal::{self, Refusal},
};

/// Reads the job through the gate, then compares.
pub async fn departures(
    State(app): State<App>,
    credentials: Credentials,
    Path(job_id): Path<String>,
) -> Result<Response, Refusal> {
    let request = json!({"job_id": job_id});
    let answer = app.api.call(&credentials, "/kindred.v1.JobService/GetJob", request).await?;
    let spec = spec(&answer["job"]["spec"]).map_err(Status::internal)?;
    // Each value is checked anew: some milliseconds.
    let told = tokio::task::spawn_blocking(move || tell(&spec)).await;
    let told = told.map_err(|error| Status::internal(error.to_string()))?;
    Ok(refusal::json(&told))
}

fn tell(spec: &v1::JobSpec) -> Value {
    let departures: Vec<Value> = find(spec)
        .into_iter()
        .map(|one| json!({"field": one.field, "value": one.value, "default": one.default}))
        .collect();
    json!({"departures": departures, "yaml": to_yaml(spec)})
}

/// JSON is YAML; fields that hold nothing are left out.
fn spec(value: &Value) -> Result<v1::JobSpec, String> {
    from_yaml(&without_null(value.clone()).to_string(), &[]).map_err(|error| error.to_string())
}

fn without_null(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.map(|(key, value)| (key, without_null(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_null).collect()),
        other => other,
    }
}
