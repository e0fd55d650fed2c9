//! What a node that joined shows its coordinator: a key of its own and a certificate for a day, kept in the state folder.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use kindred_proto::v1;
use prost::Message;
use rcgen::{CertificateParams, KeyPair};
use serde::{Deserialize, Serialize};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    },
};

use crate::host::{Connection, Host, Pending, Started};
use crate::rank::{self, Launch};

const FILE: &str = "credentials.json";

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text after `--join`.
    #[error("--join: not what `kindred nodes join-token` prints: {0}")]
    Ticket(String),
    /// The file in the state folder.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file in the state folder holds something else.
    #[error("{}: cannot be read: {message}; remove it and join again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// A key that cannot be made or used.
    #[error("the node's key: {0}")]
    Key(String),
    /// A certificate that TLS does not take.
    #[error("the node's certificate: {0}")]
    Tls(#[from] rustls::Error),
}

/// As it lies in the state folder.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    coordinator: String,
    /// DER, as base64url; so are the other two.
    server_ca: String,
    key: String,
    certificate: String,
    not_after_unix_s: i64,
}

/// What a node shows. A clone is another handle to the same.
#[derive(Clone)]
pub struct Credentials {
    file: Arc<Path>,
    current: Arc<Mutex<Current>>,
}

struct Current {
    stored: Stored,
    /// Made of them.
    tls: Arc<ClientConfig>,
}

impl std::fmt::Debug for Credentials {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Those of a state folder; none when it never joined.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn read(state_dir: &Path) -> Result<Option<Self>, Error> {
        let file = state_dir.join(FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { path: file, source }),
        };
        let malformed = |message: String| Error::Malformed { path: file.clone(), message };
        let stored: Stored = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        let tls = stored.tls().map_err(|error| malformed(error.to_string()))?;
        let current = Arc::new(Mutex::new(Current { stored, tls }));
        Ok(Some(Self { file: file.into(), current }))
    }

    /// Puts what a node got when it joined into its state folder.
    ///
    /// # Errors
    /// When it cannot be used or written.
    pub fn keep(
        state_dir: &Path,
        ticket: &Ticket,
        key: &NodeKey,
        certificate: &v1::NodeCertificate,
    ) -> Result<Self, Error> {
        let stored = Stored {
            coordinator: ticket.coordinator.clone(),
            server_ca: encode(&ticket.server_ca),
            key: encode(&key.0.serialize_der()),
            certificate: encode(&certificate.certificate),
            not_after_unix_s: certificate.not_after_unix_s,
        };
        let file = state_dir.join(FILE);
        let tls = stored.tls()?;
        stored.write(&file)?;
        Ok(Self { file: file.into(), current: Arc::new(Mutex::new(Current { stored, tls })) })
    }

    /// Shows a newer certificate from the next connection on.
    ///
    /// # Errors
    /// When it cannot be used or written.
    pub fn renewed(&self, certificate: &v1::NodeCertificate) -> Result<(), Error> {
        let mut stored = self.stored();
        stored.certificate = encode(&certificate.certificate);
        stored.not_after_unix_s = certificate.not_after_unix_s;
        let tls = stored.tls()?;
        stored.write(&self.file)?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Current { stored, tls };
        Ok(())
    }

    /// Where the coordinator was when the node joined.
    pub fn coordinator(&self) -> String {
        self.stored().coordinator
    }

    /// Whether they come from the coordinator of this ticket.
    pub fn are_of(&self, ticket: &Ticket) -> bool {
        self.stored().server_ca == encode(&ticket.server_ca)
    }

    /// How long the certificate is still good.
    pub fn left(&self) -> Duration {
        let until = u64::try_from(self.stored().not_after_unix_s).unwrap_or(0);
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(until);
        until.duration_since(SystemTime::now()).unwrap_or_default()
    }

    /// The node's key.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn key(&self) -> Result<NodeKey, Error> {
        let der = decode(&self.stored().key)?;
        let der = PrivateKeyDer::try_from(der).map_err(|error| Error::Key(error.to_owned()))?;
        KeyPair::try_from(&der).map(NodeKey).map_err(|error| Error::Key(error.to_string()))
    }

    fn stored(&self) -> Stored {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).stored.clone()
    }

    fn tls(&self) -> Arc<ClientConfig> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).tls.clone()
    }
}

impl Stored {
    fn tls(&self) -> Result<Arc<ClientConfig>, Error> {
        let key =
            PrivateKeyDer::try_from(decode(&self.key)?).map_err(|error| Error::Key(error.to_owned()))?;
        let chain = vec![CertificateDer::from(decode(&self.certificate)?)];
        let builder = ClientConfig::builder().with_root_certificates(roots(&decode(&self.server_ca)?)?);
        Ok(with_h2(builder.with_client_auth_cert(chain, key)?))
    }

