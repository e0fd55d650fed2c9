//! The batches that are being made or wait to be taken, shared by the loader's threads and its owner.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::{Batch, Error, ViewBatch};

/// Images that a thread takes at a time.
const CHUNK: usize = 8;

/// Batches in step order, from the one that is taken next to the newest that is being made.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is work, or no more will come.
    work: Condvar,
    /// The first batch is finished.
    ready: Condvar,
    max_batches: usize,
    is_closed: AtomicBool,
}

#[derive(Debug)]
struct State {
    batches: VecDeque<Making>,
    /// Steps whose batches are not begun.
    steps: Range<u64>,
    /// Buffers of batches that were given back.
    spare: Vec<ViewBatch>,
}

/// A batch that is being made.
#[derive(Debug)]
struct Making {
    draft: Arc<Draft>,
    n_assigned: usize,
    n_finished: usize,
    /// The error of the first image that has one.
    error: Option<(usize, Error)>,
}

/// A batch while threads write it.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) step: u64,
    pub(super) epoch: u64,
    pub(super) sample_ids: Vec<u64>,
    /// One lock per view, held while one image is written.
    pub(super) views: Vec<Mutex<ViewBatch>>,
}

/// Some images of a batch, for one thread.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) draft: Arc<Draft>,
    pub(super) range: Range<usize>,
}

impl Queue {
    /// A queue for the batches of `steps`, of which at most `max_batches` exist at a time.
    pub(super) fn new(steps: Range<u64>, max_batches: u32) -> Queue {
        let state = State { batches: VecDeque::new(), steps, spare: Vec::new() };
        Queue {
            state: Mutex::new(state),
            work: Condvar::new(),
            ready: Condvar::new(),
            max_batches: max_batches as usize,
            is_closed: AtomicBool::new(false),
        }
    }

    /// Waits for images to prepare, those of the earliest batch first; `begin` makes the draft of a step from spare
    /// buffers. `None`: nothing will come any more.
    pub(super) fn chunk(&self, begin: impl Fn(u64, &mut Vec<ViewBatch>) -> Draft) -> Option<Chunk> {
        let mut state = lock(&self.state);
        loop {
            if self.is_closed() {
                return None;
            }
            if let Some(chunk) = state.batches.iter_mut().find_map(Making::assign) {
                return Some(chunk);
            }
            if state.steps.is_empty() {
                return None;
            }
            if state.batches.len() == self.max_batches {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else if let Some(step) = state.steps.next() {
                let draft = begin(step, &mut state.spare);
                state.batches.push_back(Making::new(draft));
                self.work.notify_all();
            }
        }
    }

    /// Notes that a chunk is done, or which of its images failed.
    pub(super) fn finish(&self, chunk: Chunk, result: Result<(), (usize, Error)>) {
        let (step, n_images) = (chunk.draft.step, chunk.range.len());
        drop(chunk);
        let mut state = lock(&self.state);
        let making = state.batches.iter_mut().find(|making| making.draft.step == step);
        let making = making.expect("a batch stays in the queue until all its chunks are done");
        making.n_finished += n_images;
        if let Err((at, error)) = result
            && making.error.as_ref().is_none_or(|(first, _)| at < *first)
        {
            making.error = Some((at, error));
        }
        if making.is_finished() {
            self.ready.notify_all();
        }
    }

    /// Waits for the next batch; `None` after the last.
    pub(super) fn take(&self) -> Result<Option<Batch>, Error> {
        let mut state = lock(&self.state);
        let making = loop {
            if self.is_closed() {
                return Err(Error::Closed);
            }
            if state.batches.is_empty() && state.steps.is_empty() {
                return Ok(None);
            }
            if let Some(making) = state.batches.pop_front_if(|first| first.is_finished()) {
                break making;
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        drop(state);
        self.work.notify_all();
        match making.error {
            Some((_, error)) => {
                self.close();
                Err(error)
            }
            None => Ok(Some(into_batch(making.draft))),
        }
    }

    /// Keeps the buffers of a batch for a later one.
    pub(super) fn recycle(&self, batch: Batch) {
        let mut state = lock(&self.state);
        if state.spare.len() < self.max_batches * batch.views.len() {
            state.spare.extend(batch.views);
        }
    }

    /// Ends all threads at their next image.
    pub(super) fn close(&self) {
        let state = lock(&self.state);
        self.is_closed.store(true, Ordering::Relaxed);
        drop(state);
        self.work.notify_all();
        self.ready.notify_all();
    }

    /// Whether threads should end.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }
}

impl Making {
    fn new(draft: Draft) -> Making {
        Making { draft: Arc::new(draft), n_assigned: 0, n_finished: 0, error: None }
    }

    /// The next images without a thread.
    fn assign(&mut self) -> Option<Chunk> {
        let end = (self.n_assigned + CHUNK).min(self.draft.sample_ids.len());
        let range = self.n_assigned..end;
        self.n_assigned = end;
        (!range.is_empty()).then(|| Chunk { draft: self.draft.clone(), range })
    }

    fn is_finished(&self) -> bool {
        self.n_finished == self.draft.sample_ids.len()
    }
}

/// The finished batch.
fn into_batch(draft: Arc<Draft>) -> Batch {
    let draft = Arc::into_inner(draft).expect("threads let go of a draft before they report it");
    let views = draft.views.into_iter().map(|view| view.into_inner().unwrap_or_else(PoisonError::into_inner));
    Batch { step: draft.step, epoch: draft.epoch, sample_ids: draft.sample_ids, views: views.collect() }
}

/// Locks, whatever happened to a thread that held the lock: its panic is reported where it happened.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
