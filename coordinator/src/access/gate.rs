//! The gate before every service: who calls, may they, and not too often.

use std::{
    convert::Infallible,
    fmt::Display,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use http_body::{Body as HttpBody, Frame, SizeHint};
use kindred_proto::failure::{Failure, Reason, to_status};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{Bytes, Service, http},
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use tower::Layer;

use super::{
    Caller,
    audit::{Audit, Entry},
    authority,
    caller::Identity,
    limits::{Counts, Exceeded, Limits, OpenStream},
    oidc::Oidc,
    permission, secret,
    table::{self, Rule},
};
use crate::{engine::Handle, model::Timestamp};

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// When a stream may be tried again that was one too many: somebody must close one.
const RETRY_STREAM: Duration = Duration::from_secs(10);

/// Stands before all services. Open, it lets everyone do everything.
#[derive(Clone, Default)]
pub struct Gate {
    guard: Option<Arc<Guard>>,
}

impl Gate {
    /// A gate that wants a token or a certificate with every call.
    pub fn closed(handle: Handle, audit: Audit, oidc: Option<Oidc>) -> Self {
        Self { guard: Some(Arc::new(Guard { handle, audit, oidc, counts: Counts::default() })) }
    }

    /// Whom a call with this header would come from; it is not counted as one.
    pub fn identity(&self, authorization: Option<&http::HeaderValue>) -> Identity {
        match (&self.guard, authorization) {
            (None, _) => Identity::Open,
            (Some(guard), Some(header)) => guard.user(header).unwrap_or(Identity::Nobody),
            (Some(_), None) => Identity::Nobody,
        }
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { guard: self.guard.clone(), inner }
    }
}

/// All services, behind the gate.
#[derive(Clone)]
pub struct Gated<S> {
    guard: Option<Arc<Guard>>,
    inner: S,
}

impl<S> Service<Request> for Gated<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let Some(guard) = self.guard.clone() else {
            return Box::pin(self.inner.call(request));
        };
        // The one that is ready is the one that is called.
        let other = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, other);
        Box::pin(async move {
            if let Some(learning) = guard.learn_key(&request) {
                learning.await;
            }
            let mut call = guard.look_at(&request);
            let admission = match guard.admit(&mut call) {
                Ok(admission) => admission,
                Err(refusal) => return Ok(guard.refuse(&call, refusal).into_http()),
            };
            request.extensions_mut().insert(call.caller.clone());
            let response = inner.call(request).await?;
            guard.note_answer(&call, &admission, &response);
            Ok(match admission.stream {
                Some(stream) => response
                    .map(|body| Body::new(Watched { body, guard, call, _stream: stream, is_cut: false })),
                None => response,
            })
        })
    }
}

/// One call, before its message is read.
struct Call {
    path: String,
    peer: String,
    caller: Caller,
    /// What was wrong with what it showed.
    flaw: Option<String>,
}

/// A call that may go on.
struct Admission {
    rule: &'static Rule,
    stream: Option<OpenStream>,
}

/// Why one may not.
struct Refusal {
    failure: Box<Failure>,
    retry_after: Duration,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failure: Box::new(failure), retry_after: Duration::from_secs(1) }
    }
}

struct Guard {
    handle: Handle,
    audit: Audit,
    /// Who else may say who a caller is.
    oidc: Option<Oidc>,
    counts: Counts,
}

impl Guard {
    /// What is waited for before a call is looked at: the key of its token, where that is not known. It counts as a call of nobody, so that
    /// whoever makes keys up is held up.
    fn learn_key(self: &Arc<Self>, request: &Request) -> Option<impl Future<Output = ()> + Send + use<>> {
        let oidc = self.oidc.as_ref()?;
        let bearer = bearer(request).filter(|bearer| Oidc::is_one(bearer))?;
        if oidc.knows_key_of(bearer) || self.counts.call(&address(&peer(request)), Limits::NOBODY).is_err() {
            return None;
        }
        let (guard, bearer) = (self.clone(), bearer.to_owned());
        Some(async move {
            if let Some(oidc) = &guard.oidc {
                oidc.learn(&bearer).await;
            }
        })
    }

    fn look_at(&self, request: &Request) -> Call {
        let (identity, flaw) = match self.identify(request) {
            Ok(identity) => (identity, None),
            Err(flaw) => (Identity::Nobody, Some(flaw)),
        };
        Call {
            path: request.uri().path().to_owned(),
            peer: peer(request),
            caller: Caller::new(identity),
            flaw,
        }
    }

    /// A token goes before a certificate.
    fn identify(&self, request: &Request) -> Result<Identity, String> {
        if let Some(header) = request.headers().get(http::header::AUTHORIZATION) {
            return self.user(header);
        }
        let Some(certificates) = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>() else {
            return Ok(Identity::Nobody);
        };
        let Some(certificates) = certificates.peer_certs() else { return Ok(Identity::Nobody) };
        let leaf = certificates.first().map(|leaf| leaf.as_ref()).unwrap_or_default();
        let node = authority::node_of(leaf).ok_or("the node's certificate is over")?;
        match self.is_known(&node) {
            true => Ok(node),
            false => Err("the node was expelled: let it join again with `kindred-worker --join`".to_owned()),
        }
    }

