//! The engine over a journal in memory, with time paused.

mod gated;
mod tidy;

use std::pin::pin;

use kindred_proto::{
    ids::{Generation, JobId, WorldSize},
    v1::{self, JobState, RankState},
};
use tempfile::TempDir;
use tokio::{
    task::JoinHandle,
    time::{self, sleep},
};
use tokio_stream::StreamExt;

use super::*;
use crate::{
    journal::Memory,
    model::{SchedulingTerms, Submission, Wire},
};

/// A running engine.
struct Running {
    handle: Handle,
    journal: Memory,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    folder: TempDir,
}

impl Running {
    const SNAPSHOT_EVERY: usize = 100;
    const KEEP_JOBS: Duration = Duration::from_secs(24 * 60 * 60);

    async fn start() -> Self {
        Self::start_on(Memory::default()).await
    }

    /// Opens everything on real time, since SQLite lives on threads of its own, then pauses it.
    async fn start_on(journal: Memory) -> Self {
        Self::start_with(journal.clone(), journal).await
    }

    async fn start_with(journal: impl Journal, memory: Memory) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (snapshot_every, keep_jobs) = (Self::SNAPSHOT_EVERY, Self::KEEP_JOBS);
        let config = Config { snapshot_every, keep_jobs, ..Config::new(folder.path()) };
        let telemetry = Telemetry::open(config.telemetry_file(), config.log_lines_per_job).await;
        let telemetry = telemetry.expect("new telemetry");
        time::pause();
        let (handle, engine) = start(&config, journal, telemetry).await.expect("a readable journal");
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(engine.run(shutdown.clone()));
        Self { handle, journal: memory, shutdown, task, folder }
    }

    /// Ends the engine and starts another on the same journal.
    async fn restart(self) -> Self {
        self.shutdown.cancel();
        self.task.await.expect("the engine does not panic");
        drop(self.folder);
        time::resume();
        Self::start_on(self.journal).await
    }

    async fn create(&self, request_id: &str) -> Result<v1::Job, Failure> {
        self.handle.submit(submission(1), request_id).await
    }

    async fn job(&self, id: &str) -> v1::Job {
        self.handle.get_job(&id.into()).await.expect("a job")
    }

    /// The job, without how long it has taken so far.
    async fn untimed_job(&self, id: &str) -> v1::Job {
        let mut job = self.job(id).await;
        job.ledger.as_mut().expect("it was placed").elapsed_s = 0.0;
        job
    }

    async fn node(&self) -> v1::Node {
        self.handle.get_node(&"node-1".into()).await.expect("a node")
    }

    /// An agent with one device, and a job of one rank that trains there.
    async fn with_job(&self) -> AgentSession {
        let mut session = self.handle.connect_agent(report(None)).await.expect("a good agent");
        self.create("").await.expect("a good job");
        session.reports.report(report(Some(RankState::Training))).await.expect("a running engine");
        sleep(TICK).await;
        assert_eq!(self.job("job-1").await.state(), JobState::Running);
        session
    }
}

pub(super) fn submission(n_ranks: u32) -> Submission {
    Submission {
        name: "test".to_owned(),
        world_size: WorldSize(n_ranks),
        world_sizes: vec![],
        needs_gpu: false,
        user_failures: 0,
        infrastructure_failures: 4,
        no_progress: 2,
        spec: Wire(v1::JobSpec { ranks: Some(n_ranks), ..Default::default() }),
        fork_of: None,
        scheduling: SchedulingTerms::default(),
    }
}

