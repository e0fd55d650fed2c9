//! `EventService`, and the markers of `WatchJob`.

use std::time::Duration;

use kindred_proto::{
    failure::Reason,
    v1::{self, EventKind, JobState, RankState, event_service_client::EventServiceClient},
};
use tokio::time::timeout;
use tonic::transport::Channel;

use crate::{
    cli::{kindred, text},
    fixture::{Coordinator, FakeAgent, PATIENCE, refusal},
};

fn client(coordinator: &Coordinator) -> EventServiceClient<Channel> {
    EventServiceClient::new(coordinator.channel.clone())
}

fn of_job(job_id: &str) -> v1::ListEventsRequest {
    v1::ListEventsRequest { job_id: job_id.to_owned(), ..Default::default() }
}

async fn list(coordinator: &Coordinator, request: v1::ListEventsRequest) -> v1::ListEventsResponse {
    client(coordinator).list_events(request).await.expect("they are kept").into_inner()
}

#[tokio::test]
async fn a_job_leaves_an_event_of_each_decision() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::join(&coordinator, "node-a", 1).await;
    let (job, orders) = coordinator.running(&mut agent).await;
    agent.say_all_are(&orders, RankState::Finished).await;
    coordinator.job_when(&job.id, |job| job.state().is_terminal()).await;

    let answer = list(&coordinator, of_job(&job.id)).await;
    let kinds: Vec<_> = answer.events.iter().map(v1::Event::kind).collect();
    let expected =
        [EventKind::JobSubmitted, EventKind::JobPlaced, EventKind::JobRuns, EventKind::JobSucceeded];
    assert_eq!(kinds, expected);
    assert_eq!(answer.events[1].message, "generation 1 placed: 1 rank on node-a");
    assert!(answer.events.windows(2).all(|pair| pair[0].number < pair[1].number));
    let node = v1::ListEventsRequest { node_id: "node-a".into(), ..Default::default() };
    assert_eq!(list(&coordinator, node).await.events[0].kind(), EventKind::NodeJoined);

    let mut paged = vec![];
    let mut request = v1::ListEventsRequest { page_size: 1, tail: 3, ..of_job(&job.id) };
    loop {
        let page = list(&coordinator, request.clone()).await;
        paged.extend(page.events);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, answer.events[1..]);
    let later = v1::ListEventsRequest { after_number: 1_000_000, ..Default::default() };
    let failure = refusal(client(&coordinator).list_events(later).await);
    assert_eq!((failure.reason, failure.subject.as_str()), (Reason::EventsForgotten, "after_number"));
}

#[tokio::test]
async fn a_stream_goes_on_after_its_marker() {
    let coordinator = Coordinator::start().await;
    let job = coordinator.submit(1).await;
    let marker = list(&coordinator, of_job(&job.id)).await.resume_marker;
    let watch = |after_number| v1::WatchEventsRequest { after_number, ..Default::default() };
    let mut stream = client(&coordinator).watch_events(watch(Some(marker))).await.expect("kept").into_inner();
    let cancel = v1::CancelJobRequest { job_id: job.id.clone(), ..Default::default() };
    coordinator.jobs().cancel_job(cancel).await.expect("it waits");
    let batch = timeout(PATIENCE, stream.message()).await.expect("soon").expect("open").expect("a batch");
    let kinds: Vec<_> = batch.events.iter().map(v1::Event::kind).collect();
    assert_eq!(kinds, [EventKind::JobCancelling, EventKind::JobCancelled]);
    let mut again = client(&coordinator)
        .watch_events(watch(Some(batch.events[0].number)))
        .await
        .expect("kept")
        .into_inner();
    let rest = timeout(PATIENCE, again.message()).await.expect("soon").expect("open").expect("a batch");
    assert_eq!((rest.events, rest.resume_marker), (batch.events[1..].to_vec(), batch.resume_marker));
}

#[tokio::test]
async fn a_job_is_watched_from_a_marker_on() {
    let coordinator = Coordinator::start().await;
    let job = coordinator.submit(1).await;
    let watch = |after: &str| v1::WatchJobRequest { job_id: job.id.clone(), after: after.to_owned() };
    let mut jobs = coordinator.jobs().watch_job(watch("")).await.expect("it is there").into_inner();
    let first = jobs.message().await.expect("open").expect("the job as it is");
    assert!(!first.resume_marker.is_empty());
    let mut later =
        coordinator.jobs().watch_job(watch(&first.resume_marker)).await.expect("it is there").into_inner();
    let nothing = timeout(Duration::from_millis(300), later.message()).await;
    assert!(nothing.is_err(), "nothing is newer: {nothing:?}");
    let cancel = v1::CancelJobRequest { job_id: job.id.clone(), ..Default::default() };
    coordinator.jobs().cancel_job(cancel).await.expect("it waits");
    let news = timeout(PATIENCE, later.message()).await.expect("soon").expect("open").expect("newer");
    assert_ne!(news.resume_marker, first.resume_marker);
    assert_eq!(news.job.expect("set").state(), JobState::Cancelled);
}

#[tokio::test]
async fn the_command_line_prints_events() {
    let coordinator = Coordinator::start().await;
    let job = coordinator.submit(1).await;
    let address = coordinator.address.to_string();
    let cancelled = kindred(&address, &["cancel", &job.id, "--reason", "enough"]).await;
    assert!(cancelled.status.success());
    let printed = kindred(&address, &["events", &job.id]).await;
    let lines = text(&printed.stdout);
    assert!(lines.contains("submitted: sce-fashion-mnist, 1 rank, queue default, priority 0"), "{lines}");
    assert!(lines.contains("cancelled by request: enough"), "{lines}");
    let last = kindred(&address, &["events", "--limit", "1", "-o", "json"]).await;
    assert!(text(&last.stdout).contains("EVENT_KIND_JOB_CANCELLED"), "{}", text(&last.stdout));
}
