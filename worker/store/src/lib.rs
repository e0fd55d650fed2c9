//! Files in an object store: S3 and what speaks like it, or a folder that nodes share.
//!
//! A [`Store`] is the place below a URL. Each request of it has an end: object_store tries again while the service is busy
//! or away, and once the store's patience is over the caller hears which object it is about. Files travel in parts, so that
//! memory does not depend on their length. An [`Ahead`] reads parts of many objects before they are needed. Whoever is not async gives the work to a [`Worker`].
//!
//! Non-goals: what the files mean, who may write them, and any other kind of service.

mod ahead;
mod error;
mod get;
mod open;
mod put;
mod worker;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use object_store::{ObjectStore, path::Path};

pub use ahead::Ahead;
pub use error::Error;
pub use get::Object;
pub use worker::{Task, Worker};

/// How long a store may take to answer, where nothing else is said.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Length of the parts in which files travel; S3 takes no less than 5 MiB and no more than 10,000 of them.
const PART_BYTES: u64 = 8 << 20;

/// Parts of one file that are on their way at a time.
const PARTS_IN_FLIGHT: usize = 2;

/// How long to wait before something is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// The place below a URL; clones are the same place.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    /// For people; no slash at the end.
    url: String,
    patience: Duration,
    /// Whether there is a network between, so that a fault may pass.
    tries_again: bool,
}

impl Store {
    /// A place in a store that is there already; `url` is what people are shown of it.
    pub fn new(objects: Arc<dyn ObjectStore>, url: &str, patience: Duration) -> Self {
        let url = url.trim_end_matches('/').to_owned();
        Self { objects, prefix: Path::default(), url, patience, tries_again: false }
    }

    /// The place below a folder of this one.
    #[must_use]
    pub fn below(&self, folder: &str) -> Self {
        Self { prefix: self.path(folder), url: self.url_of(folder), ..self.clone() }
    }

    /// The URL of an object.
    pub fn url_of(&self, key: &str) -> String {
        format!("{}/{key}", self.url)
    }

    /// The URL of the place.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How long each request may take.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    fn path(&self, key: &str) -> Path {
        key.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// Asks, and waits for the answer, but no longer than the store's patience. What failed by the way is asked again: object_store
    /// itself does so before an answer begins, but not while it is read.
    async fn within<T, A>(&self, key: &str, ask: impl Fn() -> A) -> Result<T, Error>
    where
        A: Future<Output = object_store::Result<T>>,
    {
        let mut why = "nothing was heard".to_owned();
        let answered = async {
            loop {
                match ask().await.map_err(|error| self.error(key, &error)) {
                    Err(Error::Away { why: words, .. }) if self.tries_again => why = words,
                    answer => return answer,
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        };
        match tokio::time::timeout(self.patience, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(self.away(key, why)),
        }
    }

    /// As [`Store::within`], for what cannot be asked again.
    async fn once<T>(
        &self,
        key: &str,
        answer: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(self.patience, answer).await {
            Ok(answer) => answer.map_err(|error| self.error(key, &error)),
            Err(_) => Err(self.away(key, "nothing was heard")),
        }
    }

    fn error(&self, key: &str, error: &object_store::Error) -> Error {
        Error::of(self.url_of(key), self.patience, error)
    }

    fn away(&self, key: &str, why: impl ToString) -> Error {
        Error::Away { url: self.url_of(key), patience: self.patience, why: why.to_string() }
    }
}
