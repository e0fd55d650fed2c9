//! What every journal does, run on each of them.

use kindred_proto::{
    failure::{Failure, Reason},
    ids::JobId,
};

use super::{Error, Journal, Memory, Sqlite};
use crate::model::{Change, JobChange, Timestamp};

fn change(number: i64) -> Change {
    let job_id = JobId::new(format!("job-{number}"));
    Change::job(&job_id, Timestamp(number), JobChange::Waits { reason: format!("waits for {number}") })
}

fn changes(numbers: std::ops::Range<i64>) -> Vec<Change> {
    numbers.map(change).collect()
}

async fn keeps_what_is_appended_in_order(mut journal: impl Journal) {
    assert_eq!(journal.load().await.expect("an empty journal"), vec![]);
    journal.append(&changes(0..3)).await.expect("first batch");
    journal.append(&[]).await.expect("nothing");
    journal.append(&changes(3..4)).await.expect("second batch");
    assert_eq!(journal.load().await.expect("both batches"), changes(0..4));
}

/// `break_it` gives a batch that cannot be stored until `mend`.
async fn a_failed_write_stores_nothing_and_the_next_may_work(
    mut journal: impl Journal,
    break_it: impl Fn() -> Vec<Change>,
    mend: impl Fn(),
) {
    journal.append(&changes(0..2)).await.expect("writes work");
    for _ in 0..2 {
        journal.append(&break_it()).await.expect_err("writes fail");
    }
    mend();
    assert_eq!(journal.load().await.expect("what was stored before"), changes(0..2));
    journal.append(&changes(4..6)).await.expect("writes work again");
    let expected = [changes(0..2), changes(4..6)].concat();
    assert_eq!(journal.load().await.expect("nothing of the failed batch"), expected);
}

#[tokio::test]
async fn memory_conforms() {
    keeps_what_is_appended_in_order(Memory::default()).await;
    let journal = Memory::default();
    let handle = journal.clone();
    let break_it = || {
        handle.set_failing(true);
        changes(2..4)
    };
    a_failed_write_stores_nothing_and_the_next_may_work(journal, break_it, || handle.set_failing(false))
        .await;
}

#[tokio::test]
async fn sqlite_conforms() {
    let folder = tempfile::tempdir().expect("a folder");
    keeps_what_is_appended_in_order(Sqlite::open(folder.path().join("a")).await.expect("a journal")).await;
    let journal = Sqlite::open_bounded(folder.path().join("b"), 16).await.expect("a small journal");
    let too_large = || {
        let reason = "x".repeat(1 << 20);
        vec![change(2), Change::job(&"job-3".into(), Timestamp(3), JobChange::Waits { reason })]
    };
    a_failed_write_stores_nothing_and_the_next_may_work(journal, too_large, || {}).await;
}

#[tokio::test]
async fn sqlite_outlasts_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let mut journal = Sqlite::open(&path).await.expect("a new journal");
    journal.append(&changes(0..3)).await.expect("first life");
    drop(journal);
    let mut journal = Sqlite::open(&path).await.expect("the same journal");
    journal.append(&changes(3..5)).await.expect("second life");
    assert_eq!(journal.load().await.expect("both lives"), changes(0..5));
}

#[tokio::test]
async fn an_unreachable_file_is_named() {
    let error = Sqlite::open("/nowhere/journal.sqlite").await.expect_err("no such folder");
    assert!(matches!(error, Error::Unavailable { .. }));
    assert!(error.to_string().contains("/nowhere/journal.sqlite"), "{error}");
}

#[tokio::test]
async fn a_full_disk_is_told_in_plain_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.sqlite");
    let mut journal = Sqlite::open_bounded(path.clone(), 16).await.expect("a small journal");
    let reason = "x".repeat(1 << 20);
    let too_large = Change::job(&"job-1".into(), Timestamp(1), JobChange::Waits { reason });
    let error = journal.append(&[too_large]).await.expect_err("it does not fit");
    assert_eq!(error.to_string(), format!("journal {}: database or disk is full", path.display()));
    let failure = Failure::from(error);
    assert_eq!((failure.reason, failure.subject), (Reason::JournalUnavailable, path.display().to_string()));
}
