//! What a coordinator with TLS stands on: its certificate, the authority for nodes, where the first token is written.

use std::{
    env, fmt, fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::{
    authority::{self, Authority, ServerIdentity, read_pem},
    oidc,
};

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("TLS: {0}")]
pub struct Error(#[from] authority::Error);

/// A certificate that was made elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, as PEM.
    pub certificate: PathBuf,
    /// Its key, as PEM.
    pub key: PathBuf,
}

/// What a coordinator with TLS stands on.
#[derive(Clone, PartialEq, Eq)]
pub struct Security {
    /// Signs the certificates of nodes.
    pub authority: Authority,
    /// Where workers that join find the coordinator: host:port.
    pub address: String,
    /// Where the audit events are kept.
    pub audit_file: PathBuf,
    /// Where the first token is written.
    pub admin_token_file: PathBuf,
    /// What the coordinator's own certificate is checked against, as DER.
    pub server_ca: Vec<u8>,
    /// Who else may say who a caller is.
    pub oidc: Option<oidc::Settings>,
    server: ServerIdentity,
}

impl fmt::Debug for Security {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Security {
    /// Reads or makes all of it below the state folder. Without `files` the coordinator's certificate is its own authority's, for
    /// this host's names and `names`.
    ///
    /// # Errors
    /// When a file cannot be read, written or understood.
    pub fn open(
        state_dir: &Path,
        files: Option<&TlsFiles>,
        listens_at: SocketAddr,
        names: &[String],
        node_life: Duration,
    ) -> Result<Self, Error> {
        let tls_dir = state_dir.join("tls");
        let authority = Authority::open(&tls_dir, node_life)?;
        let (server, server_ca) = match files {
            Some(files) => read_server(files)?,
            None => {
                let server = authority.server(server_names(listens_at.ip(), names))?;
                (server, last(read_pem(&tls_dir.join("ca.pem"))?))
            }
        };
        let host = names.first().cloned().unwrap_or_else(|| listens_at.ip().to_string());
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Ok(Self {
            authority,
            address: format!("{host}:{}", listens_at.port()),
            audit_file: state_dir.join("audit.sqlite"),
            admin_token_file: state_dir.join("admin-token"),
            server_ca,
            oidc: None,
            server,
        })
    }

    /// As tonic wants to have it. A connection may show a certificate of a node; it need not.
    pub fn tls(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .identity(Identity::from_pem(&self.server.certificate, &self.server.key))
            .client_ca_root(Certificate::from_pem(self.authority.certificate()))
            .client_auth_optional(true)
            .timeout(HANDSHAKE_TIMEOUT)
    }
}

/// As the dashboard's listener wants to have it: browsers are not asked for a certificate.
pub fn web_tls(security: &Security) -> Result<ServerConfig, rustls::Error> {
    let unreadable = |error| rustls::Error::General(format!("the certificate or its key: {error}"));
    let ServerIdentity { certificate, key } = &security.server;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(unreadable)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain.map_err(unreadable)?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn read_server(files: &TlsFiles) -> Result<(ServerIdentity, Vec<u8>), authority::Error> {
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|source| authority::Error::Io { path: path.to_owned(), source })
    };
    let server = ServerIdentity { certificate: read(&files.certificate)?, key: read(&files.key)? };
    // The root, or whatever of the chain is nearest to it.
    Ok((server, last(read_pem(&files.certificate)?)))
}

fn last(certificates: Vec<Vec<u8>>) -> Vec<u8> {
    certificates.into_iter().next_back().unwrap_or_default()
}

/// The names and addresses by which this host is reached.
fn server_names(listens_at: IpAddr, names: &[String]) -> Vec<String> {
    let mut all: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    all.extend(names.iter().cloned());
    if listens_at.is_unspecified() {
        all.extend(interface_addresses());
    } else {
        all.push(listens_at.to_string());
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| env::var("HOSTNAME").ok());
    all.extend(host.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()));
    all.sort();
    all.dedup();
    all
}

fn interface_addresses() -> impl Iterator<Item = String> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        let v6 = address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip()));
        v4.or(v6).map(|ip| ip.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_goes_by_the_address_that_it_listens_at() {
        let names = server_names("10.77.0.1".parse().expect("an address"), &["gpu-head".to_owned()]);
        for name in ["10.77.0.1", "gpu-head", "localhost"] {
            assert!(names.iter().any(|known| known == name), "{name} is not in {names:?}");
        }
        let everywhere = server_names("0.0.0.0".parse().expect("an address"), &[]);
        assert!(!everywhere.contains(&"0.0.0.0".to_owned()));
    }

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("server.pem");
        fs::write(&file, "nothing").expect("written");
        let files = TlsFiles { certificate: file.clone(), key: file };
        let at = "127.0.0.1:7460".parse().expect("an address");
        let error = Security::open(folder.path(), Some(&files), at, &[], Duration::from_secs(60));
        let error = error.expect_err("no certificate").to_string();
        assert!(error.contains("server.pem") && error.contains("no certificate"), "{error}");
    }
}
