//! Files and folders that survive a power cut.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use super::Error;

/// Writes a file and syncs it, but not the entry in its folder.
///
/// # Errors
/// When the disk is full or the file system fails; the error names the file.
pub fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| Error::io(path, error))
}

/// BLAKE3 of a file, in hex.
///
/// # Errors
/// When it cannot be read.
pub fn digest_of_file(path: &Path) -> Result<String, Error> {
    let bytes = fs::read(path).map_err(|error| Error::io(path, error))?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}

/// Makes the entries of a folder durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|error| Error::io(path, error))
}

pub(super) fn create_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|error| Error::io(path, error))
}

/// The names of the folders in a folder; none when it does not exist.
pub(super) fn folders_in(path: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(path, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::io(path, error))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

/// Removes a folder; one that is gone already is no error.
pub(super) fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_and_names_the_file() {
        let full = Path::new("/dev/full");
        let error = write_synced(full, b"state").expect_err("nothing fits");
        assert!(matches!(&error, Error::DiskFull { path } if path == full), "{error}");
        assert_eq!(error.to_string(), "no space left to write /dev/full");
    }
}
