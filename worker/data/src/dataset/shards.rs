//! Shards in WebDataset's form: tar files of images and labels, read in any order.
//!
//! What lies where is found once, by reading the headers alone, and kept in a file beside the shards ([`index`]). Samples are
//! then read one by one at their places, in the order of the epoch, which is the same at any number of ranks; what the next
//! batches need is announced to the kernel, so that it reads ahead no further than the loader does.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use super::{DecodeScratch, Images, Index, Pixels, decode, require_folder, shown};
use crate::Error;

mod index;

use index::{Listing, Shard};

/// Longest file that is read: more is not a photograph.
const MAX_FILE_BYTES: u64 = 1 << 28;

/// The images of one folder of shards.
#[derive(Debug)]
pub(super) struct Shards {
    root: PathBuf,
    shards: Vec<Shard>,
    samples: Vec<Sample>,
    channels: u32,
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
        let path = self.root.join(&self.shards[sample.shard as usize].path);
        let fault = |message: String| Error::invalid(&path, format!("{}: {message}", sample.name));
        if sample.size_bytes > MAX_FILE_BYTES {
            return Err(fault(format!("longer than {MAX_FILE_BYTES} bytes")));
        }
        scratch.file.resize(sample.size_bytes as usize, 0);
        let file = File::open(&path).map_err(|source| Error::io(&path, source))?;
        file.read_exact_at(&mut scratch.file, sample.offset).map_err(|source| Error::io(&path, source))?;
        decode::decode(scratch, self.channels).map_err(fault)
    }

    /// Tells the kernel that these will be read soon. What comes of that is not waited for, and faults show when they are read.
    pub(super) fn will_need(&self, ids: impl Iterator<Item = u64>) {
        for id in ids {
            let sample = &self.samples[id as usize];
            let path = self.root.join(&self.shards[sample.shard as usize].path);
            if let Ok(file) = File::open(path) {
                let _ = fadvise(&file, sample.offset, sample.size_bytes.try_into().ok(), Advice::WillNeed);
            }
        }
    }
}

/// Opens the training shards; they have labels when every image has one.
pub(super) fn open_train(root: &Path, channels: u32) -> Result<Index, Error> {
    let listing = list(root)?;
    let n_classes = n_classes(&listing.samples).unwrap_or(0);
    Ok(into_index(root, listing, n_classes, channels))
}

/// Opens the test shards, whose classes are those of the training shards.
pub(super) fn open_test(train: &Path, root: &Path, channels: u32) -> Result<Index, Error> {
    let unlabelled =
        |root| Error::invalid(root, "test shards need labels, and some images here have no .cls member");
    let n_known = n_classes(&list(train)?.samples).ok_or_else(|| unlabelled(train))?;
    let listing = list(root)?;
    let n_found = n_classes(&listing.samples).ok_or_else(|| unlabelled(root))?;
    if n_found > n_known {
        let message = format!("label {} is above those in {}", n_found - 1, train.display());
        return Err(Error::invalid(root, message));
    }
    Ok(into_index(root, listing, n_known, channels))
}

/// One more than the greatest label, when every image has one.
fn n_classes(samples: &[Sample]) -> Option<u32> {
    samples.iter().map(|sample| sample.label).try_fold(0, |n, label| label.map(|label| n.max(label + 1)))
}

fn into_index(root: &Path, Listing { shards, samples }: Listing, n_classes: u32, channels: u32) -> Index {
    let labels = (n_classes > 0).then(|| samples.iter().filter_map(|sample| sample.label).collect());
    Index {
        n_images: samples.len() as u64,
        images: Images::Shards(Shards { root: root.to_owned(), shards, samples, channels }),
        channels,
        labels,
        n_classes,
    }
}

fn list(root: &Path) -> Result<Listing, Error> {
    require_folder(root, || "a folder of shards holds .tar files".into())?;
    let listing = index::open(root)?;
    if listing.samples.is_empty() {
        let message =
            format!("no KEY.jpg, KEY.jpeg or KEY.png in the {} .tar files here", listing.shards.len());
        return Err(Error::invalid(root, message));
    }
    tracing::info!(root = %root.display(), n_shards = listing.shards.len(), n_images = listing.samples.len(), "shards listed");
    Ok(listing)
}

#[cfg(test)]
mod tests;
