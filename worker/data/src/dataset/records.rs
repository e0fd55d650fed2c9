//! CIFAR's and STL-10's binary files: images of one size, read where they lie.
//!
//! Sources: the descriptions of the "binary version" beside the files. A CIFAR record is a label (CIFAR-100: a coarse
//! one before it), then the red, the green and the blue values, each by rows. An STL-10 record is the values alone, each
//! plane by columns; its labels are a file of their own and count from 1.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use kindred_proto::recipe::Stl10Part;

use super::{DecodeScratch, Images, Index, Pixels, Split, require_folder};
use crate::Error;

/// How the bytes of a record lie.
#[derive(Clone, Copy, Debug)]
struct Layout {
    side: usize,
    /// Bytes before the values; the last is the label.
    n_label_bytes: usize,
    /// Whether planes run down columns rather than along rows.
    by_columns: bool,
    n_classes: u32,
    /// Where the files are to be had.
    page: &'static str,
}

const CIFAR_PAGE: &str = "www.cs.toronto.edu/~kriz/cifar.html";
const CIFAR10: Layout =
    Layout { side: 32, n_label_bytes: 1, by_columns: false, n_classes: 10, page: CIFAR_PAGE };
const CIFAR100: Layout =
    Layout { side: 32, n_label_bytes: 2, by_columns: false, n_classes: 100, page: CIFAR_PAGE };
const STL10: Layout = Layout {
    side: 96,
    n_label_bytes: 0,
    by_columns: true,
    n_classes: 10,
    page: "cs.stanford.edu/~acoates/stl10",
};

/// Images in files of records.
#[derive(Debug)]
pub(super) struct Records {
    layout: Layout,
    files: Vec<RecordFile>,
    /// Of each image's values.
    digests: Vec<blake3::Hash>,
}

#[derive(Debug)]
struct RecordFile {
    name: &'static str,
    path: PathBuf,
    file: File,
    /// Index of its first image.
    first: u64,
}

impl Records {
    pub(super) fn name(&self, idx: u64) -> String {
        let file = self.file_of(idx);
        format!("{}[{}]", file.name, idx - file.first)
    }

    pub(super) fn entry(&self, idx: u64) -> String {
        format!("{}: pixels {}", self.name(idx), &self.digests[idx as usize].to_hex()[..32])
    }

    pub(super) fn pixels<'a>(&self, idx: u64, scratch: &'a mut DecodeScratch) -> Result<Pixels<'a>, Error> {
        let (file, layout) = (self.file_of(idx), self.layout);
        scratch.file.resize(layout.record_len(), 0);
        let start = (idx - file.first) * layout.record_len() as u64;
        file.file.read_exact_at(&mut scratch.file, start).map_err(|source| fault(&file.path, source))?;
        layout.interleave(&scratch.file[layout.n_label_bytes..], &mut scratch.pixels);
        let side = layout.side as u32;
        Ok(Pixels { width: side, height: side, channels: 3, bytes: &scratch.pixels })
    }

    fn file_of(&self, idx: u64) -> &RecordFile {
        &self.files[self.files.partition_point(|file| file.first <= idx) - 1]
    }
}

impl Layout {
    fn record_len(self) -> usize {
        self.n_label_bytes + 3 * self.side * self.side
    }

    /// Turns planes into rows of pixels.
    fn interleave(self, planes: &[u8], pixels: &mut Vec<u8>) {
        let n_pixels = self.side * self.side;
        pixels.clear();
        for at in 0..n_pixels {
            let at = if self.by_columns { at % self.side * self.side + at / self.side } else { at };
            pixels.extend([planes[at], planes[n_pixels + at], planes[2 * n_pixels + at]]);
        }
    }
}

/// Opens one split of CIFAR-10 below `root`.
pub(super) fn open_cifar10(root: &Path, split: Split) -> Result<Index, Error> {
    let train =
        ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
    let names = if split == Split::Test { &["test_batch.bin"][..] } else { &train };
    open(root, CIFAR10, names).map(Opened::with_own_labels)
}

/// Opens one split of CIFAR-100 below `root`.
pub(super) fn open_cifar100(root: &Path, split: Split) -> Result<Index, Error> {
    let name = if split == Split::Test { "test.bin" } else { "train.bin" };
    open(root, CIFAR100, &[name]).map(Opened::with_own_labels)
}

