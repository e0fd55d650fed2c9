//! The one task that owns the model: clock, journal, replies, ticks. Everyone else holds a [`Handle`].
//!
//! A turn takes what lies in the inbox, lets the model decide and evolve, stores all changes in one transaction, and only then
//! answers: nobody sees the model in between. Where the journal fails, the changes are taken back and whoever wished for one is told
//! so; what agents reported is decided upon again at the next turn.

mod access;
mod agents;
mod clock;
mod command;
mod events;
mod handle;
mod intake;
mod line_limit;
mod listing;
mod load;
mod log_reader;
mod logs;
mod operators;
mod publish;
mod session;
mod tidy;
mod turn;
mod update;
mod watchers;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use kindred_proto::failure::{Failure, Reason};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    config::Config,
    journal::{Error, Journal},
    model::{Model, Rules},
    telemetry::Telemetry,
};
use agents::Agents;
use command::Command;
use events::EventLog;
use load::Load;
use publish::Published;
use tidy::Tidy;
use watchers::Watchers;

pub use agents::Orders;
pub use clock::Clock;
pub use events::{EventBounds, EventPage, EventQuery, EventReader};
pub use handle::Handle;
pub use listing::{JobPage, JobQuery, Place, node_value};
pub use session::{AgentSession, ReportSink};

pub use crate::telemetry::{
    CurveQuery, Curves, LineNumber, Lines, LogQuery, MetricCursor, MetricPage, MetricQuery,
};

/// Commands that wait for a turn; who comes later waits for room.
const INBOX_LEN: usize = 1024;

/// How often the model is asked what the passing of time changes.
const TICK: Duration = Duration::from_millis(200);

/// The task that owns the model.
pub struct Engine<J> {
    model: Model,
    journal: J,
    /// True while the journal takes changes.
    is_journal_well: bool,
    tidy: Tidy,
    /// Most commands of one turn, and so of one transaction.
    turn_len: usize,
    clock: Clock,
    inbox: mpsc::Receiver<Command>,
    agents: Agents,
    watchers: Watchers,
    published: Published,
    load: Load,
    events: EventLog,
}

/// Reads the journal and makes the engine that goes on from there; [`Engine::run`] runs it.
///
/// # Errors
/// When the journal cannot be read.
pub async fn start<J: Journal>(
    config: &Config,
    journal: J,
    telemetry: Telemetry,
) -> Result<(Handle, Engine<J>), Error> {
    start_at(config, journal, telemetry, Clock::start()).await
}

/// As [`start`], with the time from another clock.
///
/// # Errors
/// When the journal cannot be read.
pub async fn start_at<J: Journal>(
    config: &Config,
    mut journal: J,
    telemetry: Telemetry,
    mut clock: Clock,
) -> Result<(Handle, Engine<J>), Error> {
    let mut stored = journal.load().await?;
    let told = std::mem::take(&mut stored.events);
    let events = EventLog::new(told, stored.events_forgotten_through, config.events);
    let snapshot_at = stored.snapshot_at;
    let (state, changes) = stored.replay();
    info!(changes = changes.len(), jobs_active = state.active_jobs().count(), "journal replayed");
    let rules = Rules {
        cause_grace: config.timing.cause_grace,
        forget_job_after: config.keep_jobs,
        scheduling: Arc::new(config.scheduling.clone()),
        ..Rules::new(config.timing.detection_budget)
    };
    // However long it took to read all that: nobody was held up by it.
    let (now, _) = clock.step();
    let model = Model::new(state, rules, now);
    let tidy = Tidy::new(config.snapshot_every, snapshot_at, &changes, telemetry.clone());
    let (sender, inbox) = mpsc::channel(INBOX_LEN);
    let published = Published::new(model.state());
    let handle = Handle::new(sender, telemetry, &published, events.reader());
    let engine = Engine {
        model,
        journal,
        is_journal_well: true,
        tidy,
        turn_len: config.turn_len,
        clock,
        inbox,
        agents: Agents::new(config),
        watchers: Watchers::default(),
        published,
        load: Load::default(),
        events,
    };
    Ok((handle, engine))
}

impl<J: Journal> Engine<J> {
    /// Runs until `shutdown`; whoever waits then is told so, and all streams end.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut commands = vec![];
            let mut is_tick = false;
            tokio::select! {
                // Commands are many, ticks few: neither waits for long, and what happens has one order.
                biased;
                () = shutdown.cancelled() => break,
                _ = ticks.tick() => is_tick = true,
                command = self.inbox.recv() => match command {
                    Some(command) => commands.push(command),
                    None => break,
                },
            }
            // Agents are heard before their silence is judged.
            while commands.len() < self.turn_len
                && let Ok(command) = self.inbox.try_recv()
            {
                commands.push(command);
            }
            if !self.journal.may_decide() {
                warn!("this coordinator leads no more: it decides nothing");
                commands.into_iter().for_each(|command| command.refuse(shutting_down()));
                break;
            }
            self.turn(commands, is_tick).await;
            if is_tick {
                self.load.tell();
                self.tidy.tick(&mut self.journal, self.model.state()).await;
            }
        }
        self.stop();
    }

    fn stop(mut self) {
        self.inbox.close();
        while let Ok(command) = self.inbox.try_recv() {
            command.refuse(shutting_down());
        }
    }
}

fn shutting_down() -> Failure {
    Failure::new(Reason::ShuttingDown, "the coordinator shuts down")
}
