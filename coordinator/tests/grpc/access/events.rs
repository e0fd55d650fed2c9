//! Events, as tokens see them.

use kindred_proto::v1::{self, Role, event_service_client::EventServiceClient};

use super::secured::Secured;
use crate::fixture::spec;

#[tokio::test]
async fn a_token_of_a_project_sees_events_of_its_jobs_and_they_name_their_caller() {
    let coordinator = Secured::start().await;
    let vision = coordinator.token(Role::Submitter, "vision").await.secret;
    let speech = coordinator.token(Role::Viewer, "speech").await.secret;
    let request = v1::CreateJobRequest { spec: Some(spec(1)), ..Default::default() };
    let job = coordinator.jobs(&vision).await.create_job(request).await.expect("its own").into_inner().job;
    let job_id = job.expect("set").id;
    for (token, n_events) in [(&vision, 1), (&speech, 0), (&coordinator.admin, 1)] {
        let mut client = EventServiceClient::new(coordinator.link(token).await);
        let request = v1::ListEventsRequest { job_id: job_id.clone(), ..Default::default() };
        let events = client.list_events(request).await.expect("a list").into_inner().events;
        assert_eq!(events.len(), n_events);
        assert!(events.iter().all(|event| event.caller.starts_with("token ")), "{events:?}");
    }
}
