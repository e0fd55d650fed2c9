//! Tokens of an identity provider, over real connections to it and to the coordinator.

use std::{path::Path, time::Duration};

use kindred_coordinator::access::{limits::Limits, oidc::Settings};
use kindred_proto::{
    failure::{Reason, from_status},
    v1,
};
use kindred_tests::{
    issuer::{Issuer, now_s},
    signer::Signer,
};
use serde_json::json;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use super::secured::Secured;
use crate::fixture::{PATIENCE, spec};

/// Trusts this provider; a group for each role, in all projects and in one.
pub fn trusting(provider: &Issuer) -> Settings {
    let roles = ["viewer", "submitter", "operator", "admin"];
    let grant = |role: &str, of: &str, project: &str| {
        format!("  - {{group: {role}-of-{of}, role: {role}, project: '{project}'}}\n")
    };
    let grants: String = roles
        .iter()
        .flat_map(|role| {
            [grant(role, "all", "*"), grant(role, "vision", "vision"), grant(role, "speech", "speech")]
        })
        .collect();
    let text = format!(
        "issuers:\n- url: {}\n  client_id: kindred\n  name_claim: preferred_username\n  grants:\n{grants}",
        provider.url
    );
    Settings::read(&text, Path::new("/nowhere")).expect("it is valid")
}

async fn start() -> (Issuer, Secured) {
    let provider = Issuer::start(Signer::rsa("first")).await;
    let coordinator = Secured::start_with(Some(trusting(&provider))).await;
    (provider, coordinator)
}

async fn list(coordinator: &Secured, token: &str) -> Result<Vec<String>, Status> {
    let listed = coordinator.jobs(token).await.list_jobs(v1::ListJobsRequest::default()).await?;
    Ok(listed.into_inner().jobs.into_iter().map(|job| job.id).collect())
}

async fn submit(coordinator: &Secured, token: &str, project: &str) -> Result<String, Status> {
    let spec = v1::JobSpec { project: project.to_owned(), ..spec(1) };
    let request = v1::CreateJobRequest { spec: Some(spec), ..Default::default() };
    Ok(coordinator.jobs(token).await.create_job(request).await?.into_inner().job.expect("set").id)
}

#[tokio::test]
async fn somebody_may_do_in_each_project_what_the_groups_there_allow() {
    let (provider, coordinator) = start().await;
    let groups = json!(["submitter-of-vision", "viewer-of-speech", "others"]);
    let ada = provider.token(&json!({"sub": "7f3", "preferred_username": "ada", "groups": groups}));
    let own = submit(&coordinator, &ada, "").await.expect("where she may submit");
    let read = submit(&coordinator, &coordinator.admin, "speech").await.expect("an admin may");
    let hidden = submit(&coordinator, &coordinator.admin, "").await.expect("an admin may");
    assert_eq!(list(&coordinator, &ada).await.expect("of both"), [read.as_str(), own.as_str()]);

    let denied = submit(&coordinator, &ada, "speech").await.expect_err("she reads there only");
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert!(denied.message().contains("in vision, not in speech"), "{denied:?}");
    let mut jobs = coordinator.jobs(&ada).await;
    for (job_id, code) in
        [(&own, None), (&read, Some(Code::PermissionDenied)), (&hidden, Some(Code::NotFound))]
    {
        let cancel = v1::CancelJobRequest { job_id: job_id.clone(), ..Default::default() };
        let answer = jobs.cancel_job(cancel).await;
        assert_eq!(answer.err().map(|status| status.code()), code, "{job_id}");
    }

    let mut access = coordinator.access(&ada).await;
    let who = access.get_caller(v1::GetCallerRequest {}).await.expect("she is known").into_inner();
    assert_eq!(
        (who.name.as_str(), who.subject.as_str(), who.issuer.as_str()),
        ("ada", "7f3", &*provider.url)
    );
    assert_eq!(who.groups, ["submitter-of-vision", "viewer-of-speech", "others"]);
    let grants: Vec<_> = who.grants.iter().map(|grant| (grant.role(), grant.project.as_str())).collect();
    assert_eq!(grants, [(v1::Role::Viewer, "speech"), (v1::Role::Submitter, "vision")]);

    let request = v1::ListAuditEventsRequest::default();
    let events = coordinator.access(&coordinator.admin).await.list_audit_events(request).await;
    let events = events.expect("an admin may").into_inner().events;
    let host = provider.url.trim_start_matches("http://");
    let caller = format!("user ada (7f3 at {host})");
    let told = |outcome: &str| events.iter().any(|event| event.caller == caller && event.outcome == outcome);
    assert!(told("OK") && told("PermissionDenied") && told("NotFound"), "{events:#?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_said() {
    let (provider, coordinator) = start().await;
    let good = provider.token(&json!({"groups": ["viewer-of-all"]}));
    list(&coordinator, &good).await.expect("it is good");
    let cases = [
        (json!({"exp": now_s() - 180}), "expired 3 min ago"),
        (json!({"aud": "other"}), "audience is \"other\", and this coordinator expects \"kindred\""),
        (json!({"nbf": now_s() + 3600}), "is a clock wrong?"),
        (json!({"iss": "https://other.example"}), "this coordinator trusts"),
    ];
    for (claims, part) in cases {
        let status = list(&coordinator, &provider.token(&claims)).await.expect_err(part);
        assert_eq!(
            (status.code(), from_status(&status).reason),
            (Code::Unauthenticated, Reason::Unauthenticated)
        );
        assert!(status.message().contains(part), "{status:?}");
    }
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    let status = list(&coordinator, &forged).await.expect_err("it was changed");
    assert!(status.message().contains("signature does not hold"), "{status:?}");
    let nobody = provider.token(&json!({"groups": ["others"]}));
    let status = list(&coordinator, &nobody).await.expect_err("no role");
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("\"others\""), "{status:?}");

    let without = Secured::start().await;
    let status = list(&without, &good).await.expect_err("it trusts nobody");
    assert!(status.message().contains("--oidc"), "{status:?}");
    let offer =
        without.access("").await.get_sign_in(v1::GetSignInRequest {}).await.expect("open to everyone");
    assert_eq!(offer.into_inner(), v1::GetSignInResponse::default());
}

