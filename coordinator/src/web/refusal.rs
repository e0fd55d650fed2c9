//! What a page is told when a call is refused: the sentence that the command line prints, and what kind of refusal it is.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kindred_proto::failure::{self, Failure, Reason};
use serde_json::{Value, json};
use tonic::{Code, Status};

/// A call that was refused.
#[derive(Debug)]
pub struct Refusal(Status);

impl Refusal {
    /// For a request that cannot be understood.
    pub fn invalid(message: String) -> Self {
        Self(Failure::new(Reason::SpecInvalid, message).into())
    }

    /// The failure as pages read it.
    pub fn to_json(&self) -> Value {
        let failure = failure::from_status(&self.0);
        json!({
            "code": format!("{:?}", self.0.code()),
            "reason": failure.reason.name(),
            "message": failure.message,
            "subject": failure.subject,
        })
    }

    fn status(&self) -> StatusCode {
        match self.0.code() {
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::NotFound | Code::Unimplemented => StatusCode::NOT_FOUND,
            Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
            Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists => StatusCode::CONFLICT,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self(status)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json(&self.to_json());
        *response.status_mut() = self.status();
        response
    }
}

/// An answer in JSON, which nobody keeps.
pub fn json(value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// For whatever is not there.
pub async fn no_such_page() -> Response {
    (StatusCode::NOT_FOUND, "there is no such page; the dashboard begins at /\n").into_response()
}
