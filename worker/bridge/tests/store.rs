//! The store that asks Rust: what c10d calls arrives, and what Rust answers comes back.

mod ranks;

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use kindred_bridge::{Error, ErrorKind, KeyValueStore, ReduceOp, Store};
use ranks::{TIMEOUT, on_ranks_of};
use tch::Tensor;

/// A store as the coordinator's rendezvous has it: a map, and waits with a deadline.
#[derive(Default)]
struct Map {
    values: Mutex<HashMap<String, Vec<u8>>>,
    changed: Condvar,
}

impl Map {
    fn edit<T>(&self, edit: impl FnOnce(&mut HashMap<String, Vec<u8>>) -> T) -> Result<T, Error> {
        let result = edit(&mut self.values.lock().expect("no holder panics"));
        self.changed.notify_all();
        Ok(result)
    }
}

impl KeyValueStore for Map {
    fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.edit(|values| drop(values.insert(key.to_owned(), value.to_vec())))
    }

    fn get(&self, key: &str, timeout: Duration) -> Result<Vec<u8>, Error> {
        self.wait(&[key.to_owned()], timeout)?;
        self.edit(|values| values[key].clone())
    }

    fn add(&self, key: &str, amount: i64) -> Result<i64, Error> {
        self.edit(|values| {
            let before =
                values.get(key).map_or(0, |text| String::from_utf8_lossy(text).parse().expect("a counter"));
            let sum: i64 = before + amount;
            values.insert(key.to_owned(), sum.to_string().into_bytes());
            sum
        })
    }

    fn compare_set(&self, key: &str, expected: &[u8], desired: &[u8]) -> Result<Vec<u8>, Error> {
        self.edit(|values| match values.get(key) {
            None if !expected.is_empty() => expected.to_vec(),
            Some(value) if value != expected => value.clone(),
            _ => {
                values.insert(key.to_owned(), desired.to_vec());
                desired.to_vec()
            }
        })
    }

    fn wait(&self, keys: &[String], timeout: Duration) -> Result<(), Error> {
        let is_missing = |values: &mut HashMap<_, _>| !keys.iter().all(|key| values.contains_key(key));
        let values = self.values.lock().expect("no holder panics");
        let (_values, wait) =
            self.changed.wait_timeout_while(values, timeout, is_missing).expect("no holder panics");
        if wait.timed_out() {
            return Err(Error::new(ErrorKind::Timeout, format!("key '{}' did not come", keys[0])));
        }
        Ok(())
    }

    fn check(&self, keys: &[String]) -> bool {
        let values = self.values.lock().expect("no holder panics");
        keys.iter().all(|key| values.contains_key(key))
    }

    fn delete(&self, key: &str) -> Result<bool, Error> {
        self.edit(|values| values.remove(key).is_some())
    }

    fn count_keys(&self) -> Result<i64, Error> {
        self.edit(|values| values.len() as i64)
    }

    fn append(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.edit(|values| values.entry(key.to_owned()).or_default().extend(value))
    }
}

/// A coordinator that is away.
struct Away;

impl Away {
    fn answer<T>() -> Result<T, Error> {
        Err(Error::new(ErrorKind::Unavailable, "the coordinator is away"))
    }
}

impl KeyValueStore for Away {
    fn set(&self, _: &str, _: &[u8]) -> Result<(), Error> {
        Self::answer()
    }
    fn get(&self, _: &str, _: Duration) -> Result<Vec<u8>, Error> {
        Self::answer()
    }
    fn add(&self, _: &str, _: i64) -> Result<i64, Error> {
        panic!("a mistake in the store")
    }
    fn compare_set(&self, _: &str, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Error> {
        Self::answer()
    }
    fn wait(&self, _: &[String], _: Duration) -> Result<(), Error> {
        Self::answer()
    }
    fn check(&self, _: &[String]) -> bool {
        panic!("a mistake in the store")
    }
    fn delete(&self, _: &str) -> Result<bool, Error> {
        Self::answer()
    }
    fn count_keys(&self) -> Result<i64, Error> {
        Self::answer()
    }
    fn append(&self, _: &str, _: &[u8]) -> Result<(), Error> {
        Self::answer()
    }
}

/// Asks every question once, and compares the answers with what c10d's own stores give.
fn exercise(store: &Store) -> Result<(), Error> {
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    store.set("a", b"one\0two")?;
    assert_eq!(store.get("a", TIMEOUT)?, b"one\0two");
    assert_eq!((store.add("n", 5)?, store.add("n", -2)?), (5, 3));
    assert_eq!(store.get("n", TIMEOUT)?, b"3");
    assert_eq!(store.compare_set("c", b"", b"first")?, b"first");
    assert_eq!(store.compare_set("c", b"other", b"second")?, b"first");
    assert_eq!(store.compare_set("c", b"first", b"second")?, b"second");
    store.append("c", b"+")?;
    assert_eq!(store.get("c", TIMEOUT)?, b"second+");
    store.wait(&names(&["a", "n", "c"]), TIMEOUT)?;
    assert!(store.check(&names(&["a", "c"])) && !store.check(&names(&["a", "missing"])));
    assert!(store.delete("c")? && !store.delete("c")?);
    assert_eq!(store.count_keys()?, 2);
    Ok(())
}

#[test]
fn a_store_in_rust_answers_as_c10ds_own() {
    exercise(&Store::in_process().expect("there is memory for a store")).expect("c10d's store answers");
    exercise(&Store::new(Arc::new(Map::default()), TIMEOUT).expect("there is memory for a store"))
        .expect("the store in Rust answers");
}

#[test]
fn ranks_meet_through_a_store_in_rust() {
    let store = Store::new(Arc::new(Map::default()), TIMEOUT).expect("there is memory for a store");
    on_ranks_of(&store, 3, |group| {
        let tensor = Tensor::from_slice(&[1.0]);
        group.all_reduce(&tensor, ReduceOp::Sum).expect("all ranks are here");
        assert_eq!(tensor, Tensor::from_slice(&[3.0]));
    });
}

#[test]
fn no_wait_lasts_longer_than_the_stores_timeout() {
    let limit = Duration::from_millis(100);
    let store = Store::new(Arc::new(Map::default()), limit).expect("there is memory for a store");
    let started = Instant::now();
    let error = store.wait(&["missing".to_owned()], TIMEOUT).expect_err("the key does not come");
    assert_eq!(error, Error::new(ErrorKind::Timeout, "key 'missing' did not come"));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_store_that_is_away_is_an_error_with_its_kind() {
    let store = Store::new(Arc::new(Away), TIMEOUT).expect("there is memory for a store");
    let error = ranks::connect(&store, 0, 2, TIMEOUT).err().expect("the store is away");
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(error.message.ends_with("the coordinator is away"), "{error}");
}

#[test]
fn a_panic_in_the_store_is_an_error() {
    let store = Store::new(Arc::new(Away), TIMEOUT).expect("there is memory for a store");
    let error = store.add("n", 1).expect_err("the store panics");
    assert_eq!(error, Error::new(ErrorKind::Other, "the key-value store panicked"));
    assert!(!store.check(&["n".to_owned()]), "checking never fails");
}
