//! One rank's work: open the data, meet the other ranks, train, measure, write the encoder; or measure one.
//!
//! [`serve()`] is the story, [`Trainer::step`] its heart. Everything that is durable or visible goes through the agent,
//! over the [`Link`]. Non-goals: who runs where (the coordinator), what an objective is ([`crate::methods`]).

mod agreement;
mod error;
mod evaluating;
mod fetching;
mod guard;
mod held;
mod job;
mod link;
mod logs;
mod measuring;
mod meeting;
mod micro_batches;
mod readings;
mod report;
mod run;
mod saving;
mod section;
mod serve;
mod step;
mod stop;
mod store;
mod undo;

pub use error::Error;
pub use link::{Answer, Link, Stop};
pub use logs::send_to;
pub use saving::{Gate, Inspection, Mailbox, Order, Outlet, Permission, Writer};
pub use serve::serve;
pub use step::{Embed, Outcome, Trainer, to_input};
