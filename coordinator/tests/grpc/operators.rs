//! What operators do: nodes out of service and back, and why jobs wait.

use kindred_coordinator::config::Config;
use kindred_proto::{
    failure::Reason,
    v1::{
        self, JobState, RankState,
        explanation::{Constraint, Verdict},
    },
};

use crate::{
    cli::{JOB, kindred, text},
    fixture::{Coordinator, FakeAgent, refusal, spec},
};

#[tokio::test]
async fn a_drained_node_gives_its_ranks_away_and_takes_ranks_again_once_uncordoned() {
    let coordinator = Coordinator::start().await;
    let mut agent = FakeAgent::join(&coordinator, "node-a", 1).await;
    let (job, _) = coordinator.running(&mut agent).await;

    let request =
        v1::DrainNodeRequest { node_id: "node-a".into(), reason: "new fan".into(), ..Default::default() };
    let node = coordinator.nodes().drain_node(request).await.expect("it is there").into_inner().node;
    let node = node.expect("the node is in the answer");
    assert!(node.draining && node.cordoned);
    assert_eq!(node.reason, "is drained: new fan");
    let stop = v1::ordered_rank::Action::Stop;
    let orders = agent.orders_when(|orders| orders.ranks.iter().any(|rank| rank.action() == stop)).await;
    assert!(orders.ranks[0].write_checkpoint);
    agent.say_all_are(&orders, RankState::Stopped).await;
    let waiting = coordinator.job_when(&job.id, |job| job.reason.starts_with("needs")).await;
    assert_eq!(waiting.reason, "needs 1 cpu device, 0 free: node-a is drained: new fan");
    assert_eq!(waiting.infrastructure_failures, 0);

    let request = v1::UncordonNodeRequest { node_id: "node-a".into(), ..Default::default() };
    coordinator.nodes().uncordon_node(request).await.expect("it is there");
    coordinator.job_when(&job.id, |job| job.state() == JobState::Starting).await;
}

#[tokio::test]
async fn a_node_that_is_not_there_is_refused() {
    let coordinator = Coordinator::start().await;
    let request = v1::CordonNodeRequest { node_id: "node-z".into(), ..Default::default() };
    assert_eq!(refusal(coordinator.nodes().cordon_node(request).await).reason, Reason::NodeNotFound);
}

#[tokio::test]
async fn a_job_is_explained_before_and_after_it_is_handed_in() {
    let coordinator = Coordinator::start().await;
    let _agent = FakeAgent::join(&coordinator, "node-a", 1).await;
    let request = v1::CreateJobRequest { spec: Some(spec(2)), validate_only: true, ..Default::default() };
    let told = coordinator.jobs().create_job(request).await.expect("valid").into_inner().explanation;
    let told = told.expect("it is in the answer");
    assert_eq!((told.verdict(), told.constraint()), (Verdict::Cannot, Constraint::Cluster));
    assert_eq!(told.reason, "needs 2 cpu devices, and all nodes together have 1");
    assert_eq!(told.remedies[0].change, "ask for 1 ranks");

    let job = coordinator.submit(2).await;
    let job = coordinator.job_when(&job.id, |job| job.reason.starts_with("needs")).await;
    let request = v1::ExplainJobRequest { job_id: job.id.clone() };
    let explained = coordinator.jobs().explain_job(request).await.expect("it is there").into_inner();
    assert_eq!(explained.explanation.expect("it is in the answer").reason, job.reason);
}

#[tokio::test]
async fn a_job_of_an_unknown_queue_is_refused_with_the_queues() {
    let coordinator = Coordinator::start().await;
    for validate_only in [true, false] {
        let spec = v1::JobSpec { queue: "reserch".into(), ..spec(1) };
        let request = v1::CreateJobRequest { spec: Some(spec), validate_only, ..Default::default() };
        let refused = refusal(coordinator.jobs().create_job(request).await);
        assert_eq!((refused.reason, refused.subject.as_str()), (Reason::SpecInvalid, "queue"));
        assert_eq!(refused.message, "queue: there is no queue \"reserch\": this coordinator has default");
    }
}

#[tokio::test]
async fn the_command_line_explains_cordons_and_uncordons() {
    let coordinator = Coordinator::start().await;
    let address = coordinator.address.to_string();
    let _agent = FakeAgent::join(&coordinator, "node-a", 1).await;
    let job = coordinator.submit(2).await;
    coordinator.job_when(&job.id, |job| job.reason.starts_with("needs")).await;
    let run = async |args: &[&str]| {
        let output = kindred(&address, args).await;
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let explained = run(&["explain", &job.id]).await;
    assert!(explained.starts_with("cannot run: needs 2 cpu devices"), "{explained}");
    assert!(explained.contains("remedy:    ask for 1 ranks: it starts at once"), "{explained}");
    let dry = run(&["submit", JOB, "--set", "ranks=1", "--dry-run", "--explain"]).await;
    assert!(dry.starts_with("starts: ") && dry.contains("rank 0 on node-a/0"), "{dry}");
    let cordoned = run(&["nodes", "cordon", "node-a", "--reason", "new fan"]).await;
    assert!(cordoned.contains("ready, cordoned") && cordoned.contains("new fan"), "{cordoned}");
    let back = run(&["nodes", "uncordon", "node-a"]).await;
    assert!(back.contains("ready") && !back.contains("cordoned"), "{back}");
    let unknown = kindred(&address, &["nodes", "drain", "node-z"]).await;
    assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown.stderr));
}

#[tokio::test]
async fn queues_are_listed_page_by_page_and_as_a_table() {
    let queues = "queues: {research: {guaranteed_cpu: 1}, vision: {parent: research, max_cpu: 4}}";
    let scheduling = Config::read_scheduling(queues).expect("a tree");
    let coordinator = Coordinator::start_with(|config| config.scheduling = scheduling).await;
    let _agent = FakeAgent::join(&coordinator, "node-a", 2).await;
    let spec = v1::JobSpec { queue: "vision".into(), ..spec(2) };
    let request = v1::CreateJobRequest { spec: Some(spec), ..Default::default() };
    let job = coordinator.jobs().create_job(request).await.expect("valid").into_inner().job.expect("a job");
    coordinator.job_when(&job.id, |job| job.state() == JobState::Starting).await;

    let mut request = v1::ListQueuesRequest { page_size: 2, ..Default::default() };
    let first = coordinator.jobs().list_queues(request.clone()).await.expect("listed").into_inner();
    request.page_token = first.next_page_token;
    let rest = coordinator.jobs().list_queues(request).await.expect("listed").into_inner();
    let names: Vec<&str> = first.queues.iter().chain(&rest.queues).map(|queue| queue.name.as_str()).collect();
    assert_eq!((names, rest.next_page_token.as_str()), (vec!["default", "research", "vision"], ""));

    let shown = text(&kindred(&coordinator.address.to_string(), &["queues"]).await.stdout);
    let expected = "\
QUEUE     PARENT    WEIGHT  DEVICE  GUARANTEED  MAX  USED  BORROWED  RUNNING  WAITING
default   -         1       cpu     0           -    0     0         0        0
research  -         1       cpu     1           -    2     1         1        0
vision    research  1       cpu     0           4    2     2         1        0
";
    assert_eq!(shown, expected);
}
