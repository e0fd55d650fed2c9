//! A coordinator with TLS and tokens, and callers of every kind.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use kindred_coordinator::{
    access::{Security, oidc},
    api,
    config::Config,
    engine, journal,
    telemetry::Telemetry,
};
use kindred_proto::v1::{
    self, access_service_client::AccessServiceClient, job_service_client::JobServiceClient,
    join_service_client::JoinServiceClient,
};
use prost::Message;
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

/// A coordinator of a test's own.
pub struct Secured {
    pub address: SocketAddr,
    pub state: TempDir,
    pub admin: String,
    ca: String,
    shutdown: CancellationToken,
    stop_engine: CancellationToken,
}

/// A channel whose calls carry a token.
pub type Link = InterceptedService<Channel, Bearer>;

/// Puts a token onto every call.
#[derive(Clone)]
pub struct Bearer(pub String);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, tonic::Status> {
        let header = format!("Bearer {}", self.0).parse().expect("plain text");
        request.metadata_mut().insert("authorization", header);
        Ok(request)
    }
}

impl Secured {
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// One that takes tokens of these providers, too.
    pub async fn start_with(oidc: Option<oidc::Settings>) -> Self {
        let state = tempfile::tempdir().expect("a temporary folder");
        let config = Config::new(state.path());
        let telemetry = Telemetry::open(config.telemetry_file(), 1000).await.expect("a new file");
        let (handle, engine) =
            engine::start(&config, journal::Memory::default(), telemetry).await.expect("an empty journal");
        let (shutdown, stop_engine) = (CancellationToken::new(), CancellationToken::new());
        tokio::spawn(engine.run(stop_engine.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let day = Duration::from_secs(24 * 3600);
        let mut security = Security::open(state.path(), None, address, &[], day).expect("a new authority");
        security.oidc = oidc;
        tokio::spawn(api::serve_secured(handle, Arc::new(security), listener, shutdown.clone()));
        let ca = fs::read_to_string(state.path().join("tls/ca.pem")).expect("made");
        let mut secured = Self { address, state, admin: String::new(), ca, shutdown, stop_engine };
        // The first call is answered once the first token is written.
        secured.channel(None).await;
        let token = fs::read_to_string(secured.state.path().join("admin-token")).expect("written");
        token.trim().clone_into(&mut secured.admin);
        secured
    }

    /// A connection that shows a node's certificate, or none.
    pub async fn channel(&self, node: Option<&Node>) -> Channel {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.ca));
        if let Some(node) = node {
            tls = tls.identity(Identity::from_pem(&node.certificate, &node.key));
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address)).expect("an address");
        endpoint.tls_config(tls).expect("its own authority").connect().await.expect("it listens")
    }

    pub async fn link(&self, token: &str) -> Link {
        InterceptedService::new(self.channel(None).await, Bearer(token.to_owned()))
    }

    pub async fn jobs(&self, token: &str) -> JobServiceClient<Link> {
        JobServiceClient::new(self.link(token).await)
    }

    pub async fn access(&self, token: &str) -> AccessServiceClient<Link> {
        AccessServiceClient::new(self.link(token).await)
    }

    /// A new token, made by the first admin.
    pub async fn token(&self, role: v1::Role, project: &str) -> v1::CreateTokenResponse {
        let name = format!("a-{}", role.as_str_name().trim_start_matches("ROLE_").to_lowercase());
        let request =
            v1::CreateTokenRequest { name, role: role.into(), project: project.to_owned(), ttl_s: 0 };
        let answer = self.access(&self.admin).await.create_token(request).await;
        answer.expect("an admin may").into_inner()
    }

    /// What a join token holds.
    pub async fn ticket(&self) -> v1::JoinTicket {
        let request = v1::CreateJoinTokenRequest::default();
        let answer = self.access(&self.admin).await.create_join_token(request).await;
        read_ticket(&answer.expect("an admin may").into_inner().join)
    }

    /// A node that joined.
    pub async fn node(&self, node_id: &str) -> Node {
        let key = KeyPair::generate().expect("a key");
        let request = join_request(&self.ticket().await, node_id, &key);
        let answer = JoinServiceClient::new(self.channel(None).await).join(request).await;
        Node::new(&key, answer.expect("the token is new").into_inner().certificate)
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.stop_engine.cancel();
    }
}

/// What a node shows, as PEM.
#[derive(Clone)]
pub struct Node {
    pub certificate: String,
    pub key: String,
}

impl Node {
    pub fn new(key: &KeyPair, given: Option<v1::NodeCertificate>) -> Self {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let der = given.expect("a certificate").certificate;
        let body = BASE64_STANDARD.encode(der);
        let certificate = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        Self { certificate, key: key.serialize_pem() }
    }
}

pub fn read_ticket(text: &str) -> v1::JoinTicket {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.trim()).expect("base64url");
    v1::JoinTicket::decode(bytes.as_slice()).expect("a ticket")
}

pub fn signing_request(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).expect("a request").der().to_vec()
}

pub fn join_request(ticket: &v1::JoinTicket, node_id: &str, key: &KeyPair) -> v1::JoinRequest {
    v1::JoinRequest {
        token_id: ticket.token_id.clone(),
        secret: ticket.secret.clone(),
        node_id: node_id.to_owned(),
        signing_request: signing_request(key),
    }
}
