//! What a listing is filtered and ordered by: a small part of AIP-160, and the order of AIP-132.
//!
//! A filter is a list of terms with `AND` between them: `state = running AND labels.team = vision AND create_time >= 2026-01-31`.
//! The CLI and the coordinator read both with the same code, so that a mistake is told before anything is sent.

mod column;
mod filter;
mod order;
mod read;

pub use column::{Column, JOB_COLUMNS, Key, Kind, NODE_COLUMNS, Value, id_number, millis};
pub use filter::Filter;
pub use order::Order;

use crate::failure::{Failure, Reason};

/// Characters of a filter or an order, at most.
const MAX_LEN: usize = 2000;

/// Terms of a filter, and keys of an order, at most.
const MAX_TERMS: usize = 32;

/// Why a filter or an order is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {position}: {message}")]
pub struct Error {
    /// The first character of what is wrong, counted from 1.
    pub position: usize,
    /// What is wrong, and what would do.
    pub message: String,
}

impl Error {
    fn at(position: usize, message: impl Into<String>) -> Self {
        Self { position, message: message.into() }
    }

    /// The failure of a request that holds it in this field.
    pub fn in_field(self, field: &str) -> Failure {
        Failure::new(Reason::SpecInvalid, format!("{field}: {self}")).about(field)
    }
}

/// Text as it may stand in a filter, whatever is in it.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
