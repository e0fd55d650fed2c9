//! Real ranks under a played agent: whole jobs over a small folder of images, and everything that goes wrong.

mod agent;
mod checkpoints;
mod endings;
mod evaluation;
mod faults;
mod job;
mod object_store;
mod recovery;
mod store;
mod training;
