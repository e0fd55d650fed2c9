//! What the CLI shows a coordinator with TLS, and what it checks of it.

use std::{
    env, fs,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::{sync::Mutex, time};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    args::{Credentials, Global},
    exit::Error,
    output,
    sign_in::{Kept, SessionStore},
};

/// A channel whose calls carry the token.
pub type Link = InterceptedService<Channel, Bearer>;

/// How soon a sign-in that could not be renewed is tried again.
const RENEW_AGAIN: Duration = Duration::from_secs(5);
/// However short a token's life is.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// How long the end of a command waits for a renewal.
const LEAVE_AFTER: Duration = Duration::from_secs(10);

/// Puts the token onto every call; nothing where there is none. That of a sign-in is renewed while this lives.
#[derive(Clone)]
pub struct Bearer {
    header: Arc<RwLock<Option<Header>>>,
    /// Renewing ends with its last owner.
    renewing: Option<Arc<DropGuard>>,
}

type Header = MetadataValue<Ascii>;

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = self.header.read().unwrap_or_else(PoisonError::into_inner).clone() {
            request.metadata_mut().insert("authorization", token);
        }
        Ok(request)
    }
}

impl Bearer {
    /// No token.
    pub fn none() -> Self {
        Self { header: Arc::default(), renewing: None }
    }

    /// This token.
    ///
    /// # Errors
    /// When it is no plain text.
    pub fn of_text(token: &str) -> Result<Self, Error> {
        Ok(Self { header: Arc::new(RwLock::new(header(token)?)), renewing: None })
    }

    /// The token of the file, or of the environment, or of a sign-in. It is shown over TLS only.
    ///
    /// # Errors
    /// When the file cannot be read, or holds more than a token, or when a sign-in is over.
    pub async fn of(global: &Global) -> Result<Self, Error> {
        let credentials = &global.credentials;
        if credentials.tls_ca.is_none() {
            return Ok(Self::none());
        }
        let token = match &credentials.token_file {
            Some(file) => Some(fs::read_to_string(file).map_err(|error| {
                Error::invalid(format!("--token-file: cannot read {}: {error}", file.display()))
            })?),
            None => env::var("KINDRED_TOKEN").ok(),
        };
        match token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()) {
            Some(token) => Self::of_text(&token),
            None => Self::of_sign_in(&global.coordinator).await,
        }
    }

    async fn of_sign_in(coordinator: &str) -> Result<Self, Error> {
        // Where no home is, nobody signed in either.
        let Ok(store) = SessionStore::of(coordinator) else { return Ok(Self::none()) };
        let Some(Kept { session, problem }) = store.fresh().await? else { return Ok(Self::none()) };
        if let Some(problem) = problem {
            output::note(&format!("the sign-in could not be renewed: {problem}"));
        }
        let bearer = Self::of_text(&session.id_token)?;
        let over = CancellationToken::new();
        tokio::spawn(renew(store, session.due_in(), bearer.header.clone(), over.clone()));
        Ok(Self { renewing: Some(Arc::new(over.drop_guard())), ..bearer })
    }

    /// Whether a token that was refused may be replaced by another one.
    pub fn is_renewed(&self) -> bool {
        self.renewing.is_some()
    }
}

/// Whether a token is given that goes before a sign-in.
pub fn has_token(credentials: &Credentials) -> bool {
    credentials.token_file.is_some() || env::var("KINDRED_TOKEN").is_ok_and(|token| !token.trim().is_empty())
}

/// Held while a sign-in is renewed.
static RENEWAL: Mutex<()> = Mutex::const_new(());

/// Waits for a renewal that has begun: what the provider gave, and nobody kept, would be lost, and the sign-in with it.
pub async fn settle() {
    // One that hangs holds nobody up for ever.
    let _ = time::timeout(LEAVE_AFTER, RENEWAL.lock()).await;
}

/// Renews a sign-in whenever that is due, for commands that go on for long.
async fn renew(
    store: SessionStore,
    mut due_in: Duration,
    shown: Arc<RwLock<Option<Header>>>,
    over: CancellationToken,
) {
    loop {
        tokio::select! {
            () = time::sleep(due_in.max(LEAST_PAUSE)) => {}
            () = over.cancelled() => return,
        }
        let _renewing = RENEWAL.lock().await;
        due_in = match store.fresh().await {
            Ok(Some(Kept { session, problem })) => {
                if let Ok(token) = header(&session.id_token) {
                    *shown.write().unwrap_or_else(PoisonError::into_inner) = token;
                }
                if problem.is_some() { RENEW_AGAIN } else { session.due_in() }
            }
            // Somebody signed out.
            Ok(None) => return,
            // The next call says what is wrong.
            Err(_) => RENEW_AGAIN,
        };
    }
}

fn header(token: &str) -> Result<Option<Header>, Error> {
    let header = MetadataValue::try_from(format!("Bearer {token}"));
    let mut header = header.map_err(|_| Error::invalid("the token is not one of Kindred's, nor a JWT"))?;
    header.set_sensitive(true);
    Ok(Some(header))
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
