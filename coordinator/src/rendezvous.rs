//! The key-value store through which the ranks of one generation meet.
//!
//! Keys are scoped to (job, generation) and die with it: whoever waits then is told so. Nothing is journaled; ranks
//! that meet while the coordinator restarts meet again in the next generation. Called by `api::agents` alone.

mod table;

use std::{
    collections::HashMap,
    slice,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kindred_proto::{
    failure::{Failure, Reason},
    ids::{Generation, JobId},
    v1::{StoreResponse, store_request::Operation},
};
use tokio::{sync::Notify, time};
use tokio_util::sync::CancellationToken;

pub use table::{MAX_KEY_BYTES, MAX_TABLE_BYTES, MAX_VALUE_BYTES, Table};

/// Longest wait of one operation, whatever it asks for.
pub const MAX_WAIT: Duration = Duration::from_secs(600);

/// One generation of one job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The job.
    pub job_id: JobId,
    /// Its generation.
    pub generation: Generation,
}

/// Cheap handle to the keys of all live generations.
#[derive(Clone, Default)]
pub struct Rendezvous {
    rooms: Arc<Mutex<HashMap<Scope, Arc<Room>>>>,
}

/// The keys of one generation, and the bell that rings when one may have changed.
struct Room {
    scope: Scope,
    ended: CancellationToken,
    table: Mutex<Table>,
    /// Wakes ranks in the order in which they began to wait.
    bell: Notify,
}

impl Rendezvous {
    /// Runs one operation of a rank. `ended` is cancelled when the generation ends.
    ///
    /// # Errors
    /// `STALE_GENERATION` when the generation has ended, also while waiting; `STORE_TIMEOUT` when a key did not come
    /// in time; `INTERNAL` when a bound is passed.
    ///
    /// # Cancel safety
    /// Dropping it ends a wait; nothing else waits.
    pub async fn run(
        &self,
        scope: Scope,
        ended: CancellationToken,
        operation: Operation,
    ) -> Result<StoreResponse, Failure> {
        let room = self.room(scope, ended);
        if let Some((keys, timeout)) = awaited(&operation) {
            room.wait(keys, timeout).await?;
        }
        room.apply(operation)
    }

    /// Finds or opens a room, and drops those that have ended: they hold no more than their last keys until then.
    fn room(&self, scope: Scope, ended: CancellationToken) -> Arc<Room> {
        let mut rooms = lock(&self.rooms);
        rooms.retain(|_, room| !room.ended.is_cancelled());
        rooms.entry(scope.clone()).or_insert_with(|| Arc::new(Room::new(scope, ended))).clone()
    }
}

impl Room {
    fn new(scope: Scope, ended: CancellationToken) -> Self {
        Self { scope, ended, table: Mutex::default(), bell: Notify::new() }
    }

    fn apply(&self, operation: Operation) -> Result<StoreResponse, Failure> {
        if self.ended.is_cancelled() {
            return Err(self.stale());
        }
        let mut answer = StoreResponse::default();
        let mut table = lock(&self.table);
        match operation {
            Operation::Get(get) => answer.value = table.get(&get.key).unwrap_or_default().to_vec(),
            Operation::Wait(wait) => answer.found = table.has_all(&wait.keys),
            Operation::Check(check) => answer.found = table.has_all(&check.keys),
            Operation::Set(set) => table.set(set.key, set.value)?,
            Operation::Add(add) => answer.number = table.add(add.key, add.amount)?,
            Operation::CompareSet(swap) => {
                answer.value = table.compare_set(swap.key, swap.expected, swap.desired)?;
            }
            Operation::Append(append) => table.append(append.key, &append.value)?,
            Operation::Delete(delete) => answer.found = table.delete(&delete.key),
            Operation::CountKeys(_) => answer.number = i64::try_from(table.len()).unwrap_or(i64::MAX),
        }
        drop(table);
        self.bell.notify_waiters();
        Ok(answer)
    }

    async fn wait(&self, keys: &[String], timeout: Duration) -> Result<(), Failure> {
        tokio::select! {
            biased;
            () = self.until_set(keys) => Ok(()),
            () = self.ended.cancelled() => Err(self.stale()),
            () = time::sleep(timeout) => Err(self.late(keys, timeout)),
        }
    }

    async fn until_set(&self, keys: &[String]) {
        loop {
            // From here on it is heard, so that no key is missed between the look and the wait.
            let rung = self.bell.notified();
            if lock(&self.table).has_all(keys) {
                return;
            }
            rung.await;
        }
    }

    fn stale(&self) -> Failure {
        Failure::new(Reason::StaleGeneration, format!("{} is not live", self.scope))
    }

    fn late(&self, keys: &[String], timeout: Duration) -> Failure {
        let table = lock(&self.table);
        let missing: Vec<&str> =
            keys.iter().map(String::as_str).filter(|key| table.get(key).is_none()).take(3).collect();
        let (missing, timeout_ms) = (missing.join(", "), timeout.as_millis());
        let message = format!("{}: no rank set {missing} within {timeout_ms} ms", self.scope);
        Failure::new(Reason::StoreTimeout, message)
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "generation {} of {}", self.generation, self.job_id)
    }
}

/// The keys that must exist before an operation runs, and how long it waits for them.
fn awaited(operation: &Operation) -> Option<(&[String], Duration)> {
    let (keys, timeout_ms) = match operation {
        Operation::Get(get) => (slice::from_ref(&get.key), get.timeout_ms),
        Operation::Wait(wait) => (wait.keys.as_slice(), wait.timeout_ms),
        _ => return None,
    };
    Some((keys, Duration::from_millis(timeout_ms.into()).min(MAX_WAIT)))
}

/// A table is whole after every statement, so a poisoned lock guards nothing broken.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
