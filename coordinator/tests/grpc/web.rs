//! The dashboard's listener: the API as JSON, with the API's permissions.

use std::{sync::Arc, time::Duration};

use kindred_coordinator::{
    access::Security,
    api::{self, Sockets},
    config::Config,
    engine, journal,
    telemetry::Telemetry,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};
use tokio_util::sync::CancellationToken;

use crate::fixture::{PATIENCE, spec};

/// A coordinator with a dashboard, open or with TLS.
struct Web {
    address: std::net::SocketAddr,
    state: TempDir,
    is_secured: bool,
    stop: CancellationToken,
}

/// Status, headers and body of an answer.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} {}", self.head, self.body))
    }
}

impl Web {
    async fn start(is_secured: bool) -> Self {
        let state = tempfile::tempdir().expect("a temporary folder");
        let config = Config::new(state.path());
        let telemetry = Telemetry::open(config.telemetry_file(), 1000).await.expect("a new file");
        let (handle, engine) =
            engine::start(&config, journal::Memory::default(), telemetry).await.expect("an empty journal");
        let stop = CancellationToken::new();
        tokio::spawn(engine.run(stop.clone()));
        let api = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let web = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (at, address) = (api.local_addr().expect("bound"), web.local_addr().expect("bound"));
        let sockets = Sockets { api, web: Some(web) };
        if is_secured {
            let day = Duration::from_secs(24 * 3600);
            let security = Security::open(state.path(), None, at, &[], day).expect("a new authority");
            tokio::spawn(api::serve_secured(handle, Arc::new(security), sockets, stop.clone()));
        } else {
            tokio::spawn(api::serve(handle, sockets, stop.clone()));
        }
        Self { address, state, is_secured, stop }
    }

    /// Sends a request as it is, and reads the answer to its end.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let host = format!("localhost:{}", self.address.port());
        let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            text.push_str(&format!("host: {host}\r\n"));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        let answer = timeout(PATIENCE, self.exchange(text.as_bytes())).await.expect("an answer in time");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    async fn exchange(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        let mut answer = vec![];
        if !self.is_secured {
            stream.write_all(request).await.expect("it reads");
            stream.read_to_end(&mut answer).await.expect("it answers");
            return String::from_utf8_lossy(&answer).into_owned();
        }
        let ca = std::fs::read(self.state.path().join("tls/ca.pem")).expect("made");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&ca).expect("PEM")).expect("an authority");
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("the defaults").with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, stream).await.expect("its own certificate");
        stream.write_all(request).await.expect("it reads");
        // It need not say good-bye.
        stream.read_to_end(&mut answer).await.ok();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn call(&self, method: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.ask("POST", &format!("/api/call/kindred.v1.{method}"), &headers, &body.to_string()).await
    }

    /// The first admin's token, once it is written.
    async fn admin(&self) -> String {
        let file = self.state.path().join("admin-token");
        let written = async {
            while !file.exists() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, written).await.expect("it is written at the start");
        // The listener for browsers opens after it.
        std::fs::read_to_string(file).expect("written").trim().to_owned()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn submission(name: &str) -> Value {
    let spec = kindred_proto::v1::JobSpec { name: name.to_owned(), ..spec(1) };
    json!({"spec": without_null(kindred_proto::json::to_value(&spec, "kindred.v1.JobSpec"))})
}

fn without_null(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_null(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_null).collect(),
        other => other,
    }
}

