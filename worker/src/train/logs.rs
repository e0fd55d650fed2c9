//! Events of `tracing` as log lines for the agent.

use std::{
    collections::HashMap,
    fmt::{Debug, Write},
    sync::atomic::{AtomicU64, Ordering},
};

use kindred_ipc::{FromRank, Start, Wire};
use kindred_proto::v1::{LogLevel, LogLine};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    util::{SubscriberInitExt, TryInitError},
};

use super::{link::Link, report::unix_ms};

/// Sends what this process logs from now on, INFO and above, to the agent. When the link's queue is full a line is
/// dropped, and the next one counts what was.
///
/// # Errors
/// When the process logs elsewhere already.
pub fn send_to(link: &Link, start: &Start) -> Result<(), TryInitError> {
    let layer = LineLayer {
        link: link.clone(),
        generation: start.generation.0,
        rank: start.rank.0,
        node_id: start.node_id.to_string(),
        n_dropped: AtomicU64::new(0),
    };
    tracing_subscriber::registry().with(layer.with_filter(LevelFilter::INFO)).try_init()
}

struct LineLayer {
    link: Link,
    generation: u64,
    rank: u32,
    node_id: String,
    n_dropped: AtomicU64,
}

impl<S: Subscriber> Layer<S> for LineLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = LogLine {
            time_unix_ms: unix_ms(),
            level: level_of(*event.metadata().level()).into(),
            generation: self.generation,
            rank: Some(self.rank),
            node_id: self.node_id.clone(),
            ..LogLine::default()
        };
        event.record(&mut Fields { message: &mut line.message, fields: &mut line.fields });
        let n_dropped = self.n_dropped.swap(0, Ordering::Relaxed);
        if n_dropped > 0 {
            line.fields.insert("lines_dropped".into(), n_dropped.to_string());
        }
        if !self.link.try_say(FromRank::Line(Wire(line))) {
            self.n_dropped.fetch_add(n_dropped + 1, Ordering::Relaxed);
        }
    }
}

fn level_of(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warn,
        Level::INFO => LogLevel::Info,
        _ => LogLevel::Debug,
    }
}

struct Fields<'a> {
    message: &'a mut String,
    fields: &'a mut HashMap<String, String>,
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            write!(self.message, "{value:?}").expect("a string takes everything");
        } else {
            self.fields.insert(field.name().to_owned(), format!("{value:?}"));
        }
    }
}
