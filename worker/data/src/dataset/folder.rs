//! Folders of JPEG and PNG files; the first sub-folder's name is the label.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::walk::{ImageFile, walk};
use super::{DecodeScratch, Images, Index, Pixels, decode, require_folder, shown};
use crate::Error;

/// Longest file that is read: more is not a photograph.
const MAX_FILE_BYTES: u64 = 1 << 28;

/// The images of one folder.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    files: Vec<ImageFile>,
    channels: u32,
}

impl Folder {
    pub(super) fn truncate(&mut self, n_images: u64) {
        self.files.truncate(n_images as usize);
    }

    pub(super) fn name(&self, idx: u64) -> String {
        shown(&self.files[idx as usize].path)
    }

    pub(super) fn entry(&self, idx: u64) -> String {
        format!("{}: {} bytes", self.name(idx), self.files[idx as usize].size_bytes)
    }

    pub(super) fn pixels<'a>(&self, idx: u64, scratch: &'a mut DecodeScratch) -> Result<Pixels<'a>, Error> {
        let path = self.root.join(&self.files[idx as usize].path);
        read_file(&path, &mut scratch.file)?;
        decode::decode(scratch, self.channels).map_err(|message| Error::Invalid { path, message })
    }
}

/// Opens the training folder; it has labels when every image lies in a sub-folder.
pub(super) fn open_train(root: &Path, channels: u32) -> Result<Index, Error> {
    let files = list(root)?;
    let table = class_table(&files);
    Ok(index(root, files, table, channels))
}

/// The images of a folder with their classes.
#[derive(Debug)]
pub(crate) struct Labelled {
    /// At least one, sorted by path.
    pub(crate) files: Vec<ImageFile>,
    /// Their names, sorted; none without labels.
    pub(crate) classes: Vec<String>,
    /// One per file, when every file lies in a sub-folder.
    pub(crate) labels: Option<Vec<u32>>,
}

/// Lists a folder as training folders are.
pub(crate) fn labelled_files(root: &Path) -> Result<Labelled, Error> {
    let files = list(root)?;
    let table = class_table(&files);
    let labels = table.as_ref().map(|table| labels(&files, table));
    let classes = table.iter().flatten().map(|class| class.to_string_lossy().into_owned()).collect();
    Ok(Labelled { files, classes, labels })
}

/// Opens the test folder, whose classes are those of the training folder.
pub(super) fn open_test(train: &Path, root: &Path, channels: u32) -> Result<Index, Error> {
    let unlabelled = |root| {
        let message = "a test folder needs labels, and some images here lie outside of any sub-folder";
        Error::invalid(root, message)
    };
    let table = class_table(&list(train)?).ok_or_else(|| unlabelled(train))?;
    let files = list(root)?;
    let found = class_table(&files).ok_or_else(|| unlabelled(root))?;
    if let Some(unknown) = found.iter().find(|class| table.binary_search(class).is_err()) {
        let message = format!("this class has no images in {}", train.display());
        return Err(Error::invalid(&root.join(unknown), message));
    }
    Ok(index(root, files, Some(table), channels))
}

fn index(root: &Path, files: Vec<ImageFile>, table: Option<Vec<OsString>>, channels: u32) -> Index {
    let labels = table.as_ref().map(|table| labels(&files, table));
    Index {
        n_images: files.len() as u64,
        images: Images::Folder(Folder { root: root.to_owned(), files, channels }),
        channels,
        labels,
        n_classes: table.map_or(0, |table| table.len() as u32),
    }
}

/// The place of each file's class in a table that has all of them.
fn labels(files: &[ImageFile], table: &[OsString]) -> Vec<u32> {
    let label = |file: &ImageFile| {
        let class = class(file).expect("a class table exists only when every file has a class");
        table.partition_point(|known| known.as_os_str() < class) as u32
    };
    files.iter().map(label).collect()
}

/// The sorted names of the classes, when every image lies in a sub-folder.
fn class_table(files: &[ImageFile]) -> Option<Vec<OsString>> {
    let classes: Option<BTreeSet<&OsStr>> = files.iter().map(class).collect();
    Some(classes?.into_iter().map(OsStr::to_owned).collect())
}

/// The first sub-folder that a file lies in.
fn class(file: &ImageFile) -> Option<&OsStr> {
    let mut components = file.path.components();
    let first = components.next()?;
    components.next().map(|_| first.as_os_str())
}

/// Reads a file into `bytes`, which keeps its capacity.
fn read_file(path: &Path, bytes: &mut Vec<u8>) -> Result<(), Error> {
    bytes.clear();
    let file = File::open(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => {
            Error::NotFound { path: path.to_owned(), advice: "it was there at the start".into() }
        }
        _ => Error::io(path, source),
    })?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(bytes).map_err(|source| Error::io(path, source))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::invalid(path, format!("longer than {MAX_FILE_BYTES} bytes")));
    }
    Ok(())
}

/// The images below `root`: at least one.
fn list(root: &Path) -> Result<Vec<ImageFile>, Error> {
    require_folder(root, || "an image folder holds JPEG or PNG files at any depth".into())?;
    let listing = walk(root)?;
    let (n_images, n_hidden, n_other) = (listing.files.len(), listing.n_hidden, listing.n_other);
    if n_images == 0 {
        let message = format!("no JPEG or PNG file below this folder ({n_other} others, {n_hidden} hidden)");
        return Err(Error::invalid(root, message));
    }
    tracing::info!(root = %root.display(), n_images, n_hidden, n_other, "image folder listed");
    Ok(listing.files)
}
