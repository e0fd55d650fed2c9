//! Data sets: an index of images that is open in full, and pixels on demand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kindred_proto::recipe::{DataKind, DataSource, Subset};

use crate::{Error, Site};

mod decode;
mod folder;
mod idx;
mod jpeg;
mod records;
mod section;
mod shards;
mod subset;
pub(crate) mod tar;
#[cfg(feature = "turbojpeg")]
mod turbo;
mod walk;

#[cfg(test)]
mod tests;

pub(crate) use decode::luma;
use folder::Folder;
pub(crate) use folder::{Labelled, labelled_files};
use idx::IdxSet;
use records::Records;
pub use section::{SECTION_LEN, first_difference};
use shards::Shards;

/// Which part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The images that are trained on.
    Train,
    /// The training images that evaluations learn from and search in: all that have labels, whatever part is trained on.
    Bank,
    /// The labelled images that evaluations use as queries.
    Test,
}

/// One split of a data set; clones share it.
#[derive(Clone, Debug)]
pub struct Dataset(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    images: Arc<Images>,
    /// Which of `images` these are; without it the first `n_images`.
    ids: Option<Vec<u64>>,
    n_images: u64,
    channels: u32,
    /// Of the images that have one; they come first.
    labels: Option<Vec<u32>>,
    n_classes: u32,
    /// Share of the images.
    max_damaged: f64,
    section_digests: Vec<String>,
    digest: String,
}

#[derive(Debug)]
enum Images {
    Idx(IdxSet),
    Folder(Folder),
    Records(Records),
    Shards(Shards),
}

impl Images {
    fn name(&self, idx: u64) -> String {
        match self {
            Images::Idx(set) => set.name(idx),
            Images::Folder(folder) => folder.name(idx),
            Images::Records(records) => records.name(idx),
            Images::Shards(shards) => shards.name(idx),
        }
    }

    fn entry(&self, idx: u64) -> String {
        match self {
            Images::Idx(set) => set.entry(idx),
            Images::Folder(folder) => folder.entry(idx),
            Images::Records(records) => records.entry(idx),
            Images::Shards(shards) => shards.entry(idx),
        }
    }
}

/// What a kind of data set knows after opening.
struct Index {
    images: Images,
    n_images: u64,
    channels: u32,
    /// Of the images that have one; they come first.
    labels: Option<Vec<u32>>,
    n_classes: u32,
}

impl Index {
    /// Keeps the first `limit` images.
    fn truncate(&mut self, limit: u64) {
        self.n_images = self.n_images.min(limit);
        if let Some(labels) = &mut self.labels {
            labels.truncate(self.n_images as usize);
        }
        match &mut self.images {
            Images::Idx(set) => set.truncate(self.n_images),
            Images::Folder(folder) => folder.truncate(self.n_images),
            Images::Shards(shards) => shards.truncate(self.n_images),
            // They lie in files, of which the rest is not read.
            Images::Records(_) => {}
        }
    }
}

/// A decoded image that owns its pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// 1 or 3.
    pub channels: u32,
    /// Rows of pixels of channels.
    pub pixels: Vec<u8>,
}

/// A decoded image that borrows its pixels: rows of pixels of channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pixels<'a> {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: u32,
    pub(crate) bytes: &'a [u8],
}

/// Buffers that decoding reuses.
#[derive(Debug, Default)]
pub(crate) struct DecodeScratch {
    file: Vec<u8>,
    decoded: Vec<u8>,
    pixels: Vec<u8>,
    #[cfg(feature = "turbojpeg")]
    turbo: turbo::Turbo,
}

