//! Where the ranks' sockets are.

use std::io;

use tempfile::TempDir;

/// A folder that only this user may enter, with a path short enough for a socket's address.
pub fn folder() -> io::Result<TempDir> {
    const LONGEST: usize = 60;
    let default = std::env::temp_dir();
    let parent = if default.as_os_str().len() > LONGEST { "/tmp".into() } else { default };
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    tempfile::Builder::new().prefix("kindred-").permissions(permissions).tempdir_in(parent)
}
