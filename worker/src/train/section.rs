//! Where in a step a rank is, and whether it has been there for too long.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use kindred_ipc::{FromRank, Wire};
pub use kindred_proto::v1::stall::Section;
use kindred_proto::{ids::Step, v1};

use super::link::Link;
use crate::collective::Waiting;

/// A part of a step that takes less is not worth a word, however fast steps are.
const LEAST: Duration = Duration::from_secs(2);

/// A part of a step that takes so many times as long as 99 of 100 whole steps do is slow.
const TIMES: u32 = 5;

/// Steps that are remembered.
const N_REMEMBERED: usize = 512;

/// Steps before anything is called slow: the first ones prepare what later ones use.
const N_LEAST: usize = 5;

/// How often the watch looks, and says again what lasts.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const SAY_EVERY: Duration = Duration::from_secs(1);

/// What a rank does now and how long its steps take; clones are the same.
#[derive(Clone, Default)]
pub struct Sections(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    waiting: Waiting,
    now: Option<(Section, Instant)>,
    step: Step,
    step_began: Option<Instant>,
    steps: VecDeque<Duration>,
}

impl Sections {
    /// While this is on, the rank waits for others, whatever part of its step it is in.
    pub fn wait_in(&self, waiting: &Waiting) {
        self.state().waiting = waiting.clone();
    }

    /// The rank begins with this part of its step.
    pub fn enter(&self, section: Section) {
        let mut state = self.state();
        let now = Instant::now();
        state.step_began.get_or_insert(now);
        state.now = Some((section, now));
    }

    /// A step is over: so many are taken.
    pub fn stepped(&self, taken: Step) {
        let mut state = self.state();
        if let Some(began) = state.step_began.take() {
            if state.steps.len() == N_REMEMBERED {
                state.steps.pop_front();
            }
            state.steps.push_back(began.elapsed());
        }
        (state.step, state.now) = (taken, None);
    }

    /// The rank does something that no step holds, which may take long.
    pub fn leave(&self) {
        let mut state = self.state();
        (state.now, state.step_began) = (None, None);
    }

    /// Where the rank has been for too long.
    fn stall(&self) -> Option<v1::Stall> {
        let state = self.state();
        let (section, since) = state.now?;
        let (limit, passed) = (state.limit()?, since.elapsed());
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let section = if state.waiting.is_on() { Section::Reduce } else { section };
        (passed > limit).then(|| v1::Stall {
            section: section.into(),
            for_ms: milliseconds(passed),
            limit_ms: milliseconds(limit),
            step: state.step.0,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

impl State {
    /// What is too long for a part of a step; none while too few steps are known.
    fn limit(&self) -> Option<Duration> {
        if self.steps.len() < N_LEAST {
            return None;
        }
        let mut steps: Vec<Duration> = self.steps.iter().copied().collect();
        steps.sort_unstable();
        let p99 = steps[(steps.len() * 99).div_ceil(100) - 1];
        Some(LEAST.max(p99 * TIMES))
    }
}

/// A thread that looks at the sections while the rank itself may hang, and tells the agent. It ends when this is dropped.
pub struct Watch {
    end: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts to look.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(sections: &Sections, link: &Link) -> std::io::Result<Self> {
        let (sections, link) = (sections.clone(), link.clone());
        let (end, ended) = mpsc::channel::<()>();
        let look = move || {
            let mut said: Option<Instant> = None;
            while ended.recv_timeout(LOOK_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                match sections.stall() {
                    Some(stall) if said.is_none_or(|at| at.elapsed() >= SAY_EVERY) => {
                        link.try_say(FromRank::Stalled(Some(Wire(stall))));
                        said = Some(Instant::now());
                    }
                    None if said.take().is_some() => link.say(FromRank::Stalled(None)),
                    _ => {}
                }
            }
        };
        let thread = thread::Builder::new().name("step-watch".into()).spawn(look)?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end = None;
        // It only looks; one that panicked has nothing to say.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(steps_ms: impl IntoIterator<Item = u64>) -> State {
        State { steps: steps_ms.into_iter().map(Duration::from_millis).collect(), ..State::default() }
    }

    #[test]
    fn the_limit_is_five_times_what_99_of_100_steps_take_and_at_least_2_s() {
        assert_eq!(state([100; 4]).limit(), None, "too few steps");
        assert_eq!(state([100; 5]).limit(), Some(LEAST));
        assert_eq!(state([1_000; 100]).limit(), Some(Duration::from_secs(5)));
        let one_slow = state((0..200).map(|idx| if idx == 0 { 60_000 } else { 1_000 }));
        assert_eq!(one_slow.limit(), Some(Duration::from_secs(5)), "one in 200 does not count");
    }

    #[test]
    fn a_rank_is_slow_only_inside_a_step() {
        let sections = Sections::default();
        let age = |sections: &Sections| {
            let mut state = sections.state();
            state.steps = state_of_fast_steps();
            if let Some((_, since)) = &mut state.now {
                *since =
                    Instant::now().checked_sub(Duration::from_secs(3)).expect("the machine is up for longer");
            }
        };
        sections.enter(Section::Data);
        age(&sections);
        let stall = sections.stall().expect("3 s are too long");
        assert_eq!((stall.section(), stall.limit_ms), (Section::Data, 2_000));
        assert!(stall.for_ms >= 3_000);
        sections.stepped(Step(7));
        assert_eq!(sections.stall(), None);
        sections.enter(Section::Forward);
        sections.leave();
        age(&sections);
        assert_eq!(sections.stall(), None);
    }

    fn state_of_fast_steps() -> VecDeque<Duration> {
        VecDeque::from([Duration::from_millis(10); 5])
    }
}
