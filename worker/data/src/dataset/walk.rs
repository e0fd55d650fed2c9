//! The image files below a folder, in an order that is the same on every node.

use std::fs::{DirEntry, Metadata};
use std::path::{Path, PathBuf};

use crate::Error;

/// Extensions that name an image, in lower case.
const EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];

/// One image file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ImageFile {
    /// Its path below the root.
    pub(crate) path: PathBuf,
    /// Its length.
    pub(crate) size_bytes: u64,
}

/// What lies below a folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The images, sorted by path.
    pub(super) files: Vec<ImageFile>,
    /// Files and folders whose name starts with a dot; they are skipped.
    pub(super) n_hidden: u64,
    /// Files that are not named as an image; they are skipped.
    pub(super) n_other: u64,
}

/// Lists the images at any depth below `root`; links are followed.
///
/// # Errors
/// A folder that cannot be read; an image whose link is broken; a link to a folder that it lies in.
pub(super) fn walk(root: &Path) -> Result<Listing, Error> {
    let mut listing = Listing::default();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let full = root.join(&folder);
        for entry in std::fs::read_dir(&full).map_err(|source| Error::io(&full, source))? {
            let entry = entry.map_err(|source| Error::io(&full, source))?;
            let path = folder.join(entry.file_name());
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                listing.n_hidden += 1;
                continue;
            }
            let Some(metadata) = metadata(&entry, &full)? else {
                listing.n_other += 1;
                continue;
            };
            match (metadata.is_dir(), metadata.is_file() && is_image_name(&path)) {
                (true, _) => folders.push(path),
                (false, true) => listing.files.push(ImageFile { path, size_bytes: metadata.len() }),
                (false, false) => listing.n_other += 1,
            }
        }
    }
    listing.files.sort_unstable();
    Ok(listing)
}

/// What `entry` of `folder` is in the end; `None` for a broken link that no image would be behind.
fn metadata(entry: &DirEntry, folder: &Path) -> Result<Option<Metadata>, Error> {
    let path = entry.path();
    let is_link = entry.file_type().map_err(|source| Error::io(&path, source))?.is_symlink();
    let metadata = match std::fs::metadata(&path) {
        Err(source) if is_link && source.kind() == std::io::ErrorKind::NotFound => {
            return if is_image_name(&path) { Err(Error::invalid(&path, "broken link")) } else { Ok(None) };
        }
        metadata => metadata.map_err(|source| Error::io(&path, source))?,
    };
    if is_link && metadata.is_dir() && leads_upwards(&path, folder)? {
        return Err(Error::invalid(&path, "link to a folder that it lies in"));
    }
    Ok(Some(metadata))
}

fn leads_upwards(link: &Path, folder: &Path) -> Result<bool, Error> {
    let resolve = |path: &Path| path.canonicalize().map_err(|source| Error::io(path, source));
    Ok(resolve(folder)?.starts_with(resolve(link)?))
}

fn is_image_name(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}
