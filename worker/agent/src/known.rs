//! The ranks that this agent was ordered, as it sees them.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use kindred_ipc::Start;
use kindred_proto::{
    ids::{CheckpointId, Step},
    v1::{self, RankState},
};
use tokio::sync::{oneshot, watch};

use crate::{
    rank::{Outcome, Stop},
    reconcile::{Device, Held, Phase, RankKey},
};

/// Checkpoints of one rank that are reported; jobs keep fewer than that on disk.
const MAX_CHECKPOINTS: usize = 32;

/// One rank, from its order until the coordinator has taken note of its outcome.
#[derive(Debug)]
pub struct Known {
    /// Newest progress.
    pub progress: Option<v1::Progress>,
    /// Where it is slow, while it is.
    pub stall: Option<v1::Stall>,
    /// Process id; 0 before there is one.
    pub pid: u32,
    device: Device,
    state: RankState,
    /// Steps taken when the ranks of its generation had met.
    began_at: Option<Step>,
    outcome: Option<Outcome>,
    checkpoints: VecDeque<v1::Checkpoint>,
    stop: watch::Sender<Option<Stop>>,
    regroup: watch::Sender<Option<Box<Start>>>,
    kept: watch::Sender<Vec<CheckpointId>>,
    doom: watch::Sender<Option<String>>,
    /// Questions about commits that wait for a lease.
    questions: Vec<(CheckpointId, oneshot::Sender<Option<Duration>>)>,
}

/// Where a rank's process hears what it is to do.
#[derive(Debug)]
pub struct Ears {
    /// Once.
    pub stop: watch::Receiver<Option<Stop>>,
    /// Each time.
    pub regroup: watch::Receiver<Option<Box<Start>>>,
    /// Each time: the checkpoints that stay.
    pub kept: watch::Receiver<Vec<CheckpointId>>,
    /// Once: why the process is killed.
    pub doom: watch::Receiver<Option<String>>,
}

/// Hands on to each rank what its order says to its process: which checkpoints stay, and that it is killed.
pub fn pass_on(ranks: &mut BTreeMap<RankKey, Known>, orders: &BTreeMap<RankKey, v1::OrderedRank>) {
    for (key, order) in orders {
        if let Some(known) = ranks.get_mut(key) {
            known.keep(&order.kept_checkpoints);
            if order.action() == v1::ordered_rank::Action::Kill {
                known.kill(&order.kill_reason);
            }
        }
    }
}

impl Known {
    /// A rank whose process is about to be started; it listens to the returned receivers.
    pub fn starting(device: Device) -> (Self, Ears) {
        let ((stop, stopped), (regroup, regrouped)) = (watch::channel(None), watch::channel(None));
        let (kept, keeps) = watch::channel(Vec::new());
        let (doom, doomed) = watch::channel(None);
        let known = Self {
            progress: None,
            stall: None,
            pid: 0,
            device,
            state: RankState::Starting,
            began_at: None,
            outcome: None,
            checkpoints: VecDeque::new(),
            stop,
            regroup,
            kept,
            doom,
            questions: Vec::new(),
        };
        (known, Ears { stop: stopped, regroup: regrouped, kept: keeps, doom: doomed })
    }

    /// A rank that never had a process here.
    pub fn never_started(device: Device, outcome: Outcome) -> Self {
        let (mut known, _) = Self::starting(device);
        known.ended(outcome);
        known
    }

    /// Notes how far the rank is. One that is stopping stays so.
    pub fn reached(&mut self, state: RankState) {
        if self.phase() == Phase::Live {
            self.state = state;
        }
    }

    /// Notes that the ranks of its generation have met, after so many steps.
    pub fn began(&mut self, at: Step) {
        self.began_at = Some(at);
        self.reached(RankState::Training);
    }

    /// Asks the rank to stop, once.
    pub fn ask_to_stop(&mut self, stop: Stop) {
        if self.phase() == Phase::Live {
            self.state = RankState::Stopping;
            self.stop.send_replace(Some(stop));
        }
    }

    /// Lets the process join a newer generation: until it meets the others it counts as starting.
    pub fn regroup(&mut self, start: Start) {
        if self.phase() == Phase::Live {
            self.state = RankState::Starting;
            (self.began_at, self.progress, self.stall) = (None, None, None);
            self.questions.clear();
            self.regroup.send_replace(Some(Box::new(start)));
        }
    }

    /// Tells the rank which checkpoints stay, when that has changed.
    fn keep(&mut self, checkpoints: &[String]) {
        let is_same = |kept: &[CheckpointId]| kept.iter().map(CheckpointId::as_str).eq(checkpoints);
        self.kept.send_if_modified(|kept| {
            let is_new = !is_same(kept);
            if is_new {
                *kept = checkpoints.iter().map(CheckpointId::new).collect();
            }
            is_new
        });
    }

    /// Lets the process be killed, which is known to hang.
    fn kill(&mut self, why: &str) {
        if self.is_live() {
            self.doom.send_if_modified(|doom| doom.replace(why.to_owned()).is_none());
        }
    }

    /// Notes what became of the rank.
    pub fn ended(&mut self, outcome: Outcome) {
        self.state = match outcome {
            Outcome::Finished(_) => RankState::Finished,
            Outcome::Stopped => RankState::Stopped,
            Outcome::Failed(_) => RankState::Failed,
        };
        self.outcome = Some(outcome);
        self.stall = None;
        self.questions.clear();
    }

