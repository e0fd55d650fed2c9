//! A whole agent against a coordinator that says what the test wants, with real processes as ranks.

mod cluster;
mod coordinator_away;
mod endings;
mod fences;
mod lease;
mod life;
mod store;