    /// Whole or not at all, and for nobody else to read.
    fn write(&self, file: &Path) -> Result<(), Error> {
        let draft = file.with_extension("new");
        let text = serde_json::to_string_pretty(self).expect("plain text has a form in JSON");
        let write = || {
            let _ = fs::remove_file(&draft);
            let mut writing = fs::File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
            writing.write_all(text.as_bytes())?;
            writing.sync_all()?;
            fs::rename(&draft, file)
        };
        write().map_err(|source| Error::Io { path: file.to_owned(), source })
    }
}

/// A node's key, which never leaves it.
pub struct NodeKey(KeyPair);

impl NodeKey {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn generate() -> Result<Self, Error> {
        KeyPair::generate().map(Self).map_err(|error| Error::Key(error.to_string()))
    }

    /// A request for a certificate for it (PKCS #10, DER).
    ///
    /// # Errors
    /// When it cannot sign.
    pub fn signing_request(&self) -> Result<Vec<u8>, Error> {
        let request = CertificateParams::default().serialize_request(&self.0);
        Ok(request.map_err(|error| Error::Key(error.to_string()))?.der().to_vec())
    }
}

/// What a join token says.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticket {
    /// host:port; several with commas between them.
    pub coordinator: String,
    /// Names the token.
    pub token_id: String,
    /// Its secret.
    pub secret: Vec<u8>,
    server_ca: Vec<u8>,
}

impl std::str::FromStr for Ticket {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.trim());
        let bytes = bytes.map_err(|error| Error::Ticket(error.to_string()))?;
        let ticket = v1::JoinTicket::decode(bytes.as_slice());
        let v1::JoinTicket { coordinator, server_ca, token_id, secret } =
            ticket.map_err(|error| Error::Ticket(error.to_string()))?;
        if coordinator.is_empty() || server_ca.is_empty() || token_id.is_empty() || secret.is_empty() {
            return Err(Error::Ticket("a part of it is missing".to_owned()));
        }
        Ok(Self { coordinator, token_id, secret, server_ca })
    }
}

/// A host whose connections are TLS, and show what the node has to show.
#[derive(Debug)]
pub struct Secured<H> {
    host: H,
    shown: Shown,
}

#[derive(Clone, Debug)]
enum Shown {
    /// Nothing yet; the coordinator is checked against this authority.
    Nothing(Arc<ClientConfig>),
    /// The newest certificate.
    Certificate(Credentials),
}

impl<H: Host> Secured<H> {
    /// For a node that joined.
    pub fn joined(host: H, credentials: Credentials) -> Self {
        Self { host, shown: Shown::Certificate(credentials) }
    }

    /// For one that is about to.
    ///
    /// # Errors
    /// When the ticket's authority is none.
    pub fn joining(host: H, ticket: &Ticket) -> Result<Self, Error> {
        let builder = ClientConfig::builder().with_root_certificates(roots(&ticket.server_ca)?);
        Ok(Self { host, shown: Shown::Nothing(with_h2(builder.with_no_client_auth())) })
    }
}

impl<H: Host> Host for Secured<H> {
    fn connect(&self, address: &str) -> Pending<'static, io::Result<Box<dyn Connection>>> {
        let tls = match &self.shown {
            Shown::Nothing(tls) => tls.clone(),
            Shown::Certificate(credentials) => credentials.tls(),
        };
        let plain = self.host.connect(address);
        let name = server_name(address);
        Box::pin(async move {
            let connection = TlsConnector::from(tls).connect(name?, plain.await?).await?;
            Ok(Box::new(connection) as Box<dyn Connection>)
        })
    }

    fn start(&self, launch: &Launch) -> Result<Started, rank::Error> {
        self.host.start(launch)
    }
}

/// The host of `host:port`, as its certificate must name it.
fn server_name(address: &str) -> io::Result<ServerName<'static>> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(host).map_err(io::Error::other)
}

fn roots(server_ca: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(server_ca.to_vec()))?;
    Ok(roots)
}

/// gRPC is HTTP/2 and nothing else.
fn with_h2(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Result<Vec<u8>, Error> {
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|error| Error::Key(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_ticket_is_told() {
        for text in ["", "not base64!", "YWJj", "AAAA"] {
            let error = text.parse::<Ticket>().expect_err(text).to_string();
            assert!(error.contains("--join") && error.contains("join-token"), "{error}");
        }
    }

    #[test]
    fn the_name_of_a_host_is_without_its_port() {
        for (address, name) in [("10.0.0.1:7460", "10.0.0.1"), ("gpu-1:1", "gpu-1"), ("[::1]:7460", "::1")] {
            assert_eq!(server_name(address).expect(address).to_str(), name);
        }
    }
}
