//! `kindred login`, `logout` and `whoami`: people sign in at the identity provider that the coordinator names, on any device with a browser.

use kindred_proto::v1;

use crate::{
    args::{Format, Global},
    client::Client,
    credentials::{self, Bearer},
    exit::{Error, Exit},
    output, text,
};
use provider::{Provider, printable};
use session::{Session, Store};

mod device;
mod provider;
mod session;

pub use session::{Kept, Store as SessionStore};

/// Signs in, and keeps what calls are made with from now on.
pub async fn login(global: &Global) -> Result<Exit, Error> {
    if global.credentials.tls_ca.is_none() {
        let message =
            "signing in needs a coordinator with TLS: name its authority with --tls-ca (or KINDRED_TLS_CA)";
        return Err(Error::invalid(message));
    }
    let client = Client::connect_with(global, Bearer::none()).await?;
    let offer = client.answer(client.access().get_sign_in(v1::GetSignInRequest {})).await?;
    if offer.issuer.is_empty() {
        let message = "this coordinator has no sign-in (--oidc): ask an admin for a token, and put it into KINDRED_TOKEN";
        return Err(Error::new(Exit::Other, message));
    }
    let store = Store::of(&global.coordinator)?;
    let provider = Provider::find(&offer).await?;
    let code = provider.begin(&offer.scopes).await?;
    output::note(&format!("open {} and enter {}", code.verification_uri, code.user_code));
    if let Some(complete) = &code.verification_uri_complete {
        output::note(&format!("or open {complete}"));
    }
    let minutes = text::duration(code.expires_in as f64);
    output::note(&format!("waiting for you to sign in; the code is good for {minutes}"));
    let (interval, life) = code.times();
    let tokens = device::poll(async || provider.ask(&code).await, interval, life).await;
    let tokens = tokens.map_err(|why| Error::new(Exit::Other, why))?;
    let session = Session::new(&global.coordinator, &offer, tokens)?;
    let is_renewed = session.refresh_token.is_some();
    store.write(&session)?;
    let who = who(&Client::connect_with(global, Bearer::of_text(&session.id_token)?).await?).await?;
    output::note(&format!("signed in as {}: {}", who.name, roles(&who)));
    if !is_renewed {
        let until = who.expire_time.as_ref().map(ToString::to_string).unwrap_or_default();
        output::note(&format!(
            "good until {until}: the provider gives nothing to renew it with (scope offline_access)"
        ));
    }
    if credentials::has_token(&global.credentials) {
        output::note("a token is set (KINDRED_TOKEN or --token-file): it goes before this sign-in");
    }
    Ok(Exit::Succeeded)
}

/// Forgets a sign-in, here and at the provider.
pub async fn logout(global: &Global) -> Result<Exit, Error> {
    let store = Store::of(&global.coordinator)?;
    let Some(session) = store.read()? else {
        output::note(&format!("nobody is signed in for {}", global.coordinator));
        return Ok(Exit::Succeeded);
    };
    store.remove()?;
    let revoked = match &session.refresh_token {
        Some(token) => session.revoke(token).await,
        None => Ok(()),
    };
    if let Err(why) = revoked {
        output::note(&format!("forgotten here; {} could not be told: {why}", session.issuer));
    } else {
        output::note("signed out");
    }
    Ok(Exit::Succeeded)
}

/// Says as whom calls are made.
pub async fn whoami(global: &Global) -> Result<Exit, Error> {
    let who = who(&Client::connect(global).await?).await?;
    match global.output {
        Format::Table if who.name.is_empty() => {
            output::note("this coordinator asks nobody who they are: it has no TLS and no tokens");
        }
        Format::Table => output::result(&lines(&who).join("\n"))?,
        format => output::document(format, &output::value(&who, "GetCallerResponse"))?,
    }
    Ok(Exit::Succeeded)
}

async fn who(client: &Client) -> Result<v1::GetCallerResponse, Error> {
    client.answer(client.access().get_caller(v1::GetCallerRequest {})).await
}

fn lines(who: &v1::GetCallerResponse) -> Vec<String> {
    let what = if who.issuer.is_empty() { "token" } else { "subject" };
    let until = who.expire_time.as_ref().map_or_else(|| "revoked".to_owned(), ToString::to_string);
    let all = [
        ("name", who.name.clone()),
        (what, who.subject.clone()),
        ("issuer", who.issuer.clone()),
        ("groups", who.groups.join(", ")),
        ("may", roles(who)),
        ("until", until),
    ];
    let shown = all.into_iter().filter(|(_, value)| !value.is_empty());
    shown.map(|(name, value)| format!("{name:<8} {}", printable(&value))).collect()
}

/// `submitter of vision, viewer of all projects`.
fn roles(who: &v1::GetCallerResponse) -> String {
    let role = |grant: &v1::Grant| {
        let role = grant.role().as_str_name().trim_start_matches("ROLE_").to_lowercase();
        let project = if grant.project == "*" { "all projects" } else { &grant.project };
        format!("{role} of {project}")
    };
    who.grants.iter().map(role).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_shown_with_what_it_may_do() {
        let grant =
            |role: v1::Role, project: &str| v1::Grant { role: role.into(), project: project.to_owned() };
        let who = v1::GetCallerResponse {
            name: "ada".into(),
            subject: "7f3".into(),
            issuer: "https://login.example.org".into(),
            grants: vec![grant(v1::Role::Viewer, "*"), grant(v1::Role::Submitter, "vision")],
            groups: vec!["vision".into(), "lab\u{1b}[2J".into()],
            expire_time: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
        };
        assert_eq!(
            lines(&who),
            [
                "name     ada",
                "subject  7f3",
                "issuer   https://login.example.org",
                "groups   vision, lab?[2J",
                "may      viewer of all projects, submitter of vision",
                "until    2023-11-14T22:13:20Z",
            ]
        );
    }
}
