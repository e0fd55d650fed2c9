//! The coordinator's own certificate authority: it signs the certificates of nodes and, unless there is another one, the
//! coordinator's.

use std::{
    fmt, fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use kindred_proto::ids::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
};
use x509_parser::{parse_x509_certificate, pem::Pem};

use super::caller::Identity;
use crate::model::access::Digest;

/// Clocks of nodes may be behind ours by so much.
const BACKDATE: Duration = Duration::from_secs(5 * 60);
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// It is made anew at every start, and its key is nowhere but in memory.
const SERVER_LIFE: Duration = Duration::from_secs(825 * 24 * 3600);

/// Why a certificate cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the authority.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that holds something else.
    #[error("{}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A certificate or request that cannot be made or read.
    #[error("certificate: {0}")]
    Certificate(String),
}

impl From<rcgen::Error> for Error {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(error.to_string())
    }
}

/// A certificate that was signed.
pub struct Signed {
    /// DER.
    pub der: Vec<u8>,
    /// When it ends.
    pub not_after: SystemTime,
    /// Of its public key.
    pub key: Digest,
}

/// A server's certificate with its key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerIdentity {
    /// The chain.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// Signs certificates.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    certificate: String,
    key: String,
    node_life: Duration,
}

impl fmt::Debug for Authority {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads `ca.pem` and `ca.key` of a folder, or makes them.
    ///
    /// # Errors
    /// When they cannot be read, written or understood.
    pub fn open(folder: &Path, node_life: Duration) -> Result<Self, Error> {
        let (certificate, key) = (folder.join("ca.pem"), folder.join("ca.key"));
        if !certificate.exists() {
            fs::create_dir_all(folder).map_err(at(folder))?;
            let made = make_ca()?;
            write_private(&key, &made.key)?;
            // The certificate comes last: without it everything is made again.
            write_private(&certificate, &made.certificate)?;
        }
        let read = |path: &Path| fs::read_to_string(path).map_err(at(path));
        let authority = Self { certificate: read(&certificate)?, key: read(&key)?, node_life };
        let unusable =
            |error: Error| Error::Malformed { path: certificate.clone(), message: error.to_string() };
        authority.issuer().map_err(unusable)?;
        Ok(authority)
    }

    /// Its certificate, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a server that goes by these names and addresses.
    ///
    /// # Errors
    /// When a name is none.
    pub fn server(&self, names: Vec<String>) -> Result<ServerIdentity, Error> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "kindred coordinator");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        limit(&mut params, SERVER_LIFE);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer()?)?;
        Ok(ServerIdentity { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// A certificate for a node; of its request only the key counts.
    ///
    /// # Errors
    /// When the request cannot be read, or its signature does not hold.
    pub fn node(&self, node_id: &NodeId, request: &[u8]) -> Result<Signed, Error> {
        let mut request = CertificateSigningRequestParams::from_der(&request.into())?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, node_id.as_str());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let not_after = limit(&mut params, self.node_life);
        request.params = params;
        let certificate = request.signed_by(&self.issuer()?)?;
        let key = Digest::of(request.public_key.der_bytes());
        Ok(Signed { der: certificate.der().to_vec(), not_after, key })
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, Error> {
        Ok(Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)?)
    }
}

/// The node of a certificate that the TLS layer found good when the connection came; none once it is over.
pub fn node_of(certificate: &[u8]) -> Option<Identity> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    let node_id = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    let key = Digest::of(&certificate.public_key().subject_public_key.data);
    certificate.validity().is_valid().then(|| Identity::Node { node_id: NodeId::new(node_id), key })
}

/// The certificates in a PEM text, as DER.
///
/// # Errors
/// When there is none, or one cannot be read.
pub fn read_pem(path: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let text = fs::read(path).map_err(at(path))?;
    let malformed = |message: String| Error::Malformed { path: path.to_owned(), message };
    let mut found = vec![];
    for pem in Pem::iter_from_buffer(&text) {
        let pem = pem.map_err(|error| malformed(format!("is not PEM: {error}")))?;
        if pem.label == "CERTIFICATE" {
            found.push(pem.contents);
        }
    }
    if found.is_empty() {
        return Err(malformed("holds no certificate as PEM".to_owned()));
    }
    Ok(found)
}

/// Writes a file that nobody else may read, whole or not at all.
///
/// # Errors
/// When that fails.
pub fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    let draft = path.with_extension("new");
    let write = || {
        let _ = fs::remove_file(&draft);
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(at(path))
}

fn at(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path: path.clone(), source }
}

fn make_ca() -> Result<ServerIdentity, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "kindred certificate authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    limit(&mut params, CA_LIFE);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(ServerIdentity { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Says when it is good; gives the end.
fn limit(params: &mut CertificateParams, life: Duration) -> SystemTime {
    let now = SystemTime::now();
    let not_after = now + life;
    (params.not_before, params.not_after) = ((now - BACKDATE).into(), not_after.into());
    not_after
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn request(key: &KeyPair, name: &str) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serialize_request(key).expect("a request").der().to_vec()
    }

    #[test]
    fn an_authority_stays_and_its_key_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let tls = folder.path().join("tls");
        let first = Authority::open(&tls, Duration::from_secs(60)).expect("made");
        let second = Authority::open(&tls, Duration::from_secs(60)).expect("read");
        assert_eq!(first, second);
        let mode = fs::metadata(tls.join("ca.key")).expect("written").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!format!("{first:?}").contains("PRIVATE"));
    }

    #[test]
    fn a_node_gets_its_own_name_whatever_it_asks_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::open(folder.path(), Duration::from_secs(60)).expect("made");
        let key = KeyPair::generate().expect("a key");
        let signed = authority.node(&"node-a".into(), &request(&key, "node-b")).expect("signed");
        let found = node_of(&signed.der).expect("a node's");
        assert_eq!(found, Identity::Node { node_id: "node-a".into(), key: signed.key });
        authority.node(&"node-a".into(), b"no request").err().expect("not DER");
        let mut forged = request(&key, "node-b");
        *forged.last_mut().expect("not empty") ^= 1;
        authority.node(&"node-a".into(), &forged).err().expect("its signature does not hold");
    }

    #[test]
    fn a_certificate_that_is_over_names_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::open(folder.path(), Duration::ZERO).expect("made");
        let key = KeyPair::generate().expect("a key");
        let mut over = authority.clone();
        over.node_life = Duration::ZERO;
        let signed = over.node(&"node-a".into(), &request(&key, "")).expect("signed");
        let until = signed.not_after.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        let is_over = || {
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs() > until
        };
        while !is_over() {
            std::thread::yield_now();
        }
        assert_eq!(node_of(&signed.der), None);
    }
}
