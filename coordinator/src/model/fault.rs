//! The faults of one generation: which one it was, and which only followed from it.

use kindred_proto::{failure::Failure, ids::Generation, v1};
use serde::{Deserialize, Serialize};

use super::{Timestamp, Wire, retry};

/// A fault that ended a rank.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// When it was heard of.
    pub at: Timestamp,
    /// The generation of the rank.
    pub generation: Generation,
    /// What the rank met.
    pub failure: Wire<v1::Failure>,
}

/// The faults of the newest generation that met any, in the order in which they were heard of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Takes in the next one; those of an older generation give way to it.
    pub(super) fn note(&mut self, fault: Fault) {
        self.0.retain(|older| older.generation == fault.generation);
        self.0.push(fault);
    }

    /// The cause first, then the others in order.
    pub fn by_cause(&self) -> impl Iterator<Item = &Fault> {
        let cause = self.cause_index();
        let others = self.0.iter().enumerate().filter(move |(index, _)| Some(*index) != cause);
        cause.map(|index| &self.0[index]).into_iter().chain(others.map(|(_, fault)| fault))
    }

    /// The first that does not only say that another rank is gone; the first of all where every one does.
    fn cause_index(&self) -> Option<usize> {
        let is_origin = |fault: &Fault| !retry::is_consequence(&Failure::from(&fault.failure.0));
        self.0.iter().position(is_origin).or(if self.0.is_empty() { None } else { Some(0) })
    }
}
