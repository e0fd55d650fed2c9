//! Who this agent is: the node's id, kept in the state folder, and a lock so that only one agent uses it.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use kindred_proto::ids::{Incarnation, NodeId};
use uuid::Uuid;

const ID_FILE: &str = "node-id";
const FOLDER_ID_FILE: &str = ".kindred-jobs";
const LOCK_FILE: &str = "agent.lock";

/// The node's id, and the right to be its agent for as long as this value lives.
#[derive(Debug)]
pub struct Identity {
    /// The same at every start on this state folder.
    pub node_id: NodeId,
    /// New at every start.
    pub incarnation: Incarnation,
    /// The id of the folder of jobs, the same for agents that share it; empty where it has none.
    pub jobs_folder: String,
    _lock: File,
}

/// Why the state folder gives no identity.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another agent has the lock.
    #[error("{} is in use by another agent (pid {pid}); give each agent a --state folder of its own", folder.display())]
    InUse {
        /// The state folder.
        folder: PathBuf,
        /// Process id as the other one wrote it.
        pid: String,
    },
    /// A file of the folder.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The kept id is not one.
    #[error("{} does not hold a node id; remove it to get a new one", .0.display())]
    Malformed(PathBuf),
}

impl Identity {
    /// Takes the lock of a state folder, which is created when it is not there, and reads or writes the id.
    ///
    /// # Errors
    /// When another agent uses the folder, or its files cannot be used.
    pub fn claim(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(at(folder))?;
        let lock = lock(folder)?;
        let node_id = node_id(&folder.join(ID_FILE))?;
        let incarnation = Incarnation::new(Uuid::now_v7().to_string());
        Ok(Self { node_id, incarnation, jobs_folder: String::new(), _lock: lock })
    }

    /// With the id of the folder of jobs, if it can be had.
    #[must_use]
    pub fn with_jobs_folder(self, folder: &Path) -> Self {
        let jobs_folder = folder_id(folder).unwrap_or_else(|error| {
            tracing::warn!(%error, "the jobs' folder has no id: no other node is known to share it");
            String::new()
        });
        Self { jobs_folder, ..self }
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path: path.clone(), source }
}

/// Locks the folder and writes this process's id into the lock file.
fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK_FILE);
    let mut options = File::options();
    let mut file =
        options.read(true).write(true).create(true).truncate(false).open(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "unknown" } else { pid.trim() };
            return Err(Error::InUse { folder: folder.to_owned(), pid: pid.to_owned() });
        }
        Err(TryLockError::Error(source)) => return Err(at(&path)(source)),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(at(&path))?;
    Ok(file)
}

/// The id in a file, or a new one that is put there.
fn node_id(path: &Path) -> Result<NodeId, Error> {
    match fs::read_to_string(path) {
        Ok(text) if is_id(text.trim()) => Ok(NodeId::new(text.trim())),
        Ok(_) => Err(Error::Malformed(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => new_id(path),
        Err(error) => Err(at(path)(error)),
    }
}

/// The id that a folder of jobs keeps, or a new one: nodes that share the folder read the same.
///
/// # Errors
/// When the folder cannot be written.
fn folder_id(folder: &Path) -> Result<String, Error> {
    let path = folder.join(FOLDER_ID_FILE);
    fs::create_dir_all(folder).map_err(at(folder))?;
    match fs::read_to_string(&path) {
        Ok(text) => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at(&path)(error)),
    }
    let id = Uuid::new_v4().simple().to_string();
    let beside = folder.join(format!("{FOLDER_ID_FILE}-{id}"));
    fs::write(&beside, &id).map_err(at(&beside))?;
    // A link takes nobody's place: of two agents that come at once, the second finds what the first one wrote.
    match fs::hard_link(&beside, &path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(&beside, &path),
        _ => fs::remove_file(&beside),
    }
    .map_err(at(&path))?;
    fs::read_to_string(&path).map(|text| text.trim().to_owned()).map_err(at(&path))
}

fn is_id(text: &str) -> bool {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=128).contains(&text.len()) && text.chars().all(is_good)
}

/// Writes a new id beside its place and renames it, so that a crash leaves none or a whole one.
fn new_id(path: &Path) -> Result<NodeId, Error> {
    let random = Uuid::new_v4().simple().to_string();
    let id = NodeId::new(format!("node-{}", &random[..12]));
    let beside = path.with_extension("new");
    let write = || {
        let mut file = File::create(&beside)?;
        writeln!(file, "{id}")?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(at(path))?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_stays_and_the_incarnation_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("a/b");
        let first = Identity::claim(&state).expect("a fresh folder");
        let (node_id, incarnation) = (first.node_id.clone(), first.incarnation.clone());
        drop(first);
        let second = Identity::claim(&state).expect("the lock is free again");
        assert_eq!(second.node_id, node_id);
        assert_ne!(second.incarnation, incarnation);
    }

    #[test]
    fn a_second_agent_on_the_same_folder_is_refused_with_the_pid_of_the_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let _first = Identity::claim(folder.path()).expect("a fresh folder");
        let text = Identity::claim(folder.path()).expect_err("in use").to_string();
        assert!(text.contains(&format!("pid {}", std::process::id())), "{text}");
    }

    #[test]
    fn agents_that_share_a_folder_read_the_same_id() {
        let [shared, own] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let ids: Vec<_> = std::thread::scope(|scope| {
            let read = || folder_id(shared.path()).expect("a folder that can be written");
            let agents: Vec<_> = (0..8).map(|_| scope.spawn(read)).collect();
            agents.into_iter().map(|agent| agent.join().expect("no panic")).collect()
        });
        assert!(ids.iter().all(|id| id.len() == 32 && *id == ids[0]), "{ids:?}");
        assert_ne!(folder_id(own.path()).expect("a folder"), ids[0]);
        assert_eq!(fs::read_dir(shared.path()).expect("readable").count(), 1);
    }

    #[test]
    fn a_damaged_id_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(ID_FILE), "not an id\n").expect("written");
        let text = Identity::claim(folder.path()).expect_err("malformed").to_string();
        assert!(text.contains("node-id"), "{text}");
    }
}
