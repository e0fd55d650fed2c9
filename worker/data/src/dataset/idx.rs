//! Fashion-MNIST's IDX files, plain or compressed with gzip; the whole set stays in memory as bytes.
//!
//! Source: the format at the end of Yann LeCun's page on MNIST: a big-endian magic number (0, 0, type, dimensions), one
//! big-endian u32 per dimension, then the values.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::{Images, Index, Pixels, Split, require_folder};
use crate::Error;

/// Classes of Fashion-MNIST.
const N_CLASSES: u8 = 10;
/// Magic number of unsigned bytes in three dimensions.
const MAGIC_IMAGES: u32 = 0x0803;
/// Magic number of unsigned bytes in one dimension.
const MAGIC_LABELS: u32 = 0x0801;
/// Longest side of an image, and most bytes of a file: more is a header gone wrong.
const MAX_SIDE: u32 = 4096;
const MAX_BYTES: u64 = 1 << 33;

/// Images of one size, in memory.
#[derive(Debug)]
pub(super) struct IdxSet {
    name: &'static str,
    width: u32,
    height: u32,
    bytes: Vec<u8>,
}

impl IdxSet {
    pub(super) fn truncate(&mut self, n_images: u64) {
        self.bytes.truncate(n_images as usize * self.size_bytes());
        self.bytes.shrink_to_fit();
    }

    pub(super) fn name(&self, idx: u64) -> String {
        format!("{}[{idx}]", self.name)
    }

    pub(super) fn entry(&self, idx: u64) -> String {
        let digest = blake3::hash(self.pixels(idx).bytes).to_hex();
        format!("{}: pixels {}", self.name(idx), &digest[..32])
    }

    pub(super) fn pixels(&self, idx: u64) -> Pixels<'_> {
        let start = idx as usize * self.size_bytes();
        let bytes = &self.bytes[start..start + self.size_bytes()];
        Pixels { width: self.width, height: self.height, channels: 1, bytes }
    }

    fn size_bytes(&self) -> usize {
        self.width as usize * self.height as usize
    }
}

/// Opens one split below `root`.
pub(super) fn open(root: &Path, split: Split) -> Result<Index, Error> {
    require_folder(root, || how_to_get(root))?;
    let (images_name, labels_name) = match split {
        Split::Train | Split::Bank => ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        Split::Test => ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    };
    let (images_path, images) = read(root, images_name, MAGIC_IMAGES)?;
    let (labels_path, labels) = read(root, labels_name, MAGIC_LABELS)?;
    let [n_images, height, width] = images.sizes[..] else {
        unreachable!("three sizes follow this magic number")
    };
    if labels.sizes[0] != n_images {
        let message =
            format!("{} labels for the {n_images} images of {}", labels.sizes[0], images_path.display());
        return Err(Error::invalid(&labels_path, message));
    }
    if let Some(at) = labels.bytes.iter().position(|&label| label >= N_CLASSES) {
        let message = format!("label {} of image {at} is not below {N_CLASSES}", labels.bytes[at]);
        return Err(Error::invalid(&labels_path, message));
    }
    Ok(Index {
        images: Images::Idx(IdxSet { name: images_name, width, height, bytes: images.bytes }),
        n_images: n_images.into(),
        channels: 1,
        labels: Some(labels.bytes.into_iter().map(u32::from).collect()),
        n_classes: N_CLASSES.into(),
    })
}

/// An IDX file: its sizes and its values.
#[derive(Debug, PartialEq)]
struct Idx {
    sizes: Vec<u32>,
    bytes: Vec<u8>,
}

/// Reads `root/name`, or `root/name.gz`.
fn read(root: &Path, name: &str, magic: u32) -> Result<(PathBuf, Idx), Error> {
    let (plain, packed) = (root.join(name), root.join(format!("{name}.gz")));
    let not_found = |source: &std::io::Error| source.kind() == ErrorKind::NotFound;
    let (path, idx) = match File::open(&plain) {
        Ok(file) => (plain, parse(BufReader::new(file), magic)),
        Err(source) if not_found(&source) => match File::open(&packed) {
            Ok(file) => (packed, parse(MultiGzDecoder::new(BufReader::new(file)), magic)),
            Err(source) if not_found(&source) => {
                return Err(Error::NotFound { path: packed, advice: how_to_get(root) });
            }
            Err(source) => return Err(Error::io(&packed, source)),
        },
        Err(source) => return Err(Error::io(&plain, source)),
    };
    match idx {
        Ok(idx) => Ok((path, idx)),
        Err(Fault::Content(message)) => Err(Error::Invalid { path, message }),
        Err(Fault::Io(source)) => Err(Error::Io { path, source }),
    }
}

