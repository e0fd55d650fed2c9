//! A small identity provider on this machine: real HTTP and real signatures, and it does what a test says.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use crate::signer::Signer;

/// The client that people sign in as.
pub const CLIENT: &str = "kindred";

/// A provider, until it is dropped.
pub struct Issuer {
    /// Its name.
    pub url: String,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

struct State {
    url: String,
    /// What is published; the first one signs.
    signers: Vec<Signer>,
    is_away: bool,
    token_life: Duration,
    n_key_reads: usize,
    n_renewals: watch::Sender<usize>,
    n_made: usize,
    /// By the code that people enter; with what is said of whoever approved.
    sign_ins: HashMap<String, Option<Value>>,
    /// Good tokens for renewal.
    renewals: HashMap<String, Value>,
}

impl Issuer {
    /// Starts one with this key.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(signer: Signer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("bound");
        let url = format!("http://{address}");
        let state = Arc::new(Mutex::new(State {
            url: url.clone(),
            signers: vec![signer],
            is_away: false,
            token_life: Duration::from_secs(3600),
            n_key_reads: 0,
            n_renewals: watch::Sender::new(0),
            n_made: 0,
            sign_ins: HashMap::new(),
            renewals: HashMap::new(),
        }));
        let shared = state.clone();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, shared.clone()));
            }
        });
        Self { url, state, server }
    }

    /// Publishes only this key from now on, and signs with it.
    pub fn rotate(&self, signer: Signer) {
        self.lock().signers = vec![signer];
    }

    /// Answers nobody, or everybody again.
    pub fn be_away(&self, is_away: bool) {
        self.lock().is_away = is_away;
    }

    /// How long tokens are good from now on.
    pub fn set_token_life(&self, life: Duration) {
        self.lock().token_life = life;
    }

    /// How often the keys were read.
    pub fn n_key_reads(&self) -> usize {
        self.lock().n_key_reads
    }

    /// How often somebody's sign-in was renewed.
    pub fn n_renewals(&self) -> usize {
        *self.lock().n_renewals.borrow()
    }

    /// Waits until sign-ins were renewed so often.
    ///
    /// # Panics
    /// When the provider is gone, which outlives this.
    pub async fn renewals_reach(&self, wanted: usize) {
        let mut renewals = self.lock().n_renewals.subscribe();
        renewals.wait_for(|n| *n >= wanted).await.expect("the provider is there");
    }

    /// A token, with these claims over those of a good one.
    pub fn token(&self, claims: &Value) -> String {
        self.lock().token(claims)
    }

    /// Lets the one in who was told this code, as somebody of whom this is said; false for a code that was given to nobody.
    pub fn approve(&self, code: &str, claims: Value) -> bool {
        self.lock().sign_ins.get_mut(code).map(|approved| *approved = Some(claims)).is_some()
    }

    /// Takes back what a sign-in is renewed with.
    pub fn forget_everyone(&self) {
        self.lock().renewals.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds since 1970.
pub fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// One request of a connection; without an answer where the provider is away.
async fn answer(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let Some((path, form)) = read(&mut stream).await else { return };
    if lock(&state).is_away {
        return;
    }
    let (status, body) = lock(&state).answer(&path, &form);
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // Whoever asked may be gone.
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}

/// The path, and the fields of the form that came with it.
async fn read(stream: &mut TcpStream) -> Option<(String, HashMap<String, String>)> {
    let mut bytes = vec![];
    let head_len = loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_len]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|text| text.parse().ok()).unwrap_or(0);
    while bytes.len() < head_len + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let request = String::from_utf8_lossy(&bytes[..head_len]);
    let path = request.split_whitespace().nth(1)?.to_owned();
    let form = String::from_utf8_lossy(&bytes[head_len..]).into_owned();
    let fields = form.split('&').filter_map(|pair| pair.split_once('='));
    Some((path, fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
}

impl State {
    fn answer(&mut self, path: &str, form: &HashMap<String, String>) -> (&'static str, Value) {
        let url = self.url.clone();
        match path {
            "/.well-known/openid-configuration" => {
                let described = json!({
                    "issuer": url,
                    "jwks_uri": format!("{url}/keys"),
                    "device_authorization_endpoint": format!("{url}/device"),
                    "token_endpoint": format!("{url}/token"),
                    "revocation_endpoint": format!("{url}/revoke"),
                });
                ("200 OK", described)
            }
            "/keys" => {
                self.n_key_reads += 1;
                ("200 OK", json!({"keys": self.signers.iter().map(Signer::jwk).collect::<Vec<_>>()}))
            }
            "/device" if form.get("client_id").map(String::as_str) == Some(CLIENT) => {
                let code = self.new_secret("CODE");
                self.sign_ins.insert(code.clone(), None);
                let sign_in = json!({
                    "device_code": format!("device-{code}"),
                    "user_code": code,
                    "verification_uri": format!("{url}/enter"),
                    "expires_in": 600,
                    "interval": 1,
                });
                ("200 OK", sign_in)
            }
            "/token" => match self.exchange(form) {
                Ok(tokens) => ("200 OK", tokens),
                Err(error) => ("400 Bad Request", json!({"error": error})),
            },
            "/revoke" => {
                self.renewals.remove(form.get("token").map_or("", String::as_str));
                ("200 OK", json!({}))
            }
            _ => ("404 Not Found", json!({})),
        }
    }

    fn exchange(&mut self, form: &HashMap<String, String>) -> Result<Value, &'static str> {
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        if field("client_id") != CLIENT {
            return Err("invalid_client");
        }
        let claims = match field("grant_type") {
            "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code" => {
                let code = field("device_code").trim_start_matches("device-").to_owned();
                let approved = self.sign_ins.get(&code).ok_or("expired_token")?.clone();
                let claims = approved.ok_or("authorization_pending")?;
                self.sign_ins.remove(&code);
                claims
            }
            "refresh_token" => {
                // Each is good once, as with providers that look for stolen ones.
                let claims = self.renewals.remove(field("refresh_token")).ok_or("invalid_grant")?;
                self.n_renewals.send_modify(|n| *n += 1);
                claims
            }
            _ => return Err("unsupported_grant_type"),
        };
        let renewal = self.new_secret("renewal");
        self.renewals.insert(renewal.clone(), claims.clone());
        let id_token = self.token(&claims);
        Ok(
            json!({"token_type": "Bearer", "access_token": "opaque", "id_token": id_token, "refresh_token": renewal}),
        )
    }

    fn token(&self, claims: &Value) -> String {
        let now = now_s();
        let mut all = json!({
            "iss": self.url, "aud": CLIENT, "sub": "7f3", "iat": now, "exp": now + self.token_life.as_secs(),
        });
        for (name, value) in claims.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        self.signers[0].token(&all)
    }

    fn new_secret(&mut self, kind: &str) -> String {
        self.n_made += 1;
        format!("{kind}-{}", self.n_made)
    }
}
