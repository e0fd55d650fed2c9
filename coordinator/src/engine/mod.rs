//! The one task that owns the model: clock, journal, replies, ticks. Everyone else holds a [`Handle`].
//!
//! A turn takes what lies in the inbox, lets a draft of the model decide and evolve, stores all changes in one
//! transaction, and only then lets the draft take the model's place and answers. Where the journal fails, the draft is
//! dropped and whoever wished for a change is told so; what agents reported is decided upon again at the next turn.

mod agents;
mod clock;
mod command;
mod handle;
mod intake;
mod log_reader;
mod logs;
mod publish;
mod session;
mod turn;
mod watchers;

#[cfg(test)]
mod tests;

use std::time::Duration;

use kindred_proto::failure::{Failure, Reason};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    config::Config,
    journal::{Error, Journal},
    model::{Model, Rules, State},
    telemetry::Telemetry,
};
use agents::Agents;
use command::Command;
use publish::Published;
use watchers::Watchers;

pub use clock::Clock;
pub use handle::{Handle, JobPage, JobQuery};
pub use session::{AgentSession, ReportSink};

pub use crate::telemetry::{LogQuery, MetricCursor, MetricPage, MetricQuery};

/// Commands that wait for a turn; who comes later waits for room.
const INBOX_LEN: usize = 1024;

/// Most commands of one turn, and so of one transaction.
const TURN_LEN: usize = 256;

/// How often the model is asked what the passing of time changes.
const TICK: Duration = Duration::from_millis(200);

/// The task that owns the model.
pub struct Engine<J> {
    model: Model,
    journal: J,
    /// True while the journal takes changes.
    is_journal_well: bool,
    clock: Clock,
    inbox: mpsc::Receiver<Command>,
    agents: Agents,
    watchers: Watchers,
    published: Published,
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
    clock: Clock,
) -> Result<(Handle, Engine<J>), Error> {
    let changes = journal.load().await?;
    let state = State::replay(&changes);
    info!(changes = changes.len(), jobs_active = state.active_jobs().count(), "journal replayed");
    let model = Model::new(
        state,
        Rules { cause_grace: config.timing.cause_grace, ..Rules::new(config.timing.detection_budget) },
        clock.now(),
    );
    let (sender, inbox) = mpsc::channel(INBOX_LEN);
    let published = Published::new(model.state());
    let handle = Handle::new(sender, telemetry, published.subscribe());
    let engine = Engine {
        model,
        journal,
        is_journal_well: true,
        clock,
        inbox,
        agents: Agents::new(config),
        watchers: Watchers::default(),
        published,
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
            tokio::select! {
                // Commands are many, ticks few: neither waits for long, and what happens has one order.
                biased;
                () = shutdown.cancelled() => break,
                _ = ticks.tick() => {}
                command = self.inbox.recv() => match command {
                    Some(command) => commands.push(command),
                    None => break,
                },
            }
            // Agents are heard before their silence is judged.
            while commands.len() < TURN_LEN
                && let Ok(command) = self.inbox.try_recv()
            {
                commands.push(command);
            }
            self.turn(commands).await;
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