    fn user(&self, header: &http::HeaderValue) -> Result<Identity, String> {
        let text = header.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
        let bearer = text.unwrap_or_default();
        if Oidc::is_one(bearer) {
            let oidc = self.oidc.as_ref();
            let oidc = oidc.ok_or("the token is a JWT, and this coordinator has no sign-in (--oidc)")?;
            let user = oidc.verify(bearer, now()).map_err(|flaw| flaw.to_string())?;
            return Ok(Identity::SignedIn(Arc::new(user)));
        }
        let access = self.handle.access();
        let (id, digest) = secret::read_bearer(bearer).ok_or("the token is not one of Kindred's")?;
        let token = access.token(id).filter(|token| token.digest == digest);
        let token =
            token.ok_or("the token is not known: it was revoked, or comes from another coordinator")?;
        if !token.is_good(now()) {
            return Err("the token has expired: ask an admin for a new one".to_owned());
        }
        let (id, name) = (id.to_owned(), token.name.clone());
        Ok(Identity::User { id, name, role: token.role, project: token.project.clone() })
    }

    /// Whether what a caller showed at first is good still.
    fn is_known(&self, identity: &Identity) -> bool {
        let access = self.handle.access();
        match identity {
            Identity::Open | Identity::Nobody => true,
            Identity::User { id, .. } => access.token(id).is_some_and(|token| token.is_good(now())),
            Identity::SignedIn(user) => now() < user.good_until,
            Identity::Node { node_id, key } => access.node(node_id) == Some(*key),
        }
    }

    fn admit(&self, call: &mut Call) -> Result<Admission, Refusal> {
        // Who guesses is held up before anything is looked up for him.
        let (key, limits) = self.account(call);
        self.counts.call(&key, limits).map_err(|limit| exceeded(limit, &key, limits))?;
        let rule = table::rule(&call.path).ok_or_else(|| {
            Failure::new(Reason::ProtocolVersionUnsupported, format!("there is no method {}", call.path))
        })?;
        let projects = permission::check(rule.who, &call.caller.identity, call.flaw.as_deref())?;
        call.caller.projects = projects;
        let stream = rule.is_stream.then(|| self.counts.stream(&key, limits)).transpose();
        let stream = stream.map_err(|limit| exceeded(limit, &key, limits))?;
        Ok(Admission { rule, stream })
    }

    /// Whom a call is counted for, and what is allowed.
    fn account(&self, call: &Call) -> (String, Limits) {
        match &call.caller.identity {
            Identity::Open | Identity::Nobody => (address(&call.peer), Limits::NOBODY),
            Identity::User { id, .. } => (format!("token {id}"), Limits::USER),
            // Names may change, and be alike.
            Identity::SignedIn(user) => (format!("user {} at {}", user.subject, user.issuer), Limits::USER),
            Identity::Node { node_id, .. } => (format!("node {node_id}"), Limits::NODE),
        }
    }

    fn refuse(&self, call: &Call, refusal: Refusal) -> Status {
        let Refusal { failure, retry_after } = refusal;
        // Whoever calls too often would fill the events as well.
        if failure.reason == Reason::LimitExceeded {
            tracing::debug!(caller = %call.caller.identity, peer = call.peer, error = %failure, "call refused");
        } else {
            self.note(call, failure.reason.code(), &failure);
        }
        to_status(*failure, retry_after)
    }

    /// A refusal that came from behind the gate is an event as well.
    fn note_answer(&self, call: &Call, admission: &Admission, response: &Response) {
        let status = Status::from_header_map(response.headers());
        let (code, message) = match &status {
            Some(status) => (status.code(), status.message()),
            None => (Code::Ok, ""),
        };
        let is_refusal = matches!(code, Code::PermissionDenied | Code::Unauthenticated);
        if admission.rule.is_audited || is_refusal {
            self.note(call, code, message);
        }
    }

    fn note(&self, call: &Call, code: Code, reason: impl Display) {
        let method = call.path.trim_start_matches('/').trim_start_matches("kindred.v1.");
        self.audit.note(Entry {
            time_unix_ms: now().0,
            caller: call.caller.identity.to_string(),
            peer: call.peer.clone(),
            // A path that nobody knows may be long.
            method: method.chars().take(128).collect(),
            object: call.caller.object(),
            outcome: if code == Code::Ok { "OK".to_owned() } else { format!("{code:?}") },
            reason: reason.to_string().chars().take(512).collect(),
        });
    }
}

fn peer(request: &Request) -> String {
    let connection = request.extensions().get::<TcpConnectInfo>();
    let address = connection.and_then(TcpConnectInfo::remote_addr);
    address.map(|address| address.ip().to_string()).unwrap_or_default()
}

/// Whom calls of nobody are counted for.
fn address(peer: &str) -> String {
    format!("address {peer}")
}

fn bearer(request: &Request) -> Option<&str> {
    request.headers().get(http::header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn exceeded(limit: Exceeded, who: &str, limits: Limits) -> Refusal {
    let (message, retry_after) = match limit {
        Exceeded::Calls(wait) => {
            let Limits { calls_per_second, burst, .. } = limits;
            let text = format!(
                "{who} may make {calls_per_second} calls a second and {burst} at once: try again in {} ms",
                wait.as_millis().max(1)
            );
            (text, wait)
        }
        Exceeded::Streams => {
            let text = format!("{who} may hold {} streams open at a time: close one", limits.streams);
            (text, RETRY_STREAM)
        }
    };
    Refusal { failure: Box::new(Failure::new(Reason::LimitExceeded, message)), retry_after }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The answers of a stream: counted while it is open, and cut once its caller's token or certificate is good no more.
struct Watched {
    body: Body,
    guard: Arc<Guard>,
    call: Call,
    _stream: OpenStream,
    is_cut: bool,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_cut {
            return Poll::Ready(None);
        }
        if !self.guard.is_known(&self.call.caller.identity) {
            let failure = Failure::new(Reason::Unauthenticated, "the token or certificate is good no more");
            let mut trailers = http::HeaderMap::new();
            let told = Status::from(failure).add_header(&mut trailers);
            self.is_cut = true;
            return Poll::Ready(Some(told.map(|()| Frame::trailers(trailers))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.is_cut || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
