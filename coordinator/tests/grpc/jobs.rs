//! Jobs as users see them.

use kindred_proto::{
    failure::Reason,
    v1::{self, JobState, RankState},
};

use crate::fixture::{Coordinator, FakeAgent, refusal, spec};

#[tokio::test]
async fn a_job_goes_from_submission_to_its_result() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::join(&coordinator, "node-a", 2).await;
    let job = coordinator.submit(2).await;
    let orders = agent.orders_when(|orders| orders.ranks.len() == 2).await;
    assert!(orders.ranks.iter().all(|rank| rank.world_size == 2 && rank.job_id == job.id));
    agent.say_all_are(&orders, RankState::Training).await;
    let running = coordinator.job_when(&job.id, |job| job.state() == JobState::Running).await;
    assert_eq!(running.placements.len(), 2);
    let running = coordinator.job_when(&job.id, |job| job.progress.is_some()).await;
    assert_eq!(running.progress.expect("just asked for").step, 3);
    agent.say_all_are(&orders, RankState::Finished).await;
    let ended = coordinator.job_when(&job.id, |job| job.state().is_terminal()).await;
    assert_eq!(ended.state(), JobState::Succeeded);
    let result = ended.result.expect("rank 0 gave one");
    assert_eq!(result.metrics["knn_accuracy_percent"], 84.5);
    agent.orders_when(|orders| orders.ranks.is_empty()).await;
}

#[tokio::test]
async fn a_watch_ends_with_the_job() {
    let coordinator = Coordinator::start().await;
    let job = coordinator.submit(1).await;
    let watch = v1::WatchJobRequest { job_id: job.id.clone(), ..Default::default() };
    let mut jobs = coordinator.jobs().watch_job(watch).await.expect("it exists").into_inner();
    assert_eq!(
        jobs.message().await.expect("open").expect("now").job.expect("set").state(),
        JobState::Pending
    );
    let cancel = v1::CancelJobRequest { job_id: job.id.clone(), ..Default::default() };
    coordinator.jobs().cancel_job(cancel).await.expect("it still waits");
    let mut newest = JobState::Pending;
    while let Some(answer) = jobs.message().await.expect("ends without an error") {
        newest = answer.job.expect("set").state();
    }
    assert_eq!(newest, JobState::Cancelled);
}

#[tokio::test]
async fn cancelling_stops_the_ranks_first() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::join(&coordinator, "node-a", 1).await;
    let (job, orders) = coordinator.running(&mut agent).await;
    let cancel =
        v1::CancelJobRequest { job_id: job.id.clone(), reason: "not needed".into(), ..Default::default() };
    let answer = coordinator.jobs().cancel_job(cancel.clone()).await.expect("it runs").into_inner();
    assert_eq!(answer.job.expect("set").state(), JobState::Cancelling);
    let stop = v1::ordered_rank::Action::Stop;
    agent.orders_when(|orders| orders.ranks.iter().any(|rank| rank.action() == stop)).await;
    agent.say_all_are(&orders, RankState::Stopped).await;
    coordinator.job_when(&job.id, |job| job.state() == JobState::Cancelled).await;
    let again = coordinator.jobs().cancel_job(cancel).await.expect("it is cancelled already").into_inner();
    assert_eq!(again.job.expect("set").state(), JobState::Cancelled);
}

#[tokio::test]
async fn a_job_that_waits_says_why() {
    let coordinator = Coordinator::start().await;
    let _agent = FakeAgent::join(&coordinator, "node-a", 1).await;
    let job = coordinator.submit(2).await;
    let waiting = coordinator.job_when(&job.id, |job| !job.reason.is_empty()).await;
    assert_eq!(waiting.state(), JobState::Pending);
    assert!(waiting.reason.contains("needs 2 cpu devices"), "{}", waiting.reason);
}

#[tokio::test]
async fn the_same_request_id_gives_the_same_job() {
    let coordinator = Coordinator::start().await;
    let request_id = uuid::Uuid::new_v4().to_string();
    let request = v1::CreateJobRequest { spec: Some(spec(1)), request_id, ..Default::default() };
    let create = async |request: &v1::CreateJobRequest| {
        coordinator
            .jobs()
            .create_job(request.clone())
            .await
            .map(|answer| answer.into_inner().job.expect("set").id)
    };
    let first = create(&request).await.expect("a valid job");
    assert_eq!(create(&request).await.expect("the same again"), first);
    let other = v1::CreateJobRequest { spec: Some(spec(2)), ..request };
    assert_eq!(refusal(create(&other).await).reason, Reason::RequestIdReused);
}

#[tokio::test]
async fn validating_fills_defaults_and_stores_nothing() {
    let coordinator = Coordinator::start().await;
    let request = v1::CreateJobRequest { spec: Some(spec(2)), validate_only: true, ..Default::default() };
    let job = coordinator.jobs().create_job(request).await.expect("valid").into_inner().job.expect("set");
    let recipe = job.spec.expect("set").recipe.expect("set");
    assert!(recipe.training.expect("set").log_every_steps.is_some(), "a default is filled in");
    let listed = coordinator.jobs().list_jobs(v1::ListJobsRequest::default()).await.expect("listed");
    assert!(listed.into_inner().jobs.is_empty());
}

