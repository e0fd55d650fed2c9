//! From a URL to a store.

use std::{path::PathBuf, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientConfigKey, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    local::LocalFileSystem,
    path::Path,
};
use url::Url;

use crate::{Error, Store};

/// How long to wait between two tries at most.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// What to give instead of a URL that names no store.
const FORMS: &str = "give s3://BUCKET/PREFIX or file:///FOLDER";

impl Store {
    /// Opens the store of a URL: `s3://BUCKET/PREFIX`, with credentials and endpoint from the `AWS_*` variables of this process, or
    /// `file:///FOLDER`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the URL is of no such form, the folder does not exist, or the variables do not fit one another.
    pub fn open(url: &str, patience: Duration) -> Result<Self, Error> {
        Self::open_with(url, patience, &[])
    }

    /// As [`Store::open`], with settings of S3 that stand above the variables, by the names of these: `aws_endpoint_url`.
    ///
    /// # Errors
    /// As [`Store::open`], and for a setting that is none.
    pub fn open_with(url: &str, patience: Duration, settings: &[(&str, &str)]) -> Result<Self, Error> {
        parse(url, patience, settings, folder).map_err(|why| Error::Url { url: url.to_owned(), why })
    }

    /// As [`Store::open`], for whoever only reads: a folder that does not exist holds nothing.
    ///
    /// # Errors
    /// As [`Store::open`], but for that.
    pub fn open_to_read(url: &str, patience: Duration) -> Result<Self, Error> {
        parse(url, patience, &[], any_folder).map_err(|why| Error::Url { url: url.to_owned(), why })
    }
}

type Open = fn(&Url, Duration) -> Result<Store, String>;

fn parse(url: &str, patience: Duration, settings: &[(&str, &str)], folder: Open) -> Result<Store, String> {
    let url = Url::parse(url).map_err(|error| format!("{error}; {FORMS}"))?;
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err(format!("it has more than a place; {FORMS}"));
    }
    match url.scheme() {
        "s3" => s3(&url, patience, settings),
        "file" => folder(&url, patience),
        scheme => Err(format!("{scheme:?} is no kind of store; {FORMS}")),
    }
}

fn s3(url: &Url, patience: Duration, settings: &[(&str, &str)]) -> Result<Store, String> {
    let bucket = url.host_str().filter(|bucket| !bucket.is_empty());
    let bucket = bucket.ok_or_else(|| format!("it names no bucket; {FORMS}"))?;
    // A process has one provider of TLS; whichever was first will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retries(patience));
    let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
    if std::env::var_os("AWS_TIMEOUT").is_none() {
        builder = builder.with_config(timeout, format!("{} seconds", request_timeout(patience).as_secs()));
    }
    for (name, value) in settings {
        let key = name.parse().map_err(|error: object_store::Error| error.to_string())?;
        builder = builder.with_config(key, *value);
    }
    check_endpoint(&builder)?;
    let objects = builder.build().map_err(|error| error.to_string())?;
    let prefix = Path::from_url_path(url.path()).map_err(|error| error.to_string())?;
    Ok(Store { prefix, tries_again: true, ..Store::new(Arc::new(objects), url.as_str(), patience) })
}

/// One request may fail by its time-out twice, and there is time left for a third.
fn request_timeout(patience: Duration) -> Duration {
    (patience / 3).max(Duration::from_secs(1))
}

fn retries(patience: Duration) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { max_backoff: MAX_BACKOFF, ..BackoffConfig::default() },
        // Time is what limits them.
        max_retries: usize::MAX,
        retry_timeout: patience.saturating_sub(request_timeout(patience)),
    }
}

/// What travels in the clear must be meant to.
fn check_endpoint(builder: &AmazonS3Builder) -> Result<(), String> {
    let value = |key| builder.get_config_value(&key).unwrap_or_default();
    let endpoints = [value(AmazonS3ConfigKey::S3Endpoint), value(AmazonS3ConfigKey::Endpoint)];
    let is_allowed = value(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)) == "true";
    match endpoints.iter().find(|endpoint| endpoint.starts_with("http://")) {
        Some(endpoint) if !is_allowed => {
            Err(format!("its endpoint {endpoint} is not encrypted: set AWS_ALLOW_HTTP=true if that is meant"))
        }
        _ => Ok(()),
    }
}

fn folder(url: &Url, patience: Duration) -> Result<Store, String> {
    let path = path_of(url)?;
    if !path.is_dir() {
        return Err(format!("there is no folder {}: make it, or mount it first", path.display()));
    }
    let objects = LocalFileSystem::new_with_prefix(&path).map_err(|error| error.to_string())?;
    let objects = objects.with_fsync(true).with_automatic_cleanup(true);
    Ok(Store::new(Arc::new(objects), url.as_str(), patience))
}

fn any_folder(url: &Url, patience: Duration) -> Result<Store, String> {
    let prefix = Path::from_absolute_path(path_of(url)?).map_err(|error| error.to_string())?;
    Ok(Store { prefix, ..Store::new(Arc::new(LocalFileSystem::new()), url.as_str(), patience) })
}

fn path_of(url: &Url) -> Result<PathBuf, String> {
    url.to_file_path().map_err(|()| "it names a host; a folder is file:///FOLDER".to_owned())
}
