//! The coordinator's folder: one process at a time, and where that process listens.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another coordinator works in it.
    #[error("state folder {} is in use by process {pid}: stop it, or choose another --state", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process that holds it.
        pid: String,
    },
    /// It cannot be made, read or written.
    #[error("state folder {}: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A folder that this process holds until it drops it, or dies.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the folder where needed and locks it; the file `lock` holds the pid for whoever finds it locked.
    ///
    /// # Errors
    /// [`Error::InUse`] with the other's pid.
    pub fn lock(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        match open_lock(&path) {
            Ok(Ok(lock)) => Ok(Self { path, _lock: lock }),
            Ok(Err(pid)) => Err(Error::InUse { path, pid }),
            Err(source) => Err(Error::Io { path, source }),
        }
    }

    /// Writes the file `address`, whole or not at all.
    pub fn publish(&self, address: SocketAddr) -> Result<(), Error> {
        self.write("address", &format!("{address}\n"))
    }

    /// Writes the file `web` with the dashboard's address for browsers, whole or not at all.
    pub fn publish_web(&self, url: &str) -> Result<(), Error> {
        self.write("web", &format!("{url}\n"))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        write_whole(&self.path, name, text).map_err(|source| Error::Io { path: self.path.clone(), source })
    }
}

impl Drop for StateDir {
    /// Nobody listens any more; the lock goes with its file.
    fn drop(&mut self) {
        // It was never written where the start failed.
        for name in ["address", "web"] {
            let _ = fs::remove_file(self.path.join(name));
        }
    }
}

/// The lock, or the pid of who holds it.
fn open_lock(dir: &Path) -> io::Result<Result<File, String>> {
    fs::create_dir_all(dir)?;
    let mut lock =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(error),
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            lock.read_to_string(&mut pid)?;
            return Ok(Err(pid.trim().to_owned()));
        }
    }
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())?;
    Ok(Ok(lock))
}

fn write_whole(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let draft = dir.join(format!("{name}.tmp"));
    fs::write(&draft, text)?;
    fs::rename(draft, dir.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_coordinator_is_refused_with_the_pid() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let first = StateDir::lock(dir.path().join("new")).expect("nobody holds it");
        let error = StateDir::lock(dir.path().join("new")).expect_err("held");
        assert!(error.to_string().contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(first);
        StateDir::lock(dir.path().join("new")).expect("free again");
    }

    #[test]
    fn the_address_goes_with_its_owner() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let state = StateDir::lock(dir.path()).expect("nobody holds it");
        state.publish("127.0.0.1:7460".parse().expect("an address")).expect("writable");
        state.publish_web("http://127.0.0.1:7461").expect("writable");
        assert_eq!(fs::read_to_string(dir.path().join("web")).expect("written"), "http://127.0.0.1:7461\n");
        let file = dir.path().join("address");
        assert_eq!(fs::read_to_string(&file).expect("written"), "127.0.0.1:7460\n");
        drop(state);
        assert!(!file.exists() && !dir.path().join("web").exists());
    }
}
