//! What is kept of a sign-in, one file for each coordinator, and how it is renewed.

use std::{
    env, fs,
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use kindred_proto::v1;
use serde::{Deserialize, Serialize};

use super::provider::{Answer, Provider, Tokens};
use crate::exit::{Error, Exit};

/// A token is renewed so long before it ends, or after two thirds of its life where that is short.
const MARGIN_S: u64 = 30;

/// A sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    coordinator: String,
    /// The provider.
    pub issuer: String,
    client_id: String,
    issuer_ca: String,
    /// What the coordinator is shown.
    pub id_token: String,
    received_at_s: u64,
    expires_at_s: u64,
    /// What the next one is got with.
    pub refresh_token: Option<String>,
}

impl Session {
    /// What somebody has who just signed in.
    pub fn new(coordinator: &str, offer: &v1::GetSignInResponse, tokens: Tokens) -> Result<Self, Error> {
        let blank = Self {
            coordinator: normal(coordinator),
            issuer: offer.issuer.clone(),
            client_id: offer.client_id.clone(),
            issuer_ca: offer.issuer_ca.clone(),
            id_token: String::new(),
            received_at_s: 0,
            expires_at_s: 0,
            refresh_token: None,
        };
        blank.with(tokens)
    }

    /// The same with newer tokens.
    fn with(self, tokens: Tokens) -> Result<Self, Error> {
        let expires_at_s = end_of(&tokens.id_token).ok_or_else(|| {
            let message =
                "the provider gives no id_token: add `openid` to the scopes of the coordinator's --oidc file";
            Error::new(Exit::Other, message)
        })?;
        Ok(Self {
            id_token: tokens.id_token,
            received_at_s: now_s(),
            expires_at_s,
            // Providers that do not change it do not repeat it.
            refresh_token: tokens.refresh_token.or(self.refresh_token),
            ..self
        })
    }

    /// How long until it should be renewed.
    pub fn due_in(&self) -> Duration {
        let life_s = self.expires_at_s.saturating_sub(self.received_at_s);
        let due_s = self.expires_at_s.saturating_sub(MARGIN_S.min(life_s / 3));
        Duration::from_secs(due_s.saturating_sub(now_s()))
    }

    fn is_good(&self) -> bool {
        now_s() < self.expires_at_s
    }

    fn offer(&self) -> v1::GetSignInResponse {
        v1::GetSignInResponse {
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            issuer_ca: self.issuer_ca.clone(),
            ..Default::default()
        }
    }

    /// Tells the provider that a token is not needed any more.
    ///
    /// # Errors
    /// Why it does not know.
    pub async fn revoke(&self, refresh_token: &str) -> Result<(), String> {
        let provider = Provider::find(&self.offer()).await.map_err(|error| error.to_string())?;
        provider.revoke(refresh_token).await
    }

    async fn renew(self) -> Result<Self, Error> {
        let over = |why: &str| {
            let issuer = &self.issuer;
            Error::new(
                Exit::Other,
                format!("the sign-in at {issuer} is over ({why}): sign in again with `kindred login`"),
            )
        };
        let Some(token) = &self.refresh_token else { return Err(over("it cannot be renewed")) };
        match Provider::find(&self.offer()).await?.renew(token).await {
            Answer::Tokens(tokens) if tokens.id_token.is_empty() => Err(over("no new id_token was given")),
            Answer::Tokens(tokens) => self.with(tokens),
            Answer::Refused(why) => Err(over(&why)),
            Answer::Pending | Answer::SlowDown => Err(over("the provider asks for patience")),
            Answer::Lost(why) => {
                Err(Error::new(Exit::Unreachable, format!("{} cannot be reached: {why}", self.issuer)))
            }
        }
    }
}

/// Where the sign-in for one coordinator is kept.
#[derive(Clone, Debug)]
pub struct Store {
    coordinator: String,
    file: PathBuf,
}

/// A sign-in as it was found, and how renewing it went.
pub struct Kept {
    /// What is shown.
    pub session: Session,
    /// Why it could not be renewed, though it was due.
    pub problem: Option<Error>,
}

