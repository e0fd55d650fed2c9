//! Who is signed in: the token lies in a cookie that only the browser itself reads, and sends to this host alone.

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use prost::bytes::Bytes;
use serde_json::{Value, json};

use super::{
    App,
    caller::{COOKIE, Credentials},
    calls::read,
    refusal::{self, Refusal},
};
use crate::access::caller::Identity;

/// What every role may call: it says whether a token is good, and is counted like any other call.
const ANY_CALL: &str = "/kindred.v1.JobService/ListJobs";

/// Says who the caller is.
pub async fn show(State(app): State<App>, credentials: Credentials) -> Response {
    refusal::json(&describe(&app.api.identity(&credentials)))
}

/// Takes a token and keeps it in the cookie.
pub async fn sign_in(
    State(app): State<App>,
    credentials: Credentials,
    body: Bytes,
) -> Result<Response, Refusal> {
    let request = read(&body)?;
    let token = request["token"].as_str().unwrap_or_default().trim();
    // A cookie ends at such characters; none of them is in a token.
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte));
    let signed_in = credentials.with_token(token).filter(|_| is_plain && !token.is_empty());
    let signed_in = signed_in.ok_or_else(|| Refusal::invalid("token: paste the text of one".to_owned()))?;
    app.api.call(&signed_in, ANY_CALL, json!({"page_size": 1})).await?;
    let mut response = refusal::json(&describe(&app.api.identity(&signed_in)));
    if app.is_secured {
        set_cookie(&mut response, &format!("{COOKIE}={token}"));
    }
    Ok(response)
}

/// Forgets the token.
pub async fn sign_out() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, &format!("{COOKIE}=; Max-Age=0"));
    response
}

fn set_cookie(response: &mut Response, cookie: &str) {
    let cookie = format!("{cookie}; Path=/; Secure; HttpOnly; SameSite=Strict");
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
}

fn describe(identity: &Identity) -> Value {
    match identity {
        Identity::Open => json!({"state": "open", "role": "admin", "project": "*"}),
        Identity::User { name, role, project, .. } => {
            json!({"state": "signed-in", "name": name, "role": role.to_string(), "project": project})
        }
        Identity::SignedIn(user) => {
            // The pages offer what the strongest role allows; the gate knows where.
            let role = user.grants.iter().map(|grant| grant.role).max();
            let projects: Vec<_> = user.grants.iter().map(|grant| grant.project.as_str()).collect();
            let role = role.map_or_else(|| "none".to_owned(), |role| role.to_string());
            json!({"state": "signed-in", "name": user.name, "role": role, "project": projects.join(", ")})
        }
        Identity::Nobody | Identity::Node { .. } => json!({"state": "signed-out"}),
    }
}