#[tokio::test]
async fn calls_are_json_and_refusals_say_why() {
    let web = Web::start(false).await;
    let made = web.call("JobService/CreateJob", &[], &submission("first")).await;
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(made.json()["job"]["id"], "job-1");
    let listed = web.call("JobService/ListJobs", &[], &json!({"filter": "name = first"})).await.json();
    assert_eq!(listed["jobs"][0]["state"], "JOB_STATE_PENDING");
    let missing = web.call("JobService/GetJob", &[], &json!({"job_id": "job-9"})).await;
    assert_eq!((missing.status, missing.json()["reason"].as_str()), (404, Some("JOB_NOT_FOUND")));
    let misspelt = web.call("JobService/GetJob", &[], &json!({"jobid": "job-1"})).await;
    assert_eq!(misspelt.status, 400);
    assert!(misspelt.json()["message"].as_str().expect("text").contains("jobid"), "{}", misspelt.body);
    assert_eq!(web.call("JobService/NoSuch", &[], &json!({})).await.status, 404);
    assert_eq!(web.call("JobService/WatchJob", &[], &json!({})).await.status, 404, "that is a stream");
    let told = web.ask("GET", "/api/departures/job-1", &[], "").await.json();
    let fields: Vec<_> =
        told["departures"].as_array().expect("a list").iter().map(|one| &one["field"]).collect();
    assert!(fields.contains(&&json!("recipe.training.epochs")), "{fields:?}");
    assert!(told["yaml"].as_str().expect("text").contains("name: first"), "{told}");
}

