//! What is known of each entry of a listing.

use serde::{Deserialize, Serialize};

use super::Error;
use crate::v1::{DeviceKind, JobState, NodeState};

/// Something that entries are filtered and ordered by.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// What people write.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

/// What a column holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A number after this prefix, as in `job-7`.
    Id(&'static str),
    /// Text.
    Text,
    /// One of these names, in their order.
    Choice(fn() -> Vec<String>),
    /// A whole number.
    Number,
    /// A moment, in milliseconds since the Unix epoch.
    Time,
    /// Text by a key of the user's.
    Labels,
}

/// What jobs are listed by.
pub const JOB_COLUMNS: &[Column] = &[
    Column { name: "id", kind: Kind::Id("job-") },
    Column { name: "name", kind: Kind::Text },
    Column { name: "state", kind: Kind::Choice(job_states) },
    Column { name: "project", kind: Kind::Text },
    Column { name: "queue", kind: Kind::Text },
    Column { name: "priority", kind: Kind::Number },
    Column { name: "device", kind: Kind::Choice(devices) },
    Column { name: "labels", kind: Kind::Labels },
    Column { name: "create_time", kind: Kind::Time },
    Column { name: "start_time", kind: Kind::Time },
    Column { name: "end_time", kind: Kind::Time },
    Column { name: "ranks", kind: Kind::Number },
    Column { name: "method", kind: Kind::Text },
];

/// What nodes are listed by.
pub const NODE_COLUMNS: &[Column] = &[
    Column { name: "id", kind: Kind::Text },
    Column { name: "name", kind: Kind::Text },
    Column { name: "state", kind: Kind::Choice(node_states) },
    Column { name: "labels", kind: Kind::Labels },
];

/// What an entry holds in a column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// Nothing.
    Absent,
    /// A number: also a moment's milliseconds, an id's number, and the place of a choice among its names.
    Number(i64),
    /// Text.
    Text(String),
}

impl Value {
    /// The place of a choice among its names.
    pub fn choice(names: fn() -> Vec<String>, name: &str) -> Self {
        let place = names().iter().position(|it| it == name).and_then(|place| i64::try_from(place).ok());
        place.map_or(Self::Absent, Self::Number)
    }
}

/// One column, and of labels which one.
#[derive(Clone, Debug)]
pub struct Key {
    /// The column.
    pub column: &'static Column,
    /// The label's own key; empty for other columns.
    pub label: String,
}

/// The number in an id such as `job-7`.
pub fn id_number(prefix: &str, id: &str) -> Option<i64> {
    let digits = id.strip_prefix(prefix)?;
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { digits.parse().ok() } else { None }
}

/// A moment in milliseconds since the Unix epoch.
pub fn millis(time: &prost_types::Timestamp) -> i64 {
    time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos / 1_000_000))
}

/// The column of a name.
pub(super) fn find(
    columns: &'static [Column],
    name: &str,
    position: usize,
) -> Result<&'static Column, Error> {
    if let Some(column) = columns.iter().find(|column| column.name == name) {
        return Ok(column);
    }
    let near =
        columns.iter().map(|column| column.name).min_by_key(|it| strsim::damerau_levenshtein(it, name));
    let near = near.filter(|it| strsim::damerau_levenshtein(it, name) <= it.len().div_ceil(3));
    let hint = near.map(|it| format!("did you mean `{it}`? ")).unwrap_or_default();
    let shown: String = name.chars().take(64).collect();
    let names: Vec<_> = columns.iter().map(Column::shown).collect();
    Err(Error::at(position, format!("there is no field `{shown}`: {hint}There are {}", names.join(", "))))
}

impl Column {
    /// How it is written.
    pub(super) fn shown(&self) -> String {
        let key = if matches!(self.kind, Kind::Labels) { ".KEY" } else { "" };
        format!("{}{key}", self.name)
    }

    /// What value was given, as the numbers from the first to before the second.
    pub(super) fn span(&self, given: &str) -> Result<(i64, i64), String> {
        let single = |number: i64| (number, number.saturating_add(1));
        match self.kind {
            Kind::Id(prefix) => {
                let number = id_number(prefix, given).map(single);
                number.ok_or_else(|| format!("an id such as {prefix}7"))
            }
            Kind::Choice(names) => match Value::choice(names, &given.to_lowercase()) {
                Value::Number(place) => Ok(single(place)),
                _ => Err(format!("one of {}", names().join(", "))),
            },
            Kind::Time => time_span(given)
                .ok_or_else(|| "a day or a time such as 2026-01-31 or 2026-01-31T08:30:00Z".to_owned()),
            Kind::Number | Kind::Text | Kind::Labels => {
                given.parse().map(single).map_err(|_| "a whole number".to_owned())
            }
        }
    }
}

/// A day is all of its milliseconds, by UTC.
fn time_span(given: &str) -> Option<(i64, i64)> {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    // Longer than any date and time, and no year has five digits here.
    let is_plain = given.len() <= 40 && given.as_bytes().get(4) == Some(&b'-');
    let time: prost_types::Timestamp = given.parse().ok().filter(|_| is_plain)?;
    let first = millis(&time);
    let length = if given.len() == "2026-01-31".len() { DAY_MS } else { 1 };
    Some((first, first.saturating_add(length)))
}

fn job_states() -> Vec<String> {
    JobState::ALL.iter().map(|state| state.label()).collect()
}

fn devices() -> Vec<String> {
    [DeviceKind::Cpu, DeviceKind::Cuda].map(DeviceKind::label).into()
}

fn node_states() -> Vec<String> {
    let known = (1..).map_while(|number| NodeState::try_from(number).ok());
    known.map(NodeState::label).collect()
}