/// What is wrong with a file.
#[derive(Debug)]
enum Fault {
    Content(String),
    Io(std::io::Error),
}

impl From<std::io::Error> for Fault {
    fn from(source: std::io::Error) -> Fault {
        match source.kind() {
            ErrorKind::UnexpectedEof => Fault::Content("truncated".into()),
            ErrorKind::InvalidInput | ErrorKind::InvalidData => {
                Fault::Content(format!("not valid gzip: {source}"))
            }
            _ => Fault::Io(source),
        }
    }
}

/// Parses an IDX file of unsigned bytes, to its very end.
fn parse(mut reader: impl Read, magic: u32) -> Result<Idx, Fault> {
    let found = read_u32(&mut reader)?;
    if found != magic {
        return Err(Fault::Content(format!("magic number {found:#010x} instead of {magic:#010x}")));
    }
    let n_dims = magic & 0xff;
    let sizes = (0..n_dims).map(|_| read_u32(&mut reader)).collect::<Result<Vec<u32>, Fault>>()?;
    let n_bytes = n_bytes(&sizes)?;
    let mut bytes = Vec::new();
    reader.take(n_bytes + 1).read_to_end(&mut bytes)?;
    match (bytes.len() as u64).cmp(&n_bytes) {
        std::cmp::Ordering::Less => {
            Err(Fault::Content(format!("truncated: {} of {n_bytes} bytes", bytes.len())))
        }
        std::cmp::Ordering::Equal => Ok(Idx { sizes, bytes }),
        std::cmp::Ordering::Greater => {
            Err(Fault::Content(format!("bytes follow the {n_bytes} of its header")))
        }
    }
}

fn n_bytes(sizes: &[u32]) -> Result<u64, Fault> {
    if sizes.contains(&0) || sizes[1..].iter().any(|&size| size > MAX_SIDE) {
        return Err(Fault::Content(format!("impossible sizes {sizes:?}")));
    }
    let n_bytes = sizes.iter().try_fold(1u64, |product, &size| product.checked_mul(size.into()));
    match n_bytes {
        Some(n_bytes) if n_bytes <= MAX_BYTES => Ok(n_bytes),
        _ => Err(Fault::Content(format!("impossible sizes {sizes:?}"))),
    }
}

