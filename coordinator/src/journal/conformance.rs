//! What every journal does, run on each of them: memory, SQLite, and PostgreSQL on a real server.

use kindred_proto::{
    failure::{Failure, Reason},
    ids::{JobId, WorldSize},
    v1,
};
use kindred_tests::postgres::Postgres as Server;

use super::{Error, Events, Journal, Memory, Postgres, Sequence, Sqlite, Stored, VERSION};
use crate::{
    model::{Change, JobChange, SchedulingTerms, State, Submission, Timestamp, Wire},
    postgres::{Candidate, Database, Standing},
};
use std::time::Duration;

fn change(number: i64) -> Change {
    let job_id = JobId::new(format!("job-{number}"));
    Change::job(&job_id, Timestamp(number), JobChange::Waits { reason: format!("waits for {number}") })
}

fn changes(numbers: std::ops::Range<i64>) -> Vec<Change> {
    numbers.map(change).collect()
}

/// Changes that lead to so many jobs.
fn accepted(numbers: std::ops::Range<i64>) -> Vec<Change> {
    let submission = Box::new(Submission {
        name: "test".to_owned(),
        world_size: WorldSize(1),
        world_sizes: vec![],
        needs_gpu: false,
        user_failures: 0,
        infrastructure_failures: 4,
        no_progress: 2,
        spec: Wire(v1::JobSpec::default()),
        fork_of: None,
        scheduling: SchedulingTerms::default(),
    });
    let accept = |number: i64| {
        let accepted =
            JobChange::Accepted { request_id: format!("request {number}"), submission: submission.clone() };
        Change::job(&JobId::new(format!("job-{number}")), Timestamp(number), accepted)
    };
    numbers.map(accept).collect()
}

/// A batch that the bounded stores below have no room for.
fn too_large() -> Vec<Change> {
    let reason = "x".repeat(1 << 20);
    vec![change(2), Change::job(&"job-3".into(), Timestamp(3), JobChange::Waits { reason })]
}

async fn load(journal: &mut impl Journal) -> Stored {
    journal.load().await.expect("it can be read")
}

async fn append(journal: &mut impl Journal, changes: &[Change]) {
    journal.append(changes, &told(journal.newest(), changes.len())).await.expect("it can be written");
}

fn event(number: u64) -> v1::Event {
    v1::Event { number, message: format!("event {number}"), ..Default::default() }
}

/// An event of each change.
fn told(newest: Sequence, n_changes: usize) -> Events {
    let first = u64::try_from(newest.0).expect("places are counted from 1") + 1;
    Events { news: (first..).take(n_changes).map(event).collect(), forget_through: None }
}

async fn events_are_stored_with_their_changes_and_forgotten<J: Journal>(open: &impl AsyncFn(&str) -> J) {
    let mut journal = open("events").await;
    append(&mut journal, &changes(0..3)).await;
    let forgetful = Events { forget_through: Some(2), ..told(Sequence(3), 2) };
    journal.append(&changes(3..5), &forgetful).await.expect("it can be written");
    drop(journal);
    let mut journal = open("events").await;
    let stored = load(&mut journal).await;
    assert_eq!((stored.events, stored.events_forgotten_through), ((3..=5).map(event).collect(), 2));
    let silent = Events { news: vec![], forget_through: Some(5) };
    journal.append(&changes(5..6), &silent).await.expect("it can be written");
    let stored = load(&mut journal).await;
    assert_eq!((stored.events, stored.events_forgotten_through), (vec![], 5));
}

/// Stores a snapshot of what `journal` holds; gives the state.
async fn store_snapshot(journal: &mut impl Journal) -> State {
    let (state, _) = load(journal).await.replay();
    let at = journal.newest();
    let mut n_pieces = 0;
    for piece in state.pieces() {
        journal.store_piece(at, n_pieces, &piece).await.expect("it can be written");
        n_pieces += 1;
    }
    assert!(n_pieces > 1, "a snapshot of several pieces");
    journal.seal_snapshot(at, n_pieces).await.expect("it can be written");
    state
}

/// Everything that holds of every journal; `open` opens the one of that name, again if it was open before.
async fn conforms<J: Journal>(open: impl AsyncFn(&str) -> J) {
    keeps_what_is_appended_in_order(open("order").await).await;
    outlasts_a_restart(&open).await;
    a_snapshot_is_where_replay_begins(&open).await;
    a_snapshot_that_is_not_sealed_does_not_count(&open).await;
    superfluous_changes_go_a_few_at_a_time(open("many").await).await;
    events_are_stored_with_their_changes_and_forgotten(&open).await;
}

async fn keeps_what_is_appended_in_order(mut journal: impl Journal) {
    assert_eq!(load(&mut journal).await, Stored::default());
    append(&mut journal, &changes(0..3)).await;
    append(&mut journal, &[]).await;
    append(&mut journal, &changes(3..4)).await;
    assert_eq!(load(&mut journal).await.changes, changes(0..4));
    assert_eq!(journal.newest(), Sequence(4));
    assert!(journal.may_decide());
}

