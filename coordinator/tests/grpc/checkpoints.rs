//! Pins, pauses and forks, as people and agents see them.

use kindred_proto::{
    failure::Reason,
    v1::{self, JobState, RankState},
};

use crate::{
    cli::{kindred, text},
    fixture::{Coordinator, FakeAgent, refusal},
};

/// A job of one rank that has committed a checkpoint after step 3, its agent and its orders.
async fn with_checkpoint(coordinator: &Coordinator) -> (FakeAgent, v1::Job) {
    let mut agent = FakeAgent::join(coordinator, "node-a", 1).await;
    let job = coordinator.submit(1).await;
    let orders = agent.orders_when(|orders| orders.ranks.len() == 1).await;
    agent.say_all_are(&orders, RankState::Training).await;
    agent.report.ranks[0].checkpoints.push(v1::Checkpoint {
        id: "step-000000000003-g1".into(),
        job_id: job.id.clone(),
        generation: 1,
        step: 3,
        node_id: "node-a".into(),
        path: "/jobs/job-1/checkpoints/step-000000000003-g1".into(),
        ..Default::default()
    });
    agent.say().await;
    coordinator.job_when(&job.id, |job| job.newest_checkpoint.is_some()).await;
    (agent, job)
}

#[tokio::test]
async fn a_checkpoint_is_pinned_and_agents_are_told_what_stays() {
    let coordinator = Coordinator::start().await;
    let address = coordinator.address.to_string();
    let (mut agent, job) = with_checkpoint(&coordinator).await;
    let kept = |orders: &v1::AgentOrders| orders.ranks.iter().any(|rank| rank.kept_checkpoints.len() == 1);
    agent.orders_when(kept).await;
    let pin = kindred(&address, &["checkpoints", "pin", &job.id, "step-000000000003-g1"]).await;
    assert_eq!(text(&pin.stdout), "step-000000000003-g1 of job-1 is pinned\n", "{}", text(&pin.stderr));
    let list = text(&kindred(&address, &["checkpoints", &job.id]).await.stdout);
    assert!(list.contains("PINNED") && list.contains(" yes "), "{list}");
    let unpin = kindred(&address, &["checkpoints", "unpin", &job.id, "step-000000000003-g1"]).await;
    assert!(text(&unpin.stdout).ends_with("is left to the job's policy\n"), "{}", text(&unpin.stdout));
    let unknown = kindred(&address, &["checkpoints", "pin", &job.id, "step-000000000009-g1"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("job-1 has no checkpoint step-000000000009-g1"));
}

#[tokio::test]
async fn a_suspended_job_stops_with_a_checkpoint_and_is_resumed() {
    let coordinator = Coordinator::start().await;
    let address = coordinator.address.to_string();
    let (mut agent, job) = with_checkpoint(&coordinator).await;
    let suspend = kindred(&address, &["suspend", &job.id, "--reason", "the night shift"]).await;
    assert_eq!(text(&suspend.stdout), "job-1 is suspending\n", "{}", text(&suspend.stderr));
    let orders = agent.orders_when(|orders| orders.ranks.iter().any(|rank| rank.write_checkpoint)).await;
    agent.say_all_are(&orders, RankState::Stopped).await;
    let suspended = coordinator.job_when(&job.id, |job| job.state() == JobState::Suspended).await;
    assert_eq!(suspended.reason, "suspended by request: the night shift");
    let listed = text(&kindred(&address, &["jobs", "--state", "suspended"]).await.stdout);
    assert!(listed.contains(&job.id), "{listed}");
    agent.report.ranks.clear();
    agent.say().await;
    let resume = kindred(&address, &["resume", &job.id]).await;
    assert_eq!(resume.status.code(), Some(0), "{}", text(&resume.stderr));
    let orders = agent.orders_when(|orders| orders.ranks.iter().any(|rank| rank.generation == 2)).await;
    let resume_from = orders.ranks[0].resume_from.as_ref().map(|checkpoint| checkpoint.id.as_str());
    assert_eq!(resume_from, Some("step-000000000003-g1"));
    assert_eq!(kindred(&address, &["cancel", &job.id]).await.status.code(), Some(0));
    let refused = kindred(&address, &["suspend", &job.id]).await;
    assert!(text(&refused.stderr).contains("job-1 cannot be suspended"), "{}", text(&refused.stderr));
}

#[tokio::test]
async fn a_fork_keeps_the_spec_but_for_what_is_set_and_names_its_source() {
    let coordinator = Coordinator::start().await;
    let address = coordinator.address.to_string();
    let (mut agent, job) = with_checkpoint(&coordinator).await;
    let fork = ["fork", job.id.as_str(), "--set", "recipe.training.epochs=9"];
    let dry = kindred(&address, &[&fork[..], &["--dry-run"]].concat()).await;
    assert!(text(&dry.stdout).contains("epochs: 9"), "{}", text(&dry.stderr));
    let forked = kindred(&address, &fork).await;
    assert_eq!(text(&forked.stdout), "job-2\n", "{}", text(&forked.stderr));
    let shown = text(&kindred(&address, &["get", "job-2"]).await.stdout);
    assert!(shown.contains("forked from step-000000000003-g1 of job-1"), "{shown}");
    agent.report.ranks[0].state = RankState::Finished.into();
    agent.report.ranks[0].result = Some(v1::JobResult::default());
    agent.say().await;
    let of_fork = |orders: &v1::AgentOrders| orders.ranks.iter().any(|rank| rank.job_id == "job-2");
    let orders = agent.orders_when(of_fork).await;
    let resume_from = orders.ranks[0].resume_from.clone().expect("it starts from its source");
    assert_eq!((resume_from.job_id.as_str(), resume_from.step), ("job-1", 3));
    for (args, expected) in [
        (["fork", "job-2", "--dry-run"].as_slice(), "job-2 has no checkpoint yet"),
        (&["fork", "job-1", "--checkpoint", "step-7"], "job-1 has no checkpoint step-7"),
        (&["fork", "job-9"], "there is no job job-9"),
    ] {
        let refused = kindred(&address, args).await;
        assert_eq!(refused.status.code(), Some(1), "{args:?}");
        assert!(text(&refused.stderr).contains(expected), "{args:?}: {}", text(&refused.stderr));
    }
}

#[tokio::test]
async fn a_request_id_that_is_none_is_refused() {
    let coordinator = Coordinator::start().await;
    let request_id = "again".to_owned();
    let pin = v1::PinCheckpointRequest { request_id: request_id.clone(), ..Default::default() };
    let suspend = v1::SuspendJobRequest { request_id: request_id.clone(), ..Default::default() };
    let resume = v1::ResumeJobRequest { request_id, ..Default::default() };
    let mut jobs = coordinator.jobs();
    for failure in [
        refusal(jobs.pin_checkpoint(pin).await),
        refusal(jobs.suspend_job(suspend).await),
        refusal(jobs.resume_job(resume).await),
    ] {
        assert_eq!((failure.reason, failure.subject.as_str()), (Reason::SpecInvalid, "request_id"));
    }
}
