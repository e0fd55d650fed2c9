//! The other programs of this installation.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::exit::{Error, Exit};

/// The program `file` that stands beside this one.
pub fn beside_this(file: &str) -> Result<PathBuf, Error> {
    let this = env::current_exe()?;
    let path = this.parent().unwrap_or(Path::new("")).join(file);
    if !path.is_file() {
        let message = format!("{} is missing: build it with `cargo build --workspace`", path.display());
        return Err(Error::new(Exit::Other, message));
    }
    Ok(path)
}
