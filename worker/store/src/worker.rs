//! A thread for what is on its way to or from a store.

use std::{io, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    task::AbortHandle,
};

/// How often somebody who waits looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A thread that speaks with stores for threads that are not async. Dropping it ends what it does, without waiting.
#[derive(Debug)]
pub struct Worker(Option<Runtime>);

/// Work that was given to a [`Worker`]. Dropping it ends the work.
#[derive(Debug)]
pub struct Task(AbortHandle);

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).max_blocking_threads(2).thread_name("object-store").enable_all();
        Ok(Self(Some(builder.build()?)))
    }

    /// Begins a work, and hands what it gives to `done` on the thread. `done` is not called once the task is dropped, unless it is
    /// being called already.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
        done: impl FnOnce(T) + Send + 'static,
    ) -> Task {
        let work = async move { done(work.await) };
        Task(self.runtime().spawn(work).abort_handle())
    }

    /// Does a work and waits for it, as long as it is wanted; none when that ended first.
    pub fn wait<T>(&self, work: impl Future<Output = T>, is_wanted: impl Fn() -> bool) -> Option<T> {
        let unwanted = async {
            while is_wanted() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        self.runtime().block_on(async {
            tokio::select! {
                biased;
                value = work => Some(value),
                () = unwanted => None,
            }
        })
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
