//! Limits, revocation, and audit events.

use kindred_coordinator::access::limits::Limits;
use kindred_proto::{
    failure::{Reason, from_status},
    v1::{self, Role},
};
use tokio::time::timeout;
use tonic::Code;
use tonic_types::StatusExt;

use super::secured::Secured;
use crate::fixture::{PATIENCE, spec};

#[tokio::test]
async fn too_many_calls_are_told_the_limit_and_when_to_come_back() {
    let coordinator = Secured::start().await;
    let token = coordinator.token(Role::Viewer, "*").await.secret;
    let mut jobs = coordinator.jobs(&token).await;
    let refused = async {
        loop {
            if let Err(status) = jobs.list_jobs(v1::ListJobsRequest::default()).await {
                return status;
            }
        }
    };
    let status = timeout(PATIENCE, refused).await.expect("more than the limit in this time");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(from_status(&status).reason, Reason::LimitExceeded);
    assert!(status.message().contains(&Limits::USER.calls_per_second.to_string()), "{status:?}");
    let wait = status.get_details_retry_info().and_then(|info| info.retry_delay).expect("when to come back");
    tokio::time::sleep(wait).await;
    jobs.list_jobs(v1::ListJobsRequest::default()).await.expect("it waited as it was told");
    coordinator.token(Role::Viewer, "*").await;
}

#[tokio::test]
async fn streams_are_bounded_and_end_with_their_token() {
    let coordinator = Secured::start().await;
    let token = coordinator.token(Role::Submitter, "*").await;
    let mut jobs = coordinator.jobs(&token.secret).await;
    let create = v1::CreateJobRequest { spec: Some(spec(1)), ..Default::default() };
    let job_id = jobs.create_job(create).await.expect("a valid job").into_inner().job.expect("set").id;
    let watch = v1::WatchJobRequest { job_id: job_id.clone(), ..Default::default() };
    let mut open = vec![];
    for _ in 0..Limits::USER.streams {
        open.push(jobs.watch_job(watch.clone()).await.expect("within the limit").into_inner());
    }
    let status = jobs.watch_job(watch.clone()).await.expect_err("one too many");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("streams"), "{status:?}");
    open.truncate(1);
    let mut stream = open.pop().expect("one is left");
    stream.message().await.expect("open").expect("the job");

    let token_id = token.token.expect("set").id;
    let revoke = v1::RevokeTokenRequest { token_id };
    coordinator.access(&coordinator.admin).await.revoke_token(revoke).await.expect("it is there");
    let refused = jobs.get_job(v1::GetJobRequest { job_id: job_id.clone() }).await.expect_err("revoked");
    assert_eq!(refused.code(), Code::Unauthenticated);
    // The next thing that it would hear ends it.
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

#[tokio::test]
async fn what_is_done_and_what_is_refused_leaves_an_event() {
    let coordinator = Secured::start().await;
    let viewer = coordinator.token(Role::Viewer, "*").await.secret;
    let create = v1::CreateJobRequest { spec: Some(spec(1)), ..Default::default() };
    let job = coordinator.jobs(&coordinator.admin).await.create_job(create.clone()).await;
    let job_id = job.expect("an admin may").into_inner().job.expect("set").id;
    coordinator.jobs(&viewer).await.create_job(create).await.expect_err("a viewer may not");
    let list = v1::ListJobsRequest::default();
    coordinator.jobs(&viewer).await.list_jobs(list).await.expect("reading leaves none");
    let cancel = v1::CancelJobRequest { job_id: "job-99".to_owned(), ..Default::default() };
    coordinator.jobs(&coordinator.admin).await.cancel_job(cancel).await.expect_err("there is none");

    let mut access = coordinator.access(&coordinator.admin).await;
    let events = access.list_audit_events(v1::ListAuditEventsRequest::default()).await;
    let events = events.expect("an admin may").into_inner().events;
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.method.as_str(), event.object.as_str(), event.outcome.as_str()))
        .collect();
    assert_eq!(
        told[..3],
        [
            ("JobService/CancelJob", "job-99", "NotFound"),
            ("JobService/CreateJob", "", "PermissionDenied"),
            ("JobService/CreateJob", job_id.as_str(), "OK"),
        ]
    );
    assert!(
        events[1].caller.contains("a-viewer") && events[1].reason.contains("submitter"),
        "{:?}",
        events[1]
    );
    assert!(events.iter().all(|event| event.peer == "127.0.0.1" && event.time.is_some()));
    let page = v1::ListAuditEventsRequest { page_size: 1, ..Default::default() };
    let first = access.list_audit_events(page.clone()).await.expect("a page").into_inner();
    let page = v1::ListAuditEventsRequest { page_token: first.next_page_token, ..page };
    let second = access.list_audit_events(page).await.expect("our own token").into_inner();
    assert_eq!(second.events[0], events[1]);
}
