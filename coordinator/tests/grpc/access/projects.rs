//! Tokens for one project.

use kindred_proto::{
    job_spec::project_of,
    v1::{self, Role},
};
use tonic::Code;

use super::secured::Secured;
use crate::fixture::spec;

async fn submit(coordinator: &Secured, token: &str, project: &str) -> Result<v1::Job, tonic::Status> {
    let spec = v1::JobSpec { project: project.to_owned(), ..spec(1) };
    let request = v1::CreateJobRequest { spec: Some(spec), ..Default::default() };
    let answer = coordinator.jobs(token).await.create_job(request).await?;
    Ok(answer.into_inner().job.expect("set"))
}

#[tokio::test]
async fn a_token_sees_the_jobs_of_its_project() {
    let coordinator = Secured::start().await;
    let vision = coordinator.token(Role::Submitter, "vision").await.secret;
    let speech = coordinator.token(Role::Submitter, "speech").await.secret;
    let own = submit(&coordinator, &vision, "").await.expect("its own project");
    assert_eq!(own.spec.expect("set").project, "vision");
    let denied = submit(&coordinator, &vision, "speech").await.expect_err("another project");
    assert_eq!(denied.code(), Code::PermissionDenied);
    let other = submit(&coordinator, &coordinator.admin, "").await.expect("an admin of all may");
    assert_eq!(project_of(&other.spec.expect("set")), "default");

    for (token, seen) in [(&vision, vec![own.id.as_str()]), (&speech, vec![])] {
        let listed = coordinator.jobs(token).await.list_jobs(v1::ListJobsRequest::default()).await;
        let listed = listed.expect("a list").into_inner().jobs;
        assert_eq!(listed.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), seen);
    }
    let mut jobs = coordinator.jobs(&speech).await;
    let (job_id, hidden) = (own.id.clone(), Code::NotFound);
    let get = jobs.get_job(v1::GetJobRequest { job_id: job_id.clone() }).await;
    assert_eq!(get.expect_err("another project's").code(), hidden);
    let cancel = v1::CancelJobRequest { job_id: job_id.clone(), ..Default::default() };
    assert_eq!(jobs.cancel_job(cancel).await.expect_err("another project's").code(), hidden);
    let watch = v1::WatchJobRequest { job_id: job_id.clone(), ..Default::default() };
    assert_eq!(jobs.watch_job(watch).await.expect_err("another project's").code(), hidden);
    let fork_of = v1::create_job_request::ForkOf { job_id, ..Default::default() };
    let fork = v1::CreateJobRequest { spec: Some(spec(1)), fork_of: Some(fork_of), ..Default::default() };
    assert_eq!(jobs.create_job(fork).await.expect_err("another project's").code(), hidden);
    coordinator.jobs(&vision).await.get_job(v1::GetJobRequest { job_id: own.id }).await.expect("its own");
}

#[tokio::test]
async fn an_admin_of_a_project_governs_its_tokens_only() {
    let coordinator = Secured::start().await;
    let admin = coordinator.token(Role::Admin, "vision").await.secret;
    let foreign = coordinator.token(Role::Viewer, "speech").await.token.expect("set").id;
    let mut access = coordinator.access(&admin).await;
    let create = |project: &str| v1::CreateTokenRequest {
        name: "ci".to_owned(),
        role: Role::Submitter.into(),
        project: project.to_owned(),
        ttl_s: 0,
    };
    for other in ["*", "speech"] {
        let status = access.create_token(create(other)).await.expect_err(other);
        assert_eq!(status.code(), Code::PermissionDenied);
    }
    let own = access.create_token(create("")).await.expect("its own").into_inner().token.expect("set");
    assert_eq!(own.project, "vision");
    let listed = access.list_tokens(v1::ListTokensRequest::default()).await.expect("a list").into_inner();
    assert!(listed.tokens.iter().all(|token| token.project == "vision"), "{listed:?}");
    let revoke = |token_id: &str| v1::RevokeTokenRequest { token_id: token_id.to_owned() };
    assert_eq!(access.revoke_token(revoke(&foreign)).await.expect_err("foreign").code(), Code::NotFound);
    access.revoke_token(revoke(&own.id)).await.expect("its own");
}
