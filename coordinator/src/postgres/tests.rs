//! The lease on a real server, and addresses that hold passwords.

use std::time::Duration;

use kindred_tests::postgres::Postgres as Server;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::*;

const LENGTH: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_password_is_never_printed() {
    let database: Database = "postgres://ann:s3cret@db.example:5433/kindred".parse().expect("an address");
    for text in [database.to_string(), format!("{database:?}")] {
        assert!(
            text.contains("postgres://ann@db.example:5433/kindred") && !text.contains("s3cret"),
            "{text}"
        );
    }
    for bad in ["mysql://ann:s3cret@db/x", "ann:s3cret@db", "postgres://ann:s3cret@db:port/x"] {
        let text = bad.parse::<Database>().expect_err("not an address").to_string();
        assert!(text.contains("postgres://user@host") && !text.contains("s3cret"), "{text}");
    }
}

async fn database(server: &Server, name: &str) -> Database {
    let database: Database = server.create(name).expect("a new database").parse().expect("an address");
    database.prepare().await.expect("new tables");
    database.prepare().await.expect("the same tables");
    database
}

fn candidate(database: &Database, address: &str) -> Candidate {
    Candidate::new(database.clone(), address.to_owned(), LENGTH)
}

async fn lead(candidate: &mut Candidate) -> Term {
    let leads = async {
        loop {
            match candidate.look().await {
                Ok(Standing::Leads(term)) => return term,
                Ok(Standing::Follows { remaining, .. }) => sleep(candidate.pause(remaining)).await,
                // The connection of before is gone.
                Err(_) => sleep(LENGTH / 10).await,
            }
        }
    };
    timeout(PATIENCE, leads).await.expect("the lease becomes free")
}

async fn followed(candidate: &mut Candidate) -> String {
    match candidate.look().await.expect("it answers") {
        Standing::Follows { leader, .. } => leader,
        Standing::Leads(term) => panic!("it leads as {:?}", term.epoch),
    }
}

#[tokio::test]
async fn there_is_one_leader_at_a_time() {
    let Some(mut server) = Server::start().await.expect("a server") else { return };
    let database = database(&server, "kindred").await;
    let (mut first, mut second) = (candidate(&database, "first:1"), candidate(&database, "second:1"));

    let term = lead(&mut first).await;
    assert!(term.may_decide());
    let kept = tokio::spawn(first.keep(term.clone(), CancellationToken::new()));
    sleep(2 * LENGTH).await;
    assert_eq!(followed(&mut second).await, "first:1", "a lease that is renewed is not taken");
    assert!(term.may_decide());

    // It dies without a word.
    kept.abort();
    let died = Instant::now();
    let later = lead(&mut second).await;
    assert!(!term.may_decide(), "the first may not decide any more once the second may");
    assert!(later.epoch > term.epoch);
    assert!(died.elapsed() < 2 * LENGTH, "{:?}", died.elapsed());

    // It leaves, and says so.
    let stop = CancellationToken::new();
    stop.cancel();
    second = second.keep(later.clone(), stop).await;
    assert!(!later.may_decide());
    let mut third = candidate(&database, "third:1");
    let left = Instant::now();
    let term = lead(&mut third).await;
    assert!(left.elapsed() < LENGTH / 2, "a lease that is given back is free at once");
    assert_eq!(followed(&mut second).await, "third:1");

    // Its database is gone: it stops deciding before anyone else may.
    server.kill().expect("it runs");
    let gone = Instant::now();
    timeout(PATIENCE, third.keep(term.clone(), CancellationToken::new())).await.expect("it gives up");
    assert!(!term.may_decide());
    assert!(gone.elapsed() < LENGTH + LENGTH / 2, "{:?}", gone.elapsed());
    server.resume().await.expect("it starts again");
    lead(&mut second).await;
}