async fn outlasts_a_restart<J: Journal>(open: &impl AsyncFn(&str) -> J) {
    let mut journal = open("restart").await;
    append(&mut journal, &changes(0..3)).await;
    drop(journal);
    let mut journal = open("restart").await;
    append(&mut journal, &changes(3..5)).await;
    assert_eq!(load(&mut journal).await.changes, changes(0..5));
}

async fn a_snapshot_is_where_replay_begins<J: Journal>(open: &impl AsyncFn(&str) -> J) {
    let mut journal = open("snapshot").await;
    append(&mut journal, &accepted(1..101)).await;
    let state = store_snapshot(&mut journal).await;
    append(&mut journal, &accepted(101..103)).await;
    let everything: Vec<_> = accepted(1..103);
    for _ in 0..2 {
        let stored = load(&mut journal).await;
        assert_eq!((stored.snapshot_at, &stored.changes), (Sequence(100), &accepted(101..103)));
        assert_eq!(State::restore(stored.pieces.clone()), state);
        assert_eq!(stored.replay().0, State::replay(&everything), "snapshot and tail are the whole");
        while journal.drop_surplus().await.expect("it can be written") {}
    }
    // A second snapshot takes the first one's place, also when no change is left after it.
    let state = store_snapshot(&mut journal).await;
    while journal.drop_surplus().await.expect("it can be written") {}
    drop(journal);
    let mut journal = open("snapshot").await;
    assert_eq!(journal.newest(), Sequence(102), "places go on where they were");
    let stored = load(&mut journal).await;
    assert_eq!((stored.snapshot_at, stored.changes.len()), (Sequence(102), 0));
    assert_eq!(stored.replay().0, state);
    append(&mut journal, &accepted(103..104)).await;
    assert_eq!(load(&mut journal).await.changes, accepted(103..104));
}

async fn a_snapshot_that_is_not_sealed_does_not_count<J: Journal>(open: &impl AsyncFn(&str) -> J) {
    let mut journal = open("torn").await;
    append(&mut journal, &accepted(1..101)).await;
    let before = load(&mut journal).await;
    let piece = before.clone().replay().0.pieces().next().expect("one at least");
    let at = journal.newest();
    journal.store_piece(at, 0, &piece).await.expect("it can be written");
    drop(journal);
    let mut journal = open("torn").await;
    assert_eq!(load(&mut journal).await, before);
    assert!(journal.drop_surplus().await.expect("it can be written"), "the piece goes");
    assert!(!journal.drop_surplus().await.expect("it can be written"), "and nothing else");
    assert_eq!(load(&mut journal).await, before);
}

async fn superfluous_changes_go_a_few_at_a_time(mut journal: impl Journal) {
    append(&mut journal, &accepted(1..2501)).await;
    let state = store_snapshot(&mut journal).await;
    let mut n_rounds = 0;
    while journal.drop_surplus().await.expect("it can be written") {
        n_rounds += 1;
    }
    assert_eq!(n_rounds, 3);
    assert_eq!(load(&mut journal).await.replay().0, state);
}

/// `break_it` gives a batch that cannot be stored until `mend`.
async fn a_failed_write_stores_nothing_and_the_next_may_work(
    mut journal: impl Journal,
    break_it: impl Fn() -> Vec<Change>,
    mend: impl Fn(),
) {
    append(&mut journal, &changes(0..2)).await;
    for _ in 0..2 {
        let broken = break_it();
        let told = told(journal.newest(), broken.len());
        journal.append(&broken, &told).await.expect_err("writes fail");
    }
    mend();
    assert_eq!(load(&mut journal).await.changes, changes(0..2));
    append(&mut journal, &changes(4..6)).await;
    let numbers: Vec<u64> = load(&mut journal).await.events.iter().map(|event| event.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4], "nor are events of it told");
    let expected = [changes(0..2), changes(4..6)].concat();
    assert_eq!(load(&mut journal).await.changes, expected, "nothing of the failed batch");
}

#[tokio::test]
async fn memory_conforms() {
    let journals = std::cell::RefCell::new(std::collections::BTreeMap::<String, Memory>::new());
    conforms(async |name: &str| journals.borrow_mut().entry(name.to_owned()).or_default().clone()).await;
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
    conforms(async |name: &str| Sqlite::open(folder.path().join(name)).await.expect("a journal")).await;
    let journal = Sqlite::open_bounded(folder.path().join("bounded"), 24).await.expect("a small journal");
    a_failed_write_stores_nothing_and_the_next_may_work(journal, too_large, || {}).await;
}

/// A journal whose coordinator leads; whoever led before does so no more.
async fn open(server: &Server, name: &str) -> Postgres {
    let database: Database = server.url(name).parse().expect("an address");
    if database.prepare().await.is_err() {
        server.create(name).expect("a new database");
        database.prepare().await.expect("a new database");
    }
    server.sql(name, "UPDATE leader SET expires_at = now()").expect("the tables are there");
    let lease = Duration::from_secs(60);
    let mut candidate = Candidate::new(database.clone(), "here:1".to_owned(), lease);
    let Standing::Leads(term) = candidate.look().await.expect("it answers") else { panic!("nobody leads") };
    Postgres::open(database, term, lease).await.expect("a journal")
}

