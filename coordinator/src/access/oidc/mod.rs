//! Sign-in with OpenID Connect: tokens of providers that operators trust, beside Kindred's own.
//!
//! A token is checked here and nowhere else: which provider, that one of its keys signed it (`jws`, `keys`), and what it says
//! (`claims`). Nothing of it is stored; what a caller may do follows from the groups in the token that comes with the call. The keys are read
//! beside the calls (`issuer`). No browser ever comes to the coordinator: the command line signs people in at their provider.

mod claims;
mod flaw;
mod http;
mod issuer;
mod jws;
mod keys;
mod settings;

#[cfg(test)]
mod tests;

use tokio_util::sync::{CancellationToken, DropGuard};

pub use flaw::Flaw;
pub use settings::{Error, IssuerSettings, Rule, Settings};

use super::caller::SignedIn;
use crate::model::Timestamp;
use issuer::Issuer;
use jws::Jws;

/// The providers that are trusted. Their keys are read until this is dropped.
pub struct Oidc {
    issuers: Vec<Issuer>,
    _over: DropGuard,
}

impl Oidc {
    /// Begins to read the keys of all providers. One that is away is asked again and again.
    ///
    /// # Errors
    /// When the authority of a provider's certificate cannot be read.
    pub fn start(settings: &Settings) -> Result<Self, String> {
        let over = CancellationToken::new();
        let start = |issuer: &IssuerSettings| {
            let started = Issuer::start(issuer.clone(), over.clone());
            started.map_err(|error| format!("ca_file of {}: {error}", issuer.url))
        };
        let issuers = settings.issuers.iter().map(start).collect::<Result<_, _>>()?;
        Ok(Self { issuers, _over: over.drop_guard() })
    }

    /// Whether a bearer is a token of a provider, of whichever.
    pub fn is_one(bearer: &str) -> bool {
        Jws::is_one(bearer)
    }

    /// Whether the key of a token is known, or nobody need be asked for it: then nobody waits.
    pub fn knows_key_of(&self, bearer: &str) -> bool {
        let Ok(jws) = Jws::read(bearer) else { return true };
        self.issuer(&jws).map_or(true, |issuer| issuer.knows_key_of(&jws))
    }

    /// Waits a moment for the key of a token, where it is not known.
    pub async fn learn(&self, bearer: &str) {
        if let Ok(jws) = Jws::read(bearer)
            && let Ok(issuer) = self.issuer(&jws)
        {
            issuer.learn(&jws).await;
        }
    }

    /// Who a token is about.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(&self, bearer: &str, now: Timestamp) -> Result<SignedIn, Flaw> {
        let jws = Jws::read(bearer)?;
        let issuer = self.issuer(&jws)?;
        issuer.verify(jws, now)
    }

    fn issuer(&self, jws: &Jws<'_>) -> Result<&Issuer, Flaw> {
        let found = jws.issuer().unwrap_or_default();
        self.issuers.iter().find(|issuer| issuer.settings.url == found).ok_or_else(|| {
            let trusted: Vec<&str> = self.issuers.iter().map(|issuer| issuer.settings.url.as_str()).collect();
            Flaw::Issuer { found: found.chars().take(256).collect(), trusted: trusted.join(", ") }
        })
    }
}
