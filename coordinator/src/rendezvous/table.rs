//! The keys of one generation: pure, bounded, with the semantics of c10d's stores.

use std::collections::BTreeMap;

use kindred_proto::failure::{Failure, Reason};

/// Longest key.
pub const MAX_KEY_BYTES: usize = 1 << 10;
/// Longest value.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// All keys and values of one generation together.
pub const MAX_TABLE_BYTES: usize = 16 << 20;

/// What the ranks of one generation told each other.
#[derive(Debug, Default)]
pub struct Table {
    values: BTreeMap<String, Vec<u8>>,
    size_bytes: usize,
}

impl Table {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.values.get(key).map(Vec::as_slice)
    }

    /// Whether every key exists.
    pub fn has_all(&self, keys: &[String]) -> bool {
        keys.iter().all(|key| self.values.contains_key(key))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Sets a key, whatever it was.
    ///
    /// # Errors
    /// When a bound would be passed; nothing changes then. So do all that follow.
    pub fn set(&mut self, key: String, value: Vec<u8>) -> Result<(), Failure> {
        if key.len() > MAX_KEY_BYTES || value.len() > MAX_VALUE_BYTES {
            return Err(too_large(&key, "key or value is longer than the store takes"));
        }
        let freed = self.values.get(&key).map_or(0, |old| key.len() + old.len());
        let size_bytes = self.size_bytes - freed + key.len() + value.len();
        if size_bytes > MAX_TABLE_BYTES {
            return Err(too_large(&key, "the store of this generation is full"));
        }
        self.size_bytes = size_bytes;
        self.values.insert(key, value);
        Ok(())
    }

    /// Adds to a decimal number, 0 when the key is new, and gives the sum.
    pub fn add(&mut self, key: String, amount: i64) -> Result<i64, Failure> {
        let sum = self
            .number(&key)
            .and_then(|number| number.checked_add(amount))
            .ok_or_else(|| bug(&key, "add needs a decimal number that stays within 64 bits"))?;
        self.set(key, sum.to_string().into_bytes())?;
        Ok(sum)
    }

    /// Sets `desired` when the key holds `expected` (or is new and `expected` is empty); gives the value afterwards,
    /// and `expected` where there is none, as c10d does.
    pub fn compare_set(
        &mut self,
        key: String,
        expected: Vec<u8>,
        desired: Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        match self.get(&key) {
            Some(value) if value != expected => return Ok(value.to_vec()),
            None if !expected.is_empty() => return Ok(expected),
            _ => self.set(key, desired.clone())?,
        }
        Ok(desired)
    }

    /// Appends to a key, which may be new.
    pub fn append(&mut self, key: String, tail: &[u8]) -> Result<(), Failure> {
        let value = [self.get(&key).unwrap_or_default(), tail].concat();
        self.set(key, value)
    }

    /// Removes a key and says whether it was there.
    pub fn delete(&mut self, key: &str) -> bool {
        let Some(value) = self.values.remove(key) else { return false };
        self.size_bytes -= key.len() + value.len();
        true
    }

    fn number(&self, key: &str) -> Option<i64> {
        match self.get(key) {
            Some(value) => std::str::from_utf8(value).ok()?.parse().ok(),
            None => Some(0),
        }
    }
}

fn too_large(key: &str, why: &str) -> Failure {
    let shown: String = key.chars().take(80).collect();
    bug(&shown, why)
}

fn bug(key: &str, why: &str) -> Failure {
    Failure::new(Reason::Internal, format!("store key {key:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> String {
        "key".to_owned()
    }

    #[test]
    fn add_starts_at_zero_and_refuses_text() {
        let mut table = Table::default();
        assert_eq!(table.add(key(), 3).expect("new key"), 3);
        assert_eq!(table.add(key(), -5).expect("number"), -2);
        assert_eq!(table.get("key"), Some(b"-2".as_slice()));
        table.set(key(), b"text".to_vec()).expect("small");
        assert!(table.add(key(), 1).is_err());
        table.set(key(), i64::MAX.to_string().into_bytes()).expect("small");
        assert!(table.add(key(), 1).is_err());
    }

    #[test]
    fn compare_set_follows_c10d() {
        let mut table = Table::default();
        let mut swap = |expected: &[u8], desired: &[u8]| {
            table.compare_set(key(), expected.to_vec(), desired.to_vec()).expect("small")
        };
        assert_eq!(swap(b"old", b"new"), b"old", "a missing key is not what was expected");
        assert_eq!(swap(b"", b"one"), b"one", "an empty expectation creates the key");
        assert_eq!(swap(b"two", b"three"), b"one", "another value stays");
        assert_eq!(swap(b"one", b"two"), b"two");
    }

    #[test]
    fn append_and_delete_keep_the_size() {
        let mut table = Table::default();
        table.append(key(), b"ab").expect("small");
        table.append(key(), b"c").expect("small");
        assert_eq!(table.get("key"), Some(b"abc".as_slice()));
        assert_eq!(table.size_bytes, 6);
        assert!(table.delete("key"));
        assert!(!table.delete("key"));
        assert_eq!(table.size_bytes, 0);
    }

    #[test]
    fn a_full_table_refuses_and_stays_as_it_was() {
        let mut table = Table::default();
        let value = vec![0; MAX_VALUE_BYTES];
        for idx in 0..15 {
            table.set(idx.to_string(), value.clone()).expect("below the bound");
        }
        assert!(table.set("last".into(), value.clone()).is_err());
        assert!(table.set("k".repeat(MAX_KEY_BYTES + 1), Vec::new()).is_err());
        assert!(table.set(key(), vec![0; MAX_VALUE_BYTES + 1]).is_err());
        assert_eq!(table.len(), 15);
        table.set("0".into(), value).expect("replacing frees what was there");
    }
}
