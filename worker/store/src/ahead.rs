//! Parts of objects that are read before they are asked for.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use tokio::sync::Semaphore;

use crate::{Error, Store, Task, Worker};

/// Requests that are on their way at a time: one that takes 30 ms then is one of about a thousand in a second.
const IN_FLIGHT: usize = 32;

/// Parts of a store's objects, those ahead of the reader on their way already. What lies ready is bounded: beyond that the oldest is let
/// go of, and read when it is asked for.
#[derive(Debug)]
pub struct Ahead {
    store: Store,
    worker: Arc<Worker>,
    max_bytes: u64,
    turns: Arc<Semaphore>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    kept: Mutex<Kept>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Kept {
    parts: HashMap<Part, State>,
    /// In the order in which they were asked for.
    order: VecDeque<Part>,
    n_bytes: u64,
}

type Part = (String, Range<u64>);

#[derive(Debug)]
enum State {
    /// The task ends with it.
    Coming(#[allow(dead_code, reason = "it is there to be dropped")] Option<Task>),
    Here(Vec<u8>),
}

impl Ahead {
    /// Nothing is on its way yet. At most so many bytes are kept.
    pub fn new(store: Store, worker: Arc<Worker>, max_bytes: u64) -> Self {
        let turns = Arc::new(Semaphore::new(IN_FLIGHT));
        Self { store, worker, max_bytes, turns, shared: Arc::default() }
    }

    /// Sends for a part that will be read soon. Faults show when it is.
    pub fn will_need(&self, key: &str, range: Range<u64>) {
        let part = (key.to_owned(), range.clone());
        {
            let mut kept = self.shared.lock();
            if range.end - range.start > self.max_bytes || kept.parts.contains_key(&part) {
                return;
            }
            kept.make_room(range.end - range.start, self.max_bytes);
            kept.add(part.clone());
        }
        let (store, turns, asked) = (self.store.clone(), self.turns.clone(), part.clone());
        let (shared, coming) = (self.shared.clone(), part.clone());
        let read = async move {
            let _turn = turns.acquire().await;
            store.get_range(&asked.0, asked.1).await
        };
        let task = self.worker.spawn(read, move |read| shared.arrive(&coming, read));
        if let Some(State::Coming(slot)) = self.shared.lock().parts.get_mut(&part) {
            *slot = Some(task);
        }
    }

    /// A part: one that was sent for, or else asked for now. It is not kept any longer.
    ///
    /// # Errors
    /// When it is not there, or the store is away or refuses.
    pub fn read(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>, Error> {
        if let Some(bytes) = self.shared.take(&(key.to_owned(), range.clone())) {
            return Ok(bytes);
        }
        let read = self.worker.wait(self.store.get_range(key, range), || true);
        read.expect("it is wanted until it is there")
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics while it holds this lock")
    }

    /// Waits for a part that is coming; none where it is not, or did not come.
    fn take(&self, part: &Part) -> Option<Vec<u8>> {
        let mut kept = self.lock();
        loop {
            match kept.parts.get(part)? {
                State::Here(_) => return kept.remove(part),
                State::Coming(_) => {
                    kept = self.arrived.wait(kept).expect("nothing panics while it holds this lock");
                }
            }
        }
    }

    fn arrive(&self, part: &Part, read: Result<Vec<u8>, Error>) {
        let mut kept = self.lock();
        match (kept.parts.get_mut(part), read) {
            (Some(state), Ok(bytes)) => *state = State::Here(bytes),
            // Whoever reads it asks again, and is told what is wrong.
            (Some(_), Err(_)) => drop(kept.remove(part)),
            (None, _) => {}
        }
        drop(kept);
        self.arrived.notify_all();
    }
}

impl Kept {
    fn add(&mut self, part: Part) {
        self.n_bytes += part.1.end - part.1.start;
        self.order.push_back(part.clone());
        self.parts.insert(part, State::Coming(None));
    }

    fn make_room(&mut self, n_bytes: u64, max_bytes: u64) {
        while self.n_bytes + n_bytes > max_bytes
            && let Some(oldest) = self.order.front().cloned()
        {
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, part: &Part) -> Option<Vec<u8>> {
        let state = self.parts.remove(part)?;
        self.order.retain(|other| other != part);
        self.n_bytes -= part.1.end - part.1.start;
        match state {
            State::Here(bytes) => Some(bytes),
            State::Coming(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use object_store::memory::InMemory;

    use super::*;

    fn store_of(bytes: &[u8]) -> (Store, Arc<Worker>) {
        let worker = Arc::new(Worker::start().expect("there are threads"));
        let store = Store::new(Arc::new(InMemory::new()), "memory://here", Duration::from_secs(5));
        let created = worker.wait(store.create("object", bytes, Duration::from_secs(5)), || true);
        created.expect("it is wanted").expect("nothing is there");
        (store, worker)
    }

    #[test]
    fn parts_are_the_same_whether_they_were_sent_for_or_not() {
        let bytes: Vec<u8> = (0..=255).collect();
        let (store, worker) = store_of(&bytes);
        let ahead = Ahead::new(store, worker, 64);
        for start in (0..200).step_by(10) {
            ahead.will_need("object", start..start + 10);
            ahead.will_need("object", start..start + 10);
        }
        // More than is kept: the oldest were let go of.
        assert!(ahead.shared.lock().n_bytes <= 64);
        for start in (0..200).step_by(10) {
            let part = ahead.read("object", start..start + 10).expect("it is there");
            assert_eq!(part, bytes[start as usize..start as usize + 10]);
        }
        assert_eq!(ahead.shared.lock().n_bytes, 0);
    }

    #[test]
    fn what_is_not_there_is_told_to_who_reads_it() {
        let (store, worker) = store_of(b"short");
        let ahead = Ahead::new(store, worker, 64);
        ahead.will_need("nothing", 0..3);
        let error = ahead.read("nothing", 0..3).expect_err("there is none");
        assert!(matches!(error, Error::Missing { .. }), "{error}");
    }
}
