//! What a browser or script shows: a token, in the cookie or in the header.

use std::convert::Infallible;

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, HeaderValue, header, request::Parts},
};
use tonic::{Request, transport::server::TcpConnectInfo};

use super::doors::Peer;

/// Only sent over TLS, only to this host, and no script reads it.
pub const COOKIE: &str = "__Host-kindred";

/// What a request shows, and where it comes from.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// As the API takes it: `Bearer SECRET`.
    pub authorization: Option<HeaderValue>,
    peer: Option<Peer>,
}

impl Credentials {
    /// The same caller with another token.
    pub fn with_token(&self, token: &str) -> Option<Self> {
        let authorization = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        Some(Self { authorization: Some(authorization), peer: self.peer })
    }

    /// Makes a call of the services come from this caller.
    pub fn put_on<T>(&self, request: &mut Request<T>) {
        let text = self.authorization.as_ref().and_then(|header| header.to_str().ok());
        if let Some(value) = text.and_then(|text| text.parse().ok()) {
            request.metadata_mut().insert("authorization", value);
        }
        if let Some(Peer(address)) = self.peer {
            // Limits count by address, and audit events name it.
            let info = TcpConnectInfo { local_addr: None, remote_addr: Some(address) };
            request.extensions_mut().insert(info);
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Credentials {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>().map(|info| info.0);
        let given = parts.headers.get(header::AUTHORIZATION).cloned();
        let authorization = given.or_else(|| {
            let token = cookie(&parts.headers, COOKIE)?;
            HeaderValue::from_str(&format!("Bearer {token}")).ok()
        });
        Ok(Self { authorization, peer })
    }
}

/// The value of a cookie.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; __Host-kindred=kd_x_y"));
        headers.append(header::COOKIE, HeaderValue::from_static("x__Host-kindred=no"));
        assert_eq!(cookie(&headers, COOKIE), Some("kd_x_y"));
        assert_eq!(cookie(&headers, "b"), None);
    }
}