fn read_u32(reader: &mut impl Read) -> Result<u32, Fault> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn how_to_get(root: &Path) -> String {
    format!(
        "Fashion-MNIST is Debian's package dataset-fashion-mnist (without root: `apt-get download \
         dataset-fashion-mnist`, then `dpkg -x` it); put its four .gz files into {}",
        root.display()
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn idx(magic: u32, sizes: &[u32], values: &[u8]) -> Vec<u8> {
        let header = std::iter::once(magic).chain(sizes.iter().copied());
        header.flat_map(u32::to_be_bytes).chain(values.iter().copied()).collect()
    }

    fn images() -> Vec<u8> {
        idx(MAGIC_IMAGES, &[3, 2, 2], &[0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23])
    }

    fn labels() -> Vec<u8> {
        idx(MAGIC_LABELS, &[3], &[4, 0, 9])
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).expect("writes to memory");
        encoder.finish().expect("writes to memory")
    }

    /// A folder with the training files, named with `suffix`.
    fn folder(images: &[u8], labels: &[u8], suffix: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(root.path().join(format!("train-images-idx3-ubyte{suffix}")), images).expect("writes");
        std::fs::write(root.path().join(format!("train-labels-idx1-ubyte{suffix}")), labels).expect("writes");
        root
    }

    fn refusal(images: &[u8], labels: &[u8], suffix: &str) -> String {
        let root = folder(images, labels, suffix);
        let error = open(root.path(), Split::Train).err().expect("must be refused").to_string();
        error.replace(&format!("{}/", root.path().display()), "")
    }

    #[test]
    fn plain_and_packed_files_hold_the_same_images() {
        for root in [folder(&images(), &labels(), ""), folder(&packed(&images()), &packed(&labels()), ".gz")]
        {
            let index = open(root.path(), Split::Train).expect("opens");
            let Images::Idx(set) = &index.images else { panic!("an IDX set") };
            assert_eq!((index.n_images, index.n_classes), (3, 10));
            assert_eq!(index.labels, Some(vec![4, 0, 9]));
            assert_eq!(set.pixels(1).bytes, [10, 11, 12, 13]);
        }
    }

    #[test]
    fn a_missing_folder_says_how_to_get_it() {
        let root = tempfile::tempdir().expect("a temporary folder").path().join("none");
        let error = open(&root, Split::Train).err().expect("must be refused");
        assert!(matches!(&error, Error::NotFound { path, .. } if *path == root));
        assert!(error.to_string().contains("dataset-fashion-mnist"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let root = folder(&images(), &labels(), "");
        let error = open(root.path(), Split::Test).err().expect("must be refused");
        assert!(
            matches!(&error, Error::NotFound { path, .. } if path.ends_with("t10k-images-idx3-ubyte.gz")),
            "{error}"
        );
    }

    #[test]
    fn a_broken_file_is_named_with_its_fault() {
        let (images, labels) = (images(), labels());
        let long = [&images[..], &[0]].concat();
        let cases = [
            (refusal(&images[..20], &labels, ""), "train-images-idx3-ubyte: truncated: 4 of 12 bytes"),
            (refusal(&images[..7], &labels, ""), "train-images-idx3-ubyte: truncated"),
            (refusal(&long, &labels, ""), "train-images-idx3-ubyte: bytes follow the 12 of its header"),
            (
                refusal(&labels, &labels, ""),
                "train-images-idx3-ubyte: magic number 0x00000801 instead of 0x00000803",
            ),
            (
                refusal(&images, &idx(MAGIC_LABELS, &[3], &[1, 10, 2]), ""),
                "train-labels-idx1-ubyte: label 10 of image 1 is not below 10",
            ),
            (
                refusal(&idx(MAGIC_IMAGES, &[0, 2, 2], &[]), &labels, ""),
                "train-images-idx3-ubyte: impossible sizes [0, 2, 2]",
            ),
            (
                refusal(&idx(MAGIC_IMAGES, &[u32::MAX, 4096, 4096], &[]), &labels, ""),
                "train-images-idx3-ubyte: impossible sizes [4294967295, 4096, 4096]",
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
        let fewer = refusal(&images, &idx(MAGIC_LABELS, &[2], &[1, 2]), "");
        assert_eq!(fewer, "train-labels-idx1-ubyte: 2 labels for the 3 images of train-images-idx3-ubyte");
    }

    #[test]
    fn a_damaged_archive_is_named() {
        let (good, labels) = (packed(&images()), packed(&labels()));
        let mut flipped = good.clone();
        let crc_at = good.len() - 8;
        flipped[crc_at] ^= 1;
        assert_eq!(refusal(&good[..good.len() - 9], &labels, ".gz"), "train-images-idx3-ubyte.gz: truncated");
        assert_eq!(refusal(&good[..good.len() - 1], &labels, ".gz"), "train-images-idx3-ubyte.gz: truncated");
        assert!(refusal(&flipped, &labels, ".gz").starts_with("train-images-idx3-ubyte.gz: not valid gzip"));
        assert!(
            refusal(b"hello, world", &labels, ".gz")
                .starts_with("train-images-idx3-ubyte.gz: not valid gzip")
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, sizes: [u16; 3]) {
            let sizes = sizes.map(u32::from);
            let _ = parse(&bytes[..], MAGIC_IMAGES);
            let _ = parse(MultiGzDecoder::new(&bytes[..]), MAGIC_IMAGES);
            if let Ok(parsed) = parse(&idx(MAGIC_IMAGES, &sizes, &bytes)[..], MAGIC_IMAGES) {
                prop_assert_eq!(parsed, Idx { sizes: sizes.to_vec(), bytes });
            }
        }
    }
}