#[tokio::test]
async fn pages_bring_their_policy_and_nothing_else_is_there() {
    let web = Web::start(false).await;
    for path in ["/", "/queue", "/jobs", "/jobs/job-1", "/compare", "/assets/js/main.js", "/assets/style.css"]
    {
        let page = web.ask("GET", path, &[], "").await;
        assert_eq!(page.status, 200, "{path}");
        for line in [
            "content-security-policy: default-src 'none'; script-src 'self'",
            "x-content-type-options: nosniff",
        ] {
            assert!(page.head.contains(line), "{path} lacks {line}: {}", page.head);
        }
        assert!(!page.head.contains("unsafe-inline"), "{}", page.head);
    }
    let tag = web.ask("GET", "/assets/style.css", &[], "").await;
    let tag = tag.head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag").to_owned();
    assert_eq!(web.ask("GET", "/assets/style.css", &[("if-none-match", &tag)], "").await.status, 304);
    for path in ["/assets/../mod.rs", "/assets/js", "/nothing", "/api", "/assets/js/pages/../../index.html"] {
        assert_eq!(web.ask("GET", path, &[], "").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn pages_of_other_sites_reach_nothing() {
    let web = Web::start(false).await;
    let own = format!("http://localhost:{}", web.address.port());
    let cancel = json!({"job_id": "job-1"});
    let call = async |headers: &[(&str, &str)]| web.call("JobService/GetJob", headers, &cancel).await.status;
    assert_eq!(call(&[("origin", &own), ("sec-fetch-site", "same-origin")]).await, 404, "it is let through");
    assert_eq!(call(&[("origin", "http://evil.example")]).await, 403);
    assert_eq!(call(&[("origin", "null")]).await, 403);
    assert_eq!(call(&[("sec-fetch-site", "cross-site")]).await, 403);
    assert_eq!(call(&[("host", "evil.example")]).await, 403, "a name that was let point here");
    assert_eq!(
        web.ask("GET", "/metrics", &[("host", "coordinator.svc")], "").await.status,
        200,
        "scrapers have names"
    );
    let form =
        web.ask("POST", "/api/call/kindred.v1.JobService/GetJob", &[("content-type", "text/plain")], "{}");
    assert_eq!(form.await.status, 403);
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event_that_was_read() {
    let web = Web::start(false).await;
    web.call("JobService/CreateJob", &[], &submission("streamed")).await;
    // A job that is over: its stream ends.
    web.call("JobService/CancelJob", &[], &json!({"job_id": "job-1"})).await;
    let path = "/api/stream/kindred.v1.JobService/WatchJob?request=%7B%22job_id%22%3A%22job-1%22%7D";
    let stream = web.ask("GET", path, &[], "").await;
    assert!(stream.head.contains("content-type: text/event-stream"), "{}", stream.head);
    assert!(
        stream.body.contains("JOB_STATE_CANCELLED") && stream.body.contains("event: end"),
        "{}",
        stream.body
    );
    let marker = stream.body.lines().find_map(|line| line.strip_prefix("id: ")).expect("a marker").to_owned();
    let again = web.ask("GET", path, &[("last-event-id", &marker)], "").await;
    assert!(!again.body.contains("JOB_STATE"), "nothing is newer: {}", again.body);
    let path = "/api/stream/kindred.v1.JobService/WatchJob?request=%7B%22job_id%22%3A%22job-7%22%7D";
    let refused = web.ask("GET", path, &[], "").await;
    assert!(
        refused.body.contains("event: failure") && refused.body.contains("JOB_NOT_FOUND"),
        "{}",
        refused.body
    );
}

#[tokio::test]
async fn what_a_token_may_not_do_the_dashboard_does_not() {
    let web = Web::start(true).await;
    let admin = web.admin().await;
    let bearer = |token: &str| format!("Bearer {token}");
    assert_eq!(web.call("JobService/ListJobs", &[], &json!({})).await.status, 401);
    assert_eq!(web.ask("GET", "/metrics", &[], "").await.status, 401);
    assert_eq!(web.ask("GET", "/", &[], "").await.status, 200, "the page asks for a token");
    let who = web.ask("GET", "/api/session", &[], "").await.json();
    assert_eq!(who, json!({"state": "signed-out"}));

    let entry = json!({"token": "nothing"}).to_string();
    let content = ("content-type", "application/json");
    assert_eq!(web.ask("POST", "/api/session", &[content], &entry).await.status, 401);
    let make = json!({"name": "ana", "role": "ROLE_VIEWER", "project": "vision"});
    let by_admin = bearer(&admin);
    let made = web.call("AccessService/CreateToken", &[("authorization", &by_admin)], &make).await.json();
    let viewer = made["secret"].as_str().expect("a secret").to_owned();
    let entry = json!({"token": viewer}).to_string();
    let signed_in = web.ask("POST", "/api/session", &[content], &entry).await;
    assert_eq!(
        signed_in.json(),
        json!({"state": "signed-in", "name": "ana", "role": "viewer", "project": "vision"})
    );
    let cookie = signed_in.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    for word in ["__host-kindred=", "httponly", "samesite=strict", "secure", "path=/"] {
        assert!(cookie.contains(word), "{word} is not in {cookie}");
    }
    let cookie = format!("other=1; __Host-kindred={viewer}");
    let cookie = [("cookie", cookie.as_str())];

    // Another project's job is not there, for nobody who has no business with it.
    web.call("JobService/CreateJob", &[("authorization", &by_admin)], &submission("secret")).await;
    assert_eq!(
        web.call("JobService/GetJob", &[("authorization", &by_admin)], &json!({"job_id": "job-1"}))
            .await
            .status,
        200
    );
    assert_eq!(web.call("JobService/ListJobs", &cookie, &json!({})).await.json()["jobs"], json!([]));
    assert_eq!(web.call("JobService/GetJob", &cookie, &json!({"job_id": "job-1"})).await.status, 404);
    assert_eq!(web.ask("GET", "/api/departures/job-1", &cookie, "").await.status, 404);
    let metrics = web.ask("GET", "/metrics", &cookie, "").await;
    assert!(metrics.status == 200 && !metrics.body.contains("job-1"), "{}", metrics.body);
    let cancel = web.call("JobService/CancelJob", &cookie, &json!({"job_id": "job-1"})).await;
    assert_eq!(cancel.status, 403, "{}", cancel.body);
    assert!(
        cancel.json()["message"].as_str().expect("text").contains("the token's role is viewer"),
        "{}",
        cancel.body
    );
    assert_eq!(web.call("NodeService/DrainNode", &cookie, &json!({"node_id": "n"})).await.status, 403);
    assert_eq!(web.call("AgentService/Store", &cookie, &json!({})).await.status, 403, "that is for nodes");
    let events =
        web.call("AccessService/ListAuditEvents", &[("authorization", &by_admin)], &json!({})).await.json();
    let noted = events["events"].as_array().expect("a list").iter().any(|event| {
        event["method"] == "JobService/CancelJob"
            && event["peer"] == "127.0.0.1"
            && event["outcome"] == "PermissionDenied"
    });
    assert!(noted, "what was refused is an event: {events}");
}
