//! Shards in WebDataset's form: tar files of images and labels, read in any order.
//!
//! What lies where is found once, by reading the headers alone, and kept in a file beside the shards ([`index`]). Samples are
//! then read one by one at their places, in the order of the epoch, which is the same at any number of ranks; what the next
//! batches need is announced to the kernel, so that it reads ahead no further than the loader does. Shards may lie in an object
//! store, too ([`remote`]).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use kindred_proto::recipe::store_url;

use super::{DecodeScratch, Images, Index, Pixels, decode, require_folder, shown};
use crate::{Error, Site};

mod cache;
mod index;
mod remote;

use index::{Listing, Shard};
use remote::Remote;

/// Longest file that is read: more is not a photograph.
const MAX_FILE_BYTES: u64 = 1 << 28;

/// The images of shards in one place.
#[derive(Debug)]
pub(super) struct Shards {
    place: Place,
    shards: Vec<Shard>,
    samples: Vec<Sample>,
    channels: u32,
}

/// Where the shards are.
#[derive(Debug)]
enum Place {
    Folder(PathBuf),
    Store(Box<Remote>),
}

/// Where an image lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    name: String,
    shard: u32,
    offset: u64,
    size_bytes: u64,
    label: Option<u32>,
}

impl Shards {
    pub(super) fn truncate(&mut self, n_images: u64) {
        self.samples.truncate(n_images as usize);
    }

    /// The name in its shard, after the shard's.
    pub(super) fn name(&self, idx: u64) -> String {
        let sample = &self.samples[idx as usize];
        format!("{}:{}", shown(&self.shards[sample.shard as usize].path), sample.name)
    }

    pub(super) fn entry(&self, idx: u64) -> String {
        format!("{}: {} bytes", self.name(idx), self.samples[idx as usize].size_bytes)
    }

    pub(super) fn pixels<'a>(&self, idx: u64, scratch: &'a mut DecodeScratch) -> Result<Pixels<'a>, Error> {
        let sample = &self.samples[idx as usize];
        let path = self.place.path_of(&self.shards[sample.shard as usize]);
        let fault = |message: String| Error::invalid(&path, format!("{}: {message}", sample.name));
        if sample.size_bytes > MAX_FILE_BYTES {
            return Err(fault(format!("longer than {MAX_FILE_BYTES} bytes")));
        }
        match &self.place {
            Place::Folder(_) => sample.read_from(&path, &mut scratch.file)?,
            Place::Store(remote) => remote.read(sample, &mut scratch.file)?,
        }
        decode::decode(scratch, self.channels).map_err(fault)
    }

    /// Says that these will be read soon. What comes of that is not waited for, and faults show when they are read.
    pub(super) fn will_need(&self, ids: impl Iterator<Item = u64>) {
        for sample in ids.map(|id| &self.samples[id as usize]) {
            match &self.place {
                Place::Folder(root) => {
                    sample.announce(&root.join(&self.shards[sample.shard as usize].path));
                }
                Place::Store(remote) => remote.will_need(sample),
            }
        }
    }
}

impl Place {
    /// As it is shown; of a folder also the file.
    fn path_of(&self, shard: &Shard) -> PathBuf {
        match self {
            Self::Folder(root) => root.join(&shard.path),
            Self::Store(remote) => Path::new(remote.url()).join(&shard.path),
        }
    }
}

impl Sample {
    fn read_from(&self, path: &Path, bytes: &mut Vec<u8>) -> Result<(), Error> {
        bytes.resize(self.size_bytes as usize, 0);
        let file = File::open(path).map_err(|source| Error::io(path, source))?;
        file.read_exact_at(bytes, self.offset).map_err(|source| Error::io(path, source))
    }

    /// Tells the kernel that it will be read soon.
    fn announce(&self, path: &Path) {
        if let Ok(file) = File::open(path) {
            let _ = fadvise(&file, self.offset, self.size_bytes.try_into().ok(), Advice::WillNeed);
        }
    }
}

/// Opens the training shards; they have labels when every image has one.
pub(super) fn open_train(train: &Path, site: &Site, channels: u32) -> Result<Index, Error> {
    let (place, listing) = open(train, site)?;
    let n_classes = n_classes(&listing.samples).unwrap_or(0);
    Ok(into_index(place, listing, n_classes, channels))
}

/// Opens the test shards, whose classes are those of the training shards.
pub(super) fn open_test(train: &Path, test: &Path, site: &Site, channels: u32) -> Result<Index, Error> {
    let unlabelled = |place: &Path| {
        Error::invalid(place, "test shards need labels, and some images here have no .cls member")
    };
    let n_known = n_classes(&open(train, site)?.1.samples);
    let n_known = n_known.ok_or_else(|| unlabelled(&settled(train, site)))?;
    let (place, listing) = open(test, site)?;
    let n_found = n_classes(&listing.samples).ok_or_else(|| unlabelled(&settled(test, site)))?;
    if n_found > n_known {
        let message = format!("label {} is above those in {}", n_found - 1, settled(train, site).display());
        return Err(Error::invalid(&settled(test, site), message));
    }
    Ok(into_index(place, listing, n_known, channels))
}

/// A folder as this node knows it; a URL as it is.
fn settled(given: &Path, site: &Site) -> PathBuf {
    if store_url(given).is_some() { given.to_owned() } else { site.data_root.join(given) }
}

/// One more than the greatest label, when every image has one.
fn n_classes(samples: &[Sample]) -> Option<u32> {
    samples.iter().map(|sample| sample.label).try_fold(0, |n, label| label.map(|label| n.max(label + 1)))
}

fn into_index(place: Place, Listing { shards, samples }: Listing, n_classes: u32, channels: u32) -> Index {
    let labels = (n_classes > 0).then(|| samples.iter().filter_map(|sample| sample.label).collect());
    Index {
        n_images: samples.len() as u64,
        images: Images::Shards(Shards { place, shards, samples, channels }),
        channels,
        labels,
        n_classes,
    }
}

fn open(given: &Path, site: &Site) -> Result<(Place, Listing), Error> {
    let root = settled(given, site);
    let (place, listing) = match store_url(given) {
        Some(url) => {
            let (remote, listing) = Remote::open(url, site)?;
            (Place::Store(Box::new(remote)), listing)
        }
        None => {
            require_folder(&root, || "a folder of shards holds .tar files".into())?;
            let listing = index::open(&root)?;
            (Place::Folder(root.clone()), listing)
        }
    };
    if listing.samples.is_empty() {
        let message =
            format!("no KEY.jpg, KEY.jpeg or KEY.png in the {} .tar files here", listing.shards.len());
        return Err(Error::invalid(&root, message));
    }
    tracing::info!(root = %root.display(), n_shards = listing.shards.len(), n_images = listing.samples.len(), "shards listed");
    Ok((place, listing))
}

#[cfg(test)]
mod tests;
