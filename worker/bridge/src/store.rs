//! The key-value store through which ranks find each other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use cxx::{CxxString, SharedPtr};

use crate::error::Outbound;
use crate::{Error, ErrorKind, ffi};

/// What a process group needs of a store that all its ranks share.
///
/// Calls come on libtorch's threads and may block there up to the given time; none of these threads runs an async
/// runtime. A wait that runs out answers with [`ErrorKind::Timeout`].
pub trait KeyValueStore: Send + Sync {
    /// Sets a key.
    fn set(&self, key: &str, value: &[u8]) -> Result<(), Error>;
    /// Waits for a key and returns its value.
    fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, Error>;
    /// Adds to a counter, which starts at zero, and returns the sum. It is stored as decimal text.
    fn add(&self, key: &str, amount: i64) -> Result<i64, Error>;
    /// Sets a key to `desired` if it holds `expected`, or if it is missing and `expected` is empty; returns what it
    /// holds afterwards, or `expected` where the key is missing and stays so.
    fn compare_set(&self, key: &str, expected: &[u8], desired: &[u8]) -> Result<Vec<u8>, Error>;
    /// Waits until all keys are set.
    fn wait(&self, keys: &[String], timeout: Duration) -> Result<(), Error>;
    /// Says whether all keys are set; `false` when that cannot be found out.
    fn check(&self, keys: &[String]) -> bool;
    /// Deletes a key and says whether it was there.
    fn delete(&self, key: &str) -> Result<bool, Error>;
    /// Counts the keys.
    fn count_keys(&self) -> Result<i64, Error>;
    /// Appends to a key's value; a missing key is empty.
    fn append(&self, key: &str, value: &[u8]) -> Result<(), Error>;
}

/// A handle of a c10d store; clones are the same store.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: SharedPtr<ffi::Store>,
}

impl Store {
    /// Makes a store that asks `keys`. No wait lasts longer than `timeout`.
    ///
    /// # Errors
    /// When there is no memory left.
    pub fn new(keys: Arc<dyn KeyValueStore>, timeout: Duration) -> Result<Store, Error> {
        let handler = Box::new(StoreHandler(keys));
        Ok(Store { inner: ffi::new_rust_store(handler, millis(timeout))? })
    }

    /// Makes a store inside this process, for ranks that are threads.
    ///
    /// # Errors
    /// When there is no memory left.
    pub fn in_process() -> Result<Store, Error> {
        const TIMEOUT: Duration = Duration::from_secs(30);
        Ok(Store { inner: ffi::new_hash_store(millis(TIMEOUT))? })
    }
}

impl KeyValueStore for Store {
    fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        Ok(self.inner.set(key, value)?)
    }

    fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, Error> {
        Ok(self.inner.get(key, millis(timeout))?)
    }

    fn add(&self, key: &str, amount: i64) -> Result<i64, Error> {
        Ok(self.inner.add(key, amount)?)
    }

    fn compare_set(&self, key: &str, expected: &[u8], desired: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.inner.compare_set(key, expected, desired)?)
    }

    fn wait(&self, keys: &[String], timeout: Duration) -> Result<(), Error> {
        Ok(self.inner.wait(keys, millis(timeout))?)
    }

    fn check(&self, keys: &[String]) -> bool {
        self.inner.check(keys).unwrap_or(false)
    }

    fn delete(&self, key: &str) -> Result<bool, Error> {
        Ok(self.inner.delete_key(key)?)
    }

    fn count_keys(&self) -> Result<i64, Error> {
        Ok(self.inner.count_keys()?)
    }

    fn append(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        Ok(self.inner.append(key, value)?)
    }
}

/// The Rust end of a store that C++ holds. A panic in it would end the process at the boundary, so it ends here.
pub(crate) struct StoreHandler(Arc<dyn KeyValueStore>);

impl StoreHandler {
    pub(crate) fn duplicate(&self) -> Box<StoreHandler> {
        Box::new(StoreHandler(Arc::clone(&self.0)))
    }

    pub(crate) fn set(&self, key: &CxxString, value: &[u8]) -> Result<(), Outbound> {
        self.ask(|keys| keys.set(text(key)?, value))
    }

    pub(crate) fn get(&self, key: &CxxString, timeout_ms: i64) -> Result<Vec<u8>, Outbound> {
        self.ask(|keys| keys.get(text(key)?, duration(timeout_ms)))
    }

    pub(crate) fn add(&self, key: &CxxString, amount: i64) -> Result<i64, Outbound> {
        self.ask(|keys| keys.add(text(key)?, amount))
    }

    pub(crate) fn compare_set(
        &self,
        key: &CxxString,
        expected: &[u8],
        desired: &[u8],
    ) -> Result<Vec<u8>, Outbound> {
        self.ask(|keys| keys.compare_set(text(key)?, expected, desired))
    }

    pub(crate) fn wait(&self, names: Vec<String>, timeout_ms: i64) -> Result<(), Outbound> {
        self.ask(|keys| keys.wait(&names, duration(timeout_ms)))
    }

    pub(crate) fn check(&self, names: Vec<String>) -> bool {
        self.ask(|keys| Ok(keys.check(&names))).unwrap_or(false)
    }

    pub(crate) fn delete_key(&self, key: &CxxString) -> Result<bool, Outbound> {
        self.ask(|keys| keys.delete(text(key)?))
    }

    pub(crate) fn count_keys(&self) -> Result<i64, Outbound> {
        self.ask(|keys| keys.count_keys())
    }

    pub(crate) fn append(&self, key: &CxxString, value: &[u8]) -> Result<(), Outbound> {
        self.ask(|keys| keys.append(text(key)?, value))
    }

    fn ask<T>(&self, question: impl FnOnce(&dyn KeyValueStore) -> Result<T, Error>) -> Result<T, Outbound> {
        let answer = catch_unwind(AssertUnwindSafe(|| question(self.0.as_ref())));
        answer
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Other, "the key-value store panicked")))
            .map_err(Outbound)
    }
}

fn text(key: &CxxString) -> Result<&str, Error> {
    key.to_str().map_err(|_| Error::new(ErrorKind::Other, format!("store key '{key}' is not UTF-8")))
}

/// Milliseconds as C++ counts them, at least one: zero means "no limit" there.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).max(1)
}

fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
