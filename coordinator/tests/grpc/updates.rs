//! `UpdateJob`.

use kindred_proto::{
    failure::{Failure, Reason},
    v1::{self, JobState, RankState},
};
use prost_types::FieldMask;

use crate::{
    cli::{kindred, text},
    fixture::{Coordinator, FakeAgent, refusal, spec},
};

fn request(job_id: &str, spec: v1::JobSpec, paths: &[&str]) -> v1::UpdateJobRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let (job_id, update_mask) = (job_id.to_owned(), Some(FieldMask { paths }));
    v1::UpdateJobRequest { job_id, spec: Some(spec), update_mask, ..Default::default() }
}

async fn update(coordinator: &Coordinator, request: v1::UpdateJobRequest) -> Result<v1::Job, Failure> {
    match coordinator.jobs().update_job(request).await {
        Ok(answer) => Ok(answer.into_inner().job.expect("set")),
        status => Err(refusal(status)),
    }
}

#[tokio::test]
async fn what_the_mask_names_changes_and_the_etag_with_it() {
    let coordinator = Coordinator::start().await;
    let job = coordinator.submit(2).await;
    let wanted = v1::JobSpec { priority: Some(7), name: "other".into(), ..Default::default() };
    let first = request(&job.id, wanted, &["priority"]);
    let updated = update(&coordinator, v1::UpdateJobRequest { etag: job.etag.clone(), ..first.clone() });
    let updated = updated.await.expect("the etag is the newest");
    let spec = updated.spec.expect("set");
    assert_eq!((spec.priority, spec.name), (Some(7), job.spec.expect("set").name));
    assert_ne!(updated.etag, job.etag);

    let refused = update(&coordinator, v1::UpdateJobRequest { etag: job.etag, ..first }).await;
    let refused = refused.expect_err("it was updated since");
    assert_eq!((refused.reason, refused.subject.as_str()), (Reason::EtagMismatch, "etag"));
    assert!(refused.message.contains("read it again"), "{refused}");
    let without = request(&job.id, v1::JobSpec { priority: Some(8), ..Default::default() }, &["priority"]);
    let again = v1::UpdateJobRequest { request_id: uuid::Uuid::new_v4().to_string(), ..without };
    let done = update(&coordinator, again.clone()).await.expect("no etag, no check");
    assert_eq!(update(&coordinator, again).await.expect("the same again").etag, done.etag);
}

#[tokio::test]
async fn a_spec_is_checked_as_when_it_is_created() {
    let coordinator = Coordinator::start().await;
    let job = coordinator.submit(2).await;
    let bad =
        v1::JobSpec { priority: Some(1000), max_ranks: Some(1), queue: "none".into(), ..Default::default() };
    let create = v1::JobSpec { priority: Some(1000), max_ranks: Some(1), queue: "none".into(), ..spec(2) };
    let created = v1::CreateJobRequest { spec: Some(create), ..Default::default() };
    let expected = refusal(coordinator.jobs().create_job(created).await);
    let paths = ["priority", "max_ranks", "queue"];
    let failure = update(&coordinator, request(&job.id, bad.clone(), &paths)).await.expect_err("bad");
    assert_eq!((failure.reason, &failure.violations), (Reason::SpecInvalid, &expected.violations));
    let failure = update(&coordinator, request(&job.id, bad.clone(), &["queue"])).await.expect_err("bad");
    assert!(failure.message.contains("there is no queue \"none\""), "{failure}");
    for (paths, part) in [
        (vec!["recipe"], "\"recipe\" cannot change: name some of priority, queue"),
        (vec![], "names nothing"),
    ] {
        let failure = update(&coordinator, request(&job.id, bad.clone(), &paths)).await.expect_err("bad");
        assert_eq!(failure.subject, "update_mask");
        assert!(failure.message.contains(part), "{failure}");
    }
    let ranks = |ranks| v1::JobSpec { ranks: Some(ranks), ..Default::default() };
    let fewer = update(&coordinator, request(&job.id, ranks(1), &["ranks"])).await.expect("never placed");
    let spec = fewer.spec.expect("set");
    assert_eq!((spec.ranks, spec.min_ranks, spec.max_ranks), (Some(1), Some(1), Some(1)));
    // What followed from the number of ranks when the job was handed in is part of it since.
    let failure = update(&coordinator, request(&job.id, ranks(4), &["ranks"])).await.expect_err("too many");
    assert_eq!(failure.subject, "recipe.encoder.resnet.batch_norm.group_size");
}

#[tokio::test]
async fn a_running_job_shrinks_to_what_it_may_have() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::join(&coordinator, "node-a", 2).await;
    let elastic = v1::JobSpec { min_ranks: Some(1), max_ranks: Some(2), ..spec(1) };
    let create = v1::CreateJobRequest { spec: Some(elastic), ..Default::default() };
    let job = coordinator.jobs().create_job(create).await.expect("valid").into_inner().job.expect("set");
    let orders = agent.orders_when(|orders| orders.ranks.len() == 2).await;
    agent.say_all_are(&orders, RankState::Training).await;
    coordinator.job_when(&job.id, |job| job.state() == JobState::Running).await;
    let address = coordinator.address.to_string();
    let line = ["update", &job.id, "--max-ranks", "1", "--label", "team=a", "--priority", "-5"];
    let updated = kindred(&address, &line).await;
    let shown = text(&updated.stdout);
    assert!(shown.contains("priority -5, queue default, ranks 1, etag u1"), "{shown}{updated:?}");
    let stops = |orders: &v1::AgentOrders| {
        orders.ranks.iter().all(|rank| rank.action() == v1::ordered_rank::Action::Stop)
    };
    let orders = agent.orders_when(stops).await;
    agent.say_all_are(&orders, RankState::Stopped).await;
    let next = agent.orders_when(|orders| orders.ranks.len() == 1 && orders.ranks[0].generation == 2).await;
    assert_eq!(next.ranks[0].world_size, 1);
    let failure = kindred(&address, &["update", &job.id, "--ranks", "2"]).await;
    assert!(text(&failure.stderr).contains("min_ranks and max_ranks may change"), "{failure:?}");
    let nothing = kindred(&address, &["update", &job.id]).await;
    assert_eq!(nothing.status.code(), Some(2));
}