/// A report of the agent of `node-1`, with the state of rank 0 of the first generation of job-1.
fn report(state: Option<RankState>) -> v1::AgentReport {
    let rank = state.map(|state| v1::ObservedRank {
        job_id: "job-1".to_owned(),
        generation: 1,
        state: state.into(),
        result: Some(v1::JobResult::default()),
        ..Default::default()
    });
    let device = v1::Device { kind: v1::DeviceKind::Cpu.into(), ..Default::default() };
    v1::AgentReport {
        protocol_version: 1,
        node_id: "node-1".to_owned(),
        node_name: "node-1".to_owned(),
        incarnation: "life-1".to_owned(),
        devices: vec![device],
        ranks: rank.into_iter().collect(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_request_is_remembered_over_a_restart() {
    let running = Running::start().await;
    let first = running.create("a").await.expect("a good job");
    let running = running.restart().await;
    assert_eq!(running.create("a").await.expect("the same job").id, first.id);
    let refusal = running.handle.submit(submission(2), "a").await.expect_err("another spec");
    assert_eq!(refusal.reason, Reason::RequestIdReused);
}

#[tokio::test]
async fn jobs_are_listed_in_pages() {
    let running = Running::start().await;
    for _ in 0..5 {
        running.create("").await.expect("a good job");
    }
    running.handle.cancel_job(&"job-4".into(), "").await.expect("it can be cancelled");
    let mut query = JobQuery { states: vec![JobState::Pending], limit: 3, ..JobQuery::default() };
    let page = running.handle.list_jobs(query.clone()).await.expect("a page");
    assert_eq!(page.jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["job-5", "job-3", "job-2"]);
    query.after = page.next;
    let page = running.handle.list_jobs(query).await.expect("the last page");
    assert_eq!(page.jobs.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["job-1"]);
    assert_eq!(page.next, None);
}

#[tokio::test]
async fn without_a_journal_nothing_changes_and_nothing_is_lost() {
    let running = Running::start().await;
    let mut session = running.with_job().await;
    running.journal.set_failing(true);
    let stored = running.journal.changes();
    let refusal = running.create("a").await.expect_err("it cannot be stored");
    assert_eq!(refusal.reason, Reason::JournalUnavailable);
    let refusal = running.handle.cancel_job(&"job-1".into(), "").await.expect_err("it cannot be stored");
    assert_eq!(refusal.reason, Reason::JournalUnavailable);

    session.reports.report(report(Some(RankState::Finished))).await.expect("a running engine");
    sleep(10 * TICK).await;
    assert_eq!(session.orders.borrow().head.reports_seen, 3, "reports are answered, so leases go on");
    assert_eq!(running.job("job-1").await.state(), JobState::Running);
    assert_eq!(running.handle.get_job(&"job-2".into()).await.expect_err("none").reason, Reason::JobNotFound);
    assert_eq!(running.journal.changes(), stored);

    running.journal.set_failing(false);
    sleep(TICK).await;
    assert_eq!(running.job("job-1").await.state(), JobState::Succeeded);
    assert_eq!(running.create("a").await.expect("it can be stored").id, "job-2");
}

#[tokio::test]
async fn a_watcher_sees_a_job_to_its_end() {
    let running = Running::start().await;
    let mut session = running.with_job().await;
    let mut jobs = pin!(running.handle.watch_job(&"job-1".into()).await.expect("a job"));
    assert_eq!(jobs.next().await.expect("as it is").state(), JobState::Running);
    let mut news = report(Some(RankState::Training));
    news.ranks[0].progress = Some(v1::Progress { step: 5, ..Default::default() });
    session.reports.report(news).await.expect("a running engine");
    let progress = jobs.next().await.expect("as it goes on").progress.expect("progress");
    assert_eq!(progress.step, 5);
    session.reports.report(report(Some(RankState::Finished))).await.expect("a running engine");
    assert_eq!(jobs.next().await.expect("as it ends").state(), JobState::Succeeded);
    assert_eq!(jobs.next().await, None);
}

#[tokio::test]
async fn every_report_is_answered_with_orders() {
    let running = Running::start().await;
    let mut session = running.handle.connect_agent(report(None)).await.expect("a good agent");
    let orders = session.orders.borrow_and_update().to_wire();
    assert_eq!((orders.reports_seen, orders.lease_ms, orders.report_interval_ms), (1, 8_000, 2_000));
    assert!(!orders.coordinator_incarnation.is_empty());
    assert!(orders.ranks.is_empty());
    running.create("").await.expect("a good job");
    session.orders.changed().await.expect("new orders");
    assert_eq!(session.orders.borrow_and_update().ranks.len(), 1);
    session.reports.report(report(Some(RankState::Starting))).await.expect("a running engine");
    session.orders.changed().await.expect("an answer");
    assert_eq!(session.orders.borrow_and_update().head.reports_seen, 2);
}

#[tokio::test]
async fn a_silent_node_is_lost_after_the_lease() {
    let running = Running::start().await;
    let session = running.with_job().await;
    sleep(Duration::from_secs(9)).await;
    assert_eq!(running.node().await.state(), v1::NodeState::Ready);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(running.node().await.state(), v1::NodeState::Lost);
    assert_eq!(running.job("job-1").await.state(), JobState::Recovering);
    drop(session);
}

#[tokio::test]
async fn a_node_whose_stream_ends_is_suspect() {
    let running = Running::start().await;
    let session = running.with_job().await;
    drop(session);
    sleep(2 * TICK).await;
    assert_eq!(running.node().await.state(), v1::NodeState::Suspect);
    assert_eq!(running.job("job-1").await.state(), JobState::Running);
}

#[tokio::test]
async fn the_newest_stream_of_a_node_takes_over() {
    let running = Running::start().await;
    let mut older = running.with_job().await;
    let newer =
        running.handle.connect_agent(report(Some(RankState::Training))).await.expect("the same agent");
    while older.orders.changed().await.is_ok() {}
    older.reports.report(report(None)).await.expect("it is passed over");
    sleep(2 * TICK).await;
    assert_eq!(running.node().await.state(), v1::NodeState::Ready);
    assert_eq!(running.job("job-1").await.state(), JobState::Running);
    assert_eq!(newer.orders.borrow().ranks.len(), 1);
}

#[tokio::test]
async fn a_refused_agent_is_told_why() {
    let running = Running::start().await;
    let old = v1::AgentReport { protocol_version: 0, ..report(None) };
    let refusal = running.handle.connect_agent(old).await.err().expect("an old protocol");
    assert_eq!(refusal.reason, Reason::ProtocolVersionUnsupported);
}

#[tokio::test]
async fn a_restarted_engine_adopts_what_runs() {
    let running = Running::start().await;
    let session = running.with_job().await;
    let before = running.untimed_job("job-1").await;
    let running = running.restart().await;
    drop(session);
    let again = running.handle.connect_agent(report(Some(RankState::Training))).await.expect("a good agent");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(running.untimed_job("job-1").await, before);
    assert_eq!(again.orders.borrow().ranks.len(), 1);
}

#[tokio::test]
async fn the_end_of_a_generation_is_told() {
    let running = Running::start().await;
    let session = running.with_job().await;
    let job_id = JobId::from("job-1");
    let token = running.handle.open_generation(&job_id, Generation(1)).expect("it is live");
    let refusal = running.handle.open_generation(&job_id, Generation(2)).expect_err("it never was");
    assert_eq!(refusal.message, "generation 2 of job-1 is not live: generation 1 is");
    assert!(!token.is_cancelled());
    running.handle.cancel_job(&job_id, "").await.expect("it can be cancelled");
    token.cancelled().await;
    assert!(running.handle.open_generation(&job_id, Generation(1)).is_err());
    drop(session);
}

#[tokio::test]
async fn shutdown_ends_every_stream_and_call() {
    let running = Running::start().await;
    let mut session = running.with_job().await;
    let mut jobs = pin!(running.handle.watch_job(&"job-1".into()).await.expect("a job"));
    let token = running.handle.open_generation(&"job-1".into(), Generation(1)).expect("it is live");
    assert!(jobs.next().await.is_some());
    running.shutdown.cancel();
    running.task.await.expect("the engine does not panic");
    assert_eq!(jobs.next().await, None);
    while session.orders.changed().await.is_ok() {}
    assert!(token.is_cancelled());
    let refusal = running.handle.list_nodes().await.expect_err("nobody answers");
    assert_eq!(refusal.reason, Reason::ShuttingDown);
}

#[tokio::test]
async fn many_wishes_share_a_turn() {
    let running = Running::start().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let handle = running.handle.clone();
        tasks.spawn(async move { handle.submit(submission(1), "").await.map(|job| job.id) });
    }
    let ids: std::collections::BTreeSet<_> =
        tasks.join_all().await.into_iter().map(|id| id.expect("a good job")).collect();
    assert_eq!(ids.len(), 500);
    assert!(running.journal.n_writes() < 100, "{} writes", running.journal.n_writes());
}

#[tokio::test]
async fn followed_lines_end_with_the_job() {
    let running = Running::start().await;
    time::resume();
    let mut session = running.with_job().await;
    let query = LogQuery { tail: None, after: None, min_level: v1::LogLevel::Unspecified, follow: true };
    let mut places = vec![];
    let mut lines = pin!(running.handle.read_logs(&"job-1".into(), query).await.expect("a job"));
    for (sequence, state) in [(1, RankState::Training), (2, RankState::Finished)] {
        let line = v1::LogLine { message: format!("line {sequence}"), ..Default::default() };
        let mut news = report(Some(state));
        news.telemetry = vec![v1::TelemetryBatch {
            sequence,
            job_id: "job-1".to_owned(),
            lines: vec![line.clone()],
            ..Default::default()
        }];
        session.reports.report(news).await.expect("a running engine");
        let read = lines.next().await.expect("there is a line").expect("it can be read");
        assert_eq!(read.lines, [line]);
        places.push(read.last);
    }
    assert_eq!(lines.next().await, None);
    let query = LogQuery { after: Some(places[0]), ..query };
    let mut rest = pin!(running.handle.read_logs(&"job-1".into(), query).await.expect("a job"));
    let read = rest.next().await.expect("there is one more").expect("it can be read");
    assert_eq!((read.lines[0].message.as_str(), read.last), ("line 2", places[1]));
    assert_eq!(session.orders.borrow().head.telemetry_acknowledged, 2);
}

#[tokio::test]
async fn nothing_after_a_batch_that_was_not_stored_is_acknowledged() {
    let running = Running::start().await;
    time::resume();
    let mut intake =
        intake::Intake::new(running.handle.telemetry().clone(), line_limit::LineLimit::default());
    let with = |sequences: &[u64]| {
        let batches = sequences.iter().map(|&sequence| v1::TelemetryBatch { sequence, ..Default::default() });
        v1::AgentReport { telemetry: batches.collect(), ..report(None) }
    };
    assert_eq!(intake.take(with(&[1, 2])).await.telemetry_acknowledged, 2);
    running.handle.telemetry().set_failing(true).await;
    assert_eq!(intake.take(with(&[3])).await.telemetry_acknowledged, 0);
    running.handle.telemetry().set_failing(false).await;
    assert_eq!(intake.take(with(&[4])).await.telemetry_acknowledged, 0, "batch 3 is missing");
    assert_eq!(intake.take(with(&[3, 4])).await.telemetry_acknowledged, 4);
    assert_eq!(intake.take(with(&[5])).await.telemetry_acknowledged, 5);
}

#[tokio::test]
async fn no_lease_runs_while_the_engine_is_held_up() {
    let running = Running::start().await;
    let session = running.with_job().await;
    time::advance(Duration::from_secs(30)).await;
    assert_eq!(running.node().await.state(), v1::NodeState::Ready);
    sleep(Duration::from_secs(11)).await;
    assert_eq!(running.node().await.state(), v1::NodeState::Lost);
    drop(session);
}
