//! Shards in an object store.
//!
//! The order of an epoch is a permutation of all images, at any number of ranks. So shards are copied to the node's cache as a whole while
//! training goes on, and images of those that are not there (yet, or since the cache is full) are asked for one by one, ahead of
//! the loader as far as it reads. What is asked for again and again, and how long, is the store's business; what it does not give then
//! ends the generation as an outage, not as a damaged image.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kindred_store::{Ahead, Store, Worker};

use super::cache::{Cache, Fetching};
use super::index::{self, Listing, Shard};
use super::{Sample, shown};
use crate::{Error, Site};

/// Bytes of images that lie ready for the loader at most.
const MAX_AHEAD_BYTES: u64 = 256 << 20;
/// Longest index that is read from a store: some 50 million images.
const MAX_INDEX_BYTES: u64 = 4 << 30;
/// How often a rank looks whether it is its turn to fetch shards.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Shards of an object store, by their numbers.
#[derive(Debug)]
pub(super) struct Remote {
    source: Arc<Source>,
    ahead: Ahead,
    fetcher: Option<JoinHandle<()>>,
}

/// Where shards come from and go to.
#[derive(Debug)]
struct Source {
    url: String,
    store: Store,
    worker: Arc<Worker>,
    shards: Vec<Shard>,
    keys: Vec<String>,
    cache: Option<Cache>,
    is_over: AtomicBool,
}

impl Remote {
    /// Lists the shards at a URL, and begins to fetch them where there is a cache.
    ///
    /// # Errors
    /// When the URL names no store, the store is away or refuses, or a shard is no tar file.
    pub(super) fn open(url: &str, site: &Site) -> Result<(Self, Listing), Error> {
        let store = Store::open(url, site.patience)?;
        let worker = Worker::start().map_err(|source| Error::io(Path::new(url), source))?;
        Self::open_in(store, Arc::new(worker), site)
    }

    fn open_in(store: Store, worker: Arc<Worker>, site: &Site) -> Result<(Self, Listing), Error> {
        let url = store.url().to_owned();
        let found = wait(&worker, store.objects())?;
        let found =
            found.into_iter().filter(|object| object.key.ends_with(".tar") && !object.key.contains('/'));
        let shards: Vec<_> = found
            .map(|object| Shard {
                path: object.key.into(),
                size_bytes: object.size_bytes,
                version: object.version.replace(char::is_whitespace, "-"),
            })
            .collect();
        let keys = shards.iter().map(|shard| shown(&shard.path)).collect();
        let cache = site.shard_cache.as_ref();
        let cache = cache.map(|settings| {
            Cache::open(settings, &url, &shards).map_err(|source| Error::io(&settings.folder, source))
        });
        let cache = cache.transpose()?;
        let ahead = Ahead::new(store.clone(), worker.clone(), MAX_AHEAD_BYTES);
        let source = Source { url, store, worker, shards, keys, cache, is_over: AtomicBool::new(false) };
        let listing = source.listing()?;
        let source = Arc::new(source);
        let fetcher = source.cache.is_some().then(|| {
            let source = source.clone();
            thread::Builder::new().name("shards".into()).spawn(move || source.fetch_all())
        });
        let fetcher = fetcher.transpose().map_err(|error| Error::io(Path::new(&source.url), error))?;
        Ok((Self { source, ahead, fetcher }, listing))
    }

    /// For people.
    pub(super) fn url(&self) -> &str {
        &self.source.url
    }

    /// Says that an image will be read soon.
    pub(super) fn will_need(&self, sample: &Sample) {
        match self.source.cached(sample.shard) {
            Some(path) => sample.announce(path),
            None => self.ahead.will_need(&self.source.keys[sample.shard as usize], range(sample)),
        }
    }

    /// Reads the file of an image.
    pub(super) fn read(&self, sample: &Sample, bytes: &mut Vec<u8>) -> Result<(), Error> {
        if let Some(path) = self.source.cached(sample.shard)
            && sample.read_from(path, bytes).is_ok()
        {
            return Ok(());
        }
        *bytes = self.ahead.read(&self.source.keys[sample.shard as usize], range(sample))?;
        Ok(())
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.source.is_over.store(true, Ordering::Relaxed);
        if let Some(fetcher) = self.fetcher.take() {
            fetcher.thread().unpark();
            // A panic of it was told already, and nothing of it is needed any more.
            let _ = fetcher.join();
        }
    }
}

fn range(sample: &Sample) -> std::ops::Range<u64> {
    sample.offset..sample.offset + sample.size_bytes
}

fn wait<T>(
    worker: &Worker,
    work: impl Future<Output = Result<T, kindred_store::Error>>,
) -> Result<T, kindred_store::Error> {
    worker.wait(work, || true).expect("it is wanted until it is there")
}

impl Source {
    /// The shard's file on this node, if it is there.
    fn cached(&self, shard: u32) -> Option<&Path> {
        self.cache.as_ref().map(|cache| cache.file(shard)).filter(|path| path.exists())
    }

