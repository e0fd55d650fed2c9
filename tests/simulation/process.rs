//! Processes of ranks: tasks that can be killed and frozen, as the system does it.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt,
    pin::Pin,
    process::ExitStatus,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use kindred_agent::host::{Pending, Process};
use kindred_proto::failure::Reason;
use tokio::{sync::watch, task::AbortHandle};

/// Signal 9, as a wait status has it.
pub const KILLED: i32 = 9;

/// Names a process; never given twice.
pub type Pid = u32;

/// All processes that ever were.
#[derive(Default)]
pub struct Processes {
    table: BTreeMap<Pid, Entry>,
}

/// One process.
pub struct Entry {
    /// Where it runs.
    pub node: usize,
    /// True when nobody hears of its end: its machine is gone.
    pub is_silent: bool,
    /// A fault that it is to meet.
    pub fate: watch::Sender<Option<Reason>>,
    ended: watch::Sender<Option<i32>>,
    ice: Ice,
    task: Option<AbortHandle>,
}

impl Processes {
    /// Notes a new process; its task follows.
    pub fn open(&mut self, node: usize) -> (Pid, Ice) {
        let pid = self.table.len() as Pid + 1;
        let ice = Ice::default();
        let entry = Entry {
            node,
            is_silent: false,
            fate: watch::Sender::new(None),
            ended: watch::Sender::new(None),
            ice: ice.clone(),
            task: None,
        };
        self.table.insert(pid, entry);
        (pid, ice)
    }

    /// Notes the task that is the process.
    pub fn runs(&mut self, pid: Pid, task: AbortHandle) {
        self.entry(pid).task = Some(task);
    }

    /// The process ended, with a wait status; only the first end counts.
    pub fn end(&mut self, pid: Pid, status: i32) -> bool {
        let entry = self.entry(pid);
        if entry.ended.borrow().is_some() {
            return false;
        }
        if let Some(task) = &entry.task {
            task.abort();
        }
        entry.ended.send_replace(Some(status));
        true
    }

    pub fn freeze(&mut self, pid: Pid, is_frozen: bool) {
        self.entry(pid).ice.set(is_frozen);
    }

    pub fn is_alive(&self, pid: Pid) -> bool {
        self.table.get(&pid).is_some_and(|entry| entry.ended.borrow().is_none())
    }

    pub fn get(&self, pid: Pid) -> &Entry {
        &self.table[&pid]
    }

    /// Those that live.
    pub fn alive(&self) -> impl Iterator<Item = (Pid, &Entry)> {
        self.table
            .iter()
            .filter(|(_, entry)| entry.ended.borrow().is_none())
            .map(|(pid, entry)| (*pid, entry))
    }

    /// What its agent waits for.
    pub fn end_of(&self, pid: Pid) -> watch::Receiver<Option<i32>> {
        self.table[&pid].ended.subscribe()
    }

    pub fn silence(&mut self, pid: Pid) {
        self.entry(pid).is_silent = true;
    }

    fn entry(&mut self, pid: Pid) -> &mut Entry {
        self.table.get_mut(&pid).expect("pids come from this table")
    }
}

/// A process as its agent holds it.
pub struct Child {
    pub ended: watch::Receiver<Option<i32>>,
    pub kill: Box<dyn FnMut() + Send>,
}

impl Process for Child {
    fn wait(&mut self) -> Pending<'_, std::io::Result<ExitStatus>> {
        Box::pin(async {
            let status = self.ended.wait_for(Option::is_some).await.map_or(Some(KILLED), |status| *status);
            Ok(ExitStatus::from_raw(status.unwrap_or(KILLED)))
        })
    }

    fn kill(&mut self) {
        (self.kill)();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        (self.kill)();
    }
}

/// Whether a process is stopped, as SIGSTOP does it.
#[derive(Clone, Default)]
pub struct Ice(Arc<Mutex<(bool, Option<Waker>)>>);

impl Ice {
    fn set(&self, is_frozen: bool) {
        let mut ice = self.0.lock().expect("nothing panics with it");
        ice.0 = is_frozen;
        if let Some(waker) = ice.1.take() {
            waker.wake();
        }
    }

    fn holds(&self, context: &Context<'_>) -> bool {
        let mut ice = self.0.lock().expect("nothing panics with it");
        if ice.0 {
            ice.1 = Some(context.waker().clone());
        }
        ice.0
    }
}

/// A future that stands still while it is frozen.
pub struct Freezable<F> {
    pub ice: Ice,
    pub inner: Pin<Box<F>>,
}

impl<F: Future> Future for Freezable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.ice.holds(context) {
            return Poll::Pending;
        }
        self.inner.as_mut().poll(context)
    }
}
