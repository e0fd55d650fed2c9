//! Into the store.

use std::{path::Path as FilePath, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use object_store::{MultipartUpload, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use tokio::{
    fs::File,
    io::{AsyncRead, AsyncReadExt},
    runtime::Handle,
};

use crate::{ASK_AGAIN, Error, PART_BYTES, PARTS_IN_FLIGHT, Store};

/// S3 takes no more parts of one object.
const MAX_PARTS: u64 = 10_000;

/// The longest object that is created at once; manifests are a few hundred bytes.
const MAX_CREATED_BYTES: u64 = 1 << 20;

impl Store {
    /// Copies a file into the store, in place of what may be there, and asks for its length to see that all of it is.
    ///
    /// Cancel safety: what was uploaded is removed again, as long as the runtime goes on.
    ///
    /// # Errors
    /// When the file cannot be read, or the store is away or refuses.
    pub async fn put_file(&self, key: &str, path: &FilePath) -> Result<(), Error> {
        let opened = async {
            let file = File::open(path).await?;
            let size = file.metadata().await?.len();
            Ok((file, size))
        };
        let (mut file, size) = opened.await.map_err(|error| Error::file(path, error))?;
        if size <= PART_BYTES {
            let whole = read_part(&mut file, size).await.map_err(|error| Error::file(path, error))?;
            let at = self.path(key);
            let put = || self.objects.put(&at, whole.clone());
            self.within(key, put).await.map_err(Error::of_put)?;
        } else {
            self.put_parts(key, &mut file, path, size).await?;
        }
        self.check_size(key, size).await
    }

    async fn put_parts(&self, key: &str, file: &mut File, path: &FilePath, size: u64) -> Result<(), Error> {
        let part_bytes = PART_BYTES.max(size.div_ceil(MAX_PARTS));
        let at = self.path(key);
        let begun = self.within(key, || self.objects.put_multipart(&at)).await.map_err(Error::of_put)?;
        let mut upload = Unfinished(Some(begun));
        let mut in_flight = FuturesUnordered::new();
        let mut left = size;
        while left > 0 {
            if in_flight.len() == PARTS_IN_FLIGHT {
                in_flight.next().await.transpose()?;
            }
            let part_size = left.min(part_bytes);
            let part = read_part(file, part_size).await.map_err(|error| Error::file(path, error))?;
            in_flight.push(self.once(key, upload.get().put_part(part)));
            left -= part_size;
        }
        while let Some(done) = in_flight.next().await {
            done?;
        }
        let completed = self.once(key, upload.get().complete()).await;
        if let Err(error) = completed {
            // The answer may have been lost, and the object be there.
            self.check_size(key, size).await.map_err(|_| error)?;
        }
        upload.0 = None;
        Ok(())
    }

    async fn check_size(&self, key: &str, size: u64) -> Result<(), Error> {
        let at = self.path(key);
        let found = self.within(key, || self.objects.head(&at)).await?.size;
        if found == size {
            return Ok(());
        }
        Err(Error::Damaged { url: self.url_of(key), why: format!("{found} of {size} bytes are there") })
    }

    /// Creates an object that is not there yet, within a time. One that is there already and holds the same is as good: it may be
    /// that of a request whose answer was lost.
    ///
    /// # Errors
    /// When another one is there, the store refuses, or the time is over: then it may be there or not.
    pub async fn create(&self, key: &str, bytes: &[u8], limit: Duration) -> Result<(), Error> {
        let mut why = "nothing was heard".to_owned();
        let created = self.create_until_known(key, bytes, &mut why);
        match tokio::time::timeout(limit.min(self.patience), created).await {
            Ok(known) => known,
            Err(_) => Err(self.away(key, why)),
        }
    }

    async fn create_until_known(&self, key: &str, bytes: &[u8], why: &mut String) -> Result<(), Error> {
        let at = self.path(key);
        loop {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.objects.put_opts(&at, PutPayload::from(bytes.to_vec()), options).await {
                Ok(_) => return Ok(()),
                Err(object_store::Error::AlreadyExists { .. }) => {}
                Err(error) => match self.error(key, &error).of_put() {
                    Error::Away { why: words, .. } => *why = words,
                    refused => return Err(refused),
                },
            }
            match self.get(key, MAX_CREATED_BYTES).await {
                Ok(Some(found)) if found == bytes => return Ok(()),
                Ok(Some(_)) | Err(Error::Damaged { .. }) => {
                    return Err(Error::Taken { url: self.url_of(key) });
                }
                // It was not stored, or another request for it has not ended.
                Ok(None) => {}
                Err(Error::Away { why: words, .. }) => *why = words,
                Err(refused) => return Err(refused),
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Removes an object; one that is gone already is no error.
    ///
    /// # Errors
    /// When the store is away or refuses.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        let at = self.path(key);
        match self.within(key, || self.objects.delete(&at)).await {
            Err(Error::Missing { .. }) => Ok(()),
            done => done,
        }
    }
}

async fn read_part(file: &mut (impl AsyncRead + Unpin), size: u64) -> std::io::Result<PutPayload> {
    let mut bytes = vec![0; usize::try_from(size).map_err(std::io::Error::other)?];
    file.read_exact(&mut bytes).await?;
    Ok(bytes.into())
}

/// An upload whose parts the store keeps until it is completed or given up. Dropped before, it is given up.
struct Unfinished(Option<Box<dyn MultipartUpload>>);

impl Unfinished {
    fn get(&mut self) -> &mut dyn MultipartUpload {
        self.0.as_mut().expect("it is there until it is completed").as_mut()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let (Some(mut upload), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            // What stays because the store is away is for its own rule about incomplete uploads.
            runtime.spawn(async move { upload.abort().await.ok() });
        }
    }
}
