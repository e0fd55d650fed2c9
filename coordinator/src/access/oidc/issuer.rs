//! One provider: its keys, read beside the calls that need them.
//!
//! A task reads the keys when they are due, and when a token names one that is not known, with a pause between; so a call whose key is known
//! waits for nobody, and nobody can make the coordinator ask a provider in a loop.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    claims,
    flaw::{Flaw, span},
    http::{Document, Http},
    jws::Jws,
    keys::KeySet,
    settings::{IssuerSettings, check_url},
};
use crate::{access::caller::SignedIn, model::Timestamp};

/// How long a call whose key is not known waits for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Keys are used so long at least, whatever the provider says: some say nothing may be kept.
const LEAST_AGE: Duration = Duration::from_secs(60);
/// The first pause after a failure; each one more doubles it, up to the time after which keys are due.
const FIRST_RETRY: Duration = Duration::from_secs(5);

/// A provider that is trusted.
pub struct Issuer {
    /// What is known of it.
    pub settings: IssuerSettings,
    rounds: watch::Receiver<Round>,
    wanted: Arc<Notify>,
}

/// What came of the last time that the keys were read.
#[derive(Clone, Debug, Default)]
struct Round {
    keys: Arc<KeySet>,
    /// When they were read.
    read_at: Option<Instant>,
    /// When the last attempt ended.
    ended_at: Option<Instant>,
    /// Why it failed.
    error: Option<String>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Issuer {
    /// Begins to read the keys, and goes on until `over`.
    ///
    /// # Errors
    /// When the authority of its certificate cannot be read.
    pub fn start(settings: IssuerSettings, over: CancellationToken) -> Result<Self, String> {
        let http = Http::new(settings.ca.as_deref())?;
        let (sender, rounds) = watch::channel(Round::default());
        let wanted = Arc::new(Notify::new());
        let reader = Reader { http, settings: settings.clone(), rounds: sender, wanted: wanted.clone() };
        tokio::spawn(async move {
            tokio::select! {
                () = reader.run() => {}
                () = over.cancelled() => {}
            }
        });
        Ok(Self { settings, rounds, wanted })
    }

    /// Whether the key of a token is known, or was asked for just now.
    pub fn knows_key_of(&self, jws: &Jws<'_>) -> bool {
        self.settles(&self.rounds.borrow(), jws)
    }

    /// Waits a moment for the key of a token.
    pub async fn learn(&self, jws: &Jws<'_>) {
        let mut rounds = self.rounds.clone();
        if self.settles(&rounds.borrow_and_update(), jws) {
            return;
        }
        self.wanted.notify_one();
        // Whatever comes of it, the token is looked at next.
        let _ = timeout(PATIENCE, rounds.changed()).await;
    }

    fn settles(&self, round: &Round, jws: &Jws<'_>) -> bool {
        let was_just_asked = round.ended_at.is_some_and(|at| at.elapsed() < self.settings.ask_again);
        was_just_asked || !round.keys.of(jws).is_empty()
    }

    /// Who a token is about.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(&self, jws: Jws<'_>, now: Timestamp) -> Result<SignedIn, Flaw> {
        let keys = self.keys()?;
        let fit = keys.of(&jws);
        if fit.is_empty() {
            let key =
                jws.key_id.as_deref().map(|id| format!(" {:?}", id.chars().take(64).collect::<String>()));
            let issuer = self.settings.url.clone();
            return Err(Flaw::UnknownKey { key: key.unwrap_or_default(), issuer });
        }
        claims::check(&jws.verify(fit)?, &self.settings, now)
    }

    /// The keys, as long as they are good.
    fn keys(&self) -> Result<Arc<KeySet>, Flaw> {
        let round = self.rounds.borrow();
        let no_keys = |why: String| Flaw::NoKeys { issuer: self.settings.url.clone(), why };
        let error = round.error.clone().unwrap_or_else(|| "they are being read".to_owned());
        let Some(read_at) = round.read_at else { return Err(no_keys(error)) };
        let age = read_at.elapsed();
        if age > self.settings.keep_keys {
            let age = span(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
            return Err(no_keys(format!("the last ones are {age} old; {error}")));
        }
        Ok(round.keys.clone())
    }
}

/// Reads the keys.
struct Reader {
    http: Http,
    settings: IssuerSettings,
    rounds: watch::Sender<Round>,
    wanted: Arc<Notify>,
}

impl Reader {
    async fn run(self) {
        let issuer = self.settings.url.as_str();
        let mut retry = FIRST_RETRY;
        loop {
            let outcome = self.read().await;
            // What was wanted until now was read.
            let _ = timeout(Duration::ZERO, self.wanted.notified()).await;
            let now = Instant::now();
            let pause = match outcome {
                Ok((keys, max_age)) => {
                    let last = self.rounds.borrow().clone();
                    if last.error.is_some() || last.keys.as_ref() != &keys {
                        info!(issuer, "the issuer's keys were read");
                    }
                    let (read_at, ended_at) = (Some(now), Some(now));
                    self.rounds.send_replace(Round { keys: Arc::new(keys), read_at, ended_at, error: None });
                    retry = FIRST_RETRY;
                    max_age.unwrap_or(self.settings.refresh_keys)
                }
                Err(error) => {
                    if self.rounds.borrow().error.is_none() {
                        warn!(issuer, error, "the issuer's keys cannot be read; trying again");
                    }
                    self.rounds.send_modify(|round| {
                        (round.ended_at, round.error) = (Some(now), Some(error));
                    });
                    let pause = retry;
                    retry = (retry * 2).min(self.settings.refresh_keys);
                    pause
                }
            };
            let pause = pause.min(self.settings.refresh_keys).max(self.settings.ask_again);
            sleep(self.settings.ask_again).await;
            // It errs when nobody wanted them: they are due.
            let _ = timeout(pause - self.settings.ask_again, self.wanted.notified()).await;
        }
    }

    async fn read(&self) -> Result<(KeySet, Option<Duration>), String> {
        let url = &self.settings.url;
        let place = format!("{}/.well-known/openid-configuration", url.trim_end_matches('/'));
        let discovery = self.http.get(&place).await?;
        let discovery: Discovery = serde_json::from_slice(&discovery.body)
            .map_err(|error| format!("{place} does not describe an issuer: {error}"))?;
        if discovery.issuer != *url {
            return Err(format!(
                "{place} describes {:?}: write the issuer's url like that",
                discovery.issuer
            ));
        }
        check_url(&discovery.jwks_uri).map_err(|error| format!("{place}: jwks_uri: {error}"))?;
        let Document { body, max_age } = self.http.get(&discovery.jwks_uri).await?;
        let keys = KeySet::read(&body).map_err(|error| format!("{}: {error}", discovery.jwks_uri))?;
        Ok((keys, max_age.map(|age| age.max(LEAST_AGE))))
    }
}
