//! The coordinator's key-value store, played in this process.

use std::{
    collections::HashMap,
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

use kindred_ipc::{StoreFault, StoreOperation, StoreValue};

/// Keys and values of one generation.
#[derive(Default)]
pub struct Store {
    values: Mutex<HashMap<String, Vec<u8>>>,
    changed: Condvar,
}

impl Store {
    /// Does one operation, waiting where it says so.
    pub fn apply(&self, operation: StoreOperation) -> Result<StoreValue, StoreFault> {
        match operation {
            StoreOperation::Get { key, timeout_ms } => {
                self.wait(std::slice::from_ref(&key), timeout_ms)?;
                let value =
                    self.values.lock().expect("no thread panics").get(&key).cloned().unwrap_or_default();
                Ok(StoreValue { value, ..StoreValue::default() })
            }
            StoreOperation::Wait { keys, timeout_ms } => self.wait(&keys, timeout_ms),
            other => Ok(self.at_once(other)),
        }
    }

    fn at_once(&self, operation: StoreOperation) -> StoreValue {
        let mut values = self.values.lock().expect("no thread panics");
        let mut answer = StoreValue::default();
        match operation {
            StoreOperation::Set { key, value } => drop(values.insert(key, value)),
            StoreOperation::Append { key, value } => values.entry(key).or_default().extend(value),
            StoreOperation::Add { key, amount } => {
                let text = values.get(&key).map(|value| String::from_utf8_lossy(value).into_owned());
                answer.number = text.map_or(0, |text| text.parse().expect("a number")) + amount;
                values.insert(key, answer.number.to_string().into_bytes());
            }
            StoreOperation::CompareSet { key, expected, desired } => {
                let held = values.get(&key).cloned();
                if held.clone().unwrap_or_default() == expected {
                    values.insert(key.clone(), desired);
                }
                answer.value = values.get(&key).cloned().unwrap_or(expected);
            }
            StoreOperation::Check { keys } => answer.found = keys.iter().all(|key| values.contains_key(key)),
            StoreOperation::Delete { key } => answer.found = values.remove(&key).is_some(),
            StoreOperation::CountKeys => answer.number = values.len() as i64,
            StoreOperation::Get { .. } | StoreOperation::Wait { .. } => unreachable!("these wait"),
        }
        self.changed.notify_all();
        answer
    }

    fn wait(&self, keys: &[String], timeout_ms: u32) -> Result<StoreValue, StoreFault> {
        let deadline = Instant::now() + Duration::from_millis(timeout_ms.into());
        let mut values = self.values.lock().expect("no thread panics");
        while let Some(missing) = keys.iter().find(|key| !values.contains_key(*key)) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(StoreFault::Timeout(missing.clone()));
            }
            values = self.changed.wait_timeout(values, left).expect("no thread panics").0;
        }
        Ok(StoreValue::default())
    }
}
