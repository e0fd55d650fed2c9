//! One turn: observe, decide, evolve, store, answer.

use std::{sync::Arc, time::Instant};

use kindred_proto::{
    failure::{Failure, Reason},
    ids::JobId,
    v1,
};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::{
    Engine,
    command::{Answer, Command, Question, Reply, send},
    logs,
};
use crate::{
    journal::Journal,
    model::{Change, Decision, Event, Former, Model, Observation, Timestamp},
};

/// Rounds of decisions without new events; each moves a job at least one state on, so that none needs as many.
const MAX_ROUNDS: usize = 64;

/// What this turn changes, not stored yet. The model is as it will be then; nobody else sees it before.
#[derive(Default)]
struct Draft {
    changes: Vec<Change>,
    /// What each of them replaced.
    formers: Vec<Former>,
    /// What people are told of them, numbered by their places among these.
    events: Vec<v1::Event>,
    /// Whether the last decision left nothing to decide.
    is_settled: bool,
    /// Whether that one asked who gets devices.
    has_passed: bool,
}

/// Those who wait for an answer of this turn.
#[derive(Default)]
struct Waiting {
    wishes: Vec<(Event, Answer, Arc<str>)>,
    questions: Vec<Box<dyn Question>>,
    watches: Vec<(JobId, Reply<watch::Receiver<v1::Job>>)>,
}

/// Someone who waits for a wish that was decided upon.
struct Wisher {
    answer: Answer,
    outcome: Result<Option<JobId>, Failure>,
    /// True when the outcome holds only once the draft is stored.
    needs_store: bool,
}

impl<J: Journal> Engine<J> {
    /// Serves commands, and asks what the passing of time changes.
    pub(super) async fn turn(&mut self, commands: Vec<Command>, is_tick: bool) {
        let started = Instant::now();
        let now = self.step_clock();
        let Waiting { wishes, questions, watches } = self.hear(now, commands);
        if is_tick {
            self.agents.drop_closed(now, &mut self.model);
        }

        let mut draft = Draft::default();
        let decide =
            |(event, answer, caller): (_, _, Arc<str>)| self.wish(now, &mut draft, &event, answer, &caller);
        let wishers: Vec<_> = wishes.into_iter().map(decide).collect();
        self.settle(now, &mut draft);
        let (is_settled, has_passed) = (draft.is_settled, draft.has_passed);
        let stored = self.store(now, draft).await;
        if !self.journal.may_decide() {
            // Another one may have decided otherwise meanwhile. Whoever waits is told that nobody answers.
            return;
        }
        if stored.is_ok() && is_settled {
            self.model.rest(now, has_passed);
        }
        self.published.publish_access(self.model.state());

        for wisher in wishers {
            self.answer(now, wisher, &stored);
        }
        for question in questions {
            question.answer(now, &self.model);
        }
        for (job_id, reply) in watches {
            send(reply, self.watchers.watch(&self.model, &job_id));
        }
        self.publish(stored.unwrap_or(false));
        self.load.turn(started.elapsed());
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
                    self.load.report();
                    self.agents.report(now, &mut self.model, session, *report);
                }
                Command::Wish { event, answer, caller } => waiting.wishes.push((event, answer, caller)),
                Command::Ask(question) => waiting.questions.push(question),
                Command::Watch { job_id, reply } => waiting.watches.push((job_id, reply)),
            }
        }
        waiting
    }

    fn wish(
        &mut self,
        now: Timestamp,
        draft: &mut Draft,
        event: &Event,
        answer: Answer,
        caller: &str,
    ) -> Wisher {
        let outcome = self.model.decide(now, event).map(|Decision { changes, job_id, .. }| {
            draft.evolve(&mut self.model, changes, caller);
            job_id
        });
        Wisher { answer, outcome, needs_store: !draft.changes.is_empty() }
    }

    /// Lets the model decide until there is nothing left to decide.
    fn settle(&mut self, now: Timestamp, draft: &mut Draft) {
        for _ in 0..MAX_ROUNDS {
            let started = Instant::now();
            let decision = self.model.decide(now, &Event::Tick).unwrap_or_default();
            draft.has_passed = decision.has_passed;
            if decision.has_passed {
                self.load.pass(started.elapsed());
                self.model.note_pass(now);
            }
            if decision.changes.is_empty() {
                draft.is_settled = true;
                return;
            }
            draft.evolve(&mut self.model, decision.changes, "");
        }
        error!(rounds = MAX_ROUNDS, "decisions do not come to rest");
    }

    /// Stores the changes, or takes them back; says whether there were any.
    async fn store(&mut self, now: Timestamp, draft: Draft) -> Result<bool, Failure> {
        if draft.changes.is_empty() {
            return Ok(false);
        }
        let newest = u64::try_from(self.journal.newest().0).unwrap_or(0);
        let mut news = draft.events;
        news.iter_mut().for_each(|event| event.number += newest);
        let events = self.events.with_news(now, news);
        if let Err(error) = self.journal.append(&draft.changes, &events).await {
            draft.formers.into_iter().rev().for_each(|former| self.model.undo(former));
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
        self.events.publish(events);
        draft.changes.iter().for_each(logs::note);
        self.tidy.note(&draft.changes);
        Ok(true)
    }

    fn answer(&self, now: Timestamp, wisher: Wisher, stored: &Result<bool, Failure>) {
        let job_id = match (wisher.needs_store, stored, wisher.outcome) {
            (true, Err(failure), _) => return wisher.answer.refuse(failure.clone()),
            (_, _, Err(refusal)) => return wisher.answer.refuse(refusal),
            (_, _, Ok(job_id)) => job_id,
        };
        match wisher.answer {
            Answer::Job(reply) => send(reply, self.wished_job(job_id)),
            Answer::Node { node_id, reply } => {
                let node = self.model.state().node(&node_id).map(|node| self.model.node_view(now, node));
                send(reply, node.ok_or_else(|| Failure::new(Reason::NodeNotFound, "the node is forgotten")));
            }
            Answer::Done(reply) => send(reply, Ok(())),
        }
    }

    fn wished_job(&self, job_id: Option<JobId>) -> Result<v1::Job, Failure> {
        let nameless = || Failure::new(Reason::Internal, "a wish was decided without a job");
        let job = self.model.job(&job_id.ok_or_else(nameless)?)?;
        Ok(self.model.job_view(job))
    }

    fn publish(&mut self, has_changed: bool) {
        // Before the orders: a rank that goes on may ask for its new generation within the same millisecond.
        if has_changed {
            self.published.publish(self.model.state());
        }
        self.agents.publish(&mut self.model);
        self.watchers.publish(&self.model);
    }
}

impl Draft {
    fn evolve(&mut self, model: &mut Model, changes: Vec<Change>, caller: &str) {
        for (number, change) in (self.changes.len() as u64 + 1..).zip(&changes) {
            let (former, told) = model.evolve_and_tell(change);
            self.formers.push(former);
            self.events.extend(told.map(|event| v1::Event { number, caller: caller.to_owned(), ..event }));
        }
        self.changes.extend(changes);
    }
}
