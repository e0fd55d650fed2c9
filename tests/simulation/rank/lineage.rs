//! A simulated rank's state: which generation took which of its steps.
//!
//! The order of data is a function of the step alone, so a state is its number of steps; who took them is what the ledger
//! must say of them.

use kindred_proto::ids::Generation;

/// The steps of a state, from the first: so many by each generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage(Vec<(Generation, u64)>);

impl Lineage {
    /// Steps taken.
    pub fn taken(&self) -> u64 {
        self.0.iter().map(|(_, n_steps)| n_steps).sum()
    }

    /// One more step.
    pub fn step(&mut self, by: Generation) {
        match self.0.last_mut() {
            Some((generation, n_steps)) if *generation == by => *n_steps += 1,
            _ => self.0.push((by, 1)),
        }
    }

    /// Generations only grow along a state.
    pub fn is_sound(&self) -> bool {
        self.0.windows(2).all(|pair| pair[0].0 < pair[1].0)
    }

    /// What stands for the digest of the weights after these steps.
    pub fn digest(&self) -> String {
        digest(self.taken())
    }
}

/// What stands for the digest of the weights after so many steps.
pub fn digest(n_steps: u64) -> String {
    format!("weights after {n_steps} steps")
}