    /// What lies where: kept here, or in the store, or read from the shards one by one.
    fn listing(&self) -> Result<Listing, Error> {
        let kept = |cache: &Cache| index::kept(cache.folder(), &self.shards);
        if let Some(listing) = self.cache.as_ref().and_then(kept) {
            return Ok(listing);
        }
        let text = wait(&self.worker, self.store.get(index::FILE, MAX_INDEX_BYTES))?;
        let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
        let listing = match text.and_then(|text| index::of_text(&text, &self.shards)) {
            Some(listing) => listing,
            None => self.read_all()?,
        };
        if let Some(cache) = &self.cache {
            index::keep(cache.folder(), &listing);
        }
        Ok(listing)
    }

    /// Reads all shards from end to end, which one rank of the node does while the others wait for it.
    fn read_all(&self) -> Result<Listing, Error> {
        tracing::info!(
            url = self.url,
            n_shards = self.shards.len(),
            "no index beside the shards: all are read once"
        );
        let mut samples = vec![];
        let Some(cache) = &self.cache else {
            let folder = std::env::temp_dir().join(format!("kindred-shards-{}", std::process::id()));
            let io = |source| Error::io(&folder, source);
            fs::create_dir_all(&folder).map_err(io)?;
            let read = (0..).zip(&self.shards).try_for_each(|(number, _)| {
                let path = folder.join(format!("{number}.tar"));
                self.copy(number, &path)?;
                samples.extend(index::read(&path, number).map_err(|error| self.in_store(number, error))?);
                fs::remove_file(&path).map_err(io)
            });
            fs::remove_dir_all(&folder).map_err(io)?;
            return read.map(|()| Listing { shards: self.shards.clone(), samples });
        };
        let right = cache.fetch().map_err(|source| Error::io(cache.folder(), source))?;
        if let Some(listing) = index::kept(cache.folder(), &self.shards) {
            return Ok(listing);
        }
        for (number, _) in (0..).zip(&self.shards) {
            let is_kept = self.fetch(cache, number, &right)?;
            let path = if is_kept { cache.file(number).to_owned() } else { cache.unfinished() };
            if !is_kept {
                self.copy(number, &path)?;
            }
            samples.extend(index::read(&path, number).map_err(|error| self.in_store(number, error))?);
        }
        // Of the last one that there was no room for.
        let _ = fs::remove_file(cache.unfinished());
        let listing = Listing { shards: self.shards.clone(), samples };
        index::keep(cache.folder(), &listing);
        Ok(listing)
    }

    /// A fault of a copy is one of the object.
    fn in_store(&self, number: u32, error: Error) -> Error {
        match error {
            Error::Invalid { message, .. } => {
                Error::invalid(&Path::new(&self.url).join(&self.shards[number as usize].path), message)
            }
            other => other,
        }
    }

    /// Copies shards into the cache until all are there that fit, in turns with the other ranks of the node.
    fn fetch_all(&self) {
        let cache = self.cache.as_ref().expect("it runs where there is a cache");
        while !self.is_over.load(Ordering::Relaxed) {
            match cache.try_fetch() {
                Ok(Some(right)) => match self.fetch_some(cache, &right) {
                    Ok(n_left) if n_left > 0 => {
                        let n_shards = self.shards.len();
                        tracing::warn!(
                            url = self.url,
                            n_left,
                            n_shards,
                            "the shard cache is full: the images of the other shards come over the network in every epoch, \
                             unless kindred-worker is given more --shard-cache-gib"
                        );
                        return;
                    }
                    Ok(_) => return,
                    Err(error) => tracing::warn!(url = self.url, %error, "shards are not kept for now"),
                },
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(url = self.url, %error, "shards are not kept");
                    return;
                }
            }
            thread::park_timeout(LOOK_EVERY);
        }
    }

    /// How many shards do not fit.
    fn fetch_some(&self, cache: &Cache, right: &Fetching) -> Result<usize, Error> {
        let mut n_left = 0;
        for (number, _) in (0..).zip(&self.shards) {
            if self.is_over.load(Ordering::Relaxed) {
                return Ok(0);
            }
            n_left += usize::from(!self.fetch(cache, number, right)?);
        }
        Ok(n_left)
    }

    /// Copies a shard into the cache; false where it does not fit.
    fn fetch(&self, cache: &Cache, number: u32, right: &Fetching) -> Result<bool, Error> {
        let (path, unfinished) = (cache.file(number), cache.unfinished());
        let io = |source| Error::io(path, source);
        if path.exists() {
            return Ok(true);
        }
        if !cache.make_room(self.shards[number as usize].size_bytes, right).map_err(io)? {
            return Ok(false);
        }
        self.copy(number, &unfinished)?;
        fs::rename(&unfinished, path).map_err(io)?;
        Ok(true)
    }

    fn copy(&self, number: u32, path: &Path) -> Result<(), Error> {
        let (key, size) = (&self.keys[number as usize], self.shards[number as usize].size_bytes);
        let copied = self.store.get_file(key, size, path);
        match self.worker.wait(copied, || !self.is_over.load(Ordering::Relaxed)) {
            Some(copied) => Ok(copied.map(drop)?),
            None => Err(Error::Closed),
        }
    }
}