impl Dataset {
    /// Opens one split of `source`, whose relative paths are below the `site`'s data root.
    ///
    /// The training split is always there. The test split is `None` when the source names no folder for it.
    ///
    /// # Errors
    /// A folder or file that is missing, unreadable or of the wrong form, by its path.
    pub fn open(source: &DataSource, site: impl Into<Site>, split: Split) -> Result<Option<Dataset>, Error> {
        let site = site.into();
        let data_root = &site.data_root;
        let mut index = match &source.kind {
            DataKind::FashionMnist { root } => idx::open(&data_root.join(root), split)?,
            DataKind::ImageFolder { train, test, channels } => {
                let (train, test) = (data_root.join(train), test.as_ref().map(|test| data_root.join(test)));
                match (split, test) {
                    (Split::Train | Split::Bank, _) => folder::open_train(&train, *channels)?,
                    (Split::Test, Some(test)) => folder::open_test(&train, &test, *channels)?,
                    (Split::Test, None) => return Ok(None),
                }
            }
            DataKind::WebDataset { train, test, channels } => match (split, test) {
                (Split::Train | Split::Bank, _) => shards::open_train(train, &site, *channels)?,
                (Split::Test, Some(test)) => shards::open_test(train, test, &site, *channels)?,
                (Split::Test, None) => return Ok(None),
            },
            DataKind::Cifar10 { root } => records::open_cifar10(&data_root.join(root), split)?,
            DataKind::Cifar100 { root } => records::open_cifar100(&data_root.join(root), split)?,
            DataKind::Stl10 { root, train } => records::open_stl10(&data_root.join(root), *train, split)?,
        };
        if split != Split::Train {
            return Ok(Some(Dataset::new(index, source.max_damaged)));
        }
        if let Some(limit) = source.limit {
            index.truncate(limit);
        }
        match &source.subset {
            Some(subset) => Dataset::new(index, source.max_damaged).subset(subset).map(Some),
            None => Ok(Some(Dataset::new(index, source.max_damaged))),
        }
    }

    fn new(index: Index, max_damaged: f64) -> Dataset {
        let Index { images, n_images, channels, labels, n_classes } = index;
        Dataset::of(Inner {
            images: Arc::new(images),
            ids: None,
            n_images,
            channels,
            labels,
            n_classes,
            max_damaged,
            section_digests: Vec::new(),
            digest: String::new(),
        })
    }

    /// Fills in the digests.
    fn of(mut inner: Inner) -> Dataset {
        inner.section_digests = section::digests(inner.n_images, |idx| inner.entry(idx));
        inner.digest = section::digest_of_lines(inner.section_digests.iter());
        Dataset(Arc::new(inner))
    }

    /// The part of these images that `subset` chooses by their labels, in the same order and with the same classes.
    ///
    /// # Errors
    /// [`Error::Config`] when there are no labels, or fewer classes than `subset` asks for.
    pub fn subset(&self, subset: &Subset) -> Result<Dataset, Error> {
        let Some(labels) = self.labels() else {
            let message = "a subset chooses by labels, and not all of these images have one";
            return Err(Error::Config(message.into()));
        };
        let kept = subset::choose(labels, self.n_classes(), subset)?;
        Ok(Dataset::of(Inner {
            images: self.0.images.clone(),
            n_images: kept.len() as u64,
            labels: Some(kept.iter().map(|&idx| labels[idx as usize]).collect()),
            ids: Some(kept.into_iter().map(|idx| self.0.id(idx)).collect()),
            channels: self.0.channels,
            n_classes: self.0.n_classes,
            max_damaged: self.0.max_damaged,
            section_digests: Vec::new(),
            digest: String::new(),
        }))
    }

    /// Number of images.
    pub fn len(&self) -> u64 {
        self.0.n_images
    }

    /// Whether there is no image; an open data set has at least one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channels of every image: 1 or 3.
    pub fn channels(&self) -> u32 {
        self.0.channels
    }

    /// One label per image, each below [`Dataset::n_classes`]; none unless every image has one.
    pub fn labels(&self) -> Option<&[u32]> {
        self.known_labels().filter(|labels| labels.len() as u64 == self.len())
    }

