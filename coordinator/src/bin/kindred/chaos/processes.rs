//! The processes of a cluster that run on this machine.

use std::fmt;

use procfs::{ProcResult, net::TcpState, process::FDTarget};
use rustix::{
    io::{Errno, Result as SysResult},
    process::{Pid, Signal, kill_process},
};

use crate::exit::{Error, Exit};

/// What a process is to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It decides.
    Coordinator,
    /// It runs ranks.
    Worker,
    /// It trains.
    Rank,
}

/// A process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// What it is.
    pub role: Role,
    pid: i32,
    /// When it started: another process may get its number.
    started: u64,
}

impl Process {
    /// Signals it, if it is still there.
    pub fn signal(&self, signal: Signal) -> SysResult<()> {
        let now = procfs::process::Process::new(self.pid).and_then(|process| process.stat());
        if now.map_or(0, |stat| stat.starttime) != self.started {
            return Err(Errno::SRCH);
        }
        kill_process(Pid::from_raw(self.pid).ok_or(Errno::SRCH)?, signal)
    }

    /// One that does not exist.
    #[cfg(test)]
    pub fn example(role: Role, pid: i32) -> Self {
        Self { role, pid, started: 1 }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Coordinator => "the coordinator",
            Role::Worker => "a worker",
            Role::Rank => "a rank",
        };
        write!(f, "{role} (process {})", self.pid)
    }
}

/// Where a cluster's processes are looked for.
pub struct Here {
    coordinator: String,
    port: u16,
    job_id: String,
}

impl Here {
    /// The cluster of the coordinator at `address`, and the ranks of a job.
    ///
    /// # Errors
    /// When the address has no port.
    pub fn of(address: &str, job_id: &str) -> Result<Self, Error> {
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let port = port.ok_or_else(|| Error::invalid(format!("--coordinator: {address:?} has no port")))?;
        Ok(Self { coordinator: address.to_owned(), port, job_id: job_id.to_owned() })
    }

    /// The coordinator that listens at its port, the workers that were started with its address, and their ranks of the job;
    /// in the order in which they started.
    ///
    /// # Errors
    /// When processes cannot be listed.
    pub fn processes(&self) -> Result<Vec<Process>, Error> {
        let unreadable = |error| Error::new(Exit::Other, format!("cannot list processes: {error}"));
        let all: Vec<_> = procfs::process::all_processes().map_err(unreadable)?.flatten().collect();
        let listening = self.listening().map_err(unreadable)?;
        let programs = |name: &'static str| {
            all.iter()
                .filter(move |it| it.stat().is_ok_and(|stat| is_named(&stat.comm, name) && stat.state != 'Z'))
        };
        let coordinators = programs("kindred-coordinator").filter(|it| has_socket(it, &listening));
        let workers: Vec<_> = programs("kindred-worker").filter(|it| self.is_told_of(it)).collect();
        let is_own = |rank: &&procfs::process::Process| {
            let parent = rank.stat().map_or(0, |stat| stat.ppid);
            let is_of_job = rank.cmdline().is_ok_and(|words| words.contains(&self.job_id));
            is_of_job && workers.iter().any(|worker| worker.pid == parent)
        };
        let ranks = programs("kindred-rank").filter(is_own);
        let found = |role| move |it: &procfs::process::Process| found(role, it);
        let mut processes: Vec<Process> = (coordinators.filter_map(found(Role::Coordinator)))
            .chain(workers.iter().copied().filter_map(found(Role::Worker)))
            .chain(ranks.filter_map(found(Role::Rank)))
            .collect();
        processes.sort_by_key(|process| (process.role, process.started, process.pid));
        Ok(processes)
    }

    /// The sockets that listen at the coordinator's port.
    fn listening(&self) -> ProcResult<Vec<u64>> {
        let entries = procfs::net::tcp()?.into_iter().chain(procfs::net::tcp6().unwrap_or_default());
        let is_it = |entry: &procfs::net::TcpNetEntry| {
            entry.state == TcpState::Listen && entry.local_address.port() == self.port
        };
        Ok(entries.filter(is_it).map(|entry| entry.inode).collect())
    }

    /// Whether a worker was told of this coordinator.
    fn is_told_of(&self, worker: &procfs::process::Process) -> bool {
        let is_address = |word: &String| {
            let word = word.strip_prefix("--coordinator=").unwrap_or(word);
            word.trim_start_matches("http://") == self.coordinator
        };
        let is_argument = worker.cmdline().is_ok_and(|words| words.iter().any(is_address));
        let is_set = || {
            let environment = worker.environ().unwrap_or_default();
            environment
                .get("KINDRED_COORDINATOR".as_ref() as &std::ffi::OsStr)
                .is_some_and(|it| *it == *self.coordinator)
        };
        is_argument || is_set()
    }
}

fn found(role: Role, process: &procfs::process::Process) -> Option<Process> {
    Some(Process { role, pid: process.pid, started: process.stat().ok()?.starttime })
}

/// Linux keeps the first 15 bytes of a program's name.
fn is_named(comm: &str, name: &str) -> bool {
    comm == &name[..name.len().min(15)]
}

fn has_socket(process: &procfs::process::Process, sockets: &[u64]) -> bool {
    let Ok(descriptors) = process.fd() else { return false };
    descriptors.flatten().any(|it| matches!(it.target, FDTarget::Socket(inode) if sockets.contains(&inode)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_took_a_number_over_is_left_alone() {
        let own = i32::try_from(std::process::id()).expect("a process id");
        let started =
            procfs::process::Process::new(own).and_then(|it| it.stat()).expect("this one runs").starttime;
        let other = Process { role: Role::Rank, pid: own, started: started + 1 };
        assert_eq!(other.signal(Signal::KILL), Err(Errno::SRCH));
        let this = Process { started, ..other };
        assert_eq!(this.signal(Signal::CONT), Ok(()));
    }

    #[test]
    fn names_are_cut_as_linux_cuts_them() {
        assert!(is_named("kindred-coordin", "kindred-coordinator"));
        assert!(is_named("kindred-rank", "kindred-rank") && !is_named("kindred", "kindred-rank"));
    }
}
