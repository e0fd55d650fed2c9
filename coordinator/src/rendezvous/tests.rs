use kindred_proto::v1::store_request::{Add, Check, CountKeys, Get, Set, Wait};
use tokio::task::yield_now;

use super::*;

/// One generation as the engine sees it.
#[derive(Clone)]
struct Live {
    rendezvous: Rendezvous,
    generation: u64,
    ended: CancellationToken,
}

impl Live {
    fn first() -> Self {
        Self { rendezvous: Rendezvous::default(), generation: 1, ended: CancellationToken::new() }
    }

    fn next(&self) -> Self {
        self.ended.cancel();
        Self { generation: self.generation + 1, ended: CancellationToken::new(), ..self.clone() }
    }

    async fn run(&self, operation: Operation) -> Result<StoreResponse, Failure> {
        let scope = Scope { job_id: JobId::new("job-1"), generation: Generation(self.generation) };
        self.rendezvous.run(scope, self.ended.clone(), operation).await
    }
}

fn set(key: &str, value: &[u8]) -> Operation {
    Operation::Set(Set { key: key.into(), value: value.into() })
}

fn get(key: &str, timeout_ms: u32) -> Operation {
    Operation::Get(Get { key: key.into(), timeout_ms })
}

#[tokio::test(start_paused = true)]
async fn get_waits_for_the_key_of_another_rank() {
    let live = Live::first();
    let other = live.clone();
    let waiter = tokio::spawn(async move { other.run(get("address", 60_000)).await });
    yield_now().await;
    live.run(set("address", b"10.0.0.1")).await.expect("live");
    let answer = waiter.await.expect("no panic").expect("the key came");
    assert_eq!(answer.value, b"10.0.0.1");
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_in_time_and_names_the_key() {
    let live = Live::first();
    live.run(set("there", b"")).await.expect("live");
    let wait = Operation::Wait(Wait { keys: vec!["there".into(), "rank/1".into()], timeout_ms: 500 });
    let failure = live.run(wait).await.expect_err("nobody sets it");
    assert_eq!(failure.reason, Reason::StoreTimeout);
    assert_eq!(failure.message, "generation 1 of job-1: no rank set rank/1 within 500 ms");
}

#[tokio::test(start_paused = true)]
async fn waits_of_an_ended_generation_are_told_so() {
    let live = Live::first();
    let other = live.clone();
    let waiter = tokio::spawn(async move { other.run(get("address", 60_000)).await });
    yield_now().await;
    live.ended.cancel();
    let failure = waiter.await.expect("no panic").expect_err("the generation ended");
    assert_eq!(failure.reason, Reason::StaleGeneration);
    let failure = live.run(set("late", b"x")).await.expect_err("not live any more");
    assert_eq!(failure.message, "generation 1 of job-1 is not live");
}

#[tokio::test(start_paused = true)]
async fn keys_do_not_reach_the_next_generation() {
    let first = Live::first();
    first.run(set("key", b"old")).await.expect("live");
    let second = first.next();
    let check = Operation::Check(Check { keys: vec!["key".into()] });
    assert!(!second.run(check).await.expect("live").found);
    assert_eq!(lock(&second.rendezvous.rooms).len(), 1, "only the live generation is kept");
}

#[tokio::test(start_paused = true)]
async fn ranks_count_themselves() {
    let live = Live::first();
    for expected in 1..=3 {
        let add = Operation::Add(Add { key: "arrived".into(), amount: 1 });
        assert_eq!(live.run(add).await.expect("live").number, expected);
    }
    let count = live.run(Operation::CountKeys(CountKeys {})).await.expect("live");
    assert_eq!(count.number, 1);
}
