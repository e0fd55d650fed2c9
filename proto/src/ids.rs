//! Names and counts as types of their own, so that a rank is never taken for a step.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(String);

        impl $name {
            /// Wraps a name that is already known to be good.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self::new(name)
            }
        }

        impl FromStr for $name {
            type Err = std::convert::Infallible;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                Ok(Self::new(name))
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub $inner);

        impl $name {
            /// The next one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

text_id!(
    /// A job; given by the coordinator, unique in its journal.
    JobId
);
text_id!(
    /// A node; kept in its agent's state folder.
    NodeId
);
text_id!(
    /// One life of an agent or a coordinator.
    Incarnation
);
text_id!(
    /// A checkpoint, unique in its job: `step-000000000120-g3`.
    CheckpointId
);
number_id!(
    /// One set of ranks of a job; only ever grows.
    Generation,
    u64
);
number_id!(
    /// A rank within its generation, from 0.
    Rank,
    u32
);
number_id!(
    /// How many ranks a generation has.
    WorldSize,
    u32
);
number_id!(
    /// How many optimiser steps have been taken.
    Step,
    u64
);

impl CheckpointId {
    /// The name of the checkpoint that `generation` writes after `step`.
    pub fn of(step: Step, generation: Generation) -> Self {
        Self(format!("step-{:012}-g{}", step.0, generation.0))
    }

    /// The generation that writes it; none for a name that is not of a checkpoint.
    pub fn generation(&self) -> Option<Generation> {
        let (_, generation) = self.0.rsplit_once("-g")?;
        generation.parse().ok().map(Generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_names_the_generation_that_writes_it() {
        assert_eq!(CheckpointId::of(Step(120), Generation(3)).generation(), Some(Generation(3)));
        for other in ["", "step-12", "step-12-g", "step-12-gx"] {
            assert_eq!(CheckpointId::new(other).generation(), None, "{other}");
        }
    }
}
