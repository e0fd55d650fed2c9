//! Where ranks and their agent meet.

use std::{io, os::unix::fs::PermissionsExt, path::PathBuf};

use tempfile::TempDir;

/// A folder of sockets, one a process.
#[derive(Debug)]
pub struct Sockets {
    folder: TempDir,
    n_given: u64,
}

impl Sockets {
    /// A folder that only this user may enter, with a path short enough for a socket's address; gone with this value.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> io::Result<Self> {
        const LONGEST: usize = 60;
        let default = std::env::temp_dir();
        let parent = if default.as_os_str().len() > LONGEST { "/tmp".into() } else { default };
        let permissions = PermissionsExt::from_mode(0o700);
        let folder =
            tempfile::Builder::new().prefix("kindred-").permissions(permissions).tempdir_in(parent)?;
        Ok(Self { folder, n_given: 0 })
    }

    /// A path that no other process has.
    pub fn another(&mut self) -> PathBuf {
        self.n_given += 1;
        self.folder.path().join(format!("{}.sock", self.n_given))
    }
}
