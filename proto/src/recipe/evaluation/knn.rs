//! Nearest neighbours.

use super::super::DataSource;
use crate::{
    scope::{Scope, positive_to},
    v1::{self, knn},
};

/// Cosine kNN while training, and at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Knn {
    /// Who votes, and how.
    pub neighbours: Neighbours,
    /// Epochs between two measurements. Default 1.
    pub every_epochs: u32,
    /// Images of the training set that serve as bank while training. Default: all.
    pub bank_limit: Option<u64>,
}

/// The nearest images of a bank vote for their classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// Neighbours. Default 20.
    pub k: u32,
    /// How they vote. Default: weighted.
    pub vote: Vote,
    /// Images of each class in the bank, drawn by the seed. Default: all images.
    pub bank_per_class: Option<u32>,
    /// Classes whose queries are also counted on their own. Default: none.
    pub rare_classes: Vec<u32>,
}

/// How neighbours vote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Vote {
    /// With exp(cosine / temperature) each (InstDisc; SANE with k = 50, temperature 0.05).
    Weighted {
        /// Default 0.07 (InstDisc).
        temperature: f64,
    },
    /// With one vote each (ISD with k = 1 and 20).
    Majority,
}

impl Knn {
    pub(super) fn check(wire: &v1::Knn, data: &DataSource, at: &Scope) -> Self {
        let smallest_bank = wire.bank_limit.into_iter().chain(data.limit).min();
        Self {
            neighbours: Neighbours::check(wire, smallest_bank, at),
            every_epochs: at.number("every_epochs", wire.every_epochs, 1, 1..),
            bank_limit: at.optional("bank_limit", wire.bank_limit, 1..),
        }
    }

    pub(super) fn to_wire(&self) -> v1::Knn {
        let (every_epochs, bank_limit) = (Some(self.every_epochs), self.bank_limit);
        v1::Knn { every_epochs, bank_limit, ..self.neighbours.to_wire() }
    }
}

impl Neighbours {
    /// Those of one measurement at the end.
    pub(super) fn check_measurement(wire: &v1::Knn, data: &DataSource, at: &Scope) -> Self {
        let others = [
            ("enabled", wire.enabled.is_some_and(|enabled| !enabled)),
            ("every_epochs", wire.every_epochs.is_some()),
            ("bank_limit", wire.bank_limit.is_some()),
        ];
        for (field, _) in others.into_iter().filter(|(_, is_given)| *is_given) {
            at.violate(field, "has no meaning for a measurement at the end: leave it out");
        }
        Self::check(wire, data.limit, at)
    }

    fn check(wire: &v1::Knn, smallest_bank: Option<u64>, at: &Scope) -> Self {
        let k = at.number("k", wire.k, 20, 1..=10_000);
        if let Some(n_images) = smallest_bank.filter(|&n_images| n_images < k.into()) {
            at.violate("k", format!("must be at most {n_images}, the images of the bank, not {k}"));
        }
        for &class in &wire.rare_classes {
            at.within("rare_classes", class, 0..=1_000_000);
        }
        Self {
            k,
            vote: Vote::check(wire, at),
            bank_per_class: at.optional("bank_per_class", wire.bank_per_class, 1..),
            rare_classes: wire.rare_classes.clone(),
        }
    }

    pub(super) fn to_wire(&self) -> v1::Knn {
        let (vote, temperature) = match self.vote {
            Vote::Weighted { temperature } => (knn::Vote::Weighted, Some(temperature)),
            Vote::Majority => (knn::Vote::Majority, None),
        };
        v1::Knn {
            enabled: Some(true),
            k: Some(self.k),
            temperature,
            vote: vote.into(),
            bank_per_class: self.bank_per_class,
            rare_classes: self.rare_classes.clone(),
            every_epochs: None,
            bank_limit: None,
        }
    }
}

impl Vote {
    fn check(wire: &v1::Knn, at: &Scope) -> Self {
        match at.known("vote", wire.vote).unwrap_or_default() {
            knn::Vote::Weighted | knn::Vote::Unspecified => Self::Weighted {
                temperature: at.number("temperature", wire.temperature, 0.07, positive_to(100.0)),
            },
            knn::Vote::Majority => {
                if wire.temperature.is_some() {
                    at.violate("temperature", "has no meaning where each neighbour has one vote");
                }
                Self::Majority
            }
        }
    }
}