#[tokio::test]
async fn a_bad_spec_names_the_field_and_stores_nothing() {
    let coordinator = Coordinator::start().await;
    let mut spec = spec(2);
    spec.recipe.get_or_insert_default().training.get_or_insert_default().global_batch = Some(255);
    let request = v1::CreateJobRequest { spec: Some(spec), ..Default::default() };
    let failure = refusal(coordinator.jobs().create_job(request).await);
    assert_eq!(failure.reason, Reason::SpecInvalid);
    let fields: Vec<&str> = failure.violations.iter().map(|fault| fault.field.as_str()).collect();
    assert!(
        fields.iter().any(|field| field.contains("ranks") || field.contains("global_batch")),
        "{fields:?}"
    );
    let nothing = v1::CreateJobRequest::default();
    assert_eq!(refusal(coordinator.jobs().create_job(nothing).await).subject, "spec");
    let request_id = "not a uuid".to_owned();
    let request = v1::CreateJobRequest { spec: Some(self::spec(1)), request_id, ..Default::default() };
    assert_eq!(refusal(coordinator.jobs().create_job(request).await).subject, "request_id");
    let listed = coordinator.jobs().list_jobs(v1::ListJobsRequest::default()).await.expect("listed");
    assert!(listed.into_inner().jobs.is_empty());
}

#[tokio::test]
async fn pages_cover_all_jobs_newest_first() {
    let coordinator = Coordinator::start().await;
    let mut submitted = Vec::new();
    for _ in 0..5 {
        submitted.push(coordinator.submit(1).await.id);
    }
    submitted.reverse();
    let (mut listed, mut request) = (Vec::new(), v1::ListJobsRequest { page_size: 2, ..Default::default() });
    loop {
        let page = coordinator.jobs().list_jobs(request.clone()).await.expect("our own token").into_inner();
        assert!(page.jobs.len() <= 2);
        listed.extend(page.jobs.into_iter().map(|job| job.id));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, submitted);
}

#[tokio::test]
async fn a_page_token_of_another_filter_is_refused() {
    let coordinator = Coordinator::start().await;
    for _ in 0..2 {
        coordinator.submit(1).await;
    }
    let mut request = v1::ListJobsRequest { page_size: 1, ..Default::default() };
    let page = coordinator.jobs().list_jobs(request.clone()).await.expect("listed").into_inner();
    request.page_token = page.next_page_token;
    request.states = vec![JobState::Pending.into()];
    let failure = refusal(coordinator.jobs().list_jobs(request).await);
    assert_eq!((failure.reason, failure.subject.as_str()), (Reason::PageTokenInvalid, "page_token"));
}

#[tokio::test]
async fn a_job_that_is_not_there_is_named() {
    let coordinator = Coordinator::start().await;
    let request = v1::GetJobRequest { job_id: "job-99".into() };
    let failure = refusal(coordinator.jobs().get_job(request).await);
    assert_eq!(failure.reason, Reason::JobNotFound);
    assert!(failure.message.contains("job-99"), "{failure}");
    let watch = v1::WatchJobRequest { job_id: "job-99".into(), ..Default::default() };
    assert_eq!(refusal(coordinator.jobs().watch_job(watch).await).reason, Reason::JobNotFound);
}

#[tokio::test]
async fn a_job_shows_its_ledger_its_faults_and_what_is_used_of_its_budgets() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::join(&coordinator, "node-a", 2).await;
    let job = coordinator.submit(2).await;
    let orders = agent.orders_when(|orders| orders.ranks.len() == 2).await;
    assert!(orders.ranks.iter().all(|rank| rank.hold_commits), "nobody has met");
    agent.say_all_are(&orders, RankState::Training).await;
    let begun = |orders: &v1::AgentOrders| orders.ranks.iter().all(|rank| !rank.hold_commits);
    agent.orders_when(begun).await;
    agent.say_all_failed(&orders, Reason::Internal).await;
    let again = agent.orders_when(|orders| orders.ranks.iter().any(|rank| rank.generation == 2)).await;
    agent.say_all_are(&again, RankState::Training).await;

    let job =
        coordinator.job_when(&job.id, |job| job.state() == JobState::Running && job.generation == 2).await;
    let ledger = job.ledger.expect("it was placed");
    let intervals: Vec<_> = ledger
        .intervals
        .iter()
        .map(|it| (it.generation, it.world_size, it.first_step, it.last_step))
        .collect();
    assert_eq!(intervals, [(2, 2, 1, 3)]);
    assert_eq!(ledger.recomputed_steps, 3);
    assert!(ledger.goodput.is_some_and(|goodput| (0.0..=1.0).contains(&goodput)), "{ledger:?}");
    assert_eq!(job.retry_used.expect("set").infrastructure_failures, Some(1));
    let consequences: Vec<_> = job.faults.iter().map(|fault| (fault.generation, fault.consequence)).collect();
    assert_eq!(consequences, [(1, false), (1, true)]);
}
