//! What is read of a provider over HTTP: two documents, bounded in size and time.

use std::time::Duration;

use reqwest::{Certificate, Client, header::CACHE_CONTROL, redirect::Policy};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Such documents have some kilobytes.
const MAX_BYTES: usize = 1 << 20;

/// Reads documents of one provider.
#[derive(Clone, Debug)]
pub struct Http(Client);

/// A document.
pub struct Document {
    /// What it holds.
    pub body: Vec<u8>,
    /// How long it may be kept, where that is said.
    pub max_age: Option<Duration>,
}

impl Http {
    /// Trusts this authority, or the system's.
    ///
    /// # Errors
    /// When the authority's certificate cannot be read.
    pub fn new(ca: Option<&str>) -> Result<Self, String> {
        // A process has one provider of TLS; whichever was first will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .user_agent(concat!("kindred-coordinator/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            // What is trusted is what was named, not where that sends us.
            .redirect(Policy::none());
        if let Some(ca) = ca {
            let certificates =
                Certificate::from_pem_bundle(ca.as_bytes()).map_err(|error| root_cause(&error))?;
            client = client.tls_certs_only(certificates);
        }
        client.build().map(Self).map_err(|error| root_cause(&error))
    }

    /// Reads a document.
    ///
    /// # Errors
    /// Why not.
    pub async fn get(&self, url: &str) -> Result<Document, String> {
        let failed = |error: reqwest::Error| format!("{url}: {}", root_cause(&error));
        let mut response = self.0.get(url).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(format!("{url} answered {}", response.status()));
        }
        let cache = response.headers().get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
        let max_age = cache.and_then(max_age);
        let mut body = vec![];
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(format!("{url} answers with more than {MAX_BYTES} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Document { body, max_age })
    }
}

fn max_age(header: &str) -> Option<Duration> {
    let directives = header.split(',').map(str::trim);
    let seconds = directives.filter_map(|directive| directive.strip_prefix("max-age=")).next()?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// The innermost cause: the layers above it only say that there was an error.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_document_may_be_kept_is_read() {
        assert_eq!(max_age("public, max-age=600, must-revalidate"), Some(Duration::from_secs(600)));
        assert_eq!(max_age("no-store"), None);
        assert_eq!(max_age("max-age=soon"), None);
    }

    #[test]
    fn an_authority_that_is_none_is_refused() {
        Http::new(Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
            .expect_err("no DER");
        Http::new(None).expect("the system's");
    }
}
