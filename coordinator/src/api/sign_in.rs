//! Where people sign in, and who somebody is.

use kindred_proto::v1;

use super::access::wire_time;
use crate::{
    access::{caller::Identity, oidc::Settings},
    model::access::{Access, Role},
};

/// Where people sign in; nothing where they cannot.
pub fn offer(settings: Option<&Settings>) -> v1::GetSignInResponse {
    let mut issuers = settings.into_iter().flat_map(|settings| &settings.issuers);
    let found = issuers.find_map(|issuer| Some((issuer, issuer.client_id.clone()?)));
    let Some((issuer, client_id)) = found else { return v1::GetSignInResponse::default() };
    v1::GetSignInResponse {
        issuer: issuer.url.clone(),
        client_id,
        scopes: issuer.scopes.clone(),
        issuer_ca: issuer.ca.clone().unwrap_or_default(),
    }
}

/// Who a caller is, and what it may do.
pub fn caller(identity: &Identity, access: &Access) -> v1::GetCallerResponse {
    let grant = |(role, project): (Role, &str)| v1::Grant {
        role: v1::Role::from(role).into(),
        project: project.to_owned(),
    };
    let grants = identity.grants().into_iter().map(grant).collect();
    match identity {
        Identity::User { id, name, .. } => v1::GetCallerResponse {
            name: name.clone(),
            subject: id.clone(),
            grants,
            expire_time: access.token(id).and_then(|token| token.expires_at).map(wire_time),
            ..Default::default()
        },
        Identity::SignedIn(user) => v1::GetCallerResponse {
            name: user.name.clone(),
            subject: user.subject.clone(),
            issuer: user.issuer.clone(),
            grants,
            groups: user.groups.clone(),
            expire_time: Some(wire_time(user.good_until)),
        },
        Identity::Open | Identity::Nobody | Identity::Node { .. } => v1::GetCallerResponse::default(),
    }
}
