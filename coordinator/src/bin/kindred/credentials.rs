//! What the CLI shows a coordinator with TLS, and what it checks of it.

use std::{env, fs};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{args::Credentials, exit::Error};

/// A channel whose calls carry the token.
pub type Link = InterceptedService<Channel, Bearer>;

/// Puts the token onto every call; nothing where there is none.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl Bearer {
    /// The token of the file, or of the environment. It is shown over TLS only.
    ///
    /// # Errors
    /// When the file cannot be read, or holds more than a token.
    pub fn of(credentials: &Credentials) -> Result<Self, Error> {
        if credentials.tls_ca.is_none() {
            return Ok(Self(None));
        }
        let token = match &credentials.token_file {
            Some(file) => Some(fs::read_to_string(file).map_err(|error| {
                Error::invalid(format!("--token-file: cannot read {}: {error}", file.display()))
            })?),
            None => env::var("KINDRED_TOKEN").ok(),
        };
        let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
        let header = token.map(|token| MetadataValue::try_from(format!("Bearer {token}")));
        let mut header =
            header.transpose().map_err(|_| Error::invalid("the token is not one of Kindred's"))?;
        if let Some(header) = &mut header {
            header.set_sensitive(true);
        }
        Ok(Self(header))
    }
}

/// The endpoint at `host:port`, with TLS where an authority is given.
pub fn endpoint(address: &str, credentials: &Credentials) -> Result<Option<Endpoint>, Error> {
    let Some(file) = &credentials.tls_ca else {
        return Ok(Endpoint::from_shared(format!("http://{address}")).ok());
    };
    let authority = fs::read(file)
        .map_err(|error| Error::invalid(format!("--tls-ca: cannot read {}: {error}", file.display())))?;
    let Ok(endpoint) = Endpoint::from_shared(format!("https://{address}")) else { return Ok(None) };
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
    let unusable = |error| Error::invalid(format!("--tls-ca: {} is no certificate: {error}", file.display()));
    endpoint.tls_config(tls).map(Some).map_err(unusable)
}
