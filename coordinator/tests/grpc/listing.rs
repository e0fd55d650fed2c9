//! Listings with a filter and an order.

use kindred_proto::{failure::Reason, v1};

use crate::{
    cli::{kindred, text},
    fixture::{Coordinator, FakeAgent, refusal, spec},
};

/// A job of this priority, with a label.
async fn submit(coordinator: &Coordinator, priority: i32, team: &str) -> String {
    let labels = [("team".to_owned(), team.to_owned())].into();
    let spec = v1::JobSpec { priority: Some(priority), labels, ..spec(1) };
    let request = v1::CreateJobRequest { spec: Some(spec), ..Default::default() };
    let answer = coordinator.jobs().create_job(request).await.expect("a valid job");
    answer.into_inner().job.expect("set").id
}

async fn list(coordinator: &Coordinator, request: v1::ListJobsRequest) -> (Vec<String>, String) {
    let answer = coordinator.jobs().list_jobs(request).await.expect("it is understood").into_inner();
    (answer.jobs.into_iter().map(|job| job.id).collect(), answer.next_page_token)
}

#[tokio::test]
async fn jobs_are_filtered_and_ordered() {
    let coordinator = Coordinator::start().await;
    for (priority, team) in [(0, "a"), (5, "b"), (5, "a"), (-1, "a")] {
        submit(&coordinator, priority, team).await;
    }
    let request = |filter: &str, order: &str| v1::ListJobsRequest {
        filter: filter.to_owned(),
        order_by: order.to_owned(),
        ..Default::default()
    };
    for (filter, order, expected) in [
        ("labels.team = a", "", vec!["job-4", "job-3", "job-1"]),
        ("state = pending AND priority >= 0", "priority desc, create_time", vec!["job-2", "job-3", "job-1"]),
        ("", "labels.team desc, id", vec!["job-2", "job-1", "job-3", "job-4"]),
        ("method = sce AND name:sce AND ranks = 1 AND id > job-3", "", vec!["job-4"]),
        ("create_time < 2026-01-01", "", vec![]),
    ] {
        let (jobs, _) = list(&coordinator, request(filter, order)).await;
        assert_eq!(jobs, expected, "{filter} by {order}");
    }
    let states = vec![v1::JobState::Running.into()];
    let narrowed = v1::ListJobsRequest { states, ..request("labels.team = a", "") };
    assert_eq!(list(&coordinator, narrowed).await.0, Vec::<String>::new());
}

#[tokio::test]
async fn a_page_goes_on_after_an_entry_that_has_changed() {
    let coordinator = Coordinator::start().await;
    for priority in [1, 1, 3, 2] {
        submit(&coordinator, priority, "a").await;
    }
    let mut request = v1::ListJobsRequest {
        page_size: 1,
        filter: "state = pending".to_owned(),
        order_by: "priority desc".to_owned(),
        ..Default::default()
    };
    let mut listed = vec![];
    loop {
        let (jobs, next) = list(&coordinator, request.clone()).await;
        for job_id in &jobs {
            // The filter does not hold of it any more.
            let cancel = v1::CancelJobRequest { job_id: job_id.clone(), ..Default::default() };
            coordinator.jobs().cancel_job(cancel).await.expect("it waits");
        }
        listed.extend(jobs);
        request.page_token = next;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, ["job-3", "job-4", "job-2", "job-1"]);
    let (_, token) = list(&coordinator, v1::ListJobsRequest { page_size: 1, ..Default::default() }).await;
    let other = v1::ListJobsRequest { page_token: token, order_by: "id".to_owned(), ..Default::default() };
    let failure = refusal(coordinator.jobs().list_jobs(other).await);
    assert_eq!(failure.reason, Reason::PageTokenInvalid, "a token is of one filter and order");
}

#[tokio::test]
async fn a_mistake_is_named_with_its_place() {
    let coordinator = Coordinator::start().await;
    let filter = "priority > high".to_owned();
    let failure =
        refusal(coordinator.jobs().list_jobs(v1::ListJobsRequest { filter, ..Default::default() }).await);
    assert_eq!((failure.reason, failure.subject.as_str()), (Reason::SpecInvalid, "filter"));
    assert_eq!(failure.message, "filter: at character 12: `priority` is a whole number, not \"high\"");
    let order_by = "size".to_owned();
    let failure =
        refusal(coordinator.jobs().list_jobs(v1::ListJobsRequest { order_by, ..Default::default() }).await);
    assert_eq!(failure.subject, "order_by");
}

#[tokio::test]
async fn nodes_are_filtered() {
    let coordinator = Coordinator::start().await;
    let _one = FakeAgent::join(&coordinator, "node-a", 1).await;
    let _other = FakeAgent::join(&coordinator, "node-b", 1).await;
    let request = |filter: &str| v1::ListNodesRequest { filter: filter.to_owned(), ..Default::default() };
    let answer = coordinator.nodes().list_nodes(request("state = ready AND name:b")).await;
    let nodes = answer.expect("it is understood").into_inner().nodes;
    assert_eq!(nodes.iter().map(|node| node.id.as_str()).collect::<Vec<_>>(), ["node-b"]);
    assert_eq!(refusal(coordinator.nodes().list_nodes(request("up = yes")).await).subject, "filter");
}

#[tokio::test]
async fn the_command_line_filters_too() {
    let coordinator = Coordinator::start().await;
    for (priority, team) in [(0, "a"), (5, "b"), (5, "a")] {
        submit(&coordinator, priority, team).await;
    }
    let address = coordinator.address.to_string();
    let line = ["jobs", "--filter", "priority > 0", "--label", "team=b", "--order", "id"];
    let listed = kindred(&address, &line).await;
    let lines = text(&listed.stdout);
    assert!(lines.contains("job-2") && !lines.contains("job-1") && !lines.contains("job-3"), "{lines}");
    let listed = kindred(&address, &["nodes", "--filter", "state = lost"]).await;
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    let wrong = kindred("127.0.0.1:1", &["jobs", "--filter", "priorty = 1"]).await;
    assert_eq!(wrong.status.code(), Some(2), "told before anything is sent");
    assert!(text(&wrong.stderr).contains("did you mean `priority`?"), "{}", text(&wrong.stderr));
}
