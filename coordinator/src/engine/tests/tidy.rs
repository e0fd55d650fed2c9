//! What is stored stays short.

use std::time::Duration;

use kindred_proto::v1::{self, JobState, RankState};
use tokio::time::{self, Instant, sleep};

use super::{Running, report};
use crate::{
    engine::{LogQuery, TICK},
    journal::{Journal, Memory, Sequence},
};

#[tokio::test]
async fn a_restart_begins_with_the_newest_snapshot() {
    let running = Running::start().await;
    for number in 0..Running::SNAPSHOT_EVERY {
        running.create(&format!("request-{number}")).await.expect("a good job");
    }
    let n_changes = running.journal.newest();
    sleep(20 * TICK).await;
    let stored = Memory::load(&mut running.journal.clone()).await.expect("a journal in memory");
    assert!(stored.snapshot_at > Sequence(0) && stored.snapshot_at <= n_changes, "{:?}", stored.snapshot_at);
    let kept = running.journal.changes().len();
    assert!(kept <= stored.changes.len(), "{kept} changes are kept, {} are needed", stored.changes.len());

    let first = running.job("job-1").await;
    let running = running.restart().await;
    assert_eq!(running.job("job-1").await, first);
    let again = running.create("request-0").await.expect("the same job");
    assert_eq!(again.id, "job-1", "requests are remembered");
    let next = running.create("").await.expect("another job");
    assert_eq!(next.id, format!("job-{}", Running::SNAPSHOT_EVERY + 1));
}

#[tokio::test]
async fn a_job_that_was_over_for_long_is_forgotten_with_its_logs() {
    let running = Running::start().await;
    let mut session = running.with_job().await;
    time::resume();
    let line = v1::LogLine { message: "a line".to_owned(), ..Default::default() };
    let mut news = report(Some(RankState::Finished));
    news.telemetry = vec![v1::TelemetryBatch {
        sequence: 1,
        job_id: "job-1".to_owned(),
        lines: vec![line],
        ..Default::default()
    }];
    session.reports.report(news).await.expect("a running engine");
    while running.job("job-1").await.state() != JobState::Succeeded {
        sleep(TICK).await;
    }
    let n_lines = async |running: &Running| {
        let telemetry = running.handle.telemetry();
        let level = v1::LogLevel::Unspecified;
        telemetry.lines_after(&"job-1".into(), Default::default(), level).await.expect("lines").lines.len()
    };
    assert_eq!(n_lines(&running).await, 1);
    let query = LogQuery { tail: None, after: None, min_level: v1::LogLevel::Unspecified, follow: false };
    assert!(running.handle.read_logs(&"job-1".into(), query).await.is_ok());

    time::pause();
    time::advance(Running::KEEP_JOBS + Duration::from_secs(1)).await;
    time::resume();
    let deadline = Instant::now() + Duration::from_secs(20);
    while n_lines(&running).await > 0 {
        assert!(Instant::now() < deadline, "its lines go");
        sleep(TICK).await;
    }
    assert!(running.handle.get_job(&"job-1".into()).await.is_err());
    time::pause();
    let running = running.restart().await;
    assert!(running.handle.get_job(&"job-1".into()).await.is_err());
    assert_eq!(running.create("").await.expect("a good job").id, "job-2", "no number is given twice");
}
