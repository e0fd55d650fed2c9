//! An identity provider, as far as signing in needs it.

use std::time::Duration;

use kindred_proto::v1;
use reqwest::{Certificate, Client, StatusCode, header::CONTENT_TYPE, redirect::Policy};
use serde::{Deserialize, de::DeserializeOwned};
use url::{Url, form_urlencoded};

use crate::exit::{Error, Exit, root_cause};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(20);
/// Answers have some kilobytes.
const MAX_BYTES: usize = 1 << 20;
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// A provider whose description was read.
pub struct Provider {
    client: Client,
    client_id: String,
    description: Description,
}

#[derive(Deserialize)]
struct Description {
    issuer: String,
    device_authorization_endpoint: Option<String>,
    token_endpoint: String,
    revocation_endpoint: Option<String>,
}

/// What somebody enters, and where.
#[derive(Deserialize)]
pub struct Code {
    device_code: String,
    /// To enter.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// Where it is entered already.
    pub verification_uri_complete: Option<String>,
    /// Seconds.
    pub expires_in: u64,
    interval: Option<u64>,
}

/// What somebody who signed in has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Tokens {
    /// What the coordinator is shown.
    #[serde(default)]
    pub id_token: String,
    /// What the next one is got with.
    pub refresh_token: Option<String>,
}

/// What a provider says to a question for tokens.
pub enum Answer {
    /// Here they are.
    Tokens(Tokens),
    /// Not yet.
    Pending,
    /// Not yet, and ask less often.
    SlowDown,
    /// No.
    Refused(String),
    /// Nobody answered.
    Lost(String),
}

#[derive(Default, Deserialize)]
struct Problem {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Code {
    /// How often to ask, and for how long.
    pub fn times(&self) -> (Duration, Duration) {
        let interval = Duration::from_secs(self.interval.unwrap_or(5)).max(LEAST_INTERVAL);
        (interval, Duration::from_secs(self.expires_in))
    }
}

impl Provider {
    /// Reads the description of the provider that a coordinator names.
    pub async fn find(offer: &v1::GetSignInResponse) -> Result<Self, Error> {
        let client = client(&offer.issuer_ca)
            .map_err(|why| Error::new(Exit::Other, format!("the provider's authority: {why}")))?;
        let place = format!("{}/.well-known/openid-configuration", offer.issuer.trim_end_matches('/'));
        let unusable = |why: String| {
            Error::new(Exit::Other, format!("cannot sign in at {}: {why}", printable(&offer.issuer)))
        };
        let url = checked(&place).map_err(unusable)?;
        let (status, body) = send(client.get(url)).await.map_err(unusable)?;
        if !status.is_success() {
            return Err(unusable(format!("{place} answered {status}")));
        }
        let description: Description = read(&body).map_err(unusable)?;
        if description.issuer != offer.issuer {
            return Err(unusable(format!("{place} describes {:?}", description.issuer)));
        }
        Ok(Self { client, client_id: offer.client_id.clone(), description })
    }

    /// Asks for a code to enter.
    pub async fn begin(&self, scopes: &[String]) -> Result<Code, Error> {
        let issuer = &self.description.issuer;
        let failed = |why: String| Error::new(Exit::Other, format!("cannot sign in at {issuer}: {why}"));
        let endpoint = self.description.device_authorization_endpoint.as_deref().ok_or_else(|| {
            let why = "it offers no device flow (device_authorization_endpoint): get a token there, and put it into KINDRED_TOKEN";
            failed(why.to_owned())
        })?;
        let scopes = scopes.join(" ");
        let form = [("client_id", self.client_id.as_str()), ("scope", scopes.as_str())];
        let (status, body) = self.post(endpoint, &form).await.map_err(failed)?;
        if !status.is_success() {
            return Err(failed(problem(&body).words(&format!("it answered {status}"))));
        }
        let mut code: Code = read(&body).map_err(failed)?;
        for text in [&mut code.user_code, &mut code.verification_uri]
            .into_iter()
            .chain(&mut code.verification_uri_complete)
        {
            *text = printable(text);
        }
        Ok(code)
    }

    /// Asks once whether somebody entered the code.
    pub async fn ask(&self, code: &Code) -> Answer {
        self.exchange(&[
            ("grant_type", DEVICE_GRANT),
            ("device_code", code.device_code.as_str()),
            ("client_id", self.client_id.as_str()),
        ])
        .await
    }

