//! From the store.

use std::{io, ops::Range, path::Path as FilePath};

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStoreExt;
use tokio::{fs::File, io::AsyncWriteExt};

use crate::{ASK_AGAIN, Error, PART_BYTES, PARTS_IN_FLIGHT, Store};

/// An object that is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key below the place.
    pub key: String,
    /// Its length.
    pub size_bytes: u64,
    /// What tells it from others that were there under the same key: the store's tag, or when it was written.
    pub version: String,
}

impl Store {
    /// Reads an object of at most so many bytes; none when it is not there.
    ///
    /// # Errors
    /// When it is longer, or the store is away or refuses.
    pub async fn get(&self, key: &str, max_bytes: u64) -> Result<Option<Vec<u8>>, Error> {
        let at = self.path(key);
        let size = match self.within(key, || self.objects.head(&at)).await {
            Ok(object) => object.size,
            Err(Error::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if size > max_bytes {
            let why = format!("{size} bytes long, at most {max_bytes} were expected");
            return Err(Error::Damaged { url: self.url_of(key), why });
        }
        match self.get_range(key, 0..size).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Copies an object of so many bytes into a new file, and syncs it. Returns its BLAKE3 in hex.
    ///
    /// # Errors
    /// When it is not there or not of that length, the file cannot be written, or the store is away or refuses.
    pub async fn get_file(&self, key: &str, size: u64, path: &FilePath) -> Result<String, Error> {
        let at = self.path(key);
        let found = self.within(key, || self.objects.head(&at)).await?.size;
        if found != size {
            let why = format!("{found} bytes long, {size} were expected");
            return Err(Error::Damaged { url: self.url_of(key), why });
        }
        let ranges = (0..size.div_ceil(PART_BYTES)).map(|n| n * PART_BYTES..size.min((n + 1) * PART_BYTES));
        let mut parts =
            stream::iter(ranges).map(|range| self.get_range(key, range)).buffered(PARTS_IN_FLIGHT);
        let of_file = |error: io::Error| Error::file(path, error);
        let mut file = File::create(path).await.map_err(of_file)?;
        let mut hasher = blake3::Hasher::new();
        while let Some(part) = parts.try_next().await? {
            hasher.update(&part);
            file.write_all(&part).await.map_err(of_file)?;
        }
        file.sync_all().await.map_err(of_file)?;
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Reads a part of an object.
    ///
    /// # Errors
    /// When the object is not there, or the store is away or refuses. One that is too short is as one that cannot be read.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>, Error> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let at = self.path(key);
        let part = self.within(key, || async {
            loop {
                let part = self.objects.get_range(&at, range.clone()).await?;
                // A body may end early without an error.
                if part.len() as u64 == range.end - range.start {
                    return Ok(part.to_vec());
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        });
        part.await
    }

    /// The keys of all objects below this place, in order.
    ///
    /// # Errors
    /// When the store is away or refuses.
    pub async fn list(&self) -> Result<Vec<String>, Error> {
        Ok(self.objects().await?.into_iter().map(|object| object.key).collect())
    }

    /// All objects below this place, in the order of their keys.
    ///
    /// # Errors
    /// When the store is away or refuses.
    pub async fn objects(&self) -> Result<Vec<Object>, Error> {
        let list = || self.objects.list(Some(&self.prefix)).try_collect::<Vec<_>>();
        let found = self.within("", list).await?;
        let object = |found: &object_store::ObjectMeta| {
            let parts = found.location.prefix_match(&self.prefix)?;
            let key = parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
            let written = || found.last_modified.timestamp_nanos_opt().unwrap_or_default().to_string();
            let version = found.e_tag.clone().unwrap_or_else(written);
            Some(Object { key, size_bytes: found.size, version })
        };
        let mut objects: Vec<Object> = found.iter().filter_map(object).collect();
        objects.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(objects)
    }
}
