//! The store through which the ranks of a generation meet: the coordinator's, reached over the agent.

use std::time::Duration;

use kindred_bridge::{Error, ErrorKind, KeyValueStore};
use kindred_ipc::{StoreFault, StoreOperation, StoreValue};
use kindred_proto::ids::Generation;

use super::link::Link;

/// How long an answer may take beyond the wait that was asked for: two hops, and a coordinator that restarts.
const REPLY_PATIENCE: Duration = Duration::from_secs(15);

/// The coordinator's store, as c10d wants to see it: the keys of one generation, whatever this rank has joined since.
pub struct LinkStore {
    link: Link,
    generation: Generation,
}

impl LinkStore {
    /// The keys of a generation.
    pub fn new(link: &Link, generation: Generation) -> Self {
        Self { link: link.clone(), generation }
    }

    fn call(&self, operation: StoreOperation, wait: Duration) -> Result<StoreValue, Error> {
        let patience = wait.saturating_add(REPLY_PATIENCE);
        self.link.call(self.generation, operation, patience).map_err(|fault| error_of(&fault))
    }
}

/// What a fault of the store means to the group that asked: trying again in a new generation may help with each.
fn error_of(fault: &StoreFault) -> Error {
    let kind = match fault {
        StoreFault::Timeout(_) | StoreFault::Unreachable(_) => ErrorKind::Timeout,
        StoreFault::Superseded(_) => ErrorKind::PeerLost,
    };
    Error::new(kind, fault.to_string())
}

fn millis(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis()).unwrap_or(u32::MAX)
}

impl KeyValueStore for LinkStore {
    fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let operation = StoreOperation::Set { key: key.into(), value: value.into() };
        self.call(operation, Duration::ZERO).map(drop)
    }

    fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, Error> {
        let operation = StoreOperation::Get { key: key.into(), timeout_ms: millis(timeout) };
        self.call(operation, timeout).map(|answer| answer.value)
    }

    fn add(&self, key: &str, amount: i64) -> Result<i64, Error> {
        let operation = StoreOperation::Add { key: key.into(), amount };
        self.call(operation, Duration::ZERO).map(|answer| answer.number)
    }

    fn compare_set(&self, key: &str, expected: &[u8], desired: &[u8]) -> Result<Vec<u8>, Error> {
        let (expected, desired) = (expected.into(), desired.into());
        let operation = StoreOperation::CompareSet { key: key.into(), expected, desired };
        self.call(operation, Duration::ZERO).map(|answer| answer.value)
    }

    fn wait(&self, keys: &[String], timeout: Duration) -> Result<(), Error> {
        let operation = StoreOperation::Wait { keys: keys.into(), timeout_ms: millis(timeout) };
        self.call(operation, timeout).map(drop)
    }

    /// False when the coordinator is away: c10d polls again.
    fn check(&self, keys: &[String]) -> bool {
        let operation = StoreOperation::Check { keys: keys.into() };
        self.call(operation, Duration::ZERO).is_ok_and(|answer| answer.found)
    }

    fn delete(&self, key: &str) -> Result<bool, Error> {
        self.call(StoreOperation::Delete { key: key.into() }, Duration::ZERO).map(|answer| answer.found)
    }

    fn count_keys(&self) -> Result<i64, Error> {
        self.call(StoreOperation::CountKeys, Duration::ZERO).map(|answer| answer.number)
    }

    fn append(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let operation = StoreOperation::Append { key: key.into(), value: value.into() };
        self.call(operation, Duration::ZERO).map(drop)
    }
}