    /// Asks for new tokens without anybody.
    pub async fn renew(&self, refresh_token: &str) -> Answer {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
            ("client_id", self.client_id.as_str()),
        ];
        self.exchange(&form).await
    }

    /// Says that a token is not needed any more; nothing where the provider takes no notice.
    ///
    /// # Errors
    /// Why the provider does not know.
    pub async fn revoke(&self, refresh_token: &str) -> Result<(), String> {
        let Some(endpoint) = &self.description.revocation_endpoint else { return Ok(()) };
        let form = [
            ("token", refresh_token),
            ("token_type_hint", "refresh_token"),
            ("client_id", self.client_id.as_str()),
        ];
        let (status, body) = self.post(endpoint, &form).await?;
        match status.is_success() {
            true => Ok(()),
            false => Err(problem(&body).words(&format!("it answered {status}"))),
        }
    }

    async fn exchange(&self, form: &[(&str, &str)]) -> Answer {
        let (status, body) = match self.post(&self.description.token_endpoint, form).await {
            Ok(answer) => answer,
            Err(why) => return Answer::Lost(why),
        };
        if status.is_success() {
            return match read(&body) {
                Ok(tokens) => Answer::Tokens(tokens),
                Err(why) => Answer::Refused(why),
            };
        }
        if status.is_server_error() {
            return Answer::Lost(format!("the provider answered {status}"));
        }
        let problem = problem(&body);
        match problem.error.as_str() {
            "authorization_pending" => Answer::Pending,
            "slow_down" => Answer::SlowDown,
            "access_denied" => Answer::Refused("the sign-in was refused at the provider".to_owned()),
            "expired_token" => Answer::Refused("the code is over: try again".to_owned()),
            _ => Answer::Refused(problem.words(&format!("the provider answered {status}"))),
        }
    }

    async fn post(&self, endpoint: &str, form: &[(&str, &str)]) -> Result<(StatusCode, Vec<u8>), String> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self.client.post(checked(endpoint)?);
        send(request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)).await
    }
}

impl Problem {
    fn words(&self, otherwise: &str) -> String {
        match (self.error.as_str(), self.error_description.as_str()) {
            ("", _) => otherwise.to_owned(),
            (error, "") => printable(error),
            (error, description) => printable(&format!("{description} ({error})")),
        }
    }
}

fn problem(body: &[u8]) -> Problem {
    serde_json::from_slice(body).unwrap_or_default()
}

fn client(ca: &str) -> Result<Client, String> {
    // A process has one provider of TLS; whichever was first will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = Client::builder()
        .user_agent(concat!("kindred/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .redirect(Policy::none());
    if !ca.is_empty() {
        let authorities = Certificate::from_pem_bundle(ca.as_bytes()).map_err(|error| root_cause(&error))?;
        client = client.tls_certs_only(authorities);
    }
    client.build().map_err(|error| root_cause(&error))
}

/// Nothing is said over a plain connection, but on this machine.
fn checked(url: &str) -> Result<Url, String> {
    let parsed = Url::parse(url).map_err(|error| format!("{} is no URL: {error}", printable(url)))?;
    let is_local = matches!(parsed.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match parsed.scheme() {
        "https" => Ok(parsed),
        "http" if is_local => Ok(parsed),
        _ => Err(format!("{} must be https", printable(url))),
    }
}

async fn send(request: reqwest::RequestBuilder) -> Result<(StatusCode, Vec<u8>), String> {
    let mut response = request.send().await.map_err(|error| root_cause(&error))?;
    let mut body = vec![];
    while let Some(chunk) = response.chunk().await.map_err(|error| root_cause(&error))? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err("it answers with more than a megabyte".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response.status(), body))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("its answer cannot be read: {error}"))
}

/// Text of others, without what would move a terminal's cursor.
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_sent_over_a_plain_connection_to_others() {
        for good in ["https://login.example.org/token", "http://127.0.0.1:8080/token", "http://[::1]:1/"] {
            checked(good).expect(good);
        }
        for bad in ["http://login.example.org/token", "ftp://a", "token", "file:///etc/passwd"] {
            checked(bad).expect_err(bad);
        }
    }

    #[test]
    fn a_problem_is_told_in_the_providers_words() {
        let body = br#"{"error":"invalid_client","error_description":"no such\u001b client"}"#;
        assert_eq!(problem(body).words("-"), "no such? client (invalid_client)");
        assert_eq!(problem(b"<html>").words("it answered 502"), "it answered 502");
    }
}
