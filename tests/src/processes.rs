//! Processes of a test's own, by their ids.

use std::fs;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Process ids of the direct children of `pid`.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|pids| pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Whether a process is there and not a zombie.
pub fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z')))
}

/// Ends a process of this test's own at once.
///
/// # Errors
/// When it is gone already.
pub fn kill_pid(pid: u32) -> Result<()> {
    signal_pid(pid, Signal::KILL)
}

fn signal_pid(pid: u32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(pid)?).context("a process id is positive")?;
    Ok(kill_process(pid, signal)?)
}

/// Holds a process of this test's own, as a machine that hangs would, or lets it go on.
///
/// # Errors
/// When it is gone already.
pub fn hold_pid(pid: u32, is_held: bool) -> Result<()> {
    signal_pid(pid, if is_held { Signal::STOP } else { Signal::CONT })
}
