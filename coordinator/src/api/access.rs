//! `AccessService`: tokens, nodes that are let in and out, and what became of calls.

use std::{sync::Arc, time::Duration};

use kindred_proto::{
    failure::{Failure, Reason},
    ids::NodeId,
    job_spec::DEFAULT_PROJECT,
    v1::{self, access_service_server::AccessService},
};
use prost_types::Timestamp as WireTime;
use tonic::{Request, Response, Status, async_trait};

use super::{
    answer,
    page::{self, Bounds, Pages},
    sign_in,
};
use crate::{
    access::{Caller, Security, audit::Audit, secret::Secret},
    engine::Handle,
    model::{
        Timestamp,
        access::{ALL_PROJECTS, AccessEvent, Role, Token},
    },
};

const TOKENS: Bounds = Bounds { default: 100, most: 1000 };
const EVENTS: Bounds = Bounds { default: 100, most: 1000 };

const JOIN_TTL: Duration = Duration::from_secs(3600);
const MAX_JOIN_TTL: Duration = Duration::from_secs(7 * 24 * 3600);
/// Nobody means more.
const MAX_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a coordinator with tokens has.
#[derive(Clone)]
pub struct Secured {
    /// Certificates.
    pub security: Arc<Security>,
    /// What became of calls.
    pub audit: Audit,
}

/// The service, over the engine's handle.
pub struct AccessApi {
    /// The engine.
    pub handle: Handle,
    /// None where there are no tokens.
    pub secured: Option<Secured>,
}

#[async_trait]
impl AccessService for AccessApi {
    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let caller = Caller::of(&request);
        answer(self.create(&caller, request.into_inner())).await
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        answer(async {
            self.secured()?;
            let pages = Pages::new("tokens", &caller.projects, request.page_size, TOKENS);
            let access = self.handle.access();
            let own = access.tokens().filter(|(_, token)| governs(&caller, token));
            let all = own.map(|(id, token)| view(id, token)).collect();
            let (tokens, next_page_token) =
                pages.cut(all, &request.page_token, |token: &v1::Token| &token.id)?;
            Ok(v1::ListTokensResponse { tokens, next_page_token })
        })
        .await
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let caller = Caller::of(&request);
        let id = request.into_inner().token_id;
        caller.is_about(format!("token {id}"));
        answer(async {
            self.secured()?;
            let access = self.handle.access();
            if access.token(&id).is_none_or(|token| !governs(&caller, token)) {
                let message = format!("there is no token {id}");
                return Err(Failure::new(Reason::TokenNotFound, message).about("token_id"));
            }
            self.handle.change_access(AccessEvent::Revoke { id }).await?;
            Ok(v1::RevokeTokenResponse {})
        })
        .await
    }

    async fn create_join_token(
        &self,
        request: Request<v1::CreateJoinTokenRequest>,
    ) -> Result<Response<v1::CreateJoinTokenResponse>, Status> {
        let caller = Caller::of(&request);
        answer(self.invite(&caller, request.into_inner())).await
    }

    async fn expel_node(
        &self,
        request: Request<v1::ExpelNodeRequest>,
    ) -> Result<Response<v1::ExpelNodeResponse>, Status> {
        let caller = Caller::of(&request);
        let node_id = NodeId::new(request.into_inner().node_id);
        caller.is_about(format!("node {node_id}"));
        answer(async {
            self.secured()?;
            self.handle.change_access(AccessEvent::Expel { node_id }).await?;
            Ok(v1::ExpelNodeResponse {})
        })
        .await
    }

    async fn list_audit_events(
        &self,
        request: Request<v1::ListAuditEventsRequest>,
    ) -> Result<Response<v1::ListAuditEventsResponse>, Status> {
        let request = request.into_inner();
        answer(async {
            let pages = Pages::new("audit events", (), request.page_size, EVENTS);
            let before = pages.cursor(&request.page_token)?;
            let before = before.map(|text| text.parse().map_err(|_| page::invalid())).transpose()?;
            let mut events = self.secured()?.audit.before(before, pages.limit).await?;
            let has_more = events.len() > pages.limit;
            events.truncate(pages.limit);
            let last = events.last().filter(|_| has_more).map(|event| event.number.to_string());
            Ok(v1::ListAuditEventsResponse { events, next_page_token: pages.token(last.as_deref()) })
        })
        .await
    }

    async fn get_sign_in(
        &self,
        _: Request<v1::GetSignInRequest>,
    ) -> Result<Response<v1::GetSignInResponse>, Status> {
        let settings = self.secured.as_ref().and_then(|secured| secured.security.oidc.as_ref());
        Ok(Response::new(sign_in::offer(settings)))
    }

    async fn get_caller(
        &self,
        request: Request<v1::GetCallerRequest>,
    ) -> Result<Response<v1::GetCallerResponse>, Status> {
        let identity = Caller::of(&request).identity;
        Ok(Response::new(sign_in::caller(&identity, &self.handle.access())))
    }
}

