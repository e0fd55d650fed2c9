//! What stands before every page: headers that let it load nothing from elsewhere, and a look at where a request comes from.
//!
//! Without TLS there is no token, and whoever reaches the port may do everything. So a page of another site, open in the same browser,
//! must not reach it: neither by a form or script of its own (`Sec-Fetch-Site`, `Origin`, a content type that forms cannot send), nor under
//! a name of its own that it lets point here (`Host`).

use std::net::IpAddr;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::App;

/// Scripts, styles, pictures and calls from here and nowhere else; nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'";

const HEADERS: [(&str, &str); 6] = [
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// Answers, or refuses, and adds the headers either way.
pub async fn stand_before(State(app): State<App>, request: Request, next: Next) -> Response {
    // HTTP/2 has the host in the address.
    let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
    // Scrapers come by any name, and read figures only.
    let takes_names = app.is_secured || request.uri().path() == "/metrics";
    let refusal = flaw(request.method(), host.as_deref(), request.headers(), takes_names);
    let mut response = match refusal {
        Some(why) => (StatusCode::FORBIDDEN, format!("{why}\n")).into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// Why a request is not answered.
fn flaw(
    method: &Method,
    authority: Option<&str>,
    headers: &HeaderMap,
    takes_names: bool,
) -> Option<&'static str> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text("host").or(authority);
    if !takes_names && host.is_some_and(|host| !is_plain(host)) {
        return Some("without TLS the dashboard is reached by an address or as localhost, not by a name");
    }
    if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"))
        && text("sec-fetch-mode") != Some("navigate")
    {
        return Some("the dashboard answers its own pages only");
    }
    if method == Method::GET || method == Method::HEAD {
        return None;
    }
    let is_own =
        |origin: &str| origin.split_once("://").is_some_and(|(_, of_origin)| Some(of_origin) == host);
    if text("origin").is_some_and(|origin| !is_own(origin)) {
        return Some("the dashboard answers its own pages only");
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if content_type.is_none_or(|content_type| !content_type.starts_with("application/json")) {
        return Some("the content type is application/json");
    }
    None
}

/// Whether a host is no name that somebody else could let point here.
fn is_plain(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &Method, headers: &[(&'static str, &'static str)], is_secured: bool) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        flaw(method, None, &headers.collect(), is_secured).is_none()
    }

    #[test]
    fn without_tls_a_name_that_points_here_is_refused() {
        for host in ["localhost:7461", "127.0.0.1:7461", "[::1]:7461", "10.0.0.7", "LOCALHOST"] {
            assert!(check(&Method::GET, &[("host", host)], false), "{host}");
        }
        for host in ["evil.example:7461", "localhost.evil.example", "127.0.0.1.evil.example"] {
            assert!(!check(&Method::GET, &[("host", host)], false), "{host}");
            assert!(check(&Method::GET, &[("host", host)], true), "with TLS the certificate names the host");
        }
    }

    #[test]
    fn pages_of_other_sites_cannot_call() {
        let json = ("content-type", "application/json");
        let host = ("host", "127.0.0.1:7461");
        assert!(check(&Method::POST, &[host, json, ("origin", "http://127.0.0.1:7461")], false));
        assert!(check(&Method::POST, &[host, json], false), "a script of the user's");
        assert!(!check(&Method::POST, &[host, json, ("origin", "http://127.0.0.1:8080")], false));
        assert!(!check(&Method::POST, &[host, json, ("origin", "null")], false), "a frame without one");
        assert!(!check(&Method::POST, &[host, ("content-type", "text/plain")], false), "a form");
        assert!(!check(&Method::POST, &[host], false));
        assert!(!check(&Method::GET, &[host, ("sec-fetch-site", "cross-site")], false), "an image");
        assert!(!check(&Method::GET, &[host, ("sec-fetch-site", "same-site")], false), "another port");
        let link = [host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        assert!(check(&Method::GET, &link, false), "a link from elsewhere");
        assert!(!check(&Method::POST, &[host, link[1], link[2], ("content-type", "text/plain")], false));
    }
}