#[tokio::test]
async fn postgres_conforms() {
    let Some(mut server) = Server::start().await.expect("a server") else { return };
    conforms(async |name: &str| open(&server, name).await).await;

    let journal = open(&server, "bounded").await;
    let bound = "ALTER TABLE changes ADD CONSTRAINT small CHECK (length(body) < 1000)";
    server.sql("bounded", bound).expect("a bound");
    a_failed_write_stores_nothing_and_the_next_may_work(journal, too_large, || {}).await;

    a_former_leader_writes_nothing(&server).await;
    a_database_of_a_newer_version_is_refused(&server).await;
    a_write_in_doubt_is_settled_by_the_next(&mut server).await;
}

async fn a_former_leader_writes_nothing(server: &Server) {
    let mut former = open(server, "fenced").await;
    append(&mut former, &accepted(1..101)).await;
    let mut leader = open(server, "fenced").await;
    let before = load(&mut leader).await;
    let piece = before.clone().replay().0.pieces().next().expect("one at least");
    assert!(former.may_decide(), "it does not know yet");
    let error = former.append(&accepted(101..102), &Events::default()).await.expect_err("another one leads");
    assert!(matches!(error, Error::Superseded { .. }), "{error}");
    assert_eq!(Failure::from(error).reason, Reason::NotLeader);
    assert!(!former.may_decide());
    former.store_piece(Sequence(100), 0, &piece).await.expect_err("another one leads");
    former.seal_snapshot(Sequence(100), 1).await.expect_err("another one leads");
    leader.store_piece(Sequence(100), 0, &piece).await.expect("it leads");
    assert!(!former.drop_surplus().await.expect("it finds nothing of its own"));
    assert_eq!(server.sql("fenced", "SELECT count(*) FROM pieces").expect("a count"), "1");
    assert_eq!(load(&mut leader).await, before);
    append(&mut leader, &accepted(101..103)).await;
    assert_eq!(load(&mut leader).await.changes, accepted(1..103));
}

async fn a_database_of_a_newer_version_is_refused(server: &Server) {
    let mut journal = open(server, "newer").await;
    append(&mut journal, &changes(0..1)).await;
    server.sql("newer", &format!("UPDATE changes SET version = {}", VERSION + 1)).expect("a newer change");
    let error = journal.load().await.expect_err("it is of a newer version").to_string();
    assert!(error.contains("change 1 is of version 2, this program reads up to 1"), "{error}");
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (999, 'later', true, '', 0)";
    server.sql("newer", newer).expect("a newer database");
    let database: Database = server.url("newer").parse().expect("an address");
    let error = database.prepare().await.expect_err("it is of a newer version").to_string();
    assert!(error.contains("a newer version of Kindred wrote it"), "{error}");
}

/// The server ends over a write: nobody knows whether it was carried out, and it must not be found there later.
async fn a_write_in_doubt_is_settled_by_the_next(server: &mut Server) {
    let mut journal = open(server, "doubt").await;
    append(&mut journal, &changes(0..2)).await;
    server.kill().expect("it runs");
    journal.append(&changes(2..4), &told(Sequence(2), 2)).await.expect_err("nobody answers");
    server.resume().await.expect("it starts again");
    // As if the write had come through: its answer was lost with the server.
    let late = "INSERT INTO changes SELECT 3, version, epoch, body FROM changes WHERE sequence = 1";
    server.sql("doubt", late).expect("it can be written");
    let late = "INSERT INTO events SELECT 3, version, body FROM events WHERE number = 1";
    server.sql("doubt", late).expect("it can be written");
    append(&mut journal, &changes(4..6)).await;
    let stored = load(&mut journal).await;
    assert_eq!(stored.changes, [changes(0..2), changes(4..6)].concat());
    assert_eq!(stored.events, (1..=4).map(event).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.sqlite");
    let mut journal = Sqlite::open(&path).await.expect("a new journal");
    append(&mut journal, &changes(0..1)).await;
    drop(journal);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut file = sqlx::ConnectOptions::connect(&options).await.expect("it opens");
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (999, 'later', true, x'', 0)";
    sqlx::query(newer).execute(&mut file).await.expect("a newer file");
    sqlx::Connection::close(file).await.expect("it closes");
    let error = Sqlite::open(&path).await.expect_err("it is of a newer version").to_string();
    assert!(error.contains("journal.sqlite: a newer version of Kindred wrote it"), "{error}");
    assert!(error.contains("migration 999"), "{error}");
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
    let mut journal = Sqlite::open_bounded(path.clone(), 24).await.expect("a small journal");
    let error = journal.append(&too_large(), &Events::default()).await.expect_err("it does not fit");
    assert_eq!(error.to_string(), format!("journal {}: database or disk is full", path.display()));
    let failure = Failure::from(error);
    assert_eq!((failure.reason, failure.subject), (Reason::JournalUnavailable, path.display().to_string()));
}