impl AccessApi {
    fn secured(&self) -> Result<&Secured, Failure> {
        self.secured.as_ref().ok_or_else(|| {
            let message =
                "this coordinator has no tokens: start it with --tls auto, or --tls-cert and --tls-key";
            Failure::new(Reason::IllegalTransition, message)
        })
    }

    async fn create(
        &self,
        caller: &Caller,
        request: v1::CreateTokenRequest,
    ) -> Result<v1::CreateTokenResponse, Failure> {
        self.secured()?;
        let role = role(request.role())?;
        let name = checked_name("name", &request.name)?;
        let project = match request.project.as_str() {
            "" => caller.projects.single().unwrap_or(DEFAULT_PROJECT).to_owned(),
            ALL_PROJECTS => ALL_PROJECTS.to_owned(),
            project => checked_name("project", project)?,
        };
        if project == ALL_PROJECTS {
            caller.check_all_projects()?;
        }
        caller.check_project(&project)?;
        let now = self.handle.now().await?;
        let secret = Secret::generate();
        let expires_at = ttl("ttl_s", request.ttl_s, MAX_TTL)?.map(|ttl| now.plus(ttl));
        let token = Token { name, role, project, digest: secret.digest(), created_at: now, expires_at };
        caller.is_about(format!("token {}", secret.id));
        let id = secret.id.clone();
        self.handle.change_access(AccessEvent::Create { id, token: token.clone() }).await?;
        Ok(v1::CreateTokenResponse { token: Some(view(&secret.id, &token)), secret: secret.bearer() })
    }

    async fn invite(
        &self,
        caller: &Caller,
        request: v1::CreateJoinTokenRequest,
    ) -> Result<v1::CreateJoinTokenResponse, Failure> {
        let security = &self.secured()?.security;
        let ttl = ttl("ttl_s", request.ttl_s, MAX_JOIN_TTL)?.unwrap_or(JOIN_TTL);
        let address = match request.address.as_str() {
            "" => security.address.as_str(),
            address => address,
        };
        if address.len() > 1024 || !address.contains(':') {
            return Err(invalid("address", "must be host:port"));
        }
        let secret = Secret::generate();
        caller.is_about(format!("join token {}", secret.id));
        let now = self.handle.now().await?;
        let event = AccessEvent::Invite { id: secret.id.clone(), digest: secret.digest(), ttl };
        self.handle.change_access(event).await?;
        let expire_time = Some(wire_time(now.plus(ttl)));
        Ok(v1::CreateJoinTokenResponse { join: secret.join(address, &security.server_ca), expire_time })
    }
}

/// Whether a caller may see and revoke a token.
fn governs(caller: &Caller, token: &Token) -> bool {
    caller.projects.contain(&token.project)
}

fn view(id: &str, token: &Token) -> v1::Token {
    v1::Token {
        id: id.to_owned(),
        name: token.name.clone(),
        role: v1::Role::from(token.role).into(),
        project: token.project.clone(),
        create_time: Some(wire_time(token.created_at)),
        expire_time: token.expires_at.map(wire_time),
    }
}

pub(super) fn wire_time(time: Timestamp) -> WireTime {
    let nanos = i32::try_from(time.0.rem_euclid(1000) * 1_000_000).unwrap_or_default();
    WireTime { seconds: time.0.div_euclid(1000), nanos }
}

fn role(wire: v1::Role) -> Result<Role, Failure> {
    match wire {
        v1::Role::Viewer => Ok(Role::Viewer),
        v1::Role::Submitter => Ok(Role::Submitter),
        v1::Role::Operator => Ok(Role::Operator),
        v1::Role::Admin => Ok(Role::Admin),
        v1::Role::Unspecified => Err(invalid("role", "must be viewer, submitter, operator or admin")),
    }
}

fn checked_name(field: &str, given: &str) -> Result<String, Failure> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_good = (1..=63).contains(&given.len())
        && given.bytes().all(is_inner)
        && !given.starts_with('-')
        && !given.ends_with('-');
    if is_good {
        return Ok(given.to_owned());
    }
    let shown: String = given.chars().take(64).collect();
    let why = format!("must be 1 to 63 lower-case letters, digits and inner hyphens, not {shown:?}");
    Err(invalid(field, &why))
}

fn ttl(field: &str, seconds: u64, most: Duration) -> Result<Option<Duration>, Failure> {
    if seconds > most.as_secs() {
        return Err(invalid(field, &format!("must be at most {} s, not {seconds}", most.as_secs())));
    }
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}

fn invalid(field: &str, why: &str) -> Failure {
    Failure::new(Reason::SpecInvalid, format!("{field}: {why}")).about(field)
}