/// Opens one split of STL-10 below `root`; `train` is what is trained on.
pub(super) fn open_stl10(root: &Path, train: Stl10Part, split: Split) -> Result<Index, Error> {
    const UNLABELLED: &str = "unlabeled_X.bin";
    let (names, labels) = match (split, train) {
        (Split::Test, _) => (&["test_X.bin"][..], Some("test_y.bin")),
        (Split::Bank, _) | (Split::Train, Stl10Part::Labelled) => (&["train_X.bin"][..], Some("train_y.bin")),
        (Split::Train, Stl10Part::Unlabelled) => (&[UNLABELLED][..], None),
        (Split::Train, Stl10Part::All) => (&["train_X.bin", UNLABELLED][..], Some("train_y.bin")),
    };
    let opened = open(root, STL10, names)?;
    let n_labelled = opened.records.files.get(1).map_or(opened.labels.len(), |file| file.first as usize);
    let labels = labels.map(|name| read_labels(root, name, n_labelled)).transpose()?;
    Ok(Index { labels, ..opened.with_own_labels() })
}

/// Files that were read to their end once.
struct Opened {
    records: Records,
    /// 0 where records hold none.
    labels: Vec<u32>,
}

impl Opened {
    fn with_own_labels(self) -> Index {
        Index {
            n_images: self.labels.len() as u64,
            channels: 3,
            n_classes: self.records.layout.n_classes,
            labels: Some(self.labels),
            images: Images::Records(self.records),
        }
    }
}

fn open(root: &Path, layout: Layout, names: &[&'static str]) -> Result<Opened, Error> {
    require_folder(root, || layout.how_to_get(root))?;
    let mut opened =
        Opened { records: Records { layout, files: Vec::new(), digests: Vec::new() }, labels: Vec::new() };
    for name in names {
        opened.add(root, name)?;
    }
    Ok(opened)
}

impl Opened {
    /// Reads a file, record by record.
    fn add(&mut self, root: &Path, name: &'static str) -> Result<(), Error> {
        let Records { layout, files, digests } = &mut self.records;
        let path = root.join(name);
        let file = layout.open_file(root, &path)?;
        let first = self.labels.len() as u64;
        let n_records = layout.count(&file, &path)?;
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        let mut record = vec![0; layout.record_len()];
        for at in 0..n_records {
            reader.read_exact(&mut record).map_err(|source| fault(&path, source))?;
            let (label, values) = record.split_at(layout.n_label_bytes);
            let label = label.last().copied().unwrap_or(0);
            self.labels.push(class(&path, (at, label), 0, layout.n_classes)?);
            digests.push(blake3::hash(values));
        }
        files.push(RecordFile { name, path, file, first });
        Ok(())
    }
}

impl Layout {
    fn open_file(self, root: &Path, path: &Path) -> Result<File, Error> {
        File::open(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => Error::NotFound { path: path.to_owned(), advice: self.how_to_get(root) },
            _ => Error::io(path, source),
        })
    }

    /// The records of a file: at least one, and nothing beside them.
    fn count(self, file: &File, path: &Path) -> Result<u64, Error> {
        let n_bytes = file.metadata().map_err(|source| Error::io(path, source))?.len();
        let record_len = self.record_len() as u64;
        if n_bytes == 0 || !n_bytes.is_multiple_of(record_len) {
            let message = format!("{n_bytes} bytes are not a whole number of images of {record_len} bytes");
            return Err(Error::invalid(path, message));
        }
        Ok(n_bytes / record_len)
    }

    fn how_to_get(self, root: &Path) -> String {
        format!("unpack the binary version of {} so that its .bin files lie in {}", self.page, root.display())
    }
}

/// STL-10's labels of `n_images` images.
fn read_labels(root: &Path, name: &str, n_images: usize) -> Result<Vec<u32>, Error> {
    let path = root.join(name);
    let mut bytes = Vec::new();
    let file = STL10.open_file(root, &path)?;
    file.take(n_images as u64 + 1).read_to_end(&mut bytes).map_err(|source| Error::io(&path, source))?;
    if bytes.len() != n_images {
        let more = if bytes.len() > n_images { "more than " } else { "" };
        let n_labels = bytes.len().min(n_images);
        return Err(Error::invalid(&path, format!("{more}{n_labels} labels for {n_images} images")));
    }
    (0..).zip(bytes).map(|label| class(&path, label, 1, STL10.n_classes)).collect()
}

/// The class of an image whose label counts from `first`.
fn class(path: &Path, (at, label): (u64, u8), first: u8, n_classes: u32) -> Result<u32, Error> {
    let class = label.checked_sub(first).map(u32::from).filter(|&class| class < n_classes);
    class.ok_or_else(|| {
        let last = u32::from(first) + n_classes - 1;
        Error::invalid(path, format!("label {label} of image {at} is not between {first} and {last}"))
    })
}

fn fault(path: &Path, source: std::io::Error) -> Error {
    match source.kind() {
        ErrorKind::UnexpectedEof => Error::invalid(path, "shorter than it was when it was opened"),
        _ => Error::io(path, source),
    }
}

#[cfg(test)]
mod tests;