    /// The labels of those images that have one, which come first.
    pub fn known_labels(&self) -> Option<&[u32]> {
        self.0.labels.as_deref()
    }

    /// Number of classes, the same for both splits; 0 without labels.
    pub fn n_classes(&self) -> u32 {
        self.0.n_classes
    }

    /// How many images there are of each class; nothing without labels.
    pub fn images_per_class(&self) -> Vec<u64> {
        let mut n_images = vec![0; self.n_classes() as usize];
        for &label in self.labels().unwrap_or_default() {
            n_images[label as usize] += 1;
        }
        n_images
    }

    /// Hex blake3 of the index: names, sizes and labels of files, or the content of files that hold many images.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// One digest per [`SECTION_LEN`] images; [`first_difference`] of two nodes' lists is where to look.
    pub fn section_digests(&self) -> &[String] {
        &self.0.section_digests
    }

    /// What the digest of one section is made of, one line per image; empty past the last section.
    pub fn section_entries(&self, section: usize) -> Vec<String> {
        section::range(section, self.len()).map(|idx| self.0.entry(idx)).collect()
    }

    /// The name of an image, the same on every node.
    ///
    /// # Panics
    /// When `idx` is not below [`Dataset::len`].
    pub fn name(&self, idx: u64) -> String {
        self.0.images.name(self.0.id(idx))
    }

    /// Decodes one image.
    ///
    /// # Errors
    /// A file that cannot be read or decoded, by its path.
    ///
    /// # Panics
    /// When `idx` is not below [`Dataset::len`].
    pub fn image(&self, idx: u64) -> Result<Image, Error> {
        let mut scratch = DecodeScratch::default();
        let Pixels { width, height, channels, bytes } = self.pixels(idx, &mut scratch)?;
        Ok(Image { width, height, channels, pixels: bytes.to_vec() })
    }

    /// Decodes one image into `scratch`, or points at it where it is in memory already.
    pub(crate) fn pixels<'a>(
        &'a self,
        idx: u64,
        scratch: &'a mut DecodeScratch,
    ) -> Result<Pixels<'a>, Error> {
        let id = self.0.id(idx);
        match &*self.0.images {
            Images::Idx(set) => Ok(set.pixels(id)),
            Images::Folder(folder) => folder.pixels(id, scratch),
            Images::Records(records) => records.pixels(id, scratch),
            Images::Shards(shards) => shards.pixels(id, scratch),
        }
    }
}

impl Dataset {
    /// How many images may be damaged.
    pub(crate) fn max_damaged(&self) -> u64 {
        (self.0.max_damaged * self.len() as f64) as u64
    }

    /// Lets whoever reads these images later wait less, where that depends on us.
    pub(crate) fn will_need(&self, ids: &[u64]) {
        if let Images::Shards(shards) = &*self.0.images {
            shards.will_need(ids.iter().map(|&idx| self.0.id(idx)));
        }
    }
}

impl Inner {
    /// Which of the images on disk is number `idx` of these.
    fn id(&self, idx: u64) -> u64 {
        self.ids.as_ref().map_or(idx, |ids| ids[idx as usize])
    }

    /// All that must agree between nodes about one image, in words.
    fn entry(&self, idx: u64) -> String {
        let content = self.images.entry(self.id(idx));
        match self.labels.as_ref().and_then(|labels| labels.get(idx as usize)) {
            Some(label) => format!("{content}, label {label}"),
            None => content,
        }
    }
}

/// A path as it is shown and compared: without the ambiguity of lossy text.
fn shown(path: &Path) -> String {
    path.to_str().map_or_else(|| format!("{path:?}"), str::to_owned)
}

/// The folder's own error when `root` is not a folder.
fn require_folder(root: &Path, advice: impl FnOnce() -> String) -> Result<(), Error> {
    match std::fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Error::invalid(root, "not a folder")),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::NotFound { path: PathBuf::from(root), advice: advice() })
        }
        Err(source) => Err(Error::io(root, source)),
    }
}
