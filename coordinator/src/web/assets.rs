//! The files of the pages, as they were built in.

use std::sync::LazyLock;

use axum::{
    body::Body,
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::refusal;

/// Addresses of pages: all of them are the one document, whose script shows what the address names.
pub const PAGES: [&str; 5] = ["/", "/queue", "/jobs", "/jobs/{job_id}", "/compare"];

const DOCUMENT: &str = include_str!("static/index.html");

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($name:literal $kind:expr;)*) => {
        [$(($name, $kind, include_str!(concat!("static/", $name)))),*]
    };
}

/// Path below `/assets/`, content type, text.
const FILES: [(&str, &str, &str); 20] = files! {
    "style.css" "text/css; charset=utf-8";
    "charts.css" "text/css; charset=utf-8";
    "icon.svg" "image/svg+xml";
    "js/main.js" SCRIPT;
    "js/api.js" SCRIPT;
    "js/dom.js" SCRIPT;
    "js/text.js" SCRIPT;
    "js/parts.js" SCRIPT;
    "js/chart.js" SCRIPT;
    "js/curves.js" SCRIPT;
    "js/timeline.js" SCRIPT;
    "js/logs.js" SCRIPT;
    "js/dialog.js" SCRIPT;
    "js/pages/cluster.js" SCRIPT;
    "js/pages/queue.js" SCRIPT;
    "js/pages/jobs.js" SCRIPT;
    "js/pages/job.js" SCRIPT;
    "js/pages/job_tabs.js" SCRIPT;
    "js/pages/compare.js" SCRIPT;
    "js/pages/signin.js" SCRIPT;
};

/// Changes with any file: what a browser kept of another build is asked for anew.
static TAG: LazyLock<HeaderValue> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    hasher.update(DOCUMENT.as_bytes());
    for (_, _, text) in FILES {
        hasher.update(text.as_bytes());
    }
    let tag = format!("\"{}\"", &hasher.finalize().to_hex()[..16]);
    HeaderValue::from_str(&tag).expect("hexadecimal digits in quotes are a header")
});

/// The document.
pub async fn page(headers: HeaderMap) -> Response {
    answer(&headers, "text/html; charset=utf-8", DOCUMENT)
}

/// A file of it.
pub async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    match FILES.iter().find(|(name, ..)| *name == path) {
        Some((_, kind, text)) => answer(&headers, kind, text),
        None => refusal::no_such_page().await,
    }
}

fn answer(headers: &HeaderMap, kind: &'static str, text: &'static str) -> Response {
    let is_known = headers.get(header::IF_NONE_MATCH) == Some(&*TAG);
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => Response::new(Body::from(text)),
    };
    let kept = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::ETAG, TAG.clone()),
    ];
    response.headers_mut().extend(kept);
    response
}
