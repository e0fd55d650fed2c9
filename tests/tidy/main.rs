//! The rules of the house that a compiler does not know: who may import whom, how long a file may be.

mod dependencies;
mod jobs;
mod layout;
mod reasons;
mod sources;
