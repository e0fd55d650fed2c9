//! One turn: observe, decide, store, evolve, answer.

use kindred_proto::{
    failure::{Failure, Reason},
    ids::JobId,
    v1,
};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::{
    Engine,
    command::{Command, Question, Reply, send},
    logs,
};
use crate::{
    journal::Journal,
    model::{Change, Decision, Event, Model, Observation, Timestamp},
};

/// Rounds of decisions without new events; each moves a job at least one state on, so that none needs as many.
const MAX_ROUNDS: usize = 64;

/// The model as it will be once its changes are stored.
struct Draft {
    model: Option<Model>,
    changes: Vec<Change>,
}

/// Those who wait for an answer of this turn.
#[derive(Default)]
struct Waiting {
    wishes: Vec<(Event, Reply<v1::Job>)>,
    questions: Vec<Box<dyn Question>>,
    watches: Vec<(JobId, Reply<watch::Receiver<v1::Job>>)>,
}

/// Someone who waits for a wish that was decided upon.
struct Wisher {
    reply: Reply<v1::Job>,
    outcome: Result<JobId, Failure>,
    /// True when the outcome holds only once the draft is stored.
    needs_store: bool,
}

impl<J: Journal> Engine<J> {
    /// Serves commands, and asks what the passing of time changes.
    pub(super) async fn turn(&mut self, commands: Vec<Command>) {
        let now = self.step_clock();
        let Waiting { wishes, questions, watches } = self.hear(now, commands);

        let mut draft = Draft { model: None, changes: vec![] };
        let decide = |(event, reply)| self.wish(now, &mut draft, &event, reply);
        let wishers: Vec<_> = wishes.into_iter().map(decide).collect();
        self.settle(now, &mut draft);
        let stored = self.store(draft).await;

        for wisher in wishers {
            self.answer(wisher, &stored);
        }
        for question in questions {
            question.answer(now, &self.model);
        }
        for (job_id, reply) in watches {
            send(reply, self.watchers.watch(&self.model, &job_id));
        }
        self.publish(stored.unwrap_or(false));
    }

    fn step_clock(&mut self) -> Timestamp {
        let (now, held_up) = self.clock.step();
        if let Some(duration) = held_up {
            warn!(elapsed_ms = duration.as_millis(), "the coordinator was held up; no lease ran meanwhile");
            self.model.observe(now, Observation::HeldUp(duration));
        }
        now
    }

    /// Takes in what agents say, and lays the rest ready.
    fn hear(&mut self, now: Timestamp, commands: Vec<Command>) -> Waiting {
        let mut waiting = Waiting::default();
        for command in commands {
            match command {
                Command::Connect { report, reply } => {
                    self.agents.connect(now, &mut self.model, *report, reply)
                }
                Command::Report { session, report } => {
                    self.agents.report(now, &mut self.model, session, *report);
                }
                Command::Wish { event, reply } => waiting.wishes.push((event, reply)),
                Command::Ask(question) => waiting.questions.push(question),
                Command::Watch { job_id, reply } => waiting.watches.push((job_id, reply)),
            }
        }
        self.agents.drop_closed(now, &mut self.model);
        waiting
    }

    fn wish(&self, now: Timestamp, draft: &mut Draft, event: &Event, reply: Reply<v1::Job>) -> Wisher {
        let decision = draft.model(&self.model).decide(now, event);
        let outcome = decision.and_then(|Decision { changes, job_id }| {
            draft.evolve(&self.model, changes);
            job_id.ok_or_else(|| Failure::new(Reason::Internal, "a wish was decided without a job"))
        });
        Wisher { reply, outcome, needs_store: draft.model.is_some() }
    }

    /// Lets the draft decide until there is nothing left to decide.
    fn settle(&self, now: Timestamp, draft: &mut Draft) {
        for _ in 0..MAX_ROUNDS {
            let decision = draft.model(&self.model).decide(now, &Event::Tick).unwrap_or_default();
            if decision.changes.is_empty() {
                return;
            }
            draft.evolve(&self.model, decision.changes);
        }
        error!(rounds = MAX_ROUNDS, "decisions do not come to rest");
    }

    /// Stores the changes and lets them happen; says whether there were any.
    async fn store(&mut self, draft: Draft) -> Result<bool, Failure> {
        let Some(model) = draft.model else { return Ok(false) };
        if let Err(error) = self.journal.append(&draft.changes).await {
            if self.is_journal_well {
                error!(%error, "changes cannot be stored; nothing changes until they can");
            }
            self.is_journal_well = false;
            return Err(error.into());
        }
        if !self.is_journal_well {
            info!("changes can be stored again");
        }
        self.is_journal_well = true;
        self.model = model;
        draft.changes.iter().for_each(logs::note);
        Ok(true)
    }

    fn answer(&self, wisher: Wisher, stored: &Result<bool, Failure>) {
        let answer = match (wisher.needs_store, stored) {
            (true, Err(failure)) => Err(failure.clone()),
            _ => {
                wisher.outcome.and_then(|job_id| self.model.job(&job_id).map(|job| self.model.job_view(job)))
            }
        };
        send(wisher.reply, answer);
    }

    fn publish(&mut self, has_changed: bool) {
        self.agents.publish(&self.model, has_changed);
        self.watchers.publish(&self.model);
        if has_changed {
            self.published.publish(self.model.state());
        }
    }
}

impl Draft {
    fn model<'a>(&'a self, stored: &'a Model) -> &'a Model {
        self.model.as_ref().unwrap_or(stored)
    }

    fn evolve(&mut self, stored: &Model, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let model = self.model.get_or_insert_with(|| stored.clone());
        changes.iter().for_each(|change| model.evolve(change));
        self.changes.extend(changes);
    }
}