#[tokio::test]
async fn a_new_key_is_learnt_by_the_first_call_and_an_outage_is_not_noticed() {
    let provider = Issuer::start(Signer::rsa("first")).await;
    let mut trusted = trusting(&provider);
    trusted.issuers[0].ask_again = Duration::ZERO;
    let coordinator = Secured::start_with(Some(trusted)).await;
    let groups = json!({"groups": ["viewer-of-all"]});
    list(&coordinator, &provider.token(&groups)).await.expect("by the first key");
    provider.rotate(Signer::p256("second"));
    let token = provider.token(&groups);
    list(&coordinator, &token).await.expect("by the second key");
    provider.be_away(true);
    for _ in 0..5 {
        list(&coordinator, &token).await.expect("the key is known");
    }
    let status = list(&coordinator, &Signer::p256("third").token(&json!({"iss": provider.url}))).await;
    assert_eq!(status.expect_err("nobody knows it").code(), Code::Unauthenticated);
}

#[tokio::test]
async fn calls_are_counted_for_each_person() {
    let (provider, coordinator) = start().await;
    let token = |subject: &str| provider.token(&json!({"sub": subject, "groups": ["viewer-of-all"]}));
    let mut jobs = coordinator.jobs(&token("a")).await;
    let refused = async {
        loop {
            // It is the person that counts, not the token.
            if let Err(status) = jobs.list_jobs(v1::ListJobsRequest::default()).await {
                return status;
            }
        }
    };
    let status = timeout(PATIENCE, refused).await.expect("more than the limit in this time");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("user a at"), "{status:?}");
    assert!(status.message().contains(&Limits::USER.calls_per_second.to_string()), "{status:?}");
    list(&coordinator, &token("b")).await.expect("another person");
}

#[tokio::test]
async fn a_stream_ends_with_the_token_that_it_was_opened_with() {
    let provider = Issuer::start(Signer::ed25519("first")).await;
    let mut trusted = trusting(&provider);
    trusted.issuers[0].clock_skew = Duration::ZERO;
    let coordinator = Secured::start_with(Some(trusted)).await;
    let job_id = submit(&coordinator, &coordinator.admin, "").await.expect("an admin may");
    let ends_at_s = now_s() + 2;
    let token = provider.token(&json!({"exp": ends_at_s, "groups": ["viewer-of-all"]}));
    let watch = v1::WatchJobRequest { job_id: job_id.clone(), ..Default::default() };
    let mut stream = coordinator.jobs(&token).await.watch_job(watch).await.expect("it is good").into_inner();
    stream.message().await.expect("open").expect("the job");
    sleep(Duration::from_secs(ends_at_s.saturating_sub(now_s()).max(1))).await;
    let cancel = v1::CancelJobRequest { job_id, ..Default::default() };
    coordinator.jobs(&coordinator.admin).await.cancel_job(cancel).await.expect("it waits");
    let cut = async {
        loop {
            if let Err(status) = stream.message().await {
                return status;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, cut).await.expect("it is cut").code(), Code::Unauthenticated);
}