    /// Keeps a checkpoint that the rank committed.
    pub fn committed(&mut self, checkpoint: v1::Checkpoint) {
        if self.checkpoints.len() == MAX_CHECKPOINTS {
            self.checkpoints.pop_front();
        }
        self.checkpoints.push_back(checkpoint);
    }

    /// Keeps a question about a commit.
    pub fn asked(&mut self, checkpoint: CheckpointId, answer: oneshot::Sender<Option<Duration>>) {
        self.questions.push((checkpoint, answer));
    }

    /// Answers the questions about commits that can be answered: yes for so long, or no.
    pub fn answer(&mut self, left: Duration, verdict: impl Fn(&CheckpointId) -> Option<bool>) {
        let questions = std::mem::take(&mut self.questions);
        for (checkpoint, answer) in questions {
            match verdict(&checkpoint) {
                Some(is_allowed) => drop(answer.send(is_allowed.then_some(left))),
                None => self.questions.push((checkpoint, answer)),
            }
        }
    }

    /// Whether it has a process.
    pub fn is_live(&self) -> bool {
        self.phase() != Phase::Over
    }

    /// As reconciling sees it.
    pub fn held(&self) -> Held {
        Held { device: self.device, phase: self.phase() }
    }

    fn phase(&self) -> Phase {
        match (&self.outcome, self.state) {
            (Some(_), _) => Phase::Over,
            (None, RankState::Stopping) => Phase::Stopping,
            (None, _) => Phase::Live,
        }
    }

    /// As the coordinator hears of it.
    pub fn observed(&self, key: &RankKey) -> v1::ObservedRank {
        let (mut failure, mut result) = (None, None);
        match &self.outcome {
            Some(Outcome::Failed(why)) => failure = Some(why.clone()),
            Some(Outcome::Finished(what)) if key.rank.0 == 0 => result = Some(what.clone()),
            _ => {}
        }
        v1::ObservedRank {
            job_id: key.job_id.to_string(),
            generation: key.generation.0,
            rank: key.rank.0,
            state: self.state.into(),
            pid: self.pid,
            progress: self.progress.clone(),
            failure,
            result,
            checkpoints: self.checkpoints.iter().cloned().collect(),
            began_at_step: self.began_at.map(|step| step.0),
            stall: self.stall,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> (Known, Ears) {
        Known::starting(Device { kind: v1::DeviceKind::Cpu, index: 0 })
    }

    #[test]
    fn a_rank_is_asked_to_stop_once_and_stays_stopping() {
        let (mut known, ears) = known();
        known.reached(RankState::Training);
        known.ask_to_stop(Stop { checkpoint: true });
        known.ask_to_stop(Stop { checkpoint: false });
        known.reached(RankState::Training);
        assert_eq!(*ears.stop.borrow(), Some(Stop { checkpoint: true }));
        assert_eq!((known.state, known.phase()), (RankState::Stopping, Phase::Stopping));
    }

    #[test]
    fn a_rank_hears_once_which_checkpoints_stay() {
        let (mut known, mut ears) = known();
        known.keep(&[]);
        assert!(!ears.kept.has_changed().expect("it is there"), "nothing is recorded yet");
        known.keep(&["step-000000000004-g1".to_owned()]);
        assert_eq!(*ears.kept.borrow_and_update(), [CheckpointId::new("step-000000000004-g1")]);
        known.keep(&["step-000000000004-g1".to_owned()]);
        assert!(!ears.kept.has_changed().expect("it is there"));
    }

    #[test]
    fn only_a_rank_that_is_ordered_to_be_killed_is() {
        let (known, mut ears) = known();
        let key = RankKey {
            job_id: "job-1".into(),
            generation: kindred_proto::ids::Generation(1),
            rank: kindred_proto::ids::Rank(0),
        };
        let mut ranks = BTreeMap::from([(key.clone(), known)]);
        let order = |action: v1::ordered_rank::Action| {
            let order =
                v1::OrderedRank { action: action.into(), kill_reason: "hangs".into(), ..Default::default() };
            BTreeMap::from([(key.clone(), order)])
        };
        pass_on(&mut ranks, &order(v1::ordered_rank::Action::Run));
        assert_eq!(*ears.doom.borrow(), None);
        pass_on(&mut ranks, &order(v1::ordered_rank::Action::Kill));
        assert_eq!(ears.doom.borrow_and_update().as_deref(), Some("hangs"));
        pass_on(&mut ranks, &order(v1::ordered_rank::Action::Kill));
        assert!(!ears.doom.has_changed().expect("it is there"), "said once");
    }

    #[test]
    fn an_outcome_is_final_and_leaves_no_question_open() {
        let (mut known, _ears) = known();
        let (answer, mut decided) = oneshot::channel();
        known.asked("step-1-g1".into(), answer);
        known.ended(Outcome::Stopped);
        known.reached(RankState::Training);
        known.ask_to_stop(Stop { checkpoint: true });
        assert_eq!((known.state, known.is_live()), (RankState::Stopped, false));
        assert!(decided.try_recv().is_err(), "dropped, which means no");
    }

    #[test]
    fn only_the_newest_checkpoints_are_reported() {
        let (mut known, _ears) = known();
        for step in 0..MAX_CHECKPOINTS as u64 + 3 {
            known.committed(v1::Checkpoint { step, ..Default::default() });
        }
        assert_eq!(known.checkpoints.len(), MAX_CHECKPOINTS);
        assert_eq!(known.checkpoints.front().map(|first| first.step), Some(3));
    }
}