impl Store {
    /// The place for `--coordinator`, which may name several.
    pub fn of(coordinator: &str) -> Result<Self, Error> {
        let home =
            || Some(PathBuf::from(env::var_os("HOME").filter(|home| !home.is_empty())?).join(".config"));
        let base = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|base| base.is_absolute());
        let base = base.or_else(home).ok_or_else(|| {
            Error::invalid("there is no place to keep a sign-in: set XDG_CONFIG_HOME or HOME")
        })?;
        Ok(Self::below(&base.join("kindred/sessions"), coordinator))
    }

    fn below(folder: &Path, coordinator: &str) -> Self {
        let coordinator = normal(coordinator);
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '+');
        let name: String =
            coordinator.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect();
        Self { coordinator, file: folder.join(format!("{name}.json")) }
    }

    /// The sign-in that is kept.
    pub fn read(&self) -> Result<Option<Session>, Error> {
        let text = match fs::read(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.at("read", &error)),
        };
        let session: Session = serde_json::from_slice(&text).map_err(|error| self.at("read", &error))?;
        // Names of files are alike more easily than addresses.
        Ok(Some(session).filter(|session| session.coordinator == self.coordinator))
    }

    /// Keeps a sign-in, whole or not at all, where only its owner reads it.
    pub fn write(&self, session: &Session) -> Result<(), Error> {
        let write = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(self.folder())?;
            let draft = self.file.with_extension(format!("{}.new", std::process::id()));
            let mut file =
                fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(&serde_json::to_vec_pretty(session)?)?;
            file.sync_all()?;
            fs::rename(&draft, &self.file)
        };
        write().map_err(|error| self.at("write", &error))
    }

    /// Forgets it.
    pub fn remove(&self) -> Result<(), Error> {
        fs::remove_file(&self.file).map_err(|error| self.at("remove", &error))
    }

    /// The sign-in that is kept, renewed where that is due; none where nobody signed in.
    ///
    /// # Errors
    /// When it is over, or cannot be read.
    pub async fn fresh(&self) -> Result<Option<Kept>, Error> {
        let Some(session) = self.read()? else { return Ok(None) };
        if !session.due_in().is_zero() {
            return Ok(Some(Kept { session, problem: None }));
        }
        // One process renews: providers take a token that is used twice for a stolen one.
        let _lock = self.lock().await?;
        let Some(session) = self.read()? else { return Ok(None) };
        if !session.due_in().is_zero() {
            return Ok(Some(Kept { session, problem: None }));
        }
        match session.clone().renew().await {
            Ok(session) => {
                self.write(&session)?;
                Ok(Some(Kept { session, problem: None }))
            }
            // It will do for some seconds still.
            Err(problem) if session.is_good() => Ok(Some(Kept { session, problem: Some(problem) })),
            Err(problem) => Err(problem),
        }
    }

    async fn lock(&self) -> Result<fs::File, Error> {
        let path = self.file.with_extension("lock");
        let locked = tokio::task::spawn_blocking(move || -> std::io::Result<fs::File> {
            let file = fs::File::options().write(true).create(true).truncate(false).mode(0o600).open(path)?;
            file.lock()?;
            Ok(file)
        });
        let locked = locked.await.map_err(std::io::Error::other).flatten();
        locked.map_err(|error| self.at("lock", &error))
    }

    fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new("."))
    }

    fn at(&self, what: &str, error: &dyn std::fmt::Display) -> Error {
        Error::new(Exit::Other, format!("cannot {what} the sign-in in {}: {error}", self.file.display()))
    }
}

/// The same coordinators are the same, in whatever order.
fn normal(coordinator: &str) -> String {
    let bare = |address: &str| {
        address.trim().trim_start_matches("http://").trim_start_matches("https://").to_ascii_lowercase()
    };
    let mut addresses: Vec<String> = coordinator.split(',').map(bare).collect();
    addresses.sort();
    addresses.join("+")
}

/// When a token ends, as it says itself; whether that is true is the coordinator's business.
fn end_of(token: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    // Saturates, so that nonsense stays a time.
    Some(claims.exp as u64)
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn session(life_s: u64) -> Session {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{}}}", now_s() + life_s));
        let tokens = Tokens { id_token: format!("e30.{claims}.AA"), refresh_token: Some("r".to_owned()) };
        let offer =
            v1::GetSignInResponse { issuer: "https://login.example.org".into(), ..Default::default() };
        Session::new("b:2,a:1", &offer, tokens).expect("it has an end")
    }

    #[tokio::test]
    async fn a_sign_in_is_kept_for_its_coordinators_and_for_its_owner_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("kindred/sessions");
        let store = Store::below(&below, "b:2,a:1");
        assert_eq!(store.read().expect("there is none"), None);
        let session = session(3600);
        store.write(&session).expect("written");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&store.file), mode(&below)), (0o600, 0o700));
        for same in ["a:1,b:2", " https://A:1, b:2"] {
            assert_eq!(
                Store::below(&below, same).read().expect("readable").as_ref(),
                Some(&session),
                "{same}"
            );
        }
        for other in ["a:1", "a_1+b_2", "a:1,b:2,c:3"] {
            assert_eq!(Store::below(&below, other).read().expect("none"), None, "{other}");
        }
        let kept = store.fresh().await.expect("it is good").expect("it is there");
        assert!(kept.problem.is_none() && kept.session == session);
        store.remove().expect("it is there");
        assert_eq!(store.read().expect("there is none"), None);
    }

    #[test]
    fn it_is_renewed_before_it_ends() {
        let due_s = |life_s| session(life_s).due_in().as_secs();
        assert!((3560..=3570).contains(&due_s(3600)), "half a minute before");
        assert!((20..=40).contains(&due_s(60)), "two thirds of a short life");
        assert_eq!(due_s(0), 0);
    }

    #[test]
    fn a_token_without_an_end_is_none() {
        for token in ["", "opaque", "a.b.c", "e30.e30.AA"] {
            assert_eq!(end_of(token), None, "{token}");
        }
    }
}
